//! `make check-config` reads each kind of file that it supports, and refuses others.

use std::env;
use std::fs;
use std::process::Command;

/// Checks a file with this name and text. Returns whether it is valid, and what is printed to stdout and stderr.
fn check(name: &str, text: &str) -> (bool, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    let output = Command::new(env::var_os("CARGO_BIN_EXE_xtask").unwrap())
        .arg("check-config")
        .arg(&file)
        .output()
        .unwrap();
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&file.display().to_string(), "FILE");
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[track_caller]
fn ok(name: &str, text: &str) -> String {
    let (success, stdout, stderr) = check(name, text);
    assert!(success, "{stderr}");
    stdout
}

#[track_caller]
fn refused(name: &str, text: &str) -> String {
    let (success, stdout, stderr) = check(name, text);
    assert!(!success && stdout.is_empty(), "{stdout}");
    stderr
}

#[test]
fn bare_json() {
    let stdout = ok("config.json", r#"{"generate": "uuid7"}"#);
    assert!(
        stdout.starts_with("ok\n{\n  \"header\": \"x-request-id\","),
        "{stdout}"
    );
    assert!(stdout.contains("\"generate\": \"uuid7\""), "{stdout}");
    assert!(stdout.contains("\nwarning: generate: a uuid7"), "{stdout}");

    let stderr = refused("config.json", r#"{"generate": "uuid", "x": 1}"#);
    assert_eq!(
        stderr,
        "error: FILE: refused\n\
         generate: found \"uuid\"; allowed: \"uuid4\", \"uuid7\" or \"hex32\"\n\
         x: unknown key, with 1; allowed: header, incoming, adopt, generate, response, log_origin\n"
    );
    let stderr = refused("config.json", "{\"generate\": \"uuid4\",\n}");
    assert_eq!(
        stderr,
        "error: FILE: refused\nthe configuration: not JSON: string expected at line 2, column 1\n"
    );
    let stderr = refused(
        "config.json",
        r#"{"generate": "uuid4", "generate": "uuid7"}"#,
    );
    assert!(stderr.contains("generate: found the key twice"), "{stderr}");
}

const ENVOY: &str = r#"
static_resources:
  listeners:
  - filter_chains:
    - filters:
      - typed_config:
          http_filters:
          - name: other
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: other
                configuration: { "@type": type.googleapis.com/google.protobuf.StringValue, value: '{"x-request-id": "not ours"}' }
          - name: ours
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: ours
                vm_config: { code: { local: { filename: /etc/envoy/request-id-filter.wasm } } }
                configuration: CONFIGURATION
"#;

#[test]
fn an_envoy_configuration() {
    let string = |json: &str| {
        format!(
            r#"{{ "@type": type.googleapis.com/google.protobuf.StringValue, value: '{json}' }}"#
        )
    };
    let stdout = ok(
        "envoy.yaml",
        &ENVOY.replace("CONFIGURATION", &string(r#"{"generate": "hex32"}"#)),
    );
    assert!(stdout.starts_with("ours: ok\n"), "{stdout}");
    assert!(stdout.contains("\"generate\": \"hex32\""), "{stdout}");
    assert!(!stdout.contains("other"), "{stdout}");

    ok(
        "envoy.yaml",
        &ENVOY.replace("configuration: CONFIGURATION", ""),
    );

    let stderr = refused(
        "envoy.yaml",
        &ENVOY.replace("CONFIGURATION", &string(r#"{"generat": 1}"#)),
    );
    assert!(
        stderr.contains("\nours: generat: unknown key, with 1; did you mean generate?"),
        "{stderr}"
    );

    for (configuration, problem) in [
        (
            r#"{ "@type": type.googleapis.com/google.protobuf.Struct, value: { generate: hex32 } }"#,
            r#"configuration.@type: found "type.googleapis.com/google.protobuf.Struct"; allowed: "#,
        ),
        (
            r#"{ "@type": type.googleapis.com/google.protobuf.StringValue, value: { generate: hex32 } }"#,
            r#"configuration.value: found {"generate":"hex32"}; allowed: "#,
        ),
        (
            "{ generate: hex32 }",
            r#"configuration: found {"generate":"hex32"}; allowed: "#,
        ),
        (
            r#"'{"generate": "hex32"}'"#,
            r#"configuration: found "{\"generate\": \"hex32\"}"; allowed: "#,
        ),
    ] {
        let stderr = refused("envoy.yaml", &ENVOY.replace("CONFIGURATION", configuration));
        assert!(stderr.contains(&format!("ours: {problem}")), "{stderr}");
        assert!(stderr.contains("the JSON as text, in quotes"), "{stderr}");
    }
}

#[test]
fn a_wasm_plugin() {
    let plugin = |configuration: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: x }}\n---\n\
             apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{ name: request-id }}\n\
             spec:\n  url: oci://example.com/request-id-filter\n{configuration}"
        )
    };
    let stdout = ok(
        "plugin.yaml",
        &plugin("  pluginConfig:\n    generate: hex32\n"),
    );
    assert!(
        stdout.starts_with("request-id: ok\n") && stdout.contains("\"generate\": \"hex32\""),
        "{stdout}"
    );
    assert!(ok("plugin.yaml", &plugin("")).contains("\"generate\": \"uuid4\""));
    let stderr = refused(
        "plugin.yaml",
        &plugin("  pluginConfig:\n    incoming: { max_length: 2000 }\n"),
    );
    assert!(
        stderr.contains(
            "request-id: incoming.max_length: found 2000; allowed: a whole number from 1 to 1024"
        ),
        "{stderr}"
    );
    // Higress: defaults, and rules with configurations of their own.
    let rules = "  defaultConfig: { generate: hex32 }\n  matchRules:\n  - config: { generate: uuid7 }\n  - config: { generate: x }\n";
    let (success, stdout, stderr) = check("plugin.yaml", &plugin(rules));
    assert!(
        !success && stdout.matches("request-id: ok").count() == 2,
        "{stdout}"
    );
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert!(
        stderr.contains("request-id: generate: found \"x\""),
        "{stderr}"
    );
}

#[test]
fn an_envoy_extension_policy() {
    let policy = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nspec:\n  wasm:\n\
                  \x20 - name: request-id\n    config: { incoming: { trust: none } }\n  - name: other\n    config: { x: 1 }\n";
    let stdout = ok("policy.yaml", policy);
    assert!(
        stdout.starts_with("request-id: ok\n") && stdout.contains("\"trust\": \"none\""),
        "{stdout}"
    );
}

#[test]
fn other_files() {
    let stderr = refused("x.yaml", "kind: ConfigMap\n");
    assert!(
        stderr.starts_with(
            "error: FILE: no configuration of this filter in it; allowed: its bare JSON,"
        ),
        "{stderr}"
    );
    let two = "kind: EnvoyExtensionPolicy\nspec: { wasm: [{ name: a }, { name: b }] }\n";
    assert!(
        refused("x.yaml", two).contains("no configuration of this filter in it, only of a, b;")
    );
    assert!(refused("x.yaml", "a: [").contains("neither JSON nor YAML"));
    assert!(
        refused("x.yaml", "generate: hex32\n").contains("no configuration of this filter in it")
    );
    assert!(ok("x.json", " \n").starts_with("ok\n"));
    assert!(refused("x.json", "[1]").contains("the configuration: found [1]; allowed: an object"));
    let output = Command::new(env::var_os("CARGO_BIN_EXE_xtask").unwrap())
        .args(["check-config", "/no/such/file"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("error: /no/such/file: No such file"),
        "{stderr}"
    );
}
