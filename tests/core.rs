//! The table of cases on the pure core, and what the table itself rests on.

mod cases;
mod host;

use std::process::Command;

use cases::{Case, Echo, Id, Line};
use host::{Message, as_envoy, new_id, peer, serialized};
use request_id_filter::config;
use request_id_filter::decide::{Decision, Original, Outcome, Write, decide, problem};
use request_id_filter::header_name::HeaderName;
use request_id_filter::headers::HeaderMap;
use request_id_filter::id::RequestId;
use request_id_filter::policy::Policy;
use request_id_filter::respond::respond;
use request_id_filter::stats::Counter;

fn message(lines: &[Line]) -> Message {
    Message::new(peer(lines), &as_envoy(lines))
}

fn request_of(case: &Case) -> Message {
    let mut lines = vec![(":path", case.path.into())];
    lines.extend(case.request.clone());
    message(&lines)
}

fn policy(case: &Case) -> Policy {
    match config::parse(case.config.as_bytes()) {
        Ok(accepted) => accepted.policy,
        Err(problems) => panic!("{}: {problems:?}", case.name),
    }
}

#[test]
fn the_core_decides_as_the_table_says() {
    let cases = cases::all();
    for case in &cases {
        check_request(case);
        check_response(case);
    }
    println!("{} cases", cases.len());
}

fn check_request(case: &Case) {
    let name = case.name;
    let policy = policy(case);
    let decision = decide(&policy, &mut request_of(case)).expect("a decision");
    let Decision {
        id,
        outcome,
        write,
        original,
        ..
    } = &decision;
    assert_eq!(id.to_string(), expected_id(case).to_string(), "{name}");
    assert_eq!(
        decision.to_string(),
        case.log.replace("{}", &id.to_string()),
        "{name}"
    );
    let expected = match (case.signed, case.written) {
        (true, _) => Write::Signed,
        (false, true) => Write::Set,
        (false, false) => Write::Unneeded,
    };
    assert_eq!(*write, expected, "{name}");

    assert_eq!(decision.origin(), case.origin(), "{name}");
    let counters = decision
        .counters()
        .map(|counter| counter_name(counter).to_owned());
    let mut expected = case.counters();
    expected.retain(|counter| counter != "aws_normalized"); // of the response
    assert_eq!(counters.collect::<Vec<_>>(), expected, "{name}");

    let came = case
        .request
        .iter()
        .any(|(header, _)| *header == cases::ORIGINAL);
    let expected = match (&case.original, came) {
        (Some(value), _) => Original::Set(value.clone()),
        (None, true) => Original::Remove,
        (None, false) => Original::Unneeded,
    };
    assert_eq!(*original, expected, "{name}");

    match (outcome, case.rejected) {
        (Outcome::Rejected(invalid), Some(detail)) => {
            let body = problem(&policy, id, *invalid);
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body["detail"], detail, "{name}");
        }
        (outcome, detail) => {
            assert!(
                !matches!(outcome, Outcome::Rejected(_)) && detail.is_none(),
                "{name}"
            );
        }
    }
}

fn counter_name(counter: Counter) -> &'static str {
    let (_, name) = Counter::ALL[counter as usize];
    name.strip_prefix("request_id_filter.").expect("our prefix")
}

fn check_response(case: &Case) {
    let name = case.name;
    let id = expected_id(case);
    let mut upstream = message(&case.upstream);
    let theirs = upstream.joined(&HeaderName::new(case.header).expect("a name"));
    let lines = upstream
        .all()
        .iter()
        .filter(|(name, _)| *name == case.header.as_bytes())
        .count();
    let policy = policy(case);
    let response = respond(&policy, &id, &mut upstream);
    assert_eq!(response.aws_id, case.aws_id, "{name}");
    assert_eq!(
        response.expose.as_deref(),
        case.expose.map(str::as_bytes),
        "{name}"
    );
    // A write may be left out where it would change nothing.
    let may_be_left_out = lines == 1 && theirs.as_deref() == Some(id.as_bytes());
    match case.echo {
        Echo::Id => assert!(response.set_id || may_be_left_out, "{name}"),
        Echo::Theirs => assert!(!response.set_id, "{name}"),
    }
}

