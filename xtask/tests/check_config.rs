//! `make check-config` reads each kind of file that it supports, and refuses others.

use std::env;
use std::fs;
use std::process::Command;

/// Checks a file with this name and text. Returns whether it is valid, and what is printed to stdout and stderr.
fn check(name: &str, text: impl AsRef<[u8]>) -> (bool, String, String) {
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
fn ok(name: &str, text: impl AsRef<[u8]>) -> String {
    let (success, stdout, stderr) = check(name, text);
    assert!(success, "{stderr}");
    stdout
}

#[track_caller]
fn refused(name: &str, text: impl AsRef<[u8]>) -> String {
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
        ENVOY.replace("CONFIGURATION", &string(r#"{"generate": "hex32"}"#)),
    );
    assert!(stdout.starts_with("ours: ok\n"), "{stdout}");
    assert!(stdout.contains("\"generate\": \"hex32\""), "{stdout}");
    assert!(!stdout.contains("other"), "{stdout}");

    ok(
        "envoy.yaml",
        ENVOY.replace("configuration: CONFIGURATION", ""),
    );

    let stderr = refused(
        "envoy.yaml",
        ENVOY.replace("CONFIGURATION", &string(r#"{"generat": 1}"#)),
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
        let stderr = refused("envoy.yaml", ENVOY.replace("CONFIGURATION", configuration));
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
        plugin("  pluginConfig:\n    generate: hex32\n"),
    );
    assert!(
        stdout.starts_with("request-id: ok\n") && stdout.contains("\"generate\": \"hex32\""),
        "{stdout}"
    );
    assert!(ok("plugin.yaml", plugin("")).contains("\"generate\": \"uuid4\""));
    let stderr = refused(
        "plugin.yaml",
        plugin("  pluginConfig:\n    incoming: { max_length: 2000 }\n"),
    );
    assert!(
        stderr.contains(
            "request-id: incoming.max_length: found 2000; allowed: a whole number from 1 to 1024"
        ),
        "{stderr}"
    );
    // Higress: defaults, and rules with configurations of their own.
    let rules = "  defaultConfig: { generate: hex32 }\n  matchRules:\n  - config: { generate: uuid7 }\n  - config: { generate: x }\n";
    let (success, stdout, stderr) = check("plugin.yaml", plugin(rules));
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
fn a_traffic_extension() {
    let extension = |configuration: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\nmetadata: {{ name: request-id }}\n\
             spec:\n  phase: AUTHN\n  wasm:\n    url: oci://example.com/filter\n{configuration}"
        )
    };
    let stdout = ok(
        "extension.yaml",
        extension("    pluginConfig: { generate: hex32 }\n"),
    );
    assert!(
        stdout.starts_with("request-id: ok\n") && stdout.contains("\"generate\": \"hex32\""),
        "{stdout}"
    );
    assert!(ok("extension.yaml", extension("")).contains("\"generate\": \"uuid4\""));
    let stderr = refused(
        "extension.yaml",
        extension("    pluginConfig: { genrate: x }\n"),
    );
    assert!(
        stderr.contains("request-id: genrate: unknown key, with \"x\"; did you mean generate?"),
        "{stderr}"
    );
    let lua = "kind: TrafficExtension\nmetadata: { name: request-id }\nspec: { lua: { inlineCode: x } }\n";
    assert!(refused("lua.yaml", lua).contains("a TrafficExtension of Istio with spec.wasm"));
}

#[test]
fn only_names_and_images_say_which_filter_it_is() {
    let plugin = |name: &str, rest: &str| {
        format!(
            "---\nkind: WasmPlugin\nmetadata:\n  name: {name}\n  annotations: {{ last: '{{\"header\": \"x-request-id\"}}' }}\nspec:\n{rest}"
        )
    };
    let by_name = plugin("request-id", "  url: oci://example.com/a\n");
    let by_plugin_name = plugin("b", "  pluginName: request-id\n");
    let by_url = plugin("c", "  url: oci://example.com/request-id-filter\n");
    let other = plugin(
        "d",
        "  url: oci://example.com/d\n  pluginConfig: { x: request-id }\n",
    );
    let stdout = ok(
        "plugins.yaml",
        [by_name, by_plugin_name, by_url, other].concat(),
    );
    let names: Vec<_> = stdout
        .lines()
        .filter(|line| line.ends_with(": ok"))
        .collect();
    assert_eq!(names, ["request-id: ok", "b: ok", "c: ok"]);
}

/// An EnvoyFilter that inserts the filter, which is configured by a `typed_config`.
fn envoy_filter(typed_config: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{ name: request-id }}\nspec:\n  \
         configPatches:\n  - applyTo: HTTP_FILTER\n    match: {{ context: GATEWAY }}\n    patch:\n      \
         operation: INSERT_FIRST\n      value:\n        name: request-id\n        typed_config: {typed_config}\n"
    )
}

const STRING: &str = r#"{ "@type": type.googleapis.com/google.protobuf.StringValue, value: '{"generate": "hex32"}' }"#;

#[test]
fn an_envoy_filter() {
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let plain = |configuration: &str| {
        envoy_filter(&format!(
            r#"{{ "@type": {wasm}, config: {{ name: ours, configuration: {configuration} }} }}"#
        ))
    };
    let stdout = ok("filter.yaml", plain(STRING));
    assert!(
        stdout.starts_with("ours: ok\n") && stdout.contains("\"generate\": \"hex32\""),
        "{stdout}"
    );
    for kind in ["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"] {
        for type_url in ["type_url", "typeUrl"] {
            let in_struct = |configuration: &str| {
                envoy_filter(&format!(
                    r#"{{ "@type": type.googleapis.com/{kind}, {type_url}: {wasm},
                          value: {{ config: {{ name: ours, configuration: {configuration} }} }} }}"#
                ))
            };
            assert_eq!(ok("filter.yaml", in_struct(STRING)), stdout);
            // Around the JSON itself it is as useless as any other message.
            let useless = format!(
                r#"{{ "@type": type.googleapis.com/{kind}, value: {{ generate: hex32 }} }}"#
            );
            for filter in [plain(&useless), in_struct(&useless)] {
                let stderr = refused("filter.yaml", filter);
                let problem = format!(
                    "ours: configuration.@type: found \"type.googleapis.com/{kind}\"; allowed: "
                );
                assert!(stderr.contains(&problem), "{stderr}");
            }
        }
    }
    let of_another = r#"{ "@type": type.googleapis.com/xds.type.v3.TypedStruct, type_url: type.googleapis.com/a.B }"#;
    refused("filter.yaml", envoy_filter(of_another));
    // As istioctl prints it.
    let camel_case = format!(
        r#"[{{ "@type": {wasm}, config: {{ name: other }} }},
            {{ "@type": {wasm}, config: {{ name: a, rootId: request-id, configuration: {STRING} }} }},
            {{ "@type": {wasm}, config: {{ name: b, vmConfig: {{ code: {{ local: {{ filename: request-id.wasm }} }} }} }} }}]"#
    );
    let stdout = ok("filter.yaml", envoy_filter(&camel_case));
    assert!(
        stdout.starts_with("a: ok\n") && stdout.contains("\nb: ok\n") && !stdout.contains("other"),
        "{stdout}"
    );
}

