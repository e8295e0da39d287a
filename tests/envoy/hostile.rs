//! A hundred thousand hostile messages through Envoy, each compared with the reference.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::panic::catch_unwind;
use std::slice;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::strategy::ValueTree;
use request_id_rules::counters::Counter;
use serde_json::{Value, json};
use test_support::hostile::{self, Source};
use test_support::message::{Line, as_envoy, source_address, values};
use test_support::verdict::ExpectedId;
use xtask::envoy::Process;
use xtask::module;

use crate::counters::counters;
use crate::echo::{
    MOVED_TO, Message, Outcome, as_http2, has_line_break, over_http1, over_http2, over_raw_http2,
    parse, start_http1,
};
use crate::testbed::{
    self, MANAGER, REQUEST_HEADERS_OF_ENVOY, RESPONSE_HEADERS_OF_ENVOY, Testbed, at, eventually,
    port, tests,
};
use test_support::reference::{Config, ResponseHeaders};

tests![no_message_traps_or_changes_other_headers_or_gets_an_unsafe_byte_into_an_id];

/// How many requests are sent, unless `HOSTILE_REQUESTS` says otherwise.
const REQUESTS: usize = 100_000;
/// How many requests go over one connection.
const BATCH: usize = 50;

/// Reads a number from an environment variable.
fn number<T: FromStr>(variable: &str) -> Option<T> {
    let text = env::var(variable).ok()?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{variable}={text} is not a whole number")))
}

fn no_message_traps_or_changes_other_headers_or_gets_an_unsafe_byte_into_an_id(_: &Testbed) {
    let requests = number("HOSTILE_REQUESTS").unwrap_or(REQUESTS);
    let seed = number("HOSTILE_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("{requests} requests, HOSTILE_SEED={seed}");
    let started = Instant::now();
    let testbed = HostileTestbed::start();
    let mark = testbed.envoy.mark();
    let every_byte = every_byte();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // Making the strategies takes longer than drawing from them.
                let messages = message();
                let batch = |number| batch(&messages, seed, number);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number * BATCH >= requests {
                        return;
                    }
                    let protocol = PROTOCOLS[number % 2];
                    match every_byte.get(number / 2) {
                        Some(messages) => testbed
                            .exchange(0, protocol, messages, |index, _| messages[index].clone()),
                        None => {
                            let drawn = batch(number);
                            let drawn: Vec<_> = drawn.iter().map(ValueTree::current).collect();
                            testbed.exchange(number / 2, protocol, &drawn, |index, fails| {
                                hostile::smallest(batch(number).swap_remove(index), fails)
                            });
                        }
                    }
                }
            });
        }
    });
    for byte in (0..=32).chain([127]) {
        for value in [[b'a', byte, b'b'], [byte, b'a', byte]] {
            // Envoy refuses the request, or the upstream receives an id without the byte.
            let received = over_raw_http2(testbed.listeners[0].0, &value);
            let received = parse(&received).map_or(Vec::new(), |(_, lines)| lines);
            let ids = values(&received, "x-request-id");
            assert!(ids.iter().all(|id| !id.contains(&byte)), "{ids:?}");
            testbed.expectations().unclear += 1;
        }
    }
    testbed.check_counters();
    let log = testbed.envoy.log();
    let lines: Vec<_> = log.lines().skip(mark).collect();
    assert!(lines.is_empty(), "Envoy logs {lines:#?}");
    println!("{:?}", started.elapsed());
}

/// Returns messages with every byte in every header of a request and of a response, in batches.
fn every_byte() -> Vec<Vec<Message>> {
    let message = |request: &[Line], response: &[Line]| Message {
        path: b"/".to_vec(),
        request: request.to_vec(),
        response: response.to_vec(),
    };
    let requests = hostile::every_byte_of_requests();
    let responses = hostile::every_byte_of_responses();
    let requests = requests.iter().map(|lines| message(lines, &[]));
    let responses = responses.iter().map(|lines| message(&[], lines));
    let messages: Vec<_> = requests.chain(responses).collect();
    messages.chunks(BATCH).map(<[Message]>::to_vec).collect()
}

/// Returns the messages of a batch, as proptest draws and shrinks them.
fn batch<S: Strategy<Value = Message>>(
    messages: &S,
    seed: u64,
    number: usize,
) -> Vec<impl ValueTree<Value = Message> + use<S>> {
    let number = u64::try_from(number).expect("the number is small");
    let mut source = Source::from_seed(seed.wrapping_add(number));
    (0..BATCH).map(|_| source.draw_tree(messages)).collect()
}

