//! Whose address `incoming.trust` goes by.

use crate::testbed::{Test, Testbed, is_new};
use test_support::upstream::Reply;

pub const TESTS: &[Test] = &[
    (
        "peer: without use_remote_address a caller chooses its address",
        forwarded,
    ),
    ("peer: with use_remote_address it does not", connected),
];

fn claim_to_be_internal(testbed: &Testbed, port: u16) -> String {
    let lines = [
        ("x-forwarded-for", b"10.0.0.1".to_vec()),
        ("x-request-id", b"mine".to_vec()),
    ];
    testbed
        .exchange_with(port, "test", "/", &lines, Reply::ok(&[]))
        .response
        .id()
}

fn forwarded(testbed: &Testbed) {
    let port = testbed.port_with(r#"{"incoming": {"trust": ["10.0.0.0/8", "fd00::/8"]}}"#);
    assert_eq!(claim_to_be_internal(testbed, port), "mine");
}

fn connected(testbed: &Testbed) {
    assert!(is_new(&claim_to_be_internal(testbed, testbed.edge)));
}
