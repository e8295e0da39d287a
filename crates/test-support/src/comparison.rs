//! The rules and the reference, compared on any bytes. Every function panics if the two differ, or
//! if the rules break one of their promises.

use request_id_configuration as configuration;
use request_id_rules::counters::Counter;
use request_id_rules::id::{RequestId, is_safe, is_visible};
use request_id_rules::policy::{Accept, Policy};
use request_id_rules::rejection;
use request_id_rules::request::{Decision, Outcome, Request, decide_on_request};
use request_id_rules::response::decide_on_response;

use crate::message::{Line, Message, new_id};
use crate::reference::{Config, ResponseHeaders};
use crate::verdict::{ExpectedId, Verdict};

/// Compares the readers on the text of a configuration.
pub fn compare_configuration(text: &[u8]) {
    match (configuration::read(text), Config::read(text)) {
        (Ok(accepted), Some(expected)) => {
            let effective = &accepted.effective;
            let as_reference = Config::read(effective.as_bytes());
            assert_eq!(as_reference.as_ref(), Some(&expected), "{effective}");
            let again = configuration::read(effective.as_bytes())
                .expect("the effective configuration is valid");
            assert_eq!(again, accepted);
            let warnings = configuration::warnings(&accepted.policy);
            assert!(warnings.iter().all(|line| line.lines().count() == 1));
        }
        (Ok(accepted), None) => panic!("accepted: {}", accepted.effective),
        (Err(problems), expected) => {
            assert!(!problems.is_empty());
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            for problem in &problems {
                assert!(!problem.chars().any(char::is_control), "{problem:?}");
            }
            // serde_json does not tell the reference that a key is repeated, nor how a number is
            // written.
            let is_unnoticed = problems.iter().any(|problem| {
                problem.contains("the key twice")
                    || problem.starts_with("incoming.max_length: found ")
            });
            assert!(expected.is_none() || is_unnoticed, "refused: {problems:?}");
        }
    }
}

/// A configuration as the rules and as the reference read it.
pub struct Implementations {
    config: Config,
    policy: Policy,
}

impl Implementations {
    /// Reads a configuration; returns `None` if one of the two refuses it.
    #[must_use]
    pub fn read(configuration: &[u8]) -> Option<Self> {
        Some(Self {
            policy: configuration::read(configuration).ok()?.policy,
            config: Config::read(configuration)?,
        })
    }

    /// Compares the decisions on a request with these headers from this peer, also in a second run of
    /// the filter and with a host that has no random bytes.
    pub fn compare_request(&self, source_address: &[u8], lines: &[Line]) {
        let message = Message::new(source_address.to_vec(), lines.to_vec());
        let decision = self.compare_decision(&message);

        // The client may send the very id that these random bytes would give.
        let with_random = |random| {
            let mut message = message.clone();
            message.random = random;
            decide_on_request(&self.policy, &message)
        };
        let needs_random = with_random(Some([0xa5; 16])).as_ref() != Some(&decision);
        let without_random = with_random(None);
        assert_eq!(without_random, (!needs_random).then_some(decision.clone()));

        let mut changed = message.clone();
        changed.remembered_id = Some(b"an id that another filter has changed".to_vec());
        assert_eq!(self.compare_decision(&changed), decision);

        let mut second = message.clone();
        second.lines = self.after(lines, &decision);
        if decision.must_be_remembered {
            second.remembered_id = Some(decision.id.as_bytes().to_vec());
        }
        // The second run can see the connection's address instead of the client's.
        for source_address in [source_address, b"127.0.0.1:4711"] {
            if source_address != message.source_address && !decision.must_be_remembered {
                continue;
            }
            second.source_address = source_address.to_vec();
            let second_decision = self.compare_decision(&second);
            let is_dry_run = matches!(decision.outcome, Outcome::KeptInvalid(_));
            if !is_dry_run || decision.must_be_remembered {
                assert_eq!(second_decision.id, decision.id);
                assert_eq!(second_decision.outcome.to_string(), "kept");
                assert!(!second_decision.sets_id);
            }
        }
    }

    /// Returns the headers of the request as the next run of the filter sees them.
    fn after(&self, lines: &[Line], decision: &Decision) -> Vec<Line> {
        let mut lines = lines.to_vec();
        if decision.sets_id {
            let header = self.policy.headers.id();
            lines.retain(|(name, _)| !header.matches(name));
            lines.push((header.as_str().into(), decision.id.as_bytes().to_vec()));
        }
        lines
    }