/// Returns a strategy for messages. Half of them have an upstream that speaks HTTP/2, and an eighth is redirected by
/// Envoy, so that the filter runs twice.
fn message() -> impl Strategy<Value = Message> {
    let path = prop_oneof![3 => Just("/"), 1 => Just("/moved"), 4 => Just("/h2")];
    (path, hostile::request(), hostile::response()).prop_map(|(path, request, response)| {
        let mut message = Message {
            path: request.path,
            request: request.lines,
            response,
        };
        message.path.splice(..1, path.bytes());
        if path == "/h2" {
            // A response that is more than Envoy accepts ends the connection and with it the other
            // responses on it.
            let mut lines = as_http2(&message.response);
            lines.retain(|(name, value)| name.len() + value.len() < 2000);
            lines.truncate(20);
            message.response = lines;
        }
        message
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Http1,
    Http2,
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

impl Protocol {
    fn send(self, port: u16, messages: &[Message]) -> Vec<Outcome> {
        match self {
            Self::Http1 => over_http1(port, messages),
            Self::Http2 => over_http2(port, messages),
        }
    }
}

/// An Envoy with a listener for each configuration of the table, and one without the filter.
struct HostileTestbed {
    envoy: Process,
    listeners: Vec<(u16, Config)>,
    without_filter: u16,
    expectations: Mutex<Expectations>,
}

/// What has to add up in the end.
#[derive(Default)]
struct Expectations {
    counters: BTreeMap<String, u64>,
    /// How many runs of the filter cannot be told from outside: only Envoy knows whether they took place.
    unclear: u64,
    new_ids: HashSet<Vec<u8>>,
}

impl HostileTestbed {
    fn start() -> Self {
        module::build().expect("the module can be built");
        let configurations = testbed::configurations();
        let mut config = testbed::config(start_http1(), &configurations);
        let listeners = testbed::listeners(&mut config);
        let mut without_filter = listeners[1].clone();
        without_filter["name"] = "without the filter".into();
        testbed::filters(&mut without_filter).remove(0);
        listeners.push(without_filter);
        for listener in listeners {
            at(listener, MANAGER)["access_log"] = json!([]);
        }
        let arguments = "--concurrency 2 --log-level error --component-log-level wasm:warning";
        let envoy = testbed::start(&config, arguments);
        let listeners = configurations.iter().enumerate().map(|(number, text)| {
            let config = Config::read(text.as_bytes()).expect("the configuration is valid");
            (port(&envoy, &testbed::listener_name(number)), config)
        });
        Self {
            listeners: listeners.collect(),
            without_filter: port(&envoy, "without the filter"),
            envoy,
            expectations: Mutex::default(),
        }
    }

    /// Sends a batch to the listener of one configuration, and checks each outcome.
    /// `smallest` returns the smallest message that fails like the one at an index.
    fn exchange(
        &self,
        configuration: usize,
        protocol: Protocol,
        messages: &[Message],
        smallest: impl Fn(usize, &dyn Fn(&Message) -> bool) -> Message,
    ) {
        let (port, config) = &self.listeners[configuration % self.listeners.len()];
        let as_sent = |message: &Message| {
            let mut message = message.clone();
            if let Protocol::Http2 = protocol {
                message.request = as_http2(&message.request);
            }
            message
        };
        let messages: Vec<_> = messages.iter().map(as_sent).collect();
        let send = |port, message: &Message| {
            let mut outcomes = protocol.send(port, slice::from_ref(message));
            outcomes.remove(0)
        };
        let is_as_expected = |message: &Message, outcome: &Outcome| {
            let without_filter = || send(self.without_filter, message);
            catch_unwind(|| self.check(config, message, outcome, without_filter)).is_ok()
        };
        let outcomes = protocol.send(*port, &messages);
        for (index, (message, mut outcome)) in messages.iter().zip(outcomes).enumerate() {
            // Another message may have ended a connection that they shared.
            for _ in 0..3 {
                let is_shared = message.path.starts_with(b"/h2");
                // Envoy follows a redirect only if it has all of the request by then.
                let is_early = outcome.status == 302;
                if outcome.status == 0 || outcome.status >= 500 && is_shared || is_early {
                    self.expectations().unclear += 2; // The filter may have seen it.
                    outcome = send(*port, message);
                }
            }
            if !is_as_expected(message, &outcome) {
                let fails = |message: &Message| {
                    let message = as_sent(message);
                    !is_as_expected(&message, &send(*port, &message))
                };
                let smallest = as_sent(&smallest(index, &fails));
                let its_outcome = send(*port, &smallest);
                panic!(
                    "{protocol:?} {config:?}\n{message}{outcome}\n\
                     smallest that fails:\n{smallest}{its_outcome}"
                );
            }
        }
    }

    fn expectations(&self) -> MutexGuard<'_, Expectations> {
        let expectations = self.expectations.lock();
        expectations.unwrap_or_else(PoisonError::into_inner)
    }

    fn check(
        &self,
        config: &Config,
        message: &Message,
        outcome: &Outcome,
        without_filter: impl Fn() -> Outcome,
    ) {
        let request = as_envoy(&message.request);
        let expected = config.request(&source_address(&request), &request, None);
        let is_rejected = expected.is_rejected();
        let is_clear = !has_line_break(&message.request);
        let ids = values(&outcome.headers, &config.header);
        let mut counters = Vec::new();
        let counters_of_runs = || {
            let mut counters = expected.counters();
            if message.is_moved() && !is_rejected {
                counters.extend(config.counters_of_later_run(&expected));
            }
            counters
        };
        let runs = if message.is_moved() { 2 } else { 1 };
        match outcome.status {
            400 if is_rejected && is_clear && is_problem(outcome) => {
                counters = expected.counters();
                self.check_new(config, ids[0]);
            }
            400 if !is_clear && is_problem(outcome) => self.expectations().unclear += runs,
            200 if is_clear && !has_line_break(&message.response) => {
                assert!(!is_rejected);
                counters = counters_of_runs();
                let (path, received) = outcome.received();
                let moved_to = message.is_moved().then_some(MOVED_TO.as_bytes());
                assert_eq!(path, moved_to.unwrap_or(&message.path));
                // The id and its header.
                let received_id = joined(&received, &config.header);
                let id = match &expected.id {
                    ExpectedId::Is(id) => id,
                    ExpectedId::New(_) => {
                        self.check_new(config, &received_id);
                        &received_id
                    }
                };
                let sent = joined(&request, &config.header);
                assert_eq!(received_id, *if expected.sets_id { id } else { &sent });
                if let Some(original) = config.original() {
                    let sent = values(&request, original);
                    assert_eq!(values(&received, original), expected.originals(&sent));
                }
                let by_filter = [config.original().unwrap_or_default(), &config.header];
                let others_of = |lines| others(lines, &by_filter, REQUEST_HEADERS_OF_ENVOY);
                assert_eq!(others_of(&received), others_of(&request));
                // The response.
                let response = as_envoy(&message.response);
                let answer = config.response(id, &response, None);
                let before = ResponseHeaders::of(&response, &config.header);
                if answer.aws_ids != before.aws_ids && config.header != "x-amzn-requestid" {
                    counters.push("aws_normalized".into());
                }
                let received = ResponseHeaders::of(&outcome.headers, &config.header);
                assert_eq!(received, answer);
                let exposed = "access-control-expose-headers";
                let by_filter = [&config.header, "x-amzn-requestid", exposed];
                let others_of = |lines| others(lines, &by_filter, RESPONSE_HEADERS_OF_ENVOY);
                assert_eq!(others_of(&outcome.headers), others_of(&response));
            }
            status => {
                let without_filter = without_filter();
                assert_eq!(status, without_filter.status, "{without_filter}");
                // The request passed the filter, but the upstream's answer is not valid HTTP.
                let passed_filter = status == 200 || status >= 500;
                if passed_filter && is_clear {
                    assert!(!is_rejected);
                    counters = counters_of_runs();
                    match &expected.id {
                        _ if config.echo != "overwrite" => {}
                        ExpectedId::Is(id) => assert_eq!(ids, [id]),
                        ExpectedId::New(_) => self.check_new(config, ids[0]),
                    }
                }
                if status == 200 || passed_filter && !is_clear {
                    self.expectations().unclear += runs;
                }
            }
        }
        let mut expectations = self.expectations();
        for counter in counters {
            *expectations.counters.entry(counter).or_default() += 1;
        }
    }

    /// Checks that a new id has its format, and that no other request has it.
    fn check_new(&self, config: &Config, id: &[u8]) {
        let expected = ExpectedId::New(config.format());
        assert!(expected.matches(id), "{}", id.escape_ascii());
        let is_first = self.expectations().new_ids.insert(id.to_vec());
        assert!(is_first, "{} was given before", id.escape_ascii());
    }

    fn check_counters(&self) {
        let expected = self.expectations();
        let Expectations {
            counters: sure,
            unclear,
            new_ids,
        } = &*expected;
        println!("{sure:?}, {unclear} unclear, {} new ids", new_ids.len());
        let is_possible = |(name, count): (&String, &u64)| {
            let sure = sure.get(name).copied().unwrap_or_default();
            (sure..=sure + unclear).contains(count)
        };
        let counted = || counters(&self.envoy);
        eventually(Duration::from_secs(3), counted, |counted| {
            counted.iter().all(is_possible)
        });
        let is_complete = sure.len() == Counter::ALL.len();
        assert!(
            is_complete,
            "not every outcome came up, which takes 30000 requests: {sure:?}"
        );
    }
}

fn is_problem(outcome: &Outcome) -> bool {
    values(&outcome.headers, "content-type") == [b"application/problem+json"]
        && serde_json::from_slice::<Value>(&outcome.body).is_ok()
}

/// Returns the values of a header as one, without empty lines.
fn joined(lines: &[Line], header: &str) -> Vec<u8> {
    let mut values = values(lines, header);
    values.retain(|value| !value.is_empty());
    values.join(&b',')
}

/// Returns the lines that neither the filter nor Envoy sets, sorted.
fn others(lines: &[Line], by_filter: &[&str], by_envoy: &str) -> Vec<Line> {
    let is_other = |name: &[u8]| {
        let mut names = by_envoy.split(' ').chain(by_filter.iter().copied());
        !names.any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    let lower_case = |(name, value): &Line| (name.to_ascii_lowercase(), value.clone());
    let others = lines.iter().filter(|(name, _)| is_other(name));
    let mut others: Vec<_> = others.map(lower_case).collect();
    others.sort();
    others
}
