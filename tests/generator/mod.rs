//! Messages as nobody should send them, from a seed: every header that the filter reads, in forms
//! that are nearly right, repeated, nested, truncated, too long, or any bytes at all.

use std::env;

use fastrand::Rng;

/// A header line: name and value.
pub type Line = (Vec<u8>, Vec<u8>);

const REQUEST_NAMES: &[&str] = &[
    "x-request-id",
    "x-amzn-requestid",
    "x-amzn-request-id",
    "x-amz-request-id",
    "x-amz-requestid",
    "x-amzn-trace-id",
    "traceparent",
    "authorization",
    "x-correlation-id",
    "x-original-request-id",
    "x-amz-cf-id",
    "x-parent-id",
];

const RESPONSE_NAMES: &[&str] = &[
    "x-request-id",
    "x-amzn-requestid",
    "x-amzn-request-id",
    "apigw-requestid",
    "x-amz-request-id",
    "x-amz-requestid",
    "x-amz-cognito-request-id",
    "x-amz-id-2",
    "x-correlation-id",
    "access-control-allow-origin",
    "access-control-expose-headers",
];

/// The seed that `HOSTILE_SEED` gives, or a new one.
pub fn seed() -> u64 {
    match env::var("HOSTILE_SEED") {
        Ok(seed) => seed.parse().expect("HOSTILE_SEED is a whole number"),
        Err(_) => fastrand::u64(..),
    }
}

/// Every byte value in each header that is read, alone and between others: one message each.
fn every_byte(names: &[&str]) -> Vec<Vec<Line>> {
    let mut messages = Vec::new();
    for name in names {
        for byte in 0..=255 {
            for value in [vec![byte], vec![b'a', byte, b'b']] {
                messages.push(vec![(name.as_bytes().to_vec(), value)]);
            }
        }
    }
    messages
}

/// The requests of [`every_byte`].
pub fn every_byte_of_requests() -> Vec<Vec<Line>> {
    every_byte(REQUEST_NAMES)
}

/// The responses of [`every_byte`].
pub fn every_byte_of_responses() -> Vec<Vec<Line>> {
    every_byte(RESPONSE_NAMES)
}

/// The longest value, which with its name and others is more than Envoy takes of a message.
const LONGEST: usize = 62_000;

pub struct Hostile(Rng);

impl Hostile {
    pub fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// The path and the header lines of a request.
    pub fn request(&mut self) -> (Vec<u8>, Vec<Line>) {
        let mut lines = self.lines(REQUEST_NAMES);
        if self.one_in(4) {
            let peer = self.pick(&[
                "10.0.0.1",
                "11.0.0.1",
                "192.0.2.1",
                "fd00::1",
                "2001:db8::1",
            ]);
            lines.push((b"x-forwarded-for".to_vec(), peer.into()));
        }
        let mut path = b"/".to_vec();
        if self.one_in(4) {
            for _ in 0..self.0.usize(1..6) {
                path.extend(
                    self.pick(&[
                        "?",
                        "&",
                        "X-Amz-SignedHeaders=",
                        "x-amz-signedheaders",
                        "host",
                        "%3B",
                        "%3b",
                        "%",
                        "%3",
                        ";",
                        "x-request-id",
                        "x-correlation%2Did",
                        "=",
                    ])
                    .bytes(),
                );
            }
        }
        (path, lines)
    }

    /// The header lines of a response.
    pub fn response(&mut self) -> Vec<Line> {
        self.lines(RESPONSE_NAMES)
    }

    fn lines(&mut self, names: &[&str]) -> Vec<Line> {
        let count = match self.0.u8(..) {
            0..=2 => 90,
            3..=40 => 0,
            _ => self.0.usize(1..7),
        };
        let mut lines: Vec<Line> = Vec::new();
        for _ in 0..count {
            let line = match lines.last() {
                // Once more, the same or another value.
                Some((name, value)) if self.0.u8(..) < 60 => {
                    let (name, value) = (name.clone(), value.clone());
                    let value = if self.0.bool() { value } else { self.value() };
                    (name, value)
                }
                _ => (self.name(names), self.value()),
            };
            lines.push(line);
        }
        lines
    }

