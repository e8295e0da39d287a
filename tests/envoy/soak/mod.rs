//! Very many requests of all kinds over two workers, while the configuration changes: they end in the same way with the
//! filter and without it, and nothing of them stays in its memory.

mod client;
mod request;
mod upstream;

use std::collections::BTreeMap;
use std::env;
use std::mem;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use xtask::envoy::Process;

use crate::counters::wait_for_counters;
use crate::echo::runtime;
use crate::testbed::{
    self, MANAGER, Testbed, at, eventually, listener_name, listeners, port, string_value, tests,
};
use crate::updates::{CONFIGURATION, StopOnDrop, publish, take_filter};
use client::{Client, Totals, connections};
use request::{Kind, Listener};
use upstream::Arrivals;

tests![resets_timeouts_retries_updates_and_draining_change_nothing_but_ids];

/// Returns how many requests are sent: `SOAK`, which `make soak` sets, or ten thousand. With fewer than a thousand, not
/// every kind would be among them.
fn requests() -> u64 {
    let Ok(number) = env::var("SOAK") else {
        return 10_000;
    };
    match number.parse() {
        Ok(requests @ 1000..) => requests,
        _ => panic!("SOAK={number}: not a number of requests; allowed: 1000 or more"),
    }
}

/// How many clients send to which listener, over HTTP/1.1 and over how many shared connections of HTTP/2.
const CLIENTS: [(Listener, usize, usize); 3] = [
    (Listener::Main, 24, 2),
    (Listener::Edge, 6, 1),
    (Listener::Strict, 6, 1),
];

/// How many clients share a connection of HTTP/2.
const SHARED: usize = 6;

/// The configurations that follow one another each second.
const CONFIGURATIONS: [&str; 4] = [
    r#"{"log_origin": true}"#,
    r#"{"generate": "uuid7"}"#,
    r#"{"response": {"expose": true}}"#,
    r#"{"generate": "hex32", "incoming": {"original": "x-original-request-id"}}"#,
];

const REJECT: &str = r#"{"incoming": {"on_invalid": "reject"}}"#;

fn resets_timeouts_retries_updates_and_draining_change_nothing_but_ids(_: &Testbed) {
    let requests = requests();
    let without = run(requests, false);
    let with = run(requests, true);
    assert_eq!(with, without);
    println!("with the filter as without: {with:?}");
}

/// How often requests of each kind ended in which way.
type Outcomes = BTreeMap<(Kind, String), u64>;

/// Sends this number of requests to an Envoy with or without the filter, and returns the outcomes of all requests
/// but those that the filter rejects.
fn run(requests: u64, has_filter: bool) -> Outcomes {
    let runtime = runtime();
    let arrivals = Arc::<Arrivals>::default();
    let upstream = upstream::start(&arrivals);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (config, filter) = config(upstream, folder.path(), has_filter);
    let arguments = "--concurrency 2 --drain-time-s 2 --log-level error";
    let envoy = testbed::start(&config, arguments);
    let mut clients = clients(&envoy, &arrivals, has_filter);

    let warm_up = requests / 10;
    let stop = AtomicBool::new(false);
    let mut totals = Totals::default();
    let drained = thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        if let Some(filter) = filter {
            scope.spawn(|| update(filter, folder.path(), &stop));
        }
        let mut warm = None;
        for numbers in [0..warm_up, warm_up..requests] {
            let started = Instant::now();
            clients = send(&runtime, mem::take(&mut clients), numbers.clone());
            let time = started.elapsed();
            let with = if has_filter { "with" } else { "without" };
            println!("requests {numbers:?} {with} the filter: {time:.0?}");
            if has_filter {
                let memory = memory_at_rest(&envoy);
                println!("memory of the VM of each thread: {memory:?}");
                let before = warm.get_or_insert_with(|| memory.clone());
                assert_eq!(&memory, before, "memory grew after {warm_up} requests");
            }
        }
        for client in &mut clients {
            totals.add(mem::take(&mut client.totals));
        }
        drain(&runtime, &envoy, clients, requests)
    });
    let mut outcomes = mem::take(&mut totals.outcomes);
    assert_eq!(outcomes.values().sum::<u64>(), requests);
    totals.add(drained);
    for ((kind, outcome), count) in &totals.outcomes {
        let expected = match kind {
            Kind::Rejected if has_filter => "400",
            _ => "200",
        };
        assert_eq!(outcome, expected, "{count} of {kind:?} while Envoy drains");
    }
    assert!(!totals.outcomes.is_empty(), "no request while Envoy drains");
    if has_filter {
        let rejected = outcomes.keys().filter(|(kind, _)| *kind == Kind::Rejected);
        assert!(
            rejected.eq([&(Kind::Rejected, "400".to_owned())]),
            "{outcomes:?}"
        );
        check(&envoy, totals);
    }
    outcomes.retain(|(kind, _), _| *kind != Kind::Rejected);
    outcomes
}

