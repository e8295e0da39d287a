//! Which configurations are accepted, what the problems of the others say, and the JSON Schema.

use request_id_configuration as configuration;
use serde_json::{Value, json};
use test_support::{cases, configuration_pool, project};
use xtask::schema;

#[track_caller]
fn problems(text: impl AsRef<[u8]>) -> Vec<String> {
    match configuration::read(text.as_ref()) {
        Ok(accepted) => panic!("accepted: {}", accepted.effective),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Returns the only problem.
#[track_caller]
fn only_problem(text: impl AsRef<[u8]>) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.concat()
}

fn effective(text: &str) -> Value {
    let accepted = configuration::read(text.as_bytes())
        .unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    serde_json::from_str(&accepted.effective).expect("the text is valid JSON")
}

#[test]
fn empty_text_is_the_default_configuration() {
    let default = json!({
        "header": "x-request-id",
        "incoming": {"trust": "all", "accept": "safe", "max_length": 200, "on_invalid": "replace", "original": null},
        "adopt": {"from": ["aws"], "non_uuid": "derive"},
        "generate": "uuid4",
        "response": {"echo": "overwrite", "normalize_aws": true, "expose": false},
        "log_origin": false,
    });
    for text in [
        "",
        " \r\n\t",
        "{}",
        " { } ",
        r#"{"incoming": {}, "adopt": {}, "response": {}}"#,
        r#"{"_x": 1}"#,
    ] {
        assert_eq!(effective(text), default, "{text}");
    }
}

#[test]
fn names_are_shown_in_lower_case_and_ranges_as_written() {
    let shown = effective(
        r#"{"header": "X-Id", "incoming": {"trust": ["10.1.2.3/8", "2001:DB8::"], "original": "X-Was", "max_length": 64.0},
            "adopt": {"from": ["aws", "Traceparent", "X-Amzn-Trace-Id", "X-Other"]}}"#,
    );
    assert_eq!(shown["header"], "x-id");
    assert_eq!(
        shown["incoming"]["trust"],
        json!(["10.1.2.3/8", "2001:DB8::"])
    );
    assert_eq!(shown["incoming"]["original"], "x-was");
    let nobody = effective(r#"{"incoming": {"trust": []}}"#);
    assert_eq!(nobody["incoming"]["trust"], "none");
    assert_eq!(shown["incoming"]["max_length"], 64);
    assert_eq!(
        shown["adopt"]["from"],
        json!(["aws", "traceparent", "x-amzn-trace-id", "x-other"])
    );
}

const NAME: &str = "the name of a header (letters, digits and hyphens, without a colon), but none that HTTP needs itself, such as host";
const RANGE: &str =
    r#"an IPv4 or IPv6 address, or a range such as "10.0.0.0/8" or "2001:db8::/32""#;

#[test]
fn a_problem_says_where_it_is_and_what_is_allowed() {
    for (text, expected) in [
        // Unknown keys, with the likely one wherever it belongs.
        (r#"{"xyzzy": 1}"#, "xyzzy: unknown key, with 1; allowed: header, incoming, adopt, generate, response, log_origin".into()),
        (r#"{"heade": 1}"#, "heade: unknown key, with 1; did you mean header? allowed: header, incoming, adopt, generate, response, log_origin".into()),
        (r#"{"max_length": 64}"#, "max_length: unknown key, with 64; did you mean incoming.max_length? allowed: header, incoming, adopt, generate, response, log_origin".into()),
        (r#"{"incoming": {"max_lenght": 64}}"#, "incoming.max_lenght: unknown key, with 64; did you mean incoming.max_length? allowed: trust, accept, max_length, on_invalid, original".into()),
        (r#"{"incoming": {"maxLength": 64}}"#, "incoming.maxLength: unknown key, with 64; did you mean incoming.max_length? allowed: trust, accept, max_length, on_invalid, original".into()),
        (r#"{"incoming.trust": "all"}"#, r#"incoming.trust: unknown key, with "all"; allowed: header, incoming, adopt, generate, response, log_origin"#.into()),
        (r#"{"adopt": {"Non-UUID": "skip"}}"#, r#"adopt.Non-UUID: unknown key, with "skip"; did you mean adopt.non_uuid? allowed: from, non_uuid"#.into()),
        (r#"{"verbose": "info"}"#, r#"verbose: unknown key, with "info"; allowed: header, incoming, adopt, generate, response, log_origin"#.into()),
        (r#"{"": {}}"#, "\"\": unknown key, with {}; allowed: header, incoming, adopt, generate, response, log_origin".into()),
        ("{\"caf\u{e9}\\n\": 1}", "café\\u{a}: unknown key, with 1; allowed: header, incoming, adopt, generate, response, log_origin".into()),
        (r#"{"generate": "uuid4", "generate": "uuid7"}"#, "generate: found the key twice; allowed: once".into()),
        // Wrong types and values.
        (r#"{"header": 5}"#, format!("header: found 5; allowed: {NAME}")),
        (r#"{"header": null}"#, format!("header: found null; allowed: {NAME}")),
        (r#"{"header": ""}"#, format!(r#"header: found ""; allowed: {NAME}"#)),
        (r#"{"header": ":path"}"#, format!(r#"header: found ":path"; allowed: {NAME}"#)),
        (r#"{"header": "x request id"}"#, format!(r#"header: found "x request id"; allowed: {NAME}"#)),
        (r#"{"header": "Content-Length"}"#, format!(r#"header: found "Content-Length"; allowed: {NAME}"#)),
        (r#"{"incoming": []}"#, "incoming: found []; allowed: an object".into()),
        (r#"{"incoming": {"trust": "some"}}"#, r#"incoming.trust: found "some"; allowed: "all", "none" or a list of address ranges such as "10.0.0.0/8""#.into()),
        (r#"{"incoming": {"trust": "10.0.0.0/8"}}"#, r#"incoming.trust: found "10.0.0.0/8"; allowed: "all", "none" or a list of address ranges such as "10.0.0.0/8""#.into()),
        (r#"{"incoming": {"trust": ["::1", "10.0.0.0/33"]}}"#, format!(r#"incoming.trust[1]: found "10.0.0.0/33"; allowed: {RANGE}"#)),
        (r#"{"incoming": {"trust": [10]}}"#, format!("incoming.trust[0]: found 10; allowed: {RANGE}")),
        (r#"{"incoming": {"accept": "Safe"}}"#, r#"incoming.accept: found "Safe"; allowed: "safe", "uuid" or "visible""#.into()),
        (r#"{"incoming": {"max_length": 0}}"#, "incoming.max_length: found 0; allowed: a whole number from 1 to 1024".into()),
        (r#"{"incoming": {"max_length": 1025}}"#, "incoming.max_length: found 1025; allowed: a whole number from 1 to 1024".into()),
        (r#"{"incoming": {"max_length": -1}}"#, "incoming.max_length: found -1; allowed: a whole number from 1 to 1024".into()),
        (r#"{"incoming": {"max_length": 1.5}}"#, "incoming.max_length: found 1.5; allowed: a whole number from 1 to 1024".into()),
        (r#"{"incoming": {"max_length": 1e99}}"#, "incoming.max_length: found 1e99; allowed: a whole number from 1 to 1024".into()),
        (r#"{"incoming": {"max_length": "200"}}"#, r#"incoming.max_length: found "200"; allowed: a whole number from 1 to 1024"#.into()),
        (r#"{"incoming": {"on_invalid": "drop"}}"#, r#"incoming.on_invalid: found "drop"; allowed: "replace", "reject" or "keep""#.into()),
        (r#"{"incoming": {"original": true}}"#, format!("incoming.original: found true; allowed: null or {NAME}")),
        (r#"{"incoming": {"original": ":x"}}"#, format!(r#"incoming.original: found ":x"; allowed: null or {NAME}"#)),
        (r#"{"adopt": {"from": "aws"}}"#, r#"adopt.from: found "aws"; allowed: a list of header names and "aws""#.into()),
        (r#"{"adopt": {"from": ["aws", ":path"]}}"#, format!(r#"adopt.from[1]: found ":path"; allowed: "aws" or {NAME}"#)),
        (r#"{"adopt": {"from": [null]}}"#, format!(r#"adopt.from[0]: found null; allowed: "aws" or {NAME}"#)),
        (r#"{"adopt": {"non_uuid": false}}"#, r#"adopt.non_uuid: found false; allowed: "derive", "verbatim" or "skip""#.into()),
        (r#"{"generate": "uuid"}"#, r#"generate: found "uuid"; allowed: "uuid4", "uuid7" or "hex32""#.into()),
        (r#"{"response": {"echo": true}}"#, r#"response.echo: found true; allowed: "overwrite", "if_absent" or "never""#.into()),
        (r#"{"response": {"normalize_aws": "true"}}"#, r#"response.normalize_aws: found "true"; allowed: true or false"#.into()),
        // Keys that contradict each other.
        (r#"{"incoming": {"original": "X-Request-ID"}}"#, r#"incoming.original: found "x-request-id"; allowed: a header other than the one of the id (`header`)"#.into()),
        (r#"{"header": "x-a", "adopt": {"from": ["aws", "X-A"]}}"#, r#"adopt.from[1]: found "x-a"; allowed: a header other than the one of the id (`header`)"#.into()),
        (r#"{"header": "traceparent", "adopt": {"from": ["traceparent"]}}"#, r#"adopt.from[0]: found "traceparent"; allowed: a header other than the one of the id (`header`)"#.into()),
        (r#"{"incoming": {"original": "X-Parent-Id"}, "adopt": {"from": ["x-parent-id"]}}"#, r#"incoming.original: found "x-parent-id"; allowed: a header from which no id is adopted (`adopt.from`)"#.into()),
        (r#"{"incoming": {"original": "x-amzn-remapped-x-amzn-requestid"}}"#, r#"incoming.original: found "x-amzn-remapped-x-amzn-requestid"; allowed: a header from which no id is adopted (`adopt.from`)"#.into()),
        (&format!("{{\"{}\": 1}}", "h".repeat(200)), format!("{}: unknown key, with 1; allowed: header, incoming, adopt, generate, response, log_origin", "h".repeat(200))),
        // A value is shown as it is written, on one line.
        ("{\"generate\": {\r\n\t\"a\":\n    [1,  2 ]\n  }}", r#"generate: found {"a":    [1,  2 ]  }; allowed: "uuid4", "uuid7" or "hex32""#.into()),
        // Characters that a terminal would interpret.
        ("{\"generate\": \"\u{2028}\u{7f}\"}", r#"generate: found "\u{2028}\u{7f}"; allowed: "uuid4", "uuid7" or "hex32""#.into()),
        (r#"{"generate": "\u001b[31m\u2028"}"#, r#"generate: found "\u001b[31m\u2028"; allowed: "uuid4", "uuid7" or "hex32""#.into()),
        ("{\"generate\": \"\u{1b}\"}", "the configuration: not JSON: invalid string control character at line 1, column 15".into()),
        ("{\"generate\": \"\\\u{1b}[31m\"}", r"the configuration: not JSON: invalid escape character \u{1b} at line 1, column 16".into()),
        ("{\"generate\": \"\\\n\"}", r"the configuration: not JSON: invalid escape character \u{a} at line 1, column 16".into()),
        (r#"{"generate": "\u00zz"}"#, "the configuration: not JSON: invalid hexadecimal character z at line 1, column 19".into()),
        // Text that is not an object, and text that is not JSON.
        ("[1]", "the configuration: found [1]; allowed: an object".into()),
        ("null", "the configuration: found null; allowed: an object".into()),
        (r#""{}""#, r#"the configuration: found "{}"; allowed: an object"#.into()),
        ("{} {}", "the configuration: not JSON: end of file expected at line 1, column 4".into()),
        ("{}\n}", "the configuration: not JSON: end of file expected at line 2, column 1".into()),
        ("{\"header\": \"x\",\n  \"generate\": uuid4}", "the configuration: not JSON: value expected at line 2, column 15".into()),
        ("{\"header\": \"x\"\n  \"generate\": 1}", "the configuration: not JSON: comma or end of sequence expected at line 2, column 3".into()),
        ("{'header': 'x'}", "the configuration: not JSON: string expected at line 1, column 2".into()),
        ("{", "the configuration: not JSON: value or end of sequence expected at line 1, column 2".into()),
        ("header: x-request-id", "the configuration: not JSON: value expected at line 1, column 1".into()),
    ] {
        assert_eq!(only_problem(text), expected, "{text}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = r#"{
        "header": "a b",
        "incoming": {"trust": ["x", "10.0.0.1", "y"], "acept": "uuid", "max_length": 0},
        "adopt": {"from": [":a", "x-request-id"]},
        "response": []
    }"#;
    let problems = problems(text);
    let paths = problems.iter().filter_map(|line| line.split(':').next());
    // The header has a problem itself, so nothing is compared with it.
    assert_eq!(
        paths.collect::<Vec<_>>(),
        [
            "header",
            "incoming.trust[0]",
            "incoming.trust[2]",
            "incoming.acept",
            "incoming.max_length",
            "adopt.from[0]",
            "response"
        ]
    );
}

#[test]
fn an_invalid_item_keeps_the_indexes_of_those_after_it() {
    let lines = problems(r#"{"adopt": {"from": ["a b", "x-request-id"]}}"#);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with(r#"adopt.from[0]: found "a b";"#),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with(r#"adopt.from[1]: found "x-request-id";"#),
        "{lines:?}"
    );
}

#[test]
fn a_long_value_is_shortened() {
    let problem = only_problem(format!(r#"{{"generate": "{}"}}"#, "\u{e9}".repeat(500)));
    assert_eq!(problem.chars().filter(|&char| char == '\u{e9}').count(), 79);
    assert_eq!(problem.lines().count(), 1);
}

#[test]
fn a_protobuf_message_gets_advice() {
    let advice = "the configuration: found a protobuf message instead of text; allowed: JSON text in \
                  a google.protobuf.StringValue (Envoy passes a Struct on as bytes)";
    // A Struct with {"a": "b"} and one with {"generate": "uuid7"}, as Envoy passes them on.
    for bytes in [
        &b"\n\x08\n\x01a\x12\x03\x1a\x01b"[..],
        b"\n\x13\n\x08generate\x12\x07\x1a\x05uuid7",
    ] {
        assert_eq!(only_problem(bytes), advice);
    }
    // JSON that was cut off can begin like that, too.
    let problem = only_problem(b"\n\t{\r\n");
    assert!(problem.contains("not JSON"), "{problem}");
}

#[test]
fn bytes_that_are_not_utf8_are_not_json() {
    let problem = only_problem(b"{\"header\": \"\xff\"}");
    let start = "the configuration: not JSON: invalid utf-8";
    assert!(problem.starts_with(start), "{problem}");
}

#[test]
fn deep_nesting_is_refused() {
    let text = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    only_problem(&text);
    only_problem(format!(r#"{{"_": {text}}}"#));
}

fn warnings(text: &str) -> Vec<String> {
    let accepted = configuration::read(text.as_bytes());
    configuration::warnings(&accepted.expect(text).policy)
}

#[test]
fn warnings_say_what_a_choice_causes() {
    for text in [
        "{}",
        r#"{"incoming": {"max_length": 36, "on_invalid": "reject"}}"#,
        r#"{"incoming": {"max_length": 32, "on_invalid": "reject"}, "adopt": {"from": []}, "generate": "hex32"}"#,
        r#"{"incoming": {"accept": "uuid", "on_invalid": "reject"}, "adopt": {"from": [], "non_uuid": "verbatim"}}"#,
        r#"{"incoming": {"on_invalid": "reject"}, "generate": "hex32"}"#,
    ] {
        assert_eq!(warnings(text), [""; 0], "{text}");
    }
    let assert_warning = |text: &str, start: &str| {
        let [warning] = &warnings(text)[..] else {
            panic!("one warning about {text}");
        };
        assert!(warning.starts_with(start), "{warning}");
        assert_eq!(warning.lines().count(), 1);
    };
    assert_warning(r#"{"generate": "uuid7"}"#, "generate: a uuid7");
    let reject = r#"{"incoming": {"accept": "uuid", "on_invalid": "reject"}, "generate": "uuid7"}"#;
    assert_warning(reject, "generate: a uuid7");
    for header in
        "x-amzn-requestid Apigw-RequestId x-amz-any x-amzn-remapped-x-amzn-requestid".split(' ')
    {
        let start = format!("header: AWS uses {} itself", header.to_lowercase());
        assert_warning(&format!(r#"{{"header": "{header}"}}"#), &start);
    }
}

/// The next proxy with the same configuration would replace the ids, count them as invalid, or answer 400 to
/// clients that sent no id.
#[test]
fn supplying_ids_that_the_policy_does_not_allow_is_a_warning_or_a_problem() {
    const TOO_LONG: &str = "incoming.max_length: 35 (the ids have 36 bytes)";
    const NOT_UUID: &str = "incoming.accept: uuid";
    for (configuration, limit, key) in [
        (
            r#"{"incoming": {"max_length": 35, ON}}"#,
            TOO_LONG,
            "adopt and generate",
        ),
        (
            r#"{"incoming": {"max_length": 35, ON}, "generate": "hex32"}"#,
            TOO_LONG,
            "adopt and generate",
        ),
        (
            r#"{"incoming": {"max_length": 31, ON}, "generate": "hex32", "adopt": {"from": []}}"#,
            "incoming.max_length: 31 (the ids have 32 bytes)",
            "generate: hex32",
        ),
        (
            r#"{"incoming": {"accept": "uuid", ON}, "generate": "hex32"}"#,
            NOT_UUID,
            "generate: hex32",
        ),
        (
            r#"{"incoming": {"accept": "uuid", ON}, "adopt": {"non_uuid": "verbatim"}}"#,
            NOT_UUID,
            "adopt.non_uuid: verbatim",
        ),
        (
            r#"{"incoming": {"accept": "uuid", ON}, "adopt": {"from": ["aws", "traceparent"]}}"#,
            NOT_UUID,
            "adopt.from: traceparent",
        ),
    ] {
        let with = |on_invalid: &str| {
            configuration.replace("ON", &format!(r#""on_invalid": "{on_invalid}""#))
        };
        for (on_invalid, consequence) in [
            ("replace", "replaces them"),
            ("keep", "counts them as invalid"),
        ] {
            let expected = format!(
                "{key}: the filter supplies ids that {limit} does not allow; the next proxy with this \
                 configuration {consequence}"
            );
            assert_eq!(warnings(&with(on_invalid)), [expected]);
        }
        let expected = format!(
            "incoming.on_invalid: found \"reject\" with {limit} and {key}; allowed: \"replace\" or \"keep\""
        );
        let problem = only_problem(with("reject"));
        assert!(problem.starts_with(&expected), "{problem}");
    }
    // Another problem is reported by itself first.
    let both = r#"{"incoming": {"max_length": 0, "accept": "uuid", "on_invalid": "reject"}, "generate": "hex32"}"#;
    only_problem(both);
}

/// A key is written once, so nothing can be missing from one of its uses.
#[test]
fn every_key_has_a_description_and_a_default() {
    let default: Value = effective("");
    for key in configuration::Settings::default().keys() {
        let path = key.path();
        assert!(key.description.ends_with('.'), "{path}");
        let pointer = format!("/{}", path.replace('.', "/"));
        let shown = default.pointer(&pointer).expect("there is a default");
        assert_eq!(shown.to_string(), key.setting.to_json(), "{path}");
    }
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema::schema()).expect("the schema is valid")
}

#[test]
fn the_schema_in_the_repository_is_current() {
    let written = project::text(schema::PATH);
    assert!(written == schema::text(), "run `make schema`");
}

fn is_contradiction(problem: &str) -> bool {
    problem.contains("other than the one of the id")
        || problem.contains("from which no id is adopted")
}

/// Every value of a large pool under every key, and every configuration of the table.
#[test]
fn the_schema_agrees_with_the_reader() {
    let validator = validator();
    let (mut accepted, mut refused, mut contradictions) = (0, 0, 0);
    let table = cases::all()
        .into_iter()
        .map(|case| case.config)
        .filter(|text| !text.is_empty());
    let table = table.map(|text| serde_json::from_str(text).expect("the table has valid JSON"));
    for document in configuration_pool::configurations()
        .into_iter()
        .chain(table)
    {
        let valid = validator.is_valid(&document);
        match configuration::read(document.to_string().as_bytes()) {
            Ok(_) => {
                assert!(valid, "only the schema refuses {document}");
                accepted += 1;
            }
            // No schema can compare two keys.
            Err(problems) if is_contradiction(&problems[0].to_string()) => contradictions += 1,
            Err(problems) => {
                assert!(!valid, "only the reader refuses {document}: {problems:?}");
                refused += 1;
            }
        }
    }
    assert_eq!(
        contradictions, 2,
        "original and from, each with x-request-id"
    );
    assert!(accepted > 300 && refused > 2000, "{accepted} {refused}");
}
