//! The headers of a request, through the whole decision and a second run of the filter.

#![no_main]

use fuzz::Input;
use test_support::comparison::Implementations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let input = Input::read(bytes);
    if let Some(implementations) = Implementations::read(&input.configuration) {
        implementations.compare_request(&input.context, &input.lines);
    }
});
