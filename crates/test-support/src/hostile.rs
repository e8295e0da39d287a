//! A generator of hostile messages: every header that the filter reads, with values
//! that are nearly valid, repeated, nested, cut off, too long, or any bytes at all.
//!
//! It is a set of proptest strategies, so a failure shrinks to a small message. The comparison of
//! the rules with the reference, the fuzz targets and the run in Envoy all use it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::message::Line;

/// The headers of a request that the filter reads, and some that look like them.
const REQUEST_NAMES: &str = "x-request-id x-amzn-requestid x-amzn-request-id x-amz-request-id x-amz-requestid x-amzn-trace-id \
     traceparent authorization signature-input x-correlation-id x-original-request-id x-amz-cf-id x-parent-id";

/// The headers of a response that the filter reads.
const RESPONSE_NAMES: &str = "x-request-id x-amzn-requestid x-amzn-request-id apigw-requestid x-amz-request-id x-amz-requestid \
     x-amz-cognito-request-id x-amz-id-2 x-correlation-id access-control-allow-origin \
     access-control-expose-headers";

/// The length of the longest value. With its name and other headers that is more than Envoy accepts.
const LONGEST: usize = 62_000;

/// A request.
#[derive(Clone, Debug)]
pub struct HostileRequest {
    /// The path, perhaps with a query that claims a signature.
    pub path: Vec<u8>,
    /// The header lines.
    pub lines: Vec<Line>,
}

/// Returns a strategy for requests. Some name a peer in `x-forwarded-for`.
pub fn request() -> impl Strategy<Value = HostileRequest> {
    let peer = one_of("10.0.0.1 11.0.0.1 192.0.2.1 fd00::1 2001:db8::1")
        .prop_map(|peer| (b"x-forwarded-for".to_vec(), peer.into()));
    let part = one_of(
        "? & X-Amz-SignedHeaders= x-amz-signedheaders host %3B % ; x-request-id x-correlation%2Did =",
    );
    let query = vec(part, 1..6);
    let query = prop_oneof![3 => Just(Vec::new()), 1 => query];
    let peer = prop_oneof![3 => Just(None), 1 => peer.prop_map(Some)];
    (query, lines(REQUEST_NAMES), peer).prop_map(|(query, mut lines, peer)| {
        lines.extend(peer);
        HostileRequest {
            path: format!("/{}", query.concat()).into_bytes(),
            lines,
        }
    })
}

/// Returns a strategy for the header lines of responses.
pub fn response() -> impl Strategy<Value = Vec<Line>> {
    lines(RESPONSE_NAMES)
}

