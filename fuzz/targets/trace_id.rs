//! A value of `x-amzn-trace-id` or `traceparent`.

#![no_main]

use test_support::comparison::compare_source;

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    compare_source("x-amzn-trace-id", value);
    compare_source("traceparent", value);
});
