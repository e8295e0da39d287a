//! The rules and the reference, on the table of cases and on hostile messages.

use proptest::prelude::*;
use test_support::cases;
use test_support::comparison::{Implementations, compare_configuration, compare_source};
use test_support::configuration_pool;
use test_support::hostile;
use test_support::message::{as_envoy, owned, source_address};

#[test]
fn the_reference_agrees_on_every_case() {
    for case in cases::all() {
        println!("{}", case.name);
        compare_configuration(case.config.as_bytes());
        let implementations = Implementations::read(case.config.as_bytes()).expect(case.config);
        let lines = as_envoy(&owned(&case.request));
        implementations.compare_request(&source_address(&lines), &lines);
        implementations.compare_response(b"mine", &as_envoy(&owned(&case.upstream)));
    }
}

#[test]
fn the_reference_agrees_on_every_byte() {
    let read =
        |text: &str| Implementations::read(text.as_bytes()).expect("the configuration is valid");
    let accepting = [
        read(""),
        read(r#"{"incoming": {"accept": "visible"}}"#),
        read(r#"{"incoming": {"accept": "uuid"}}"#),
    ];
    for lines in hostile::every_byte_of_requests() {
        for implementations in &accepting {
            implementations.compare_request(b"10.0.0.1:1", &lines);
        }
        compare_source("x-amzn-trace-id", &lines[0].1);
        compare_source("traceparent", &lines[0].1);
    }
    let exposing = read(r#"{"response": {"expose": true}}"#);
    for lines in hostile::every_byte_of_responses() {
        exposing.compare_response(b"mine", &lines);
    }
}

#[test]
fn the_reference_agrees_on_values_with_one_character_changed() {
    for (header, valid) in [
        ("x-amzn-requestid", "01234567-89ab-4def-8123-456789ABCDEF"),
        (
            "x-amzn-trace-id",
            "Root=1-67891233-abcdef012345678912345678",
        ),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ] {
        for place in 0..valid.len() {
            for other in "0123456789abcdefABCDEFg-=;, ".chars() {
                let mut value = valid.to_owned();
                value.replace_range(place..=place, &other.to_string());
                compare_source(header, value.as_bytes());
            }
            compare_source(header, &valid.as_bytes()[..place]);
            compare_source(header, &valid.as_bytes()[place..]);
        }
    }
}

#[test]
fn the_reference_agrees_on_every_range_and_peer() {
    const PEERS: &str = "10.0.0.0 10.0.0.1:4711 10.255.255.255 11.0.0.0 255.255.255.255 0.0.0.0:1 \
         [::1]:0 ::1 ::2 ::ffff:10.0.0.1 [::ffff:11.0.0.1]:1 ::fffe:10.0.0.1 2001:db8:ffff::1 2001:db9:: 1::8 \
         1:2:3:4:5:6:7:8 [2001:db8::1] 10.0.0.1: 10.0.0.1:65536 10.0.0.01 [10.0.0.1]:1 10.0.0.1:+1 [::1]:+1 [fe80::1%1]:1 fe80::1%1 /run/envoy.sock envoy://x \u{e9}";
    let id = [(b"x-request-id".to_vec(), b"mine".to_vec())];
    for range in configuration_pool::RANGES.split_whitespace() {
        let configuration = format!(r#"{{"incoming": {{"trust": ["2001:db8::1", "{range}"]}}}}"#);
        let implementations =
            Implementations::read(configuration.as_bytes()).expect("the range is valid");
        for peer in PEERS.split(' ') {
            implementations.compare_request(peer.as_bytes(), &id);
        }
    }
}

proptest! {
    #![proptest_config(hostile::with_cases(10_000))]

    #[test]
    fn the_reference_agrees_on_hostile_messages(
        configuration in hostile::configuration(),
        request in hostile::request(),
        response in hostile::response(),
    ) {
        compare_configuration(configuration.as_bytes());
        if let Some(implementations) = Implementations::read(configuration.as_bytes()) {
            let lines = as_envoy(&request.lines);
            implementations.compare_request(&source_address(&lines), &lines);
            implementations.compare_response(b"mine", &as_envoy(&response));
        }
    }

    #[test]
    fn the_reference_agrees_on_any_text_of_a_configuration(
        text in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        compare_configuration(&text);
    }
}