    fn name(&mut self, names: &[&str]) -> Vec<u8> {
        // The id's own header is what most is about.
        let mut name = match self.one_in(3) {
            true => names[0].to_owned(),
            false => self.pick(names).to_owned(),
        };
        match self.0.u8(..) {
            0..=30 => name = format!("{}{name}", "x-amzn-remapped-".repeat(self.0.usize(1..4))),
            31 => {
                let most = if self.one_in(8) { 3000 } else { 100 };
                name = format!("{}{name}", "x-amzn-remapped-".repeat(self.0.usize(..most)));
            }
            32..=40 => name.truncate(self.0.usize(1..=name.len())),
            41..=45 => name.push(self.0.alphanumeric()),
            46..=70 => name.make_ascii_uppercase(),
            _ => {}
        }
        name.into()
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = match self.0.u8(..) {
            0..=19 => self.bytes(300, |rng| rng.u8(..)),
            20..=49 => self.bytes(300, |rng| match rng.u8(..) {
                byte @ (b'\t' | b' '..=b'~' | 0x80..) => byte,
                byte => byte | 0x80,
            }),
            50..=69 => self.bytes(240, |rng| {
                *rng.choice(b"aF0-., \t;=%:@~\x80\xff").unwrap_or(&b'a')
            }),
            70..=109 => self.bytes(260, |rng| match rng.u8(..) {
                0..=2 => b'!',
                _ => rng.alphanumeric() as u8,
            }),
            110..=139 => self.uuid().into(),
            140..=169 => self.list().into(),
            170..=194 => self.authorization().into(),
            195..=209 => self.trace_root().into(),
            210..=224 => self.traceparent().into(),
            225..=229 => {
                let longest = if self.one_in(8) { LONGEST } else { 2000 };
                let length = self.0.usize(0..longest);
                let byte = *self.0.choice(b"a,\xff %-").unwrap_or(&b'a');
                vec![byte; length]
            }
            _ => self
                .pick(&["", " ", ",", "*", "mine", "*, mine", "x-request-id, a"])
                .into(),
        };
        match self.0.u8(..) {
            0..=19 => value.truncate(self.0.usize(0..=value.len())),
            20..=29 => value.insert(self.0.usize(0..=value.len()), self.0.u8(..)),
            30..=39 => {
                let again = value.clone();
                value.extend(self.pick(&[",", ", ", ";", "\t,"]).bytes());
                value.extend(again);
            }
            _ => {}
        }
        value
    }

    fn bytes(&mut self, most: usize, byte: impl Fn(&mut Rng) -> u8) -> Vec<u8> {
        let length = self.0.usize(0..most);
        (0..length).map(|_| byte(&mut self.0)).collect()
    }

