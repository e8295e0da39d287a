//! Writes the table of cases as the inputs that the fuzzers begin with.

#[allow(dead_code)] // Not what becomes of a case.
#[path = "../../tests/cases/mod.rs"]
mod cases;
#[allow(dead_code)] // Not its serialized form.
#[path = "../../tests/host/mod.rs"]
mod host;
#[path = "../message.rs"]
mod message;

use std::fs;
use std::path::Path;

use message::Message;

fn main() {
    for (number, case) in cases::all().into_iter().enumerate() {
        let owned = |lines: &[cases::Line]| -> Vec<(Vec<u8>, Vec<u8>)> {
            let owned = lines
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.clone()));
            owned.collect()
        };
        let mut lines = owned(&case.request);
        lines.push((b":path".to_vec(), case.path.into()));
        let message = |other: &[u8], lines| Message {
            configuration: case.config.into(),
            other: other.to_vec(),
            lines,
        };
        write("configuration", number, case.config.as_bytes());
        let request = message(&host::peer(&lines), host::as_envoy(&lines));
        write("request", number, &request.write());
        write(
            "response",
            number,
            &message(b"mine", owned(&case.upstream)).write(),
        );
        for (name, value) in &lines {
            match name.as_slice() {
                b"x-amzn-trace-id" => write("trace_id", number, value),
                b"authorization" | b":path" => write("signed_headers", number, value),
                _ => {}
            }
        }
    }
}

fn write(target: &str, number: usize, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("case-{number}")), input).expect("a file");
}
