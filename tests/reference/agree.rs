//! What holds for any bytes: the filter does what the reference says, and keeps its promises.

#[path = "../host/mod.rs"]
pub mod host;

use request_id_filter::config;
use request_id_filter::decide::{Decision, Original, Outcome, Write, decide, problem};
use request_id_filter::id::{RequestId, is_safe, is_visible};
use request_id_filter::policy::{Accept, Policy};
use request_id_filter::respond::respond;
use request_id_filter::stats::Counter;

use super::{Answer, Config, Line, Verdict};
use host::{Message, new_id};

/// The text of a configuration.
pub fn configuration(text: &[u8]) {
    let accepted = config::parse(text);
    let expected = Config::read(text);
    match (accepted, expected) {
        (Ok(accepted), Some(expected)) => {
            let effective = Config::read(accepted.effective.as_bytes());
            assert_eq!(
                effective.as_ref(),
                Some(&expected),
                "{}",
                accepted.effective
            );
            let again = config::parse(accepted.effective.as_bytes()).expect("the effective one");
            assert_eq!(again, accepted);
            let warnings = accepted.policy.warnings();
            assert!(warnings.iter().all(|line| line.lines().count() == 1));
        }
        (Ok(accepted), None) => panic!("accepted: {}", accepted.effective),
        (Err(problems), expected) => {
            assert!(!problems.is_empty());
            for problem in &problems {
                let problem = problem.to_string();
                assert!(!problem.chars().any(char::is_control), "{problem:?}");
            }
            // What serde_json does not tell the reference: repeated keys, how a number is written.
            let is_unseen = problems.iter().map(ToString::to_string).any(|problem| {
                problem.contains("the key twice")
                    || problem.starts_with("incoming.max_length: found ")
            });
            assert!(expected.is_none() || is_unseen, "refused: {problems:?}");
        }
    }
}

/// What each makes of a configuration, if both accept it.
pub struct Both(Config, Policy);

impl Both {
    pub fn read(configuration: &[u8]) -> Option<Self> {
        let policy = config::parse(configuration).ok()?.policy;
        Some(Self(Config::read(configuration)?, policy))
    }
}

/// A request of this peer with these headers.
pub fn request(Both(config, policy): &Both, peer: &[u8], lines: &[Line]) {
    let expected = config.request(peer, lines);
    let mut message = Message::new(peer.to_vec(), lines);
    let decision = decide(policy, &mut message).expect("a decision");
    check_decision(config, policy, &expected, &decision, lines);
    let again = decide(policy, &mut message);
    assert_eq!(again.as_ref(), Some(&decision), "another decision");

    // Without randomness an id that came still serves.
    message.random = None;
    let without = decide(policy, &mut message);
    assert_eq!(without, expected.id.is_some().then_some(decision));
}

fn check_decision(
    config: &Config,
    policy: &Policy,
    expected: &Verdict,
    decision: &Decision,
    lines: &[Line],
) {
    let generated = new_id(policy.generate, [0x5a; 16]).expect("an id");
    let id = expected.id.as_deref().unwrap_or(generated.as_bytes());
    assert_eq!(decision.id.as_bytes(), id, "{expected:?}");
    assert_eq!(decision.untrusted, expected.untrusted, "{expected:?}");
    let write = match (expected.signed, expected.written) {
        (true, _) => Write::Signed,
        (false, true) => Write::Set,
        (false, false) => Write::Unneeded,
    };
    assert_eq!(decision.write, write, "{expected:?}");
    let came = config
        .original()
        .is_some_and(|name| !super::values(lines, name).is_empty());
    let original = match (&expected.original[..], came) {
        ([value], _) => Original::Set(value.clone()),
        (_, true) => Original::Remove,
        (_, false) => Original::Unneeded,
    };
    assert_eq!(decision.original, original, "{expected:?}");
    let origin = if expected.signed {
        "signed"
    } else {
        &expected.origin
    };
    assert_eq!(decision.origin(), origin);

    let counted = decision.counters().map(|counter| {
        let (_, name) = Counter::ALL[counter as usize];
        name.replace("request_id_filter.", "")
    });
    assert_eq!(counted.collect::<Vec<_>>(), expected.counters());

    let is_dry_run = matches!(decision.outcome, Outcome::DryRun(_));
    let is_good = |byte: &u8| match policy.accept {
        Accept::Visible => is_visible(*byte),
        Accept::Safe | Accept::Uuid => is_safe(*byte),
    };
    assert!(is_dry_run || id.iter().all(is_good), "{}", decision.id);
    assert!(is_dry_run || (1..=config.max_length.max(36)).contains(&id.len()));
    let line = decision.to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    if let Outcome::Rejected(invalid) = decision.outcome {
        let body = problem(policy, &decision.id, invalid);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["request_id"], decision.id.to_string());
    }
}

/// A response with these headers to the request with this id.
pub fn response(Both(config, policy): &Both, id: &[u8], lines: &[Line]) {
    let expected = config.response(id, lines);
    let id = RequestId::received(id.to_vec());
    let mut message = Message::new(Vec::new(), lines);
    let response = respond(policy, &id, &mut message);

    let mut answer = Answer::of(lines, &config.header);
    if let Some(aws_id) = response.aws_id {
        assert!(aws_id.iter().copied().all(is_safe) && !aws_id.is_empty());
        answer.aws_ids = vec![aws_id.to_vec()];
    }
    if let Some(names) = &response.expose {
        answer.exposed = vec![names.clone()];
    }
    if response.set_id {
        answer.ids = vec![id.as_bytes().to_vec()];
        if config.header == "x-amzn-requestid" {
            answer.aws_ids.clone_from(&answer.ids);
        }
    }
    assert_eq!(answer, expected);
}

/// A value of `x-amzn-trace-id`.
pub fn trace_id(value: &[u8]) {
    thread_local! {
        static BOTH: Both = Both::read(br#"{"adopt": {"from": ["x-amzn-trace-id"]}}"#).expect("one");
    }
    let line = (b"x-amzn-trace-id".to_vec(), value.to_vec());
    BOTH.with(|both| request(both, b"", &[line]));
}

/// A value of `authorization`, and a path.
pub fn signed_headers(value: &[u8]) {
    thread_local! {
        static BOTH: Both = Both::read(b"").expect("one");
    }
    for name in ["authorization", ":path"] {
        let line = (name.as_bytes().to_vec(), value.to_vec());
        let bad_id = (b"x-request-id".to_vec(), b"a b".to_vec());
        BOTH.with(|both| request(both, b"", &[line, bad_id]));
    }
}