    fn uuid(&mut self) -> String {
        let hex = self.hex(32);
        let uuid = format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        );
        match self.0.u8(..4) {
            0 => uuid.to_uppercase(),
            1 => format!("{{{uuid}}}"),
            _ => uuid,
        }
    }

    fn hex(&mut self, length: usize) -> String {
        if self.one_in(8) {
            return "0".repeat(length);
        }
        (0..length).map(|_| self.0.digit(16)).collect()
    }

    fn list(&mut self) -> String {
        let count = self.0.usize(1..5);
        let element = |_| match self.0.u8(..4) {
            0 => self.uuid(),
            _ => {
                let words = [
                    "-",
                    "none",
                    "NULL",
                    "undefined",
                    "unknown",
                    "test-invoke-request",
                    "UUID_REPLACED_INVALID_REQUEST_ID",
                    "00000000-0000-0000-0000-000000000000",
                    "ffffffff-ffff-ffff-ffff-ffffffffffff",
                    "4B4NGF0EAWN0GE63",
                    "mine",
                    "a b",
                    "",
                    " mine ",
                ];
                self.pick(&words).to_owned()
            }
        };
        (0..count).map(element).collect::<Vec<_>>().join(",")
    }

    fn authorization(&mut self) -> String {
        let algorithm = self.pick(&[
            "AWS4-HMAC-SHA256",
            "aws4-hmac-sha256",
            "AWS4-ECDSA-P256-SHA256",
            "AWS4-HMAC-SHA512",
            "Bearer",
            "",
        ]);
        let mut text = format!("{algorithm} Credential=A/20261122/eu-west-1/s3/aws4_request");
        for _ in 0..self.0.u8(1..4) {
            text.push_str(self.pick(&[", ", ",", " ", "\t", ",,"]));
            text.push_str(self.pick(&["SignedHeaders=", "signedheaders=", "SignedHeaders"]));
            for _ in 0..self.0.u8(0..5) {
                text.push_str(self.pick(&[
                    "host",
                    ";",
                    "X-Request-Id",
                    "x-request-id",
                    "x-correlation-id",
                ]));
            }
        }
        text
    }

    fn trace_root(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.0.u8(1..4) {
            let (time, rest) = (self.hex(8), self.hex(24));
            let key = self.pick(&["Root", "root", " ROOT ", "Self", "Parent", ""]);
            let version = self.pick(&["1", "1", "1", "2", ""]);
            let end = self.pick(&[";", ",", " ; ", ""]);
            text.push_str(&format!("{key}={version}-{time}-{rest}{end}"));
        }
        text
    }

    fn traceparent(&mut self) -> String {
        let version = self.pick(&["00", "00", "01", "cc", "ff", "FF", "0"]);
        let (trace, parent) = (self.hex(32), self.hex(16));
        let flags = self.pick(&["00", "01", "1", "01-more", "zz"]);
        format!("{version}-{trace}-{parent}-{flags}")
    }

    fn one_in(&mut self, chances: u8) -> bool {
        self.0.u8(..chances) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.0.usize(..from.len())]
    }

    /// The text of a configuration; nearly always a good one.
    pub fn configuration(&mut self) -> String {
        let header = self.pick(&["x-request-id", "X-Correlation-ID", "x-amzn-requestid"]);
        let trust = self.pick(&[
            r#""all""#,
            r#""all""#,
            r#""none""#,
            r#"["10.0.0.0/8","fd00::/8"]"#,
            r#"["::/0"]"#,
            r#"["::ffff:10.0.0.0/104"]"#,
            "[]",
        ]);
        let accept = self.pick(&["safe", "uuid", "visible"]);
        let max_length = match self.0.u8(..3) {
            0 => 200,
            1 => self.0.u16(1..=1024),
            _ => self.0.u16(30..40),
        };
        let on_invalid = self.pick(&["replace", "replace", "reject", "keep"]);
        let original = self.pick(&["null", "null", r#""x-original-request-id""#]);
        let from = self.pick(&[
            r#""aws""#,
            r#""AWS""#,
            "",
            r#""traceparent","aws""#,
            r#""x-amzn-trace-id","x-amz-cf-id""#,
            r#""X-Parent-Id","x-amz-request-id","aws","traceparent""#,
        ]);
        let non_uuid = self.pick(&["derive", "derive", "verbatim", "skip"]);
        let generate = self.pick(&["uuid4", "uuid7", "hex32"]);
        let echo = self.pick(&["overwrite", "if_absent", "never"]);
        let (normalize, expose, log) = (self.0.u8(..3) > 0, self.0.bool(), self.0.bool());
        format!(
            r#"{{"header":"{header}","incoming":{{"trust":{trust},"accept":"{accept}","max_length":{max_length},"on_invalid":"{on_invalid}","original":{original}}},"adopt":{{"from":[{from}],"non_uuid":"{non_uuid}"}},"generate":"{generate}","response":{{"echo":"{echo}","normalize_aws":{normalize},"expose":{expose}}},"log_origin":{log}}}"#
        )
    }
}
