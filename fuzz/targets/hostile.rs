//! The generator of hostile messages, seeded with the fuzzer's bytes.

#![no_main]

use test_support::comparison::{Implementations, compare_configuration};
use test_support::hostile::{self, Source};
use test_support::message::{as_envoy, source_address};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut source = Source::from_fuzzer(bytes);
    let configuration = source.draw(&hostile::configuration());
    compare_configuration(configuration.as_bytes());
    if let Some(implementations) = Implementations::read(configuration.as_bytes()) {
        let lines = as_envoy(&source.draw(&hostile::request()).lines);
        implementations.compare_request(&source_address(&lines), &lines);
        implementations.compare_response(b"mine", &as_envoy(&source.draw(&hostile::response())));
    }
});
