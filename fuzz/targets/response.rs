//! The headers of a response.

#![no_main]

use fuzz::Input;
use test_support::comparison::Both;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::read(bytes);
    if let Some(both) = Both::read(&input.configuration) {
        both.compare_response(&input.context, &input.lines);
    }
});
