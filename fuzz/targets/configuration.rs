//! The text of a configuration.

#![no_main]

use test_support::comparison::compare_configuration;

libfuzzer_sys::fuzz_target!(|text: &[u8]| compare_configuration(text));
