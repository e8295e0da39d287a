//! The counters, and hosts that have none.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use request_id_rules::counters::Counter;
use xtask::envoy::Process;

use crate::testbed::{Setup, Testbed, eventually, is_new, tests};
use test_support::cases;
use test_support::client::Connection;
use test_support::comparison::counter_name;
use test_support::upstream::Reply;

tests![
    counts_are_exact_over_workers_and_listeners_within_two_seconds,
    a_host_without_metrics_is_named_in_one_line,
    a_host_without_timers_is_named_in_one_line,
];

/// Returns the counters of the filter, by their names behind `wasmcustom.request_id_filter.`.
pub fn counters(envoy: &Process) -> BTreeMap<String, u64> {
    let statistics = envoy.get("/stats?filter=^wasmcustom");
    let statistics = statistics.expect("Envoy shows its statistics");
    let counter = |line: &str| {
        let line = line.strip_prefix("wasmcustom.request_id_filter.")?;
        let (name, count) = line.split_once(": ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    statistics.lines().filter_map(counter).collect()
}

/// Waits until the filter has counted these, and nothing else.
pub fn wait_for_counters(envoy: &Process, expected: &BTreeMap<String, u64>) {
    let counted = || {
        let mut counted = counters(envoy);
        counted.retain(|_, count| *count > 0);
        counted
    };
    println!("expected: {expected:?}");
    eventually(Duration::from_secs(2), counted, |counted| {
        counted == expected
    });
}

fn counts_are_exact_over_workers_and_listeners_within_two_seconds(_: &Testbed) {
    let testbed = Testbed::start(Setup {
        has_two_workers: true,
        ..Setup::default()
    });
    let uncounted = Counter::ALL.map(|(counter, _)| (counter_name(counter).to_owned(), 0));
    let mut expected = BTreeMap::from(uncounted);
    assert_eq!(counters(&testbed.envoy), expected);
    let cases = cases::all();
    // Connections of two threads, which the two workers share; each request a connection of its own.
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for case in &cases {
                    let path = testbed.unique(case.path);
                    testbed.upstream.expect(&path, Reply::ok(&case.upstream));
                    let port = testbed.port_with(case.config);
                    Connection::open(port).get(&path, &case.request);
                }
            });
        }
    });
    for case in &cases {
        for counter in case.counters() {
            *expected.get_mut(&counter).expect("the counter is known") += 2;
        }
    }
    wait_for_counters(&testbed.envoy, &expected);
    assert!(expected.values().all(|&count| count > 0), "{expected:?}");
    let outcomes = ["kept", "adopted", "generated", "replaced", "rejected"];
    let requests: u64 = outcomes.iter().map(|outcome| expected[*outcome]).sum();
    assert_eq!(requests, 2 * cases.len() as u64);
}

/// Checks that a filter that may not make this call serves requests, and logs one line for each plugin and VM.
fn without(call: &'static str, line: &str) {
    let testbed = Testbed::start(Setup {
        without: Some(call),
        ..Setup::default()
    });
    let mut connection = Connection::open(testbed.port);
    assert!(is_new(&connection.get("/", &[]).id()));
    thread::sleep(Duration::from_millis(1500)); // A tick, if there is one.
    assert!(counters(&testbed.envoy).is_empty());
    let log = testbed.envoy.log();
    let is_warning = |line: &&str| line.contains("wasm log") && line.contains("this host has no");
    let warnings: Vec<_> = log.lines().filter(is_warning).collect();
    let is_expected = |warning: &&str| warning.ends_with(line);
    assert!(warnings.iter().all(is_expected), "{warnings:#?}");
    assert_eq!(warnings.len(), 3 * testbed.plugins(), "{warnings:#?}");
    assert!(is_new(&connection.get("/", &[]).id()));
}

fn a_host_without_metrics_is_named_in_one_line(_: &Testbed) {
    without(
        "proxy_define_metric",
        "this host has no metrics: there are no counters",
    );
}

fn a_host_without_timers_is_named_in_one_line(_: &Testbed) {
    without(
        "proxy_set_tick_period_milliseconds",
        "this host has no timers: there are no counters, and a new log level has no effect",
    );
}
