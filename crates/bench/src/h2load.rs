//! Sends requests with h2load.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use xtask::{last_line, output};

const H2LOAD: &str = "h2load";
const HINT: &str = "it sends the requests; install it (Debian: apt-get install nghttp2-client)";

/// How many connections send requests at the same time when CPU time is measured.
pub const CONNECTIONS: u32 = 8;

/// The id of the requests that have one.
pub const VALID_ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// A kind of request.
pub struct Workload {
    pub title: &'static str,
    pub headers: Vec<String>,
}

/// Returns small requests: with an id, and without one.
pub fn small() -> [Workload; 2] {
    [
        Workload {
            title: "a request with an id",
            headers: vec![format!("x-request-id: {VALID_ID}")],
        },
        Workload {
            title: "a request without an id",
            headers: Vec::new(),
        },
    ]
}

/// Returns the same requests as large as those of browsers.
pub fn large() -> [Workload; 2] {
    let mut large = small();
    let titles = [
        "with an id, 22 more headers and 3 kB of cookies",
        "without an id, 22 more headers and 3 kB of cookies",
    ];
    for (workload, title) in large.iter_mut().zip(titles) {
        workload.title = title;
        let more = (0..22).map(|n| format!("x-header-{n}: the value of header number {n}"));
        workload.headers.extend(more);
        workload
            .headers
            .push(format!("cookie: {}", "c".repeat(3000)));
    }
    large
}

/// Checks that h2load is installed.
///
/// # Errors
/// Returns an error that says how to install it.
pub fn require() -> Result<()> {
    output(Command::new(H2LOAD).arg("--version"), HINT).map(drop)
}

/// What h2load reports about a number of requests.
pub struct Report {
    pub per_second: f64,
    /// The latency of each request, in microseconds.
    pub latencies: Vec<f64>,
}

/// Sends requests, on each connection as fast as they are answered.
///
/// # Errors
/// Returns an error if one is not answered with 200.
pub fn send(port: u16, workload: &Workload, requests: u32, connections: u32) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("requests");
    let headers = workload
        .headers
        .iter()
        .map(|header| format!("--header={header}"));
    let sent = output(
        Command::new(H2LOAD)
            .args(["--h1", "--threads=1"])
            .arg(format!("--requests={requests}"))
            .arg(format!("--clients={connections}"))
            .arg(format!("--log-file={}", log.display()))
            .args(headers)
            .arg(format!("http://127.0.0.1:{port}/")),
        HINT,
    )?;
    ensure!(sent.status.success(), "{H2LOAD}: {}", last_line(&sent));
    let report = String::from_utf8_lossy(&sent.stdout);
    let per_second = report
        .lines()
        .find_map(|line| line.strip_prefix("finished in ")?.split_once(", "))
        .and_then(|(_, rest)| rest.split_once(" req/s")?.0.parse().ok())
        .with_context(|| format!("{H2LOAD} does not report the requests per second:\n{report}"))?;
    // The columns of the log: when the request was sent, the status, and the latency in microseconds.
    let latency = |line: &str| {
        let mut columns = line.split('\t').skip(1);
        let is_ok = columns.next() == Some("200");
        columns.next().filter(|_| is_ok)?.parse().ok()
    };
    let log = fs::read_to_string(log)?;
    let latencies: Vec<_> = log.lines().filter_map(latency).collect();
    ensure!(
        latencies.len() == requests as usize,
        "{} of {requests} requests were answered with 200:\n{report}",
        latencies.len()
    );
    Ok(Report {
        per_second,
        latencies,
    })
}
