//! The table of cases on the rules, and what the table itself relies on.

use std::process::Command;

use request_id_configuration as configuration;
use request_id_rules::aws;
use request_id_rules::id::{Invalid, RequestId};
use request_id_rules::policy::Policy;
use request_id_rules::rejection;
use request_id_rules::request::{Outcome, decide_on_request};
use request_id_rules::response::decide_on_response;
use test_support::cases::{self, Case, Echo, Line};
use test_support::comparison::counter_name;
use test_support::message::{Message, as_envoy, new_id, owned, source_address};
use test_support::verdict::ExpectedId;

fn message(lines: &[Line]) -> Message {
    let lines = as_envoy(&owned(lines));
    Message::new(source_address(&lines), lines)
}

fn policy(configuration: &str) -> Policy {
    match configuration::read(configuration.as_bytes()) {
        Ok(configuration) => configuration.policy,
        Err(problems) => panic!("{configuration}: {problems:?}"),
    }
}

#[test]
fn the_rules_decide_as_the_table_says() {
    for case in &cases::all() {
        check_request(case);
        check_response(case);
    }
}

fn check_request(case: &Case) {
    let name = case.name;
    let policy = policy(case.config);
    let verdict = &case.verdict;
    let decision =
        decide_on_request(&policy, &message(&case.request)).expect("the host has random bytes");
    assert_eq!(decision.id, expected_id(case), "{name}");
    assert_eq!(decision.outcome.to_string(), verdict.origin, "{name}");
    assert_eq!(
        decision.to_string(),
        verdict.log_line(&decision.id.to_string()),
        "{name}"
    );
    assert_eq!(
        decision.is_peer_untrusted, verdict.is_peer_untrusted,
        "{name}"
    );
    assert_eq!(decision.sets_id, verdict.sets_id, "{name}");
    assert_eq!(decision.original, verdict.original, "{name}");
    let counters: Vec<_> = decision.counters().map(counter_name).collect();
    assert_eq!(counters, verdict.counters(), "{name}");
    let detail = match decision.outcome {
        Outcome::Rejected(invalid) => Some(rejection_detail(&policy, &decision.id, invalid)),
        _ => None,
    };
    assert_eq!(detail.as_deref(), case.rejected, "{name}");
}

fn rejection_detail(policy: &Policy, id: &RequestId, invalid: Invalid) -> String {
    let body = rejection::body(policy, id, invalid);
    let body: serde_json::Value = serde_json::from_str(&body).expect("the body is valid JSON");
    body["detail"]
        .as_str()
        .expect("the detail is a text")
        .to_owned()
}

fn check_response(case: &Case) {
    let name = case.name;
    let id = expected_id(case);
    let upstream = message(&case.upstream);
    let ids: Vec<_> = upstream
        .lines
        .iter()
        .filter(|(name, _)| *name == case.header.as_bytes())
        .map(|(_, value)| value.clone())
        .collect();
    let policy = policy(case.config);
    let changes = decide_on_response(&policy, &id, &upstream);
    assert_eq!(changes.aws_id, case.aws_id, "{name}");
    let expose = case.expose.map(str::as_bytes);
    assert_eq!(changes.expose_headers.as_deref(), expose, "{name}");
    // A write that would change nothing may be left out.
    let is_there = ids == [id.as_bytes()];
    match case.echo {
        Echo::Id => assert!(changes.sets_id || is_there, "{name}"),
        Echo::Upstream => assert!(!changes.sets_id, "{name}"),
    }
}

fn expected_id(case: &Case) -> RequestId {
    match &case.verdict.id {
        ExpectedId::Is(id) => RequestId::from_header(id.clone()),
        ExpectedId::New(format) => new_id(*format, [0x5a; 16]).expect("there is an id"),
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<_> = cases::all().iter().map(|case| case.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

/// The documentation promises that anyone can recompute a derived id with stock tools.
#[test]
fn python_derives_the_same_ids() {
    let mut values = Vec::new();
    let mut ids = Vec::new();
    for case in cases::all() {
        let (ExpectedId::Is(id), [(_, value)]) = (&case.verdict.id, &case.request[..]) else {
            continue;
        };
        let value = value.trim_ascii();
        let is_derived = case.verdict.outcome().0 == "adopted"
            && id.get(14) == Some(&b'5')
            && !value.eq_ignore_ascii_case(id);
        // Of AWS's trace header only a part is hashed.
        if is_derived && case.verdict.outcome().1 != "x-amzn-trace-id" {
            values.push(String::from_utf8(value.to_vec()).expect("the value is UTF-8"));
            ids.push(String::from_utf8(id.clone()).expect("the id is UTF-8"));
        }
    }
    assert!(ids.len() >= 12, "{values:?}");
    let python = Command::new("python3")
        .arg("-c")
        .arg("import sys, uuid\nspace = uuid.uuid5(uuid.NAMESPACE_DNS, 'amazonaws.com')\nfor value in sys.argv[1:]: print(uuid.uuid5(space, value))")
        .args(&values)
        .output()
        .expect("python3 is missing: install it (Debian: apt-get install python3)");
    let printed = String::from_utf8_lossy(&python.stdout);
    assert_eq!(printed.lines().collect::<Vec<_>>(), ids);
}

/// Reading all headers makes the host copy them, so the decision does it only to search for an id.
#[test]
fn all_headers_are_read_only_to_adopt_an_id() {
    let reads = |configuration: &str, lines: &[Line]| {
        let request = message(lines);
        decide_on_request(&policy(configuration), &request).expect("the host has random bytes");
        request.reads.get()
    };
    let no_source = r#"{"adopt": {"from": []}}"#;
    let untrusted = r#"{"incoming": {"trust": "none"}}"#;
    let valid = [("x-request-id", b"mine".to_vec())];
    let invalid = [("x-request-id", b"a b".to_vec())];
    assert_eq!(reads("", &valid), 0);
    assert_eq!(reads(no_source, &[]), 0);
    assert_eq!(reads(no_source, &invalid), 0);
    assert_eq!(reads(untrusted, &[]), 0);
    assert_eq!(reads("", &[]), 1);
    assert_eq!(reads("", &invalid), 1);
}

/// Envoy's codec trims values. With a host that does not, the request gets the same id.
#[test]
fn blanks_around_an_id_are_dropped_by_a_write() {
    let lines = vec![(b"x-request-id".to_vec(), b" mine\t".to_vec())];
    let request = Message::new(Vec::new(), lines);
    let decision =
        decide_on_request(&Policy::default(), &request).expect("the host has random bytes");
    assert_eq!(decision.id.as_bytes(), b"mine");
    assert_eq!(decision.outcome, Outcome::Kept);
    assert!(decision.sets_id);
}

#[test]
fn the_canonical_name_is_the_first_of_the_list() {
    assert_eq!(aws::RESPONSE_NAMES.first(), Some(&aws::CANONICAL));
}
