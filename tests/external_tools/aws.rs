//! boto3 through Envoy with the filter, against moto, which verifies signatures: `aws/clients.py` makes the
//! calls and compares.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::LazyLock;

use serde_json::json;
use test_support::shipped::{self, MANAGER};
use xtask::envoy::Process;
use xtask::{root, sha256, target};

use crate::{Running, run_for};

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

/// `aws/clients.py`, waiting for the ports of Envoy.
struct Clients {
    process: Running,
    output: BufReader<ChildStdout>,
    /// Where its server listens.
    port: u16,
    /// The key of the user that may do everything: its id, and the secret.
    key: (String, String),
}

impl Clients {
    fn start(scenario: &str) -> Self {
        let mut process = Command::new(&*PYTHON)
            .arg(root().join("tests/external_tools/aws/clients.py"))
            .arg(scenario)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut output = BufReader::new(process.stdout.take().expect("the output is piped"));
        let process = Running(process);
        let mut ready = String::new();
        output.read_line(&mut ready).expect("the text is UTF-8");
        let (port, key) = serde_json::from_str(&ready).expect("moto starts");
        Self {
            process,
            output,
            port,
            key,
        }
    }

    /// Has the calls made through these listeners, and returns what was printed about them.
    fn run(mut self, envoy: &Process, listeners: &[&str]) -> String {
        let ports: BTreeMap<_, _> = listeners
            .iter()
            .map(|&name| (name, envoy.port(name).expect("Envoy has the listener")))
            .collect();
        let mut input = self.process.0.stdin.take().expect("the input is piped");
        // If the program has ended, its status and its errors say more than this would.
        let _ = writeln!(input, "{}", json!(ports));
        let mut printed = String::new();
        self.output
            .read_to_string(&mut printed)
            .expect("the text is UTF-8");
        let status = self.process.0.wait().expect("there is a status");
        assert!(
            status.success(),
            "{status}, and the errors are above:\n{printed}"
        );
        printed
    }
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
            "wrong" => "wrong",
            _ => &clients.key.1,
        };
        let mut listener = listeners[0].clone();
        listener["name"] = name.into();
        let manager = listener
            .pointer_mut(MANAGER)
            .expect("the listener has a connection manager");
        let filters = manager["http_filters"]
            .as_array_mut()
            .expect("the manager has filters");
        filters.insert(1, json!({
            "name": "aws_request_signing",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.aws_request_signing.v3.AwsRequestSigning",
                "service_name": if name == "wrong" { "dynamodb" } else { name },
                "region": "us-east-1",
                // moto verifies with botocore, which never has this one in a signature.
                "match_excluded_headers": [{"exact": "user-agent"}],
                "credential_provider": {
                    "inline_credential": {"access_key_id": clients.key.0, "secret_access_key": secret},
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