/// Returns a strategy for the text of configurations, nearly all of them valid.
pub fn configuration() -> impl Strategy<Value = String> {
    let max_length = prop_oneof![Just(200), 1..=1024_u16, 30..40_u16];
    let incoming = (
        one_of(
            r#""all" "all" "none" ["10.0.0.0/8","fd00::/8"] ["::/0"] ["::ffff:10.0.0.0/104"] []"#,
        ),
        one_of("safe safe uuid visible"),
        max_length,
        one_of("replace replace reject keep"),
        one_of(r#"null null "x-original-request-id""#),
    )
        .prop_map(|(trust, accept, max_length, on_invalid, original)| {
            format!(
                r#"{{"trust":{trust},"accept":"{accept}","max_length":{max_length},"on_invalid":"{on_invalid}","original":{original}}}"#
            )
        });
    let from = one_of(
        r#"["aws"] ["AWS"] [] ["traceparent","aws"] ["x-amzn-trace-id","x-amz-cf-id"] ["X-Parent-Id","x-amz-request-id","aws","traceparent"]"#,
    );
    let adopt = (from, one_of("derive derive verbatim skip"))
        .prop_map(|(from, non_uuid)| format!(r#"{{"from":{from},"non_uuid":"{non_uuid}"}}"#));
    let response = (
        one_of("overwrite if_absent never"),
        prop::bool::weighted(0.6),
        any::<bool>(),
    )
        .prop_map(|(echo, normalize, expose)| {
            format!(r#"{{"echo":"{echo}","normalize_aws":{normalize},"expose":{expose}}}"#)
        });
    let header = one_of("x-request-id x-request-id X-Correlation-ID x-amzn-requestid");
    let generate = one_of("uuid4 uuid7 hex32");
    (header, incoming, adopt, generate, response, any::<bool>()).prop_map(
        |(header, incoming, adopt, generate, response, log_origin)| {
            format!(
                r#"{{"header":"{header}","incoming":{incoming},"adopt":{adopt},"generate":"{generate}","response":{response},"log_origin":{log_origin}}}"#
            )
        },
    )
}

/// Returns a strategy that selects a word of a text.
fn one_of(words: &'static str) -> impl Strategy<Value = &'static str> + Clone {
    select(words.split(' ').collect::<Vec<_>>())
}

/// Returns a strategy for header lines with these names. Some repeat the line before, with the same
/// or another value.
fn lines(names: &'static str) -> impl Strategy<Value = Vec<Line>> {
    let repeat = prop_oneof![8 => Just(false), 2 => Just(true)];
    let line = (name(names), value(), repeat, any::<bool>());
    let count = prop_oneof![2 => 0..1_usize, 80 => 1..7_usize, 1 => 60..90_usize];
    count
        .prop_flat_map(move |count| vec(line.clone(), count))
        .prop_map(|drawn| {
            let mut lines: Vec<Line> = Vec::new();
            for (name, value, repeats_name, repeats_value) in drawn {
                let line = match lines.last() {
                    Some(last) if repeats_name && repeats_value => last.clone(),
                    Some((name, _)) if repeats_name => (name.clone(), value),
                    _ => (name, value),
                };
                lines.push(line);
            }
            lines
        })
}

fn name(names: &'static str) -> impl Strategy<Value = Vec<u8>> + Clone {
    // Most of the rules are about the header of the id.
    let known = prop_oneof![1 => one_of("x-request-id"), 2 => one_of(names)];
    let change = prop_oneof![
        180 => Just(NameChange::None),
        31 => (1..4_usize).prop_map(NameChange::Remap),
        1 => (0..100_usize).prop_map(NameChange::Remap),
        1 => (0..3000_usize).prop_map(NameChange::Remap),
        9 => any::<prop::sample::Index>().prop_map(NameChange::CutOff),
        5 => "[0-9A-Za-z]".prop_map(NameChange::Extend),
        25 => Just(NameChange::UpperCase),
    ];
    (known, change).prop_map(|(name, change)| {
        let mut name = name.to_owned();
        match change {
            NameChange::None => {}
            NameChange::Remap(times) => {
                name = format!("{}{name}", "x-amzn-remapped-".repeat(times));
            }
            NameChange::CutOff(index) => name.truncate(index.index(name.len()) + 1),
            NameChange::Extend(end) => name.push_str(&end),
            NameChange::UpperCase => name.make_ascii_uppercase(),
        }
        name.into_bytes()
    })
}

#[derive(Clone, Debug)]
enum NameChange {
    None,
    Remap(usize),
    CutOff(prop::sample::Index),
    Extend(String),
    UpperCase,
}

/// Returns a strategy for values: any bytes, or something that is nearly an id.
pub fn value() -> impl Strategy<Value = Vec<u8>> + Clone {
    let text = |strategy: BoxedStrategy<String>| strategy.prop_map(String::into_bytes);
    let like_an_id = prop_oneof![
        20 => vec(any::<u8>(), 0..300),
        30 => vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xff_u8], 0..300),
        20 => vec(select(b"aF0-., \t;=%:@#~\x7f\x80\xff".to_vec()), 0..240),
        40 => text("[0-9A-Za-z!#]{0,260}".boxed()),
        30 => text(uuid().boxed()),
        15 => text((uuid(), select(vec!["-provisional", "-PROVISIONAL", "-provisional-2", ""]))
            .prop_map(|(uuid, marker)| uuid + marker).boxed()),
        30 => text(list().boxed()),
        15 => text("AWS4-(HMAC|ECDSA-P256)-SHA256 Credential=A/s3/aws4_request, ?SignedHeaders=(host|;|x-request-id){0,5}".boxed()),
        15 => text("(Root|root| ROOT |Self|)=[12]?-[0-9a-f]{8}-[0-9a-fA-F]{24}[;, ]{0,2}(Sampled=1)?".boxed()),
        15 => text("(00|01|cc|ff|FF|0)-([0-9a-f]{32}|[0-9A-F]{32}|0{32})-([0-9a-f]{16}|0{16})-(00|01|1|01-more|zz)".boxed()),
        5 => (0..2000_usize, select(b"a,\xff %-".to_vec())).prop_map(|(length, byte)| vec![byte; length]),
        1 => (2000..LONGEST, select(b"a,\xff %-".to_vec())).prop_map(|(length, byte)| vec![byte; length]),
        25 => select(vec!["", " ", ",", "*", "mine", "*, mine", "x-request-id, a"])
            .prop_map(|value| value.as_bytes().to_vec()),
    ];
    let change = prop_oneof![
        215 => Just(ValueChange::None),
        20 => any::<prop::sample::Index>().prop_map(ValueChange::CutOff),
        10 => (any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(index, byte)| ValueChange::Insert(index, byte)),
        10 => select(vec![",", ", ", ";", "\t,"]).prop_map(ValueChange::Repeat),
    ];
    (like_an_id, change)
        .prop_map(|(mut value, change)| {
            match change {
                ValueChange::None => {}
                ValueChange::CutOff(index) => value.truncate(index.index(value.len() + 1)),
                ValueChange::Insert(index, byte) => {
                    value.insert(index.index(value.len() + 1), byte);
                }
                ValueChange::Repeat(separator) => {
                    value = [&value, separator.as_bytes(), &value].concat();
                }
            }
            value
        })
        .boxed()
}

#[derive(Clone, Debug)]
enum ValueChange {
    None,
    CutOff(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Repeat(&'static str),
}

fn uuid() -> impl Strategy<Value = String> {
    let digits = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    (digits, 0..5_u8).prop_map(|(uuid, form)| match form {
        0 => uuid.to_uppercase(),
        1 => format!("{{{uuid}}}"),
        _ => uuid,
    })
}

fn list() -> impl Strategy<Value = String> {
    const WORDS: &str = "-|none|NULL|undefined|unknown|test-invoke-request|UUID_REPLACED_INVALID_REQUEST_ID|\
         00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff|4B4NGF0EAWN0GE63|mine|a b|| mine ";
    let word = select(WORDS.split('|').collect::<Vec<_>>());
    let item = prop_oneof![1 => uuid(), 3 => word.prop_map(str::to_owned)];
    vec(item, 1..5).prop_map(|items| items.join(","))
}

/// Returns the settings of a property that is checked for this number of messages, unless the
/// environment variable `PROPTEST_CASES` says otherwise.
#[must_use]
pub fn with_cases(cases: u32) -> Config {
    Config {
        cases: match std::env::var("PROPTEST_CASES") {
            Ok(_) => Config::default().cases,
            Err(_) => cases,
        },
        ..Config::default()
    }
}

/// Returns messages with every byte value in every header of a request, alone and between others.
#[must_use]
pub fn every_byte_of_requests() -> Vec<Vec<Line>> {
    every_byte(REQUEST_NAMES)
}

/// Returns messages with every byte value in every header of a response, alone and between others.
#[must_use]
pub fn every_byte_of_responses() -> Vec<Vec<Line>> {
    every_byte(RESPONSE_NAMES)
}

fn every_byte(names: &str) -> Vec<Vec<Line>> {
    let mut messages = Vec::new();
    for name in names.split(' ') {
        for byte in 0..=255 {
            for value in [vec![byte], vec![b'a', byte, b'b']] {
                messages.push(vec![(name.as_bytes().to_vec(), value)]);
            }
        }
    }
    messages
}

/// Returns the smallest value of a tree for which `fails` is still true, after 1,000 attempts at most.
/// The tree's current value has to fail.
pub fn smallest<T: ValueTree>(mut tree: T, fails: impl Fn(&T::Value) -> bool) -> T::Value {
    let mut smallest = tree.current();
    for _ in 0..1000 {
        let is_changed = if fails(&tree.current()) {
            smallest = tree.current();
            tree.simplify()
        } else {
            tree.complicate()
        };
        if !is_changed {
            break;
        }
    }
    smallest
}

/// Draws values from strategies: the same ones from the same seed.
pub struct Source(TestRunner);

impl Source {
    /// Returns a source for a seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::new(&bytes)
    }

    /// Returns a source that is seeded with the bytes of a fuzzer. They are not the choices themselves
    /// (`RngAlgorithm::PassThrough`), because once they are used up, drawing from a range never ends.
    #[must_use]
    pub fn from_fuzzer(bytes: &[u8]) -> Self {
        let mut seed = [0; 32];
        for (index, byte) in bytes.iter().enumerate() {
            let folded: &mut u8 = &mut seed[index % 32];
            *folded = folded.rotate_left(3) ^ byte;
        }
        Self::new(&seed)
    }

    fn new(seed: &[u8; 32]) -> Self {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, seed);
        Self(TestRunner::new_with_rng(Config::default(), rng))
    }

    /// Draws a value.
    pub fn draw<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        self.draw_tree(strategy).current()
    }

    /// Draws a value together with those to which it shrinks.
    pub fn draw_tree<S: Strategy>(&mut self, strategy: &S) -> S::Tree {
        strategy
            .new_tree(&mut self.0)
            .expect("the strategy draws a value")
    }
}
