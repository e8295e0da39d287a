//! Memory, seen from outside: that of the whole Envoy.

use crate::testbed::{Setup, Test, Testbed, get};
use test_support::client::Connection;

pub const TESTS: &[Test] = &[(
    "memory: it does not grow with requests that are over",
    stays,
)];

const REQUESTS: u64 = 10_000;
/// What Envoy itself takes and gives while it works.
const NOISE: u64 = 512 << 10;

fn stays(_: &Testbed) {
    let setup = Setup {
        workers: true,
        ..Setup::default()
    };
    let testbed = Testbed::start(setup).expect("a testbed");
    let mut connection = Connection::open(testbed.port);
    let bad = [b"a ".repeat(1000), vec![0xff]].concat();
    let lines = [
        ("x-request-id", bad),
        ("x-amz-request-id", b"4B4NGF0EAWN0GE63".to_vec()),
    ];
    let request = get("test", "/direct", &lines);
    let mut serve = |requests: u64| {
        for _ in 0..requests {
            connection.send(&request);
            connection.receive().id();
        }
        testbed.envoy.resident().expect("a size")
    };
    let before = serve(REQUESTS / 3); // What it allocates once it has by then.
    let after = serve(REQUESTS);
    let kept = after.saturating_sub(before);
    assert!(kept < NOISE, "{} bytes for each request", kept / REQUESTS);
}