/// Texts as the data of a ConfigMap.
fn config_map(data: &[(&str, &str)]) -> String {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: envoy }\ndata:\n".to_owned();
    for (key, value) in data {
        text += &format!("  {key}: |\n");
        for line in value.lines() {
            text += &format!("    {line}\n");
        }
    }
    text
}

#[test]
fn a_config_map() {
    let envoy = ENVOY.replace("CONFIGURATION", STRING);
    let script = "#!/bin/sh\necho \"request-id: ${X:-[}\"\n";
    let map = config_map(&[("envoy.yaml", &envoy), ("run.sh", script), ("limit", "5\n")]);
    let stdout = ok("map.yaml", map);
    assert!(
        stdout.starts_with("data.envoy.yaml: ours: ok\n")
            && stdout.contains("\"generate\": \"hex32\"")
            && !stdout.contains("warning"),
        "{stdout}"
    );
    let json = serde_json::json!({
        "kind": "ConfigMap",
        "data": { "envoy.json": serde_saphyr::from_str::<serde_json::Value>(&envoy).unwrap().to_string() },
    });
    let stdout = ok("map.json", json.to_string());
    assert!(
        stdout.starts_with("data.envoy.json: ours: ok\n"),
        "{stdout}"
    );

    // Several manifests in the text, and another ConfigMap around it.
    let plugin = "kind: WasmPlugin\nmetadata: { name: request-id }\nspec: { pluginConfig: { generate: x } }\n";
    let inner = config_map(&[("manifests", &format!("kind: Namespace\n---\n{plugin}"))]);
    let outer = config_map(&[("inner.yaml", &inner)]);
    for (map, place) in [
        (&inner, "data.manifests"),
        (&outer, "data.inner.yaml: data.manifests"),
    ] {
        let stderr = refused("map.yaml", map);
        assert!(
            stderr.contains(&format!(
                "\n{place}: request-id: generate: found \"x\"; allowed: "
            )),
            "{stderr}"
        );
    }

    // A text that cannot be read is not passed over in silence.
    let broken = config_map(&[("envoy.yaml", &envoy), ("broken.yaml", "a: [\n")]);
    let stdout = ok("map.yaml", &broken);
    assert!(
        stdout.contains("\nwarning: data.broken.yaml: not checked: neither JSON nor YAML: "),
        "{stdout}"
    );
    let stderr = refused("map.yaml", config_map(&[("broken.yaml", "a: [\n")]));
    assert!(
        stderr.contains("in it\ndata.broken.yaml: not checked: neither JSON nor YAML: ")
            && stderr.contains("looked for:\n"),
        "{stderr}"
    );
    refused(
        "map.yaml",
        "kind: ConfigMap\ndata: { a: 1, b: null, c: [2] }\n",
    );
    refused("map.yaml", "kind: ConfigMap\ndata: text\n");
}