/// Returns `envoy/envoy.yaml` as the other tests have it, but for what many requests at once need. The filter with the
/// default configuration is read from a file.
fn config(upstream: u16, folder: &Path, has_filter: bool) -> (Value, Option<Value>) {
    let mut config = testbed::config(upstream, &["", REJECT]);
    let mut filter = None;
    for listener in listeners(&mut config) {
        let manager = at(listener, MANAGER);
        manager["access_log"] = json!([]);
        // Else Envoy waits a second before it closes a connection whose response is cut.
        manager["delayed_close_timeout"] = "0s".into();
        at(manager, "/route_config/virtual_hosts/0")["domains"] = json!(["localhost:*"]);
        at(manager, "/route_config/virtual_hosts/1")["include_request_attempt_count"] = true.into();
        if !has_filter {
            testbed::filters(listener).remove(0);
        } else if listener["name"] == listener_name(0) {
            let filter = filter.insert(take_filter(listener, folder));
            publish(folder, filter);
        }
    }
    let limits = "max_connections max_pending_requests max_requests max_retries".split(' ');
    let limits: Value = limits.map(|name| (name, 10_000)).collect();
    at(&mut config, "/static_resources/clusters/0")["circuit_breakers"] =
        json!({"thresholds": [limits]});
    (config, filter)
}

fn clients(envoy: &Process, arrivals: &Arc<Arrivals>, has_filter: bool) -> Vec<Client> {
    let mut clients = Vec::new();
    for (listener, http1, http2) in CLIENTS {
        let port = match listener {
            Listener::Edge => port(envoy, "edge"),
            Listener::Main => port(envoy, &listener_name(0)),
            Listener::Strict => port(envoy, &listener_name(1)),
        };
        let alone = (0..http1).map(|_| (false, connections(false)));
        let shared = (0..http2).flat_map(|_| vec![(true, connections(true)); SHARED]);
        clients.extend(alone.chain(shared).map(|(is_http2, connections)| Client {
            port,
            listener,
            connections,
            is_http2,
            arrivals: Arc::clone(arrivals),
            has_filter,
            totals: Totals::default(),
        }));
    }
    clients
}

/// Sends the requests of these numbers, and waits until all are over.
fn send(runtime: &Runtime, clients: Vec<Client>, numbers: Range<u64>) -> Vec<Client> {
    let count = clients.len();
    runtime.block_on(async {
        let running: Vec<_> = clients
            .into_iter()
            .zip(numbers.start..)
            .map(|(client, first)| tokio::spawn(client.run((first..numbers.end).step_by(count))))
            .collect();
        let mut clients = Vec::new();
        for client in running {
            clients.push(client.await.expect("the client found no mistake"));
        }
        clients
    })
}

/// Sends requests from this number on while Envoy drains its listeners, until it accepts no more of them.
fn drain(runtime: &Runtime, envoy: &Process, clients: Vec<Client>, first: u64) -> Totals {
    let count = clients.len();
    let running: Vec<_> = clients
        .into_iter()
        .zip(first..)
        .map(|(client, first)| runtime.spawn(client.run_until_refused((first..).step_by(count))))
        .collect();
    thread::sleep(Duration::from_millis(500));
    let drains = envoy.post("/drain_listeners?graceful");
    drains.expect("Envoy drains");
    let mut totals = Totals::default();
    for client in running {
        let client = runtime.block_on(client);
        totals.add(client.expect("the client found no mistake").totals);
    }
    totals
}

/// Gives the filter one configuration after the other.
fn update(mut filter: Value, folder: &Path, stop: &AtomicBool) {
    for configuration in CONFIGURATIONS.into_iter().cycle() {
        *at(&mut filter, CONFIGURATION) = string_value(configuration);
        publish(folder, &filter);
        let published = Instant::now();
        while published.elapsed() < Duration::from_secs(1) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns the linear memory of the VM of each thread (the main one and the two workers) once no stream is open any
/// more.
fn memory_at_rest(envoy: &Process) -> BTreeMap<String, String> {
    let set_level = |level| {
        let path = format!("/logging?wasm={level}");
        envoy.post(&path).expect("Envoy takes the level");
    };
    set_level("debug");
    let mark = envoy.mark();
    // By thread: how many streams are open, and the memory.
    let reported = || -> BTreeMap<String, (String, String)> {
        let log = envoy.log();
        let lines = log.lines().skip(mark);
        let report = |line: &str| {
            let (before, memory) = line.split_once(" streams open, ")?;
            let (thread, streams) = (before.split("][").nth(1)?, before.rsplit(' ').next()?);
            Some((thread.into(), (streams.into(), memory.into())))
        };
        lines.filter_map(report).collect()
    };
    let reported = eventually(Duration::from_secs(20), reported, |reported| {
        reported.len() == 3 && reported.values().all(|(streams, _)| streams == "0")
    });
    set_level("error");
    let reported = reported.into_iter();
    reported
        .map(|(thread, (_, memory))| (thread, memory))
        .collect()
}

/// Checks that the counters are exact, that no two new ids are the same, that the configuration was updated, and that
/// the filter never failed.
fn check(envoy: &Process, mut totals: Totals) {
    wait_for_counters(envoy, &totals.counters);
    let new_ids = totals.new_ids.len();
    totals.new_ids.sort_unstable();
    totals.new_ids.dedup();
    assert_eq!(totals.new_ids.len(), new_ids, "new ids are not distinct");
    let updates = testbed::statistic(envoy, "request-id.config_reload");
    assert!(updates >= CONFIGURATIONS.len() as u64, "{updates} updates");
    testbed::assert_no_errors(envoy);
    let counters = totals.counters;
    println!("{new_ids} new ids, {updates} updates, {counters:?}");
}
