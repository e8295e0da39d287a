//! Whose address `incoming.trust` goes by.

use crate::stage::{Stage, Test, is_new};
use crate::upstream::Reply;

pub const TESTS: &[Test] = &[
    (
        "peer: without use_remote_address a caller chooses its address",
        forwarded,
    ),
    ("peer: with use_remote_address it does not", connected),
];

fn claim_to_be_internal(stage: &Stage, port: u16) -> String {
    let lines = [
        ("x-forwarded-for", b"10.0.0.1".to_vec()),
        ("x-request-id", b"mine".to_vec()),
    ];
    stage
        .exchange_with(port, "test", "/", &lines, Reply::ok(&[]))
        .response
        .id()
}

fn forwarded(stage: &Stage) {
    let port = stage.port_with(r#"{"incoming": {"trust": ["10.0.0.0/8", "fd00::/8"]}}"#);
    assert_eq!(claim_to_be_internal(stage, port), "mine");
}

fn connected(stage: &Stage) {
    assert!(is_new(&claim_to_be_internal(stage, stage.edge)));
}
