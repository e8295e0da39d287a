//! A value of `x-amzn-trace-id`.

#![no_main]

#[allow(dead_code)] // Not the rules of responses.
#[path = "../../tests/reference/mod.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|value: &[u8]| reference::agree::trace_id(value));
