//! What holds for any bytes at all.

mod host;

use host::serialized;
use proptest::collection::vec;
use proptest::prelude::*;
use request_id_filter::adopt::usable;
use request_id_filter::decide::{Decision, Original, Outcome, Request, Write, decide};
use request_id_filter::generate::Generator;
use request_id_filter::header_name::HeaderName;
use request_id_filter::headers::{HeaderMap, Headers};
use request_id_filter::id::{self, RequestId};
use request_id_filter::policy::{Form, OnInvalid, Policy};
use request_id_filter::respond::respond;
use request_id_filter::trust::Trust;
use request_id_filter::{aws, config, sigv4};

/// A request of an id header and of a header map, which need not agree: a host may do anything.
#[derive(Clone, Debug)]
struct Any {
    id: Option<Vec<u8>>,
    headers: Vec<u8>,
    peer: Vec<u8>,
    random: [u8; 16],
    now: u64,
}

impl HeaderMap for Any {
    fn joined(&mut self, _name: &HeaderName) -> Option<Vec<u8>> {
        self.id.clone()
    }
    fn has(&mut self, name: &HeaderName) -> bool {
        self.all().joined(name).is_some()
    }

    fn all(&mut self) -> Headers<'_> {
        Headers::new(&self.headers)
    }
}

impl Request for Any {
    fn peer(&mut self) -> Vec<u8> {
        self.peer.clone()
    }
    fn new_id(&mut self, form: Form) -> Option<RequestId> {
        Generator::default().next(form, self.random, || Some(self.now))
    }
}

/// Bytes of any kind, more often such as an id or a list of ids may have.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        vec(
            prop::sample::select(b"aF0-., \t;=%:@~\x7f\x80\xff".to_vec()),
            0..240
        ),
        "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
            .prop_map(String::into_bytes),
        "(null|-|none|[A-Z0-9]{16}|a b)(,[ a-c]{0,3}){0,3}".prop_map(String::into_bytes),
        "AWS4-HMAC-SHA256 Credential=[a-z/]{0,9}, ?SignedHeaders=(host|x-request-id|;){0,4}"
            .prop_map(String::into_bytes),
        "/[a-z]{0,3}\\?(X-Amz-SignedHeaders=|host|%3[Bb]|x-request-id|&|%){0,6}"
            .prop_map(String::into_bytes),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let known = aws::REQUEST_NAMES
        .iter()
        .chain(aws::RESPONSE_NAMES)
        .copied();
    let known: Vec<_> = known
        .chain([
            aws::S3_HOST_ID,
            ":path",
            "authorization",
            "x-request-id",
            "",
        ])
        .collect();
    let prefixed = (0..4_usize, prop::sample::select(known)).prop_map(|(prefixes, name)| {
        format!("{}{name}", "x-amzn-remapped-".repeat(prefixes)).into_bytes()
    });
    prop_oneof![4 => prefixed, 1 => vec(any::<u8>(), 0..40)]
}

/// A header map as a host serializes it, or any bytes in its place.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec((name(), value()), 0..8).prop_map(|lines| serialized(&lines)),
        1 => vec(any::<u8>(), 0..200),
    ]
}

fn peer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "(10|11)\\.0\\.0\\.1(:[0-9]{1,3})?".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..30),
    ]
}

prop_compose! {
    fn request()(
        id in prop::option::of(value()),
        headers in headers(),
        peer in peer(),
        random in any::<[u8; 16]>(),
        now in any::<u64>(),
    ) -> Any {
        Any { id, headers, peer, random, now }
    }
}

