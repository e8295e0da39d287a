//! Configurations with every value of a large pool under every key, and under keys that do not exist.

use serde_json::{Value, json};

/// Returns all of them, each with one key.
#[must_use]
pub fn configurations() -> Vec<Value> {
    let names = [
        "x-request-id",
        "X-Other",
        "a",
        "aws",
        "AWS",
        "host",
        "Host",
        "hostess",
        "te",
        "TE",
        "upgrade",
        "x_y",
        "!#$%&'*+-.^_`|~9",
    ];
    let invalid_names = [
        "",
        " ",
        "a b",
        ":path",
        "a:b",
        "a\n",
        "caf\u{e9}",
        "a,b",
        "a/b",
        "\u{0}",
    ];
    let words = [
        "all",
        "none",
        "safe",
        "uuid",
        "visible",
        "replace",
        "reject",
        "keep",
        "derive",
        "verbatim",
        "skip",
        "uuid4",
        "uuid7",
        "hex32",
        "overwrite",
        "if_absent",
        "never",
        "true",
        "Safe",
    ];
    let ranges = [
        "10.0.0.0/8",
        "10.0.0.1",
        "0.0.0.0/0",
        "255.255.255.255/32",
        "::",
        "::1",
        "::/0",
        "2001:db8::/32",
        "2001:DB8::1/128",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "1::8",
        "::ffff:10.0.0.1/96",
        "1:2:3:4:5:6:10.0.0.1",
        "1::5:6:10.0.0.1",
    ];
    let invalid_ranges = [
        "10.0.0.0/33",
        "10.0.0/8",
        "10.0.0.256",
        "01.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/08",
        "10.0.0.0/+8",
        "/8",
        "::/129",
        "::/012",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        "12345::",
        "g::",
        "::1%eth0",
        "[::1]",
        "10.0.0.0/8 ",
        "::10.0.0.256",
        "1:2:3:4:5:6:7:10.0.0.1",
    ];
    let mut pool: Vec<Value> = [&names[..], &invalid_names, &words, &ranges, &invalid_ranges]
        .concat()
        .into_iter()
        .map(Value::from)
        .collect();
    let lists: Vec<Value> = pool.iter().map(|value| json!([value])).collect();
    pool.extend(lists);
    pool.extend([
        json!(null),
        json!(true),
        json!(false),
        json!([]),
        json!({}),
        json!({"_": 1}),
        json!({"a": 1}),
        json!([null]),
        json!([1]),
        json!([[]]),
        json!(["aws", "x-a", "aws"]),
        json!(["10.0.0.0/8", "::1"]),
    ]);
    pool.extend([0, 1, 2, 200, 1023, 1024, 1025, -1, i64::MAX, i64::MIN].map(Value::from));
    pool.extend([0.0, 0.5, 1.0, 64.0, 64.5, 1024.0, 1025.0, -1.0].map(Value::from));

    let keys = [
        "header",
        "generate",
        "incoming",
        "adopt",
        "response",
        "_other",
        "other",
        "incoming.trust",
        "incoming.accept",
        "incoming.max_length",
        "incoming.on_invalid",
        "incoming.original",
        "incoming._x",
        "incoming.x",
        "adopt.from",
        "adopt.non_uuid",
        "adopt.x",
        "response.echo",
        "response.normalize_aws",
        "response.expose",
        "response.x",
        "log_origin",
        "response.x",
    ];
    let under = |key: &&str| {
        pool.iter()
            .map(|value| match key.split_once('.') {
                Some((parent, key)) => json!({parent: {key: value}}),
                None => json!({*key: value}),
            })
            .collect::<Vec<_>>()
    };
    keys.iter().flat_map(under).collect()
}
