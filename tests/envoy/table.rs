//! The table of cases on a real Envoy.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use libtest_mimic::Trial;

use crate::cases::{self, Case, Id, Line};
use crate::client::{Headers, all};
use crate::stage::{Exchange, Shared, is_new};
use crate::upstream::Reply;

pub fn trials(shared: &Arc<Shared>) -> Vec<Trial> {
    let new_ids = Arc::<Mutex<HashSet<String>>>::default();
    cases::all()
        .into_iter()
        .map(|case| {
            let (shared, new_ids) = (Arc::clone(shared), Arc::clone(&new_ids));
            Trial::test(format!("case: {}", case.name), move || {
                let stage = shared.stage()?;
                let exchange = stage.exchange(case.path, &case.request, Reply::ok(&case.upstream));
                check(&case, &exchange, &mut new_ids.lock().unwrap());
                Ok(())
            })
        })
        .collect()
}

fn check(case: &Case, exchange: &Exchange, new_ids: &mut HashSet<String>) {
    let Exchange {
        response,
        trace,
        access_log,
        ..
    } = exchange;
    assert_eq!(response.status, 200, "{exchange:#?}");

    // The id, the same for the client, the upstream and the log.
    let id = response.id();
    match &case.id {
        Id::Is(expected) => assert_eq!(id.as_bytes(), expected, "{exchange:#?}"),
        Id::New => {
            assert!(is_new(&id), "{id}");
            assert!(new_ids.insert(id.clone()), "{id} was given before");
        }
    }
    let seen = &exchange.seen().headers;
    if case.signed {
        let sent = exchange_lines(&case.request);
        let sent: Vec<_> = all(&sent, "x-request-id")
            .into_iter()
            .filter(|value| !value.is_empty())
            .collect();
        let received = all(seen, "x-request-id").concat();
        assert_eq!(received, sent.join(&b','), "{exchange:#?}");
    } else {
        assert_eq!(all(seen, "x-request-id"), [id.as_bytes()], "{exchange:#?}");
        assert_eq!(access_log["request_id"], id.as_str());
    }
    assert_eq!(access_log["response_request_id"], id.as_str());

    // Every other header as it was sent.
    let added_by_envoy = [
        "host",
        "x-forwarded-proto",
        "x-envoy-expected-rq-timeout-ms",
        "x-request-id",
    ];
    assert_eq!(
        without(seen, &added_by_envoy),
        without(&exchange_lines(&case.request), &["x-request-id"])
    );
    let mut added_by_envoy = vec![
        "content-length",
        "date",
        "server",
        "x-envoy-upstream-service-time",
        "x-request-id",
    ];
    if let Some(aws_id) = case.aws_id {
        assert_eq!(response.all("x-amzn-requestid"), [aws_id]);
        added_by_envoy.push("x-amzn-requestid");
    }
    assert_eq!(
        without(&response.headers, &added_by_envoy),
        without(&exchange_lines(&case.upstream), &added_by_envoy)
    );

    // What the filter did to get there.
    let calls = |call: &str| trace.iter().filter(|line| line.contains(call)).count();
    assert_eq!(
        calls("[vm->host] env.proxy_replace_header_map_value(0,"),
        usize::from(case.written),
        "{trace:#?}"
    );
    for line in trace
        .iter()
        .filter_map(|line| line.split_once("[vm->host] env."))
    {
        let known = [
            "proxy_get_header_map_",
            "proxy_replace_header_map_value(",
            "proxy_log(",
            "proxy_get_log_level(",
        ];
        assert!(
            known.iter().any(|known| line.1.starts_with(known)),
            "unexpected: {}",
            line.1
        );
    }
    let logged: Vec<_> = trace
        .iter()
        .filter_map(|line| line.split_once("wasm log request-id request-id request-id: "))
        .collect();
    assert_eq!(logged.len(), 1, "{trace:#?}");
    assert_eq!(logged[0].1, format!("{id} {}", case.origin));
}

/// Lines as Envoy passes them on: names in lower case, values without blanks around them.
fn exchange_lines(lines: &[Line]) -> Headers {
    lines
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.trim_ascii().to_vec()))
        .collect()
}

fn without(headers: &Headers, names: &[&str]) -> Headers {
    headers
        .iter()
        .filter(|(name, _)| !names.contains(&name.as_str()))
        .cloned()
        .collect()
}
