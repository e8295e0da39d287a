//! What the rules and the dashboard ask for is what a scrape of the shipped configuration has.

use std::collections::BTreeMap;

use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use request_id_rules::counters::Counter;
use test_support::project;
use test_support::shipped;
use xtask::envoy;

/// The series of a scrape: their labels, of which `__name__` is the name.
fn scrape() -> Vec<BTreeMap<String, String>> {
    let config = envoy::shipped(0, 0).expect("the configuration can be read");
    let envoy = shipped::start(&config);
    let text = envoy
        .get("/stats/prometheus")
        .expect("Envoy shows its metrics");
    let series = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, rest) = line.split_once('{')?;
            let (labels, _) = rest.rsplit_once('}')?;
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            let labels = labels.map(|(name, value)| (name.into(), value.trim_matches('"').into()));
            Some(labels.chain([("__name__".into(), name.into())]).collect())
        });
    series.collect()
}

#[derive(Default)]
struct Selectors(Vec<VectorSelector>);

impl ExprVisitor for Selectors {
    type Error = ();

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
        match expression {
            Expr::VectorSelector(selector) => self.0.push(selector.clone()),
            Expr::MatrixSelector(selector) => self.0.push(selector.vs.clone()),
            _ => {}
        }
        Ok(true)
    }
}

#[test]
fn rules_and_dashboard_ask_for_what_there_is() {
    let series = scrape();
    let expressions = shipped::expressions();
    assert!(expressions.len() >= 10, "{expressions:?}");
    let mut found = 0;
    for text in &expressions {
        let text = &text.replace("$__rate_interval", "5m"); // Grafana fills its variable in.
        let expression = parser::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mut selectors = Selectors::default();
        walk_expr(&mut selectors, &expression).expect("the visitor does not fail");
        for selector in selectors.0 {
            let name = selector.name.as_deref().unwrap_or_default();
            if name == "pilot_total_xds_rejects" {
                continue; // Istiod's: tests/kubernetes scrapes it.
            }
            if name.starts_with("request_id_filter:") {
                let rules = project::text("envoy/prometheus-rules.yaml");
                assert!(
                    rules.contains(&format!("- record: {name}\n")),
                    "{name} is not recorded"
                );
                continue;
            }
            let matches = series.iter().filter(|labels| {
                let label = |name| labels.get(name).map_or("", String::as_str);
                (name.is_empty() || label("__name__") == name)
                    && selector
                        .matchers
                        .matchers
                        .iter()
                        .all(|matcher| matcher.is_match(label(&matcher.name)))
            });
            assert_ne!(matches.count(), 0, "no series for {selector} of {text}");
            found += 1;
        }
    }
    assert!(found >= 10);
}

/// By the names that Envoy gives them without any `stats_config`, as in Istio and Envoy Gateway.
#[test]
fn each_counter_is_a_metric() {
    let series = scrape();
    let names = series.iter().map(|labels| labels["__name__"].clone());
    let mut found: Vec<_> = names
        .filter(|name| name.contains("request_id_filter"))
        .collect();
    let mut expected = Counter::ALL.map(|(_, name)| name.replace('.', "_"));
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}
