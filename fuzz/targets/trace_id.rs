//! A value of `x-amzn-trace-id` or `traceparent`.

#![no_main]

use test_support::comparison::{compare_trace_root, compare_traceparent};

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    compare_trace_root(value);
    compare_traceparent(value);
});
