//! The rules and the reference, on the table of cases and on hostile messages.

use proptest::prelude::*;
use test_support::cases;
use test_support::comparison::{
    Both, compare_configuration, compare_trace_root, compare_traceparent,
};
use test_support::hostile;
use test_support::message::{as_envoy, owned, source_address};

#[test]
fn the_reference_agrees_on_every_case() {
    for case in cases::all() {
        println!("{}", case.name);
        compare_configuration(case.config.as_bytes());
        let both = Both::read(case.config.as_bytes()).expect(case.config);
        let lines = as_envoy(&owned(&case.request));
        both.compare_request(&source_address(&lines), &lines);
        both.compare_response(b"mine", &as_envoy(&owned(&case.upstream)));
    }
}

#[test]
fn the_reference_agrees_on_every_byte() {
    let default = Both::read(b"").expect("the default");
    for lines in hostile::every_byte_of_requests() {
        default.compare_request(b"10.0.0.1:1", &lines);
        compare_trace_root(&lines[0].1);
        compare_traceparent(&lines[0].1);
    }
    let exposing = Both::read(br#"{"response": {"expose": true}}"#).expect("a configuration");
    for lines in hostile::every_byte_of_responses() {
        exposing.compare_response(b"mine", &lines);
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
        if let Some(both) = Both::read(configuration.as_bytes()) {
            let lines = as_envoy(&request.lines);
            both.compare_request(&source_address(&lines), &lines);
            both.compare_response(b"mine", &as_envoy(&response));
        }
    }

    #[test]
    fn the_reference_agrees_on_any_text_of_a_configuration(
        text in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        compare_configuration(&text);
    }
}