    fn compare_decision(&self, message: &Message) -> Decision {
        // The rules ask for the remembered id only if they would not keep the id anyway, and the
        // reference must know what they know.
        let decision = decide_on_request(&self.policy, message).expect("the host has random bytes");
        let expected = self.config.request(
            &message.source_address,
            &message.lines,
            message.id_of_earlier_run().as_deref(),
        );
        self.check_decision(&expected, &decision);
        let again = decide_on_request(&self.policy, message);
        assert_eq!(again.as_ref(), Some(&decision), "another decision");
        decision
    }

    fn check_decision(&self, expected: &Verdict, decision: &Decision) {
        let new = |format| new_id(format, [0x5a; 16]).expect("there is an id");
        match &expected.id {
            ExpectedId::Is(id) => assert_eq!(decision.id.as_bytes(), id, "{expected:?}"),
            ExpectedId::New(format) => assert_eq!(decision.id, new(*format), "{expected:?}"),
        }
        assert_eq!(decision.outcome.to_string(), expected.origin);
        assert_eq!(decision.is_peer_untrusted, expected.is_peer_untrusted);
        assert_eq!(decision.sets_id, expected.sets_id, "{expected:?}");
        assert_eq!(decision.original, expected.original, "{expected:?}");
        let is_own = decision.outcome == Outcome::KeptOwn;
        let must_be_remembered = !is_own && self.config.remembers(expected);
        assert_eq!(decision.must_be_remembered, must_be_remembered);
        let counters = decision.counters().map(counter_name);
        assert_eq!(counters.collect::<Vec<_>>(), expected.counters());

        let id = decision.id.as_bytes();
        let is_valid_byte = |byte: &u8| match self.policy.accept {
            Accept::Visible => is_visible(*byte),
            Accept::Safe | Accept::Uuid => is_safe(*byte),
        };
        // An id that this filter gave under another policy may be anything that policy allows.
        if !expected.is_dry_run() && decision.outcome != Outcome::KeptOwn {
            assert!(id.iter().all(is_valid_byte), "{}", decision.id);
            assert!((1..=self.config.max_length.max(36)).contains(&id.len()));
        }
        let line = decision.to_string();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        if let Outcome::Rejected(invalid) = decision.outcome {
            let body = rejection::body(&self.policy, &decision.id, invalid);
            let body: serde_json::Value = serde_json::from_str(&body).expect("the body is JSON");
            assert_eq!(body["request_id"], decision.id.to_string());
        }
    }

    /// Compares the responses with these headers to the request with this id.
    pub fn compare_response(&self, id: &[u8], lines: &[Line]) {
        let upstream_id = lines.first().map(|(_, value)| value.clone());
        for remembered_id in [None, upstream_id] {
            let expected = self.config.response(id, lines, remembered_id.as_deref());
            let mut message = Message::new(Vec::new(), lines.to_vec());
            message.remembered_id = remembered_id;
            let request_id = RequestId::from_header(id.to_vec());
            let changes = decide_on_response(&self.policy, &request_id, &message);

            let mut answer = ResponseHeaders::of(lines, &self.config.header);
            if let Some(aws_id) = changes.aws_id {
                assert!(aws_id.iter().copied().all(is_safe) && !aws_id.is_empty());
                answer.aws_ids = vec![aws_id.to_vec()];
            }
            if let Some(names) = changes.expose_headers {
                answer.exposed = vec![names];
            }
            if changes.sets_id {
                answer.ids = vec![id.to_vec()];
                if self.config.header == "x-amzn-requestid" {
                    answer.aws_ids.clone_from(&answer.ids);
                }
            }
            assert_eq!(answer, expected);
        }
    }
}

/// Returns the name of a counter without the filter's prefix.
#[must_use]
pub fn counter_name(counter: Counter) -> &'static str {
    let (_, name) = Counter::ALL[counter as usize];
    name.strip_prefix("request_id_filter.")
        .expect("every counter has the prefix")
}

/// Compares the decisions on a request that has only this value under `header`, from which ids are
/// adopted.
pub fn compare_source(header: &str, value: &[u8]) {
    let configuration = format!(r#"{{"adopt": {{"from": ["{header}"]}}}}"#);
    let implementations =
        Implementations::read(configuration.as_bytes()).expect("the configuration is valid");
    implementations.compare_request(b"", &[(header.into(), value.to_vec())]);
}