#[test]
fn a_list() {
    let item = r#"{"kind": "WasmPlugin", "metadata": {"name": "request-id"}, "spec": {"pluginConfig": {"generate": "hex32"}}}"#;
    let map = serde_json::json!({ "kind": "ConfigMap", "data": { "plugin": item } });
    for kind in ["List", "WasmPluginList"] {
        let list =
            format!(r#"{{"kind": "{kind}", "items": [{{"kind": "Namespace"}}, {item}, {map}]}}"#);
        for text in [list.clone(), format!("--- # first\n{list}\n---\n")] {
            let stdout = ok("list.json", text);
            assert!(
                stdout.starts_with("request-id: ok\n")
                    && stdout.contains("\ndata.plugin: request-id: ok\n")
                    && stdout.matches("hex32").count() == 2,
                "{stdout}"
            );
        }
    }
    refused("list.json", r#"{"kind": "List"}"#);
}

#[test]
fn a_byte_order_mark() {
    let json = r#"{"generate": "hex32"}"#;
    let plugin = "kind: WasmPlugin\nmetadata: { name: request-id }\nspec: { pluginConfig: { generate: hex32 } }\n";
    for text in [json, plugin, " \n"] {
        let expected = ok("file", text);
        assert_eq!(ok("file", format!("\u{feff}{text}")), expected);
        let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{text}")
                .encode_utf16()
                .flat_map(unit)
                .collect()
        };
        assert_eq!(ok("file", utf16(u16::to_le_bytes)), expected);
        assert_eq!(ok("file", utf16(u16::to_be_bytes)), expected);
    }
    let stderr = refused("file", "\u{feff}{\"generate\": 1}");
    assert!(stderr.contains("refused\ngenerate: found 1; "), "{stderr}");
    assert_eq!(
        refused("file", b"\xff\xfe{"),
        "error: FILE: begins with the byte-order mark of UTF-16, but is not UTF-16\n"
    );
    let stderr = refused("file", b"{\"generate\": \"\xff\"}");
    assert!(
        stderr.starts_with("error: FILE: not text in UTF-8"),
        "{stderr}"
    );
}

#[test]
fn a_policy_that_local_replies_contradict() {
    let mapper = |value: &str| {
        format!(
            "local_reply_config: {{ mappers: [{{ headers_to_add: [{{ header: {{ key: X-Request-Id, value: '{value}' }} }}] }}] }}"
        )
    };
    let client_ids = mapper("%REQ(X-REQUEST-ID)%");
    let shortened =
        mapper("%REQ(x-request-id):36%").replace("local_reply_config", "localReplyConfig");
    let new_ids = mapper("%UNIQUE_ID%");
    let late =
        "lateResponseHeaders: { addIfAbsent: [{ name: x-request-id, value: '%UNIQUE_ID%' }] }";
    let other_header = client_ids
        .replace("X-Request-Id", "x-id")
        .replace("X-REQUEST-ID", "X-ID");
    let warned = |configuration: &str, adds: &str| -> Vec<String> {
        let stdout = ok(
            "both.yaml",
            format!(
                "kind: WasmPlugin\nmetadata: {{ name: request-id }}\nspec: {{ pluginConfig: {configuration} }}\n\
                 ---\nkind: EnvoyFilter\nspec: {{ configPatches: [{{ patch: {{ value: {{ {adds} }} }} }}] }}\n"
            ),
        );
        let warnings = stdout
            .lines()
            .filter_map(|line| line.strip_prefix("warning: "));
        warnings
            .filter_map(|line| Some(line.split_once(": ")?.0.to_owned()))
            .collect()
    };
    let all = [
        client_ids.as_str(),
        &shortened,
        &new_ids,
        late,
        &other_header,
        "a: 1",
    ];
    for (configuration, key, contradicted_by) in [
        ("{}", "", &all[..0]),
        ("{ incoming: { trust: none } }", "incoming.trust", &all[..2]),
        (
            "{ incoming: { trust: [10.0.0.0/8] } }",
            "incoming.trust",
            &all[..2],
        ),
        (
            "{ incoming: { accept: uuid } }",
            "incoming.accept",
            &all[..2],
        ),
        ("{ incoming: { accept: visible } }", "", &all[..0]),
        ("{ response: { echo: never } }", "response.echo", &all[..4]),
        (
            "{ response: { echo: if_absent } }",
            "response.echo",
            &all[..4],
        ),
        (
            "{ header: x-id, incoming: { trust: none } }",
            "incoming.trust",
            &all[4..5],
        ),
    ] {
        for adds in all {
            let expected = contradicted_by.contains(&adds).then_some(key);
            assert_eq!(
                warned(configuration, adds),
                Vec::from_iter(expected),
                "{configuration} with {adds}"
            );
        }
    }
}

#[test]
fn other_files() {
    let stderr = refused("x.yaml", "kind: ConfigMap\n");
    assert!(
        stderr.starts_with("error: FILE: no configuration of this filter in it\nlooked for:\n"),
        "{stderr}"
    );
    for kind in [
        "WasmPlugin",
        "TrafficExtension",
        "EnvoyExtensionPolicy",
        "EnvoyFilter",
        "ConfigMap",
        "JSON",
    ] {
        assert!(stderr.contains(kind), "{stderr}");
    }
    let two = "kind: EnvoyExtensionPolicy\nspec: { wasm: [{ name: a }, { name: b }] }\n";
    assert!(refused("x.yaml", two).contains(
        "no configuration of this filter in it, only of a, b, whose names, images and files do not \
             contain \"request-id\"\nlooked for:"
    ));
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

/// Returns the text of a file that the project ships.
fn shipped(path: &str) -> String {
    fs::read_to_string(xtask::root().join(path)).expect(path)
}

#[test]
fn the_provisional_id_that_tracing_needs() {
    let traced = shipped("envoy/envoy.yaml").replace(
        "          stat_prefix: main\n",
        "          stat_prefix: main\n          tracing: {}\n",
    );
    let istio = [
        shipped("envoy/istio/mesh/wasmplugin.yaml"),
        shipped("envoy/istio/mesh/envoyfilter.yaml"),
    ];
    let gateway = [
        shipped("envoy/gateway/envoyextensionpolicy.yaml"),
        shipped("envoy/gateway/clienttrafficpolicy.yaml"),
    ];
    for (manifest, setting) in [
        (traced.clone(), "generate_request_id"),
        (
            traced.replace("_request_id:", "RequestId:"),
            "generate_request_id",
        ),
        (istio.join("---\n"), "generate_request_id"),
        (gateway.join("---\n"), "headers.requestID"),
    ] {
        let stdout = ok("manifest.yaml", &manifest);
        assert!(!stdout.contains("warning:"), "{stdout}");

        let without = manifest.replace("-provisional\"", "\"");
        let stdout = ok("manifest.yaml", &without);
        let warning =
            format!("warning: {setting}: Envoy adds no ids, and no early header mutation");
        assert_eq!(stdout.matches(&warning).count(), 1, "{stdout}");

        // With another header, the filter does not read Envoy's own x-request-id.
        let other = |manifest: &str| {
            let text = manifest.replace("log_origin: true", "header: x-correlation-id");
            text.replace(
                r#"{"log_origin": true}"#,
                r#"{"header": "x-correlation-id"}"#,
            )
        };
        let stdout = ok("manifest.yaml", other(&without));
        assert!(!stdout.contains("warning:"), "{stdout}");
        let stdout = ok("manifest.yaml", other(&manifest));
        let warning =
            "warning: header: found \"x-correlation-id\", but the early header mutation sets";
        assert_eq!(stdout.matches(warning).count(), 1, "{stdout}");
    }

    let untraced = shipped("envoy/envoy.yaml").replace("-provisional\"", "\"");
    let stdout = ok("envoy.yaml", &untraced);
    assert!(!stdout.contains("warning:"), "{stdout}");
    // Envoy's own ids.
    let generated = traced
        .replace("-provisional\"", "\"")
        .replace("generate_request_id: false", "generate_request_id: true");
    let stdout = ok("envoy.yaml", &generated);
    assert!(!stdout.contains("warning:"), "{stdout}");
}
