//! Writes the table of cases as the inputs with which the fuzzers begin.

use std::fs;
use std::path::Path;

use fuzz::Input;
use test_support::cases;
use test_support::message::{as_envoy, owned, source_address};

fn main() {
    for (number, case) in cases::all().into_iter().enumerate() {
        let request = as_envoy(&owned(&case.request));
        let input = |context: &[u8], lines| Input {
            configuration: case.config.into(),
            context: context.to_vec(),
            lines,
        };
        write("configuration", number, case.config.as_bytes());
        let context = source_address(&request);
        write(
            "request",
            number,
            &input(&context, request.clone()).to_bytes(),
        );
        let response = as_envoy(&owned(&case.upstream));
        write("response", number, &input(b"mine", response).to_bytes());
        for (name, value) in &request {
            if ["x-amzn-trace-id", "traceparent"]
                .map(str::as_bytes)
                .contains(&name.as_slice())
            {
                write("trace_id", number, value);
            }
        }
    }
}

fn write(target: &str, number: usize, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(format!("case-{number}")), input).expect("the seed can be written");
}
