//! The filter and the reference, on the table of cases and on hostile messages.

#[allow(dead_code)] // Not what becomes of a case: the reference says it.
mod cases;
mod generator;
mod reference;

use std::thread;

use generator::{Hostile, Line};
use reference::agree::host::{as_envoy, peer};
use reference::agree::{self, Both};

/// Lines as the filter sees them, with the path among them.
fn request_lines(path: &[u8], lines: &[Line]) -> Vec<Line> {
    let mut all = vec![(b":path".to_vec(), path.to_vec())];
    all.extend(as_envoy(lines));
    all
}

fn owned(lines: &[cases::Line]) -> Vec<Line> {
    let owned = |(name, value): &cases::Line| (name.as_bytes().to_vec(), value.clone());
    lines.iter().map(owned).collect()
}

#[test]
fn the_reference_agrees_on_every_case() {
    for case in cases::all() {
        let lines = request_lines(case.path.as_bytes(), &owned(&case.request));
        println!("{}", case.name);
        agree::configuration(case.config.as_bytes());
        let both = Both::read(case.config.as_bytes()).expect(case.config);
        agree::request(&both, &peer(&lines), &lines);
        agree::response(&both, b"mine", &owned(&case.upstream));
    }
}

#[test]
fn the_reference_agrees_on_every_byte() {
    let default = Both::read(b"").expect("the default");
    for lines in generator::every_byte_of_requests() {
        agree::request(&default, b"10.0.0.1:1", &lines);
        agree::trace_id(&lines[0].1);
        agree::signed_headers(&lines[0].1);
    }
    let exposing = Both::read(br#"{"response": {"expose": true}}"#).expect("a configuration");
    for lines in generator::every_byte_of_responses() {
        agree::response(&exposing, b"mine", &lines);
    }
}

#[test]
fn the_reference_agrees_on_hostile_messages() {
    let seed = generator::seed();
    let mut hostile = Hostile::new(seed);
    for number in 0..10_000 {
        let configuration = hostile.configuration();
        let (path, lines) = hostile.request();
        let lines = request_lines(&path, &lines);
        let response = hostile.response();
        let _told = OnPanic(|| println!("HOSTILE_SEED={seed}, message {number}: {configuration}"));
        agree::configuration(configuration.as_bytes());
        if let Some(both) = Both::read(configuration.as_bytes()) {
            agree::request(&both, &peer(&lines), &lines);
            agree::response(&both, b"mine", &response);
        }
    }
}

/// Says which message it was.
struct OnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.0)();
        }
    }
}
