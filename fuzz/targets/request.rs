//! The headers of a request, through the whole decision.

#![no_main]

#[path = "../message.rs"]
mod message;
#[allow(dead_code)] // Not the rules of responses.
#[path = "../../tests/reference/mod.rs"]
mod reference;

use message::Message;
use reference::agree::{self, Both};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let message = Message::read(input);
    if let Some(both) = Both::read(&message.configuration) {
        agree::request(&both, &message.other, &message.lines);
    }
});
