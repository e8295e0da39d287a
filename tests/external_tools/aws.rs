//! boto3 through Envoy with the filter, against moto, which verifies signatures: `aws/clients.py` makes the
//! calls and compares.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use test_support::shipped;
use xtask::envoy::Process;
use xtask::{root, sha256, target};

use crate::run_for;

/// A Python with boto3 and moto from PyPI, in the versions and with the hashes of `aws/requirements.txt`.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let requirements = root().join("tests/external_tools/aws/requirements.txt");
    let wanted = sha256(&fs::read(&requirements).expect("the requirements can be read"));
    let environment = target().join("aws-clients");
    let python = environment.join("bin/python");
    // Written last, so that an interrupted installation starts again from the beginning.
    let installed = environment.join("installed");
    if fs::read_to_string(&installed).is_ok_and(|hash| hash == wanted) {
        return python;
    }
    let mut create = Command::new("python3");
    create.args(["-m", "venv", "--clear"]).arg(&environment);
    run_for(180, &mut create, "python3 python3-venv");
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"])
        .args(["--require-hashes", "--requirement"])
        .arg(&requirements);
    run_for(600, &mut install, "python3 python3-venv");
    fs::write(&installed, wanted).expect("the file can be written");
    python
});

/// `aws/clients.py`, waiting for the ports of Envoy. It is killed when this value is dropped.
struct Clients {
    process: Child,
    output: BufReader<Box<dyn Read>>,
    errors: File,
    /// Where its server listens.
    port: u16,
    /// The user that may do everything.
    key: Value,
}

impl Clients {
    fn start(scenario: &str) -> Self {
        let errors = tempfile::tempfile().expect("a temporary file can be used");
        let mut process = Command::new(&*PYTHON)
            .arg(root().join("tests/external_tools/aws/clients.py"))
            .arg(scenario)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone().expect("a temporary file can be used"))
            .spawn()
            .expect("Python runs");
        let output = process.stdout.take().expect("the output is piped");
        let mut clients = Self {
            process,
            output: BufReader::new(Box::new(output)),
            errors,
            port: 0,
            key: Value::Null,
        };
        let mut line = String::new();
        clients
            .output
            .read_line(&mut line)
            .expect("the text is UTF-8");
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("moto does not start: {}", clients.errors()));
        clients.port = serde_json::from_value(ready["port"].clone()).expect("Envoy listens");
        clients.key = ready["key"].clone();
        clients
    }

    /// Has the calls made through these listeners, and returns what was printed about them.
    fn run(mut self, envoy: &Process, listeners: &[&str]) -> String {
        let ports: Map<String, Value> = listeners
            .iter()
            .map(|name| {
                (
                    (*name).to_owned(),
                    envoy.port(name).expect("Envoy listens").into(),
                )
            })
            .collect();
        let mut input = self.process.stdin.take().expect("the output is piped");
        // If the program has ended, its status and its errors say more than this would.
        let _ = writeln!(input, "{}", Value::Object(ports));
        let mut printed = String::new();
        self.output
            .read_to_string(&mut printed)
            .expect("the text is UTF-8");
        let status = self.process.wait().expect("there is a status");
        assert!(status.success(), "{status}\n{printed}\n{}", self.errors());
        printed
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        self.errors.rewind().expect("a temporary file can be used");
        self.errors
            .read_to_string(&mut text)
            .expect("the text is UTF-8");
        text
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn http_filters(listener: &mut Value) -> &mut Vec<Value> {
    listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        .as_array_mut()
        .expect("the listener has HTTP filters")
}

/// This includes clients that sign an id: a valid one stays as it is, so the signature stays valid.
#[test]
fn boto3_gets_the_same_with_and_without_the_filter() {
    let clients = Clients::start("compare");
    let envoy = shipped::start(&shipped::with_configuration(clients.port, ""));
    let printed = clients.run(&envoy, &["main"]);
    assert_eq!(
        printed.lines().count(),
        13,
        "a line for each service: {printed}"
    );
    print!("{printed}");
}

#[test]
fn an_id_that_envoy_signs_behind_the_filter_is_the_one_that_arrives() {
    let clients = Clients::start("sign");
    let mut config = shipped::with_configuration(clients.port, "");
    let listeners = config["static_resources"]["listeners"]
        .as_array_mut()
        .expect("the configuration has listeners");
    let services = ["s3", "sqs", "dynamodb", "sns", "iam", "ec2"];
    for name in services.into_iter().chain(["wrong"]) {
        let secret = match name {
            "wrong" => &json!("wrong"),
            _ => &clients.key[1],
        };
        let mut listener = listeners[0].clone();
        listener["name"] = name.into();
        http_filters(&mut listener).insert(1, json!({
            "name": "aws_request_signing",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning",
                "service_name": if name == "wrong" { "dynamodb" } else { name },
                "region": "us-east-1",
                // moto verifies with botocore, which never has this one in a signature.
                "match_excluded_headers": [{"exact": "user-agent"}],
                "credential_provider": {
                    "inline_credential": {"access_key_id": clients.key[0], "secret_access_key": secret},
                },
            },
        }));
        listeners.push(listener);
    }
    let envoy = shipped::start(&config);
    let names = [&services[..], &["wrong"]].concat();
    let printed = clients.run(&envoy, &names);
    // Each service with four ids.
    assert_eq!(printed.lines().count(), 4 * services.len(), "{printed}");
    print!("{printed}");
}

/// The limit of what the filter can do for a client that signs its id.
#[test]
fn a_signature_over_an_id_that_the_policy_rejects_is_refused() {
    let clients = Clients::start("reject");
    let envoy = shipped::start(&shipped::with_configuration(clients.port, ""));
    print!("{}", clients.run(&envoy, &["main"]));
}
