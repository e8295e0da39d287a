//! What the filter writes into Envoy's log, and when.

use std::thread;
use std::time::Duration;

use crate::testbed::{self, Testbed, access_log, eventually, tests};
use test_support::client::Connection;
use test_support::upstream::Reply;

tests![
    name_and_version_are_said_at_the_start_and_the_configuration_in_one_line,
    uuid7_comes_with_one_warning_about_sampling,
    an_invalid_value_is_never_logged,
    the_level_follows_that_of_envoy_while_it_runs,
    requests_are_logged_at_debug_only,
];

const OURS: &str = "wasm log request-id request-id: ";

/// A part of the line that the filter logs every second, with or without requests.
const EACH_SECOND: &str = " streams open, ";

fn name_and_version_are_said_at_the_start_and_the_configuration_in_one_line(testbed: &Testbed) {
    let log = testbed.envoy.log();
    let lines = log.lines().filter_map(|line| line.split_once(OURS));
    let lines: Vec<_> = lines.map(|(_, line)| line).collect();
    let started = format!("request-id-filter {} started", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines[0], started);
    let configured = r#"configured: {"header":"x-request-id","incoming":{"#;
    assert!(lines[1].starts_with(configured), "{}", lines[1]);
    // Each plugin logs it in three VMs: the one in which Envoy tries it, that of the main thread, and that of the
    // worker.
    let starts = lines.iter().filter(|line| **line == started);
    assert_eq!(starts.count(), 3 * testbed.plugins());
}

fn uuid7_comes_with_one_warning_about_sampling(testbed: &Testbed) {
    let log = testbed.envoy.log();
    let warnings = log.lines().filter(|line| line.contains("[warning][wasm]"));
    let warnings = warnings.filter(|line| line.contains("samples traces"));
    let configurations = testbed::configurations().into_iter();
    let plugins = configurations.filter(|text| text.contains("uuid7")).count();
    assert_eq!(warnings.count(), 3 * plugins);
}

fn an_invalid_value_is_never_logged(testbed: &Testbed) {
    let lines = [("x-request-id", b"secret\x80\"value".to_vec())];
    let exchange = testbed.exchange("/", &lines, Reply::ok(&[]));
    let mut lines = exchange.trace.iter();
    assert!(!lines.any(|line| line.contains("secret")), "{exchange:?}");
}

fn set_level(testbed: &Testbed, level: &str) {
    let path = format!("/logging?wasm={level}");
    testbed.envoy.post(&path).expect("Envoy takes the level");
}

/// Sends one more request, and returns how many lines the filter logs about it.
fn lines_of_a_request(testbed: &Testbed) -> usize {
    let path = testbed.unique("/");
    let mark = testbed.envoy.mark();
    Connection::open(testbed.port).get(&path, &[]).id();
    access_log(&testbed.envoy, mark, &path);
    let log = testbed.envoy.log();
    let is_of_request = |line: &&str| line.contains("wasm log") && !line.contains(EACH_SECOND);
    log.lines().skip(mark).filter(is_of_request).count()
}

/// Waits until a request makes this number of lines: a new level takes up to a second.
fn wait_for(testbed: &Testbed, lines: usize) {
    let logged = || lines_of_a_request(testbed);
    eventually(Duration::from_secs(10), logged, |logged| *logged == lines);
}

fn the_level_follows_that_of_envoy_while_it_runs(testbed: &Testbed) {
    set_level(testbed, "info");
    wait_for(testbed, 0);
    set_level(testbed, "debug");
    wait_for(testbed, 1);
    set_level(testbed, "trace");
}

/// At info the filter does not even hand a line to Envoy for it to drop.
fn requests_are_logged_at_debug_only(testbed: &Testbed) {
    let silent = (0..10).any(|_| {
        set_level(testbed, "info");
        thread::sleep(Duration::from_millis(1100)); // The filter notices with its next tick.
        // Until the tick after that it works at info, while Envoy already shows each call.
        let mark = testbed.envoy.mark();
        set_level(testbed, "trace");
        testbed.exchange("/", &[], Reply::ok(&[]));
        let log = testbed.envoy.log();
        let lines = log.lines().skip(mark);
        let calls = |call| lines.clone().filter(|line| line.contains(call)).count();
        calls("proxy_on_request_headers(") == 1 && calls("proxy_log(") == 0
    });
    assert!(silent, "each of ten requests made a line");
    wait_for(testbed, 1);
}
