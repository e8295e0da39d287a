//! The headers of a response.

#![no_main]

#[path = "../message.rs"]
mod message;
#[allow(dead_code)] // Not the rules of requests.
#[path = "../../tests/reference/mod.rs"]
mod reference;

use message::Message;
use reference::agree::{self, Both};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let message = Message::read(input);
    if let Some(both) = Both::read(&message.configuration) {
        agree::response(&both, &message.other, &message.lines);
    }
});
