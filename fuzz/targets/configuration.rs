//! The text of a configuration.

#![no_main]

#[allow(dead_code)] // Not the rules of messages.
#[path = "../../tests/reference/mod.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    reference::agree::configuration(text);
});
