//! Configurations with every value of a large pool under every key, and under keys that do not exist.

use serde_json::{Value, json};

const NAMES: &str = "x-request-id X-Other a aws AWS hostess x_y !#$%&'*+-.^_`|~9 host Host connection content-length \
     keep-alive proxy-connection te TE trailer transfer-encoding upgrade";
const INVALID_NAMES: [&str; 11] = [
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
    "(a)",
];
const WORDS: &str = "all none safe uuid visible replace reject keep derive verbatim skip uuid4 uuid7 hex32 \
     overwrite if_absent never true Safe";
/// Valid ranges of addresses, separated by blanks.
pub const RANGES: &str = "10.0.0.0/8 10.0.0.128/25 10.1.2.3/8 10.0.0.1 0.0.0.0/0 255.255.255.255/32 :: ::1 ::/0 \
     2001:db8::/32 2001:DB8::1/128 1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1::8 ::ffff:10.0.0.1/96 \
     ::ffff:10.0.0.1 ::ffff:10.0.0.0/104 ::ffff:0:0/95 1:2:3:4:5:6:10.0.0.1 1::5:6:10.0.0.1";
const INVALID_RANGES: &str = "/ /8 10.0.0.0/33 10.0.0/8 10.0.0.256 01.0.0.0 10.0.0.0/ 10.0.0.0/08 10.0.0.0/+8 \
     10.0.0.0/-1 10.0.0.0/8/8 10.0.0.0/256 ::/129 ::/012 ::: 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1::2::3 12345:: g:: \
     ::1%eth0 [::1] localhost ::10.0.0.256 1:2:3:4:5:6:7:10.0.0.1";
const KEYS: &str = "header generate incoming adopt response log_origin _other other incoming.trust incoming.accept \
     incoming.max_length incoming.on_invalid incoming.original incoming._x incoming.x adopt.from adopt.non_uuid \
     adopt.x response.echo response.normalize_aws response.expose response.x";

/// Returns all of them, each with one key.
#[must_use]
pub fn configurations() -> Vec<Value> {
    let words = [NAMES, WORDS, RANGES, INVALID_RANGES].map(str::split_whitespace);
    let words = words.into_iter().flatten();
    let words = words
        .chain(INVALID_NAMES)
        .chain(["10.0.0.0/8 ", " 10.0.0.0/8"]);
    let mut pool: Vec<Value> = words.map(Value::from).collect();
    let lists: Vec<Value> = pool.iter().map(|value| json!([value])).collect();
    pool.extend(lists);
    let others = json!([
        null, true, false, [], {}, {"_": 1}, {"a": 1}, [null], [1], [[]], ["aws", "x-a", "aws"], ["10.0.0.0/8", "::1"],
        0, 1, 2, 200, 1023, 1024, 1025, -1, i64::MAX, i64::MIN, 0.0, 0.5, 1.0, 64.0, 64.5, 1024.0, 1025.0, -1.0
    ]);
    pool.extend(others.as_array().into_iter().flatten().cloned());
    let under = |key: &str| -> Vec<Value> {
        let with = |value| match key.split_once('.') {
            Some((parent, key)) => json!({parent: {key: value}}),
            None => json!({key: value}),
        };
        pool.iter().map(with).collect()
    };
    KEYS.split_whitespace().flat_map(under).collect()
}