fn expected_id(case: &Case) -> RequestId {
    match &case.id {
        Id::Is(id) => RequestId::received(id.clone()),
        Id::New(form) => new_id(*form, [0x5a; 16]).expect("an id"),
    }
}

#[test]
fn the_names_of_cases_are_their_own() {
    let mut names: Vec<_> = cases::all().iter().map(|case| case.name).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

/// The design promises that anyone can recompute a derived id with stock tools.
#[test]
fn python_derives_the_same_ids() {
    let mut values = Vec::new();
    let mut ids = Vec::new();
    for case in cases::all() {
        let (Id::Is(id), [(_, value)]) = (&case.id, &case.request[..]) else {
            continue;
        };
        let value = value.trim_ascii();
        let derived =
            case.log.contains("adopted") && id[14] == b'5' && !value.eq_ignore_ascii_case(id);
        // What is derived of a trace header is a part of it.
        if derived
            && !value.starts_with(b"Root")
            && !value.starts_with(b"sampled")
            && !value.starts_with(b"Self")
        {
            values.push(String::from_utf8(value.to_vec()).expect("text"));
            ids.push(String::from_utf8(id.clone()).expect("text"));
        }
    }
    assert!(ids.len() >= 6, "{values:?}");
    let python = Command::new("python3")
        .arg("-c")
        .arg("import sys, uuid\nspace = uuid.uuid5(uuid.NAMESPACE_DNS, 'amazonaws.com')\nfor value in sys.argv[1:]: print(uuid.uuid5(space, value))")
        .args(&values)
        .output()
        .expect("python3 is missing: install it (Debian: apt-get install python3)");
    assert_eq!(
        String::from_utf8_lossy(&python.stdout)
            .lines()
            .collect::<Vec<_>>(),
        ids
    );
}

#[test]
fn without_randomness_an_id_that_came_still_serves() {
    let decide_without = |lines: &[Line]| {
        let mut request = message(lines);
        request.random = None;
        decide(&Policy::default(), &mut request).map(|decision| decision.outcome)
    };
    assert_eq!(decide_without(&[]), None);
    assert_eq!(decide_without(&[("x-request-id", b"a b".to_vec())]), None);
    assert_eq!(
        decide_without(&[("x-request-id", b"mine".to_vec())]),
        Some(Outcome::Kept)
    );
    let adopted = decide_without(&[("x-amzn-requestid", b"theirs".to_vec())]);
    assert!(matches!(adopted, Some(Outcome::Adopted(_))));
}

/// The decision asks only for what it needs.
#[test]
fn headers_are_read_where_something_is_looked_for() {
    let reads = |configuration: &str, lines: &[Line]| {
        let policy = config::parse(configuration.as_bytes()).expect(configuration);
        let mut request = message(lines);
        decide(&policy.policy, &mut request).expect("a decision");
        request.read
    };
    let no_source = r#"{"adopt": {"from": []}}"#;
    let (good, bad) = (
        [("x-request-id", b"mine".to_vec())],
        [("x-request-id", b"a b".to_vec())],
    );
    assert_eq!(reads("", &good), 0);
    assert_eq!(reads(no_source, &[]), 0);
    assert_eq!(reads(no_source, &bad), 1); // for a signature
    assert_eq!(reads("", &[]), 2); // and for an AWS id
}

/// Envoy's codec trims; a host that does not gets the same id.
#[test]
fn blanks_around_an_id_are_dropped_by_a_write() {
    let mut request = message(&[]);
    request.serialized = serialized(&[("x-request-id", b" mine\t".to_vec())]);
    let decision = decide(&Policy::default(), &mut request).expect("a decision");
    assert_eq!(decision.id.as_bytes(), b"mine");
    assert_eq!(
        (decision.outcome, decision.write),
        (Outcome::Kept, Write::Set)
    );
}

#[test]
fn untrusted_peers_are_told_apart_from_those_without_an_id() {
    let policy = config::parse(br#"{"incoming": {"trust": "none"}}"#)
        .expect("a policy")
        .policy;
    for (lines, outcome) in [
        (vec![], Outcome::Generated),
        (
            vec![("x-request-id", b"mine".to_vec())],
            Outcome::Disbelieved,
        ),
    ] {
        let decision = decide(&policy, &mut message(&lines)).expect("a decision");
        assert!(decision.untrusted);
        assert_eq!(decision.outcome, outcome);
    }
}
