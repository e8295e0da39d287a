//! Memory, seen from outside: that of the whole Envoy.

use std::fs;
use std::process::Command;

use crate::client::Connection;
use crate::stage::{Setup, Stage, Test, get};

pub const TESTS: &[Test] = &[(
    "memory: it does not grow with requests that are over",
    stays,
)];

const REQUESTS: u64 = 10_000;
/// What Envoy itself takes and gives while it works.
const NOISE: u64 = 512 << 10;

fn stays(_: &Stage) {
    let setup = Setup {
        workers: true,
        ..Setup::default()
    };
    let stage = Stage::start(setup).expect("a stage");
    let mut connection = Connection::open(stage.port);
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
        resident(stage.envoy.id())
    };
    let before = serve(REQUESTS / 3); // What it allocates once it has by then.
    let after = serve(REQUESTS);
    let kept = after.saturating_sub(before);
    assert!(kept < NOISE, "{} bytes for each request", kept / REQUESTS);
}

/// The bytes of memory that a process has.
fn resident(process: u32) -> u64 {
    let kilobytes = match fs::read_to_string(format!("/proc/{process}/status")) {
        Ok(status) => {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            line.expect("a size").trim_end_matches("kB").to_owned()
        }
        // As on macOS.
        Err(_) => {
            let process = process.to_string();
            let asked = Command::new("ps")
                .args(["-o", "rss=", "-p", &process])
                .output();
            String::from_utf8(asked.expect("ps").stdout).expect("text")
        }
    };
    kilobytes.trim().parse::<u64>().expect("a number") * 1024
}