/// Any configuration that keeps no bad id and whose ids the next filter of its kind keeps.
fn policy() -> impl Strategy<Value = Policy> {
    let header = prop::sample::select(vec!["x-request-id", "x-correlation-id", "x-amzn-requestid"]);
    let trust = prop::sample::select(vec![r#""all""#, r#""none""#, r#"["10.0.0.0/8"]"#]);
    let accept = prop::sample::select(vec!["safe", "visible"]);
    let max_length = 36..1025;
    let on_invalid = prop::sample::select(vec!["replace", "reject"]);
    let original = prop::sample::select(vec!["null", r#""x-original""#]);
    let from = prop::sample::select(vec![
        r#""aws""#,
        "",
        r#""traceparent","aws""#,
        r#""x-amzn-trace-id","x-amz-cf-id""#,
    ]);
    let non_uuid = prop::sample::select(vec!["derive", "verbatim", "skip"]);
    let generate = prop::sample::select(vec!["uuid4", "uuid7", "hex32"]);
    let echo = prop::sample::select(vec!["overwrite", "if_absent", "never"]);
    let one = (header, trust, accept, max_length, on_invalid, original);
    let two = (from, non_uuid, generate, echo, any::<bool>());
    (one, two).prop_map(|(one, two)| {
        let (header, trust, accept, max_length, on_invalid, original) = one;
        let (from, non_uuid, generate, echo, normalize_aws) = two;
        let text = format!(
            r#"{{"header":"{header}","incoming":{{"trust":{trust},"accept":"{accept}",
                "max_length":{max_length},"on_invalid":"{on_invalid}","original":{original}}},
                "adopt":{{"from":[{from}],"non_uuid":"{non_uuid}"}},"generate":"{generate}",
                "response":{{"echo":"{echo}","normalize_aws":{normalize_aws}}}}}"#
        );
        let accepted = config::parse(text.as_bytes());
        accepted.expect("a good configuration").policy
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_request_gets_a_safe_id(mut request in request()) {
        let Decision { id, outcome, .. } = decide(&Policy::default(), &mut request).unwrap();
        prop_assert!((1..=200).contains(&id.as_bytes().len()));
        prop_assert!(id.as_bytes().iter().copied().all(id::is_safe), "{}", id);
        if outcome != Outcome::Kept {
            prop_assert!(id::rfc9562(id.as_bytes()).is_some(), "{} is no UUID", id);
        }
    }

    #[test]
    fn any_request_gets_a_visible_id_under_any_policy(policy in policy(), mut request in request()) {
        let Decision { id, .. } = decide(&policy, &mut request).unwrap();
        prop_assert!((1..=1024).contains(&id.as_bytes().len()));
        prop_assert!(id.as_bytes().iter().copied().all(id::is_visible), "{}", id);
    }

    #[test]
    fn an_id_that_was_given_is_kept_for_ever(policy in policy(), mut request in request()) {
        let policy = Policy { trust: Trust::All, ..policy };
        let first = decide(&policy, &mut request).unwrap();
        let mut next = Any { id: Some(first.id.as_bytes().to_vec()), ..request };
        let kept = decide(&policy, &mut next).unwrap();
        prop_assert_eq!(kept.id, first.id);
        prop_assert_eq!((kept.outcome, kept.write), (Outcome::Kept, Write::Unneeded));
    }

    #[test]
    fn a_kept_id_is_part_of_what_came(policy in policy(), mut request in request()) {
        let Decision { id, outcome, write, .. } = decide(&policy, &mut request).unwrap();
        if outcome == Outcome::Kept {
            let came = request.id.unwrap();
            prop_assert!(came.windows(id.as_bytes().len()).any(|part| part == id.as_bytes()));
            prop_assert_eq!(write == Write::Unneeded, came == id.as_bytes());
        }
    }

    #[test]
    fn a_dry_run_changes_no_id(mut request in request()) {
        let policy = Policy { on_invalid: OnInvalid::Keep, ..Policy::default() };
        let decision = decide(&policy, &mut request).unwrap();
        if matches!(decision.outcome, Outcome::DryRun(_)) {
            prop_assert_eq!(decision.id.as_bytes(), &request.id.unwrap());
            prop_assert_eq!(decision.write, Write::Unneeded);
        }
    }

    #[test]
    fn a_signed_request_is_never_written(policy in policy(), mut request in request()) {
        let id = policy.names.id().as_str().as_bytes();
        let signed = request.all().iter().any(|(name, value)| sigv4::signs(name, value, id));
        let decision = decide(&policy, &mut request).unwrap();
        // Not looked up where the header did not come and nothing is adopted: AWS refuses such a
        // request anyway ("adopt from nothing: what did not come is not signed").
        let is_looked_up = request.id.is_some() || !policy.names.sources().is_empty();
        let otherwise = if signed && is_looked_up { Write::Signed } else { Write::Set };
        prop_assert!(decision.write == Write::Unneeded || decision.write == otherwise);
        if signed {
            prop_assert!(!matches!(decision.original, Original::Set(_)));
            prop_assert!(!matches!(decision.outcome, Outcome::Rejected(_)));
        }
    }

    #[test]
    fn a_stranger_chooses_no_byte(policy in policy(), mut request in request()) {
        let policy = Policy { trust: Trust::None, generate: Form::Uuid4, ..policy };
        let random = request.random;
        let decision = decide(&policy, &mut request).unwrap();
        let expected = Generator::default().next(Form::Uuid4, random, || None).unwrap();
        prop_assert_eq!(decision.id, expected);
        prop_assert!(matches!(decision.outcome, Outcome::Generated | Outcome::Disbelieved));
    }

    #[test]
    fn any_response_publishes_a_safe_aws_id(policy in policy(), mut response in request()) {
        let id = RequestId::hex(response.random);
        if let Some(aws_id) = respond(&policy, &id, &mut response).aws_id {
            prop_assert_eq!(usable(policy.max_length, aws_id).next(), Some(aws_id));
            prop_assert!(aws_id.iter().copied().all(id::is_safe));
        }
    }

    #[test]
    fn new_ids_differ_where_their_randomness_does(one in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
        let v4 = |random| Generator::default().next(Form::Uuid4, random, || None).unwrap();
        // Six bits are fixed: version and variant.
        let fixed = |mut random: [u8; 16]| { random[6] &= 0x0f; random[8] &= 0x3f; random };
        prop_assert_eq!(v4(one) == v4(other), fixed(one) == fixed(other));
    }

    #[test]
    fn any_text_is_a_configuration_or_has_problems(text in vec(any::<u8>(), 0..100)) {
        if let Err(problems) = config::parse(&text) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                prop_assert_eq!(problem.to_string().lines().count(), 1);
            }
        }
    }
}
