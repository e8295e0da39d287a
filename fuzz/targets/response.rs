//! The headers of a response.

#![no_main]

use fuzz::Input;
use test_support::comparison::Implementations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::read(bytes);
    if let Some(implementations) = Implementations::read(&input.configuration) {
        implementations.compare_response(&input.context, &input.lines);
    }
});
