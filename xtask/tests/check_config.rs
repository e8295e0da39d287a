//! `make check-config` reads each kind of file that it supports, and refuses others.

use std::env;
use std::fs;
use std::process::Command;

use request_id_configuration as configuration;
use serde_json::{Value, json};

/// Runs the command on the file at this path, and returns what it prints to stdout and stderr.
#[track_caller]
fn run(path: &str) -> [String; 2] {
    let output = Command::new(env::var_os("CARGO_BIN_EXE_xtask").unwrap())
        .args(["check-config", path])
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(
        output.status.success(),
        printed[1].is_empty(),
        "{printed:?}"
    );
    printed
}

/// Does the same with a file of this text, which is called `FILE` in the returned texts.
#[track_caller]
fn run_on(text: impl AsRef<[u8]>) -> [String; 2] {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    let path = file.path().to_str().unwrap();
    run(path).map(|printed| printed.replace(path, "FILE"))
}

fn default_configuration() -> Value {
    serde_json::from_str(&configuration::read(b"").unwrap().effective).unwrap()
}

/// Returns the lines that are printed about a file of this text, first those on stdout. Left out are the
/// settings of effective configurations that have their defaults, and the list of what was looked for.
#[track_caller]
fn printed(text: impl AsRef<[u8]>) -> Vec<String> {
    fn without_punctuation(line: &str) -> &str {
        line.trim_start().trim_end_matches(',')
    }
    let default = format!("{:#}", default_configuration());
    let defaults: Vec<_> = default.lines().map(without_punctuation).collect();
    let [stdout, stderr] = run_on(text);
    let lines = stdout.lines().chain(stderr.lines());
    let lines = lines.take_while(|line| *line != "looked for:");
    let lines = lines.map(without_punctuation);
    let lines = lines.filter(|line| !defaults.contains(line));
    lines.map(str::to_owned).collect()
}

/// Checks that the lines of [`printed`] begin with these texts.
#[track_caller]
fn check(text: impl AsRef<[u8]>, expected: &[&str]) {
    let lines = printed(text);
    let begins = |(line, start): (&String, &&str)| line.starts_with(start);
    let all_begin = lines.len() == expected.len() && lines.iter().zip(expected).all(begins);
    assert!(all_begin, "{lines:#?} instead of {expected:#?}");
}

/// Returns the warnings about a file of this text.
#[track_caller]
fn warnings(text: impl AsRef<[u8]>) -> Vec<String> {
    let lines = printed(text);
    let warnings = lines
        .iter()
        .filter_map(|line| line.strip_prefix("warning: "));
    warnings.map(str::to_owned).collect()
}

const OK: &str = "request-id: ok";
const HEX32: &str = r#""generate": "hex32""#;
const REFUSED: &str = "error: FILE: refused";
const NOTHING_FOUND: &str = "error: FILE: no configuration of this filter in it";

#[test]
fn the_effective_configuration_is_printed() {
    let [stdout, _] = run_on(" \n");
    assert_eq!(stdout, format!("ok\n{:#}\n", default_configuration()));
}

#[test]
fn bare_json() {
    let uuid7 = r#"{"generate": "uuid7"}"#;
    check(
        uuid7,
        &["ok", r#""generate": "uuid7""#, "warning: generate: a uuid7"],
    );
    for (text, problems) in [
        (
            r#"{"generate": 1, "x": 1}"#,
            &["generate: found 1;", "x: unknown key, with 1;"][..],
        ),
        // Invalid JSON that is valid YAML, and a repeated key, which is valid JSON alone.
        (
            "{\"generate\": \"uuid4\",\n}",
            &["the configuration: not JSON: string expected at line 2, column 1"],
        ),
        (
            r#"{"generate": "uuid4", "generate": "uuid7"}"#,
            &["generate: found the key twice"],
        ),
        ("[1]", &["the configuration: found [1]; allowed: an object"]),
    ] {
        check(text, &[&[REFUSED], problems].concat());
    }
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

const STRING: &str = r#"{ "@type": type.googleapis.com/google.protobuf.StringValue, value: '{"generate": "hex32"}' }"#;

#[test]
fn an_envoy_configuration() {
    let with = |configuration: &str| ENVOY.replace("CONFIGURATION", configuration);
    check(with(STRING), &["ours: ok", HEX32]);
    check(
        ENVOY.replace("configuration: CONFIGURATION", ""),
        &["ours: ok"],
    );
    let misspelled = with(&STRING.replace("generate", "generat"));
    let problem = "ours: generat: unknown key, with \"hex32\"; did you mean generate?";
    check(misspelled, &[REFUSED, problem]);

    let protobuf = "type.googleapis.com/google.protobuf";
    for (configuration, found) in [
        (
            format!(r#"{{ "@type": {protobuf}.Struct, value: {{ generate: hex32 }} }}"#),
            format!(r#".@type: found "{protobuf}.Struct""#),
        ),
        (
            format!(r#"{{ "@type": {protobuf}.StringValue, value: {{ generate: hex32 }} }}"#),
            r#".value: found {"generate":"hex32"}"#.into(),
        ),
        (
            "{ generate: hex32 }".into(),
            r#": found {"generate":"hex32"}"#.into(),
        ),
        (r#"'{"a": 1}'"#.into(), r#": found "{\"a\": 1}""#.into()),
    ] {
        let allowed = format!(
            r#"{{"@type": "{protobuf}.StringValue", "value": the JSON as text, in quotes}}"#
        );
        let problem = format!("ours: configuration{found}; allowed: {allowed}");
        check(with(&configuration), &[REFUSED, &problem]);
    }
}

/// Resources that contain a configuration as it is.
const RESOURCES: [&str; 3] = [
    "kind: Namespace\n---\nkind: WasmPlugin\nmetadata: { name: request-id }\nspec: { url: 'oci://a', pluginConfig: HERE }",
    "kind: TrafficExtension\nmetadata: { name: request-id }\nspec: { wasm: { url: 'oci://a', pluginConfig: HERE } }",
    "kind: EnvoyExtensionPolicy\nspec: { wasm: [{ name: request-id, config: HERE }, { name: other, config: { x: 1 } }] }",
];

#[test]
fn resources_of_istio_and_envoy_gateway() {
    for resource in RESOURCES {
        let with = |value: &str| resource.replace("HERE", value);
        let without = resource
            .replace("pluginConfig: HERE", "")
            .replace("config: HERE", "");
        check(without, &[OK]);
        check(with("{ generate: hex32 }"), &[OK, HEX32]);
        let invalid = with("{ genrate: x, incoming: { max_length: 2000 } }");
        let misspelled = "request-id: genrate: unknown key, with \"x\"; did you mean generate?";
        let too_large = "request-id: incoming.max_length: found 2000; allowed: a whole number";
        check(invalid, &[REFUSED, misspelled, too_large]);
    }
    let lua = "kind: TrafficExtension\nmetadata: { name: request-id }\nspec: { lua: { inlineCode: x } }\n";
    check(lua, &[NOTHING_FOUND]);
}

#[test]
fn rules_of_higress_have_no_effect() {
    let settings = "defaultConfig: { generate: hex32 }, matchRules: [{ config: { generate: x } }]";
    let plugin = RESOURCES[0].replace("pluginConfig: HERE", settings);
    let warning = "warning: request-id: spec.matchRules has no effect";
    check(plugin, &[OK, HEX32, warning]);
}

#[test]
fn only_names_and_images_say_which_filter_it_is() {
    let plugin = |name: &str, spec: &str| {
        format!(
            "---\nkind: WasmPlugin\nmetadata: {{ name: {name}, annotations: {{ last: '{{\"header\": \"x-request-id\"}}' }} }}\nspec: {{ {spec} }}\n"
        )
    };
    let plugins = [
        plugin("request-id", "url: 'oci://a'"),
        plugin("b", "pluginName: request-id"),
        plugin("c", "url: 'oci://example.com/request-id-filter'"),
        plugin("d", "url: 'oci://d', pluginConfig: { x: request-id }"),
    ];
    check(plugins.concat(), &[OK, "b: ok", "c: ok"]);
    let others = "kind: EnvoyExtensionPolicy\nspec: { wasm: [{ name: a }, { name: b }] }\n";
    let named = "only of a, b, whose names, images and files do not contain \"request-id\"";
    check(others, &[&format!("{NOTHING_FOUND}, {named}")]);
}

/// An EnvoyFilter that inserts the filter, which is configured by a `typed_config`.
fn envoy_filter(typed_config: &str) -> String {
    format!(
        "kind: EnvoyFilter\nmetadata: {{ name: request-id }}\nspec:\n  configPatches:\n  - applyTo: HTTP_FILTER\n    \
         patch: {{ operation: INSERT_FIRST, value: {{ name: request-id, typed_config: {typed_config} }} }}\n"
    )
}

#[test]
fn an_envoy_filter() {
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let plain = |configuration: &str| {
        envoy_filter(&format!(
            r#"{{ "@type": {wasm}, config: {{ name: ours, configuration: {configuration} }} }}"#
        ))
    };
    check(plain(STRING), &["ours: ok", HEX32]);
    for kind in ["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"] {
        for type_url in ["type_url", "typeUrl"] {
            let in_struct = |configuration: &str| {
                envoy_filter(&format!(
                    r#"{{ "@type": type.googleapis.com/{kind}, {type_url}: {wasm},
                          value: {{ config: {{ name: ours, configuration: {configuration} }} }} }}"#
                ))
            };
            check(in_struct(STRING), &["ours: ok", HEX32]);
            // Around the JSON itself, a TypedStruct is as useless as any other message.
            let useless = format!(
                r#"{{ "@type": type.googleapis.com/{kind}, value: {{ generate: hex32 }} }}"#
            );
            let problem =
                format!("ours: configuration.@type: found \"type.googleapis.com/{kind}\"");
            check(plain(&useless), &[REFUSED, &problem]);
            check(in_struct(&useless), &[REFUSED, &problem]);
        }
    }
    let of_another = r#"{ "@type": type.googleapis.com/xds.type.v3.TypedStruct, type_url: type.googleapis.com/a.B }"#;
    check(envoy_filter(of_another), &[NOTHING_FOUND]);
    // As istioctl prints it.
    let camel_case = format!(
        r#"[{{ "@type": {wasm}, config: {{ name: other }} }},
            {{ "@type": {wasm}, config: {{ name: a, rootId: request-id, configuration: {STRING} }} }},
            {{ "@type": {wasm}, config: {{ name: b, vmConfig: {{ code: {{ local: {{ filename: request-id.wasm }} }} }} }} }}]"#
    );
    check(envoy_filter(&camel_case), &["a: ok", HEX32, "b: ok"]);
}

/// Returns a ConfigMap with these texts, as YAML.
fn config_map(data: &[(&str, &str)]) -> String {
    let data: serde_json::Map<_, Value> = data
        .iter()
        .map(|&(key, text)| (key.into(), text.into()))
        .collect();
    serde_saphyr::to_string(&json!({ "kind": "ConfigMap", "data": data })).unwrap()
}

#[test]
fn a_config_map() {
    let envoy = ENVOY.replace("CONFIGURATION", STRING);
    let script = "#!/bin/sh\necho \"request-id: ${X:-[}\"\n";
    let map = config_map(&[("envoy.yaml", &envoy), ("run.sh", script), ("limit", "5\n")]);
    check(map, &["data.envoy.yaml: ours: ok", HEX32]);
    let envoy_json = serde_saphyr::from_str::<Value>(&envoy).unwrap().to_string();
    let map = json!({ "kind": "ConfigMap", "data": { "envoy.json": envoy_json } });
    check(map.to_string(), &["data.envoy.json: ours: ok", HEX32]);

    // Several manifests in the text, and another ConfigMap around it.
    let plugin = "kind: WasmPlugin\nmetadata: { name: request-id }\nspec: { pluginConfig: { generate: x } }\n";
    let inner = config_map(&[("manifests", &format!("kind: Namespace\n---\n{plugin}"))]);
    let outer = config_map(&[("inner.yaml", &inner)]);
    let problem = "data.manifests: request-id: generate: found \"x\"; allowed: ";
    check(inner, &[REFUSED, problem]);
    check(outer, &[REFUSED, &format!("data.inner.yaml: {problem}")]);

    // A text that cannot be read is not passed over in silence.
    let broken = ("broken.yaml", "a: [\n");
    let problem = "data.broken.yaml: not checked: neither JSON nor YAML: ";
    let lines = printed(config_map(&[("envoy.yaml", &envoy), broken]));
    let warning = format!("warning: {problem}");
    assert!(
        lines[..2] == ["data.envoy.yaml: ours: ok", HEX32] && lines[2].starts_with(&warning),
        "{lines:?}"
    );
    let lines = printed(config_map(&[broken]));
    assert!(
        lines[0] == NOTHING_FOUND && lines[1].starts_with(problem),
        "{lines:?}"
    );
    check(
        "kind: ConfigMap\ndata: { a: 1, b: null, c: [2] }\n",
        &[NOTHING_FOUND],
    );
    check("kind: ConfigMap\ndata: text\n", &[NOTHING_FOUND]);
}

#[test]
fn a_list() {
    let item = json!({
        "kind": "WasmPlugin",
        "metadata": { "name": "request-id" },
        "spec": { "pluginConfig": { "generate": "hex32" } },
    });
    let map = json!({ "kind": "ConfigMap", "data": { "plugin": item.to_string() } });
    for kind in ["List", "WasmPluginList"] {
        let list = json!({ "kind": kind, "items": [{ "kind": "Namespace" }, item, map] });
        for text in [list.to_string(), format!("--- # first\n{list}\n---\n")] {
            check(text, &[OK, HEX32, "data.plugin: request-id: ok", HEX32]);
        }
    }
    check(r#"{"kind": "List"}"#, &[NOTHING_FOUND]);
}

#[test]
fn a_byte_order_mark() {
    let plugin = RESOURCES[0].replace("HERE", "{ generate: hex32 }");
    for text in [r#"{"generate": "hex32"}"#, "[1]", &plugin, " \n"] {
        let expected = printed(text);
        let marked = format!("\u{feff}{text}");
        assert_eq!(printed(&marked), expected);
        for unit in [u16::to_le_bytes, u16::to_be_bytes] {
            let utf16: Vec<u8> = marked.encode_utf16().flat_map(unit).collect();
            assert_eq!(printed(utf16), expected);
        }
    }
    let not_utf16 = "error: FILE: begins with the byte-order mark of UTF-16, but is not UTF-16";
    check(b"\xff\xfe{", &[not_utf16]);
    check(
        b"{\"generate\": \"\xff\"}",
        &["error: FILE: not text in UTF-8"],
    );
}

#[test]
fn a_policy_that_local_replies_contradict() {
    let mapper = |header: &str, value: &str| {
        format!(
            "local_reply_config: {{ mappers: [{{ headers_to_add: [{{ header: {{ key: {header}, value: '{value}' }} }}] }}] }}"
        )
    };
    let shortened = mapper("X-Request-Id", "%REQ(x-request-id):36%");
    // The first two repeat the client's id, the next two add a new one.
    let all = [
        mapper("X-Request-Id", "%REQ(X-REQUEST-ID)%"),
        shortened.replace("local_reply_config", "localReplyConfig"),
        mapper("X-Request-Id", "%UNIQUE_ID%"),
        "lateResponseHeaders: { addIfAbsent: [{ name: x-request-id, value: '%UNIQUE_ID%' }] }"
            .into(),
        mapper("x-id", "%REQ(X-ID)%"),
        "a: 1".into(),
    ];
    for (configuration, key, contradicted_by) in [
        ("{}", "", 0..0),
        ("incoming: { trust: none }", "incoming.trust", 0..2),
        ("incoming: { trust: ['::/1'] }", "incoming.trust", 0..2),
        ("incoming: { accept: uuid }", "incoming.accept", 0..2),
        ("incoming: { accept: visible }", "", 0..0),
        ("response: { echo: never }", "response.echo", 0..4),
        ("response: { echo: if_absent }", "response.echo", 0..4),
        (
            "header: x-id, incoming: { trust: none }",
            "incoming.trust",
            4..5,
        ),
    ] {
        for (index, added) in all.iter().enumerate() {
            let warnings = warnings(format!(
                "kind: WasmPlugin\nmetadata: {{ name: request-id }}\nspec: {{ pluginConfig: {{ {configuration} }} }}\n\
                 ---\nkind: EnvoyFilter\nspec: {{ configPatches: [{{ patch: {{ value: {{ {added} }} }} }}] }}\n"
            ));
            let keys = warnings.iter().filter_map(|text| text.split(": ").next());
            let keys: Vec<_> = keys.collect();
            let expected = contradicted_by.contains(&index).then_some(key);
            assert_eq!(
                keys,
                Vec::from_iter(expected),
                "{configuration} with {added}"
            );
        }
    }
}

#[test]
fn other_files() {
    let [_, stderr] = run_on("kind: ConfigMap\n");
    let (first, looked_for) = stderr.split_once("\nlooked for:\n").unwrap();
    assert_eq!(first, NOTHING_FOUND);
    for kind in
        "WasmPlugin TrafficExtension EnvoyExtensionPolicy EnvoyFilter ConfigMap JSON".split(' ')
    {
        assert!(looked_for.contains(kind), "{looked_for}");
    }
    assert!(printed("a: [")[0].starts_with("error: FILE: neither JSON nor YAML"));
    check("generate: hex32\n", &[NOTHING_FOUND]);
    let [_, stderr] = run("/no/such/file");
    assert!(
        stderr.starts_with("error: /no/such/file: No such file"),
        "{stderr}"
    );
}

#[test]
fn the_provisional_id_that_tracing_needs() {
    let shipped =
        |path: &str| fs::read_to_string(xtask::root().join("envoy").join(path)).expect(path);
    let both = |one, other| [shipped(one), shipped(other)].join("---\n");
    let untraced = shipped("envoy.yaml");
    let main = "          stat_prefix: main\n";
    let traced = untraced.replace(main, &format!("{main}          tracing: {{}}\n"));
    let camel_case = traced.replace("_request_id:", "RequestId:");
    let istio = both("istio/mesh/wasmplugin.yaml", "istio/mesh/envoyfilter.yaml");
    let gateway = both(
        "gateway/envoyextensionpolicy.yaml",
        "gateway/clienttrafficpolicy.yaml",
    );
    let without_mutation = |manifest: &str| manifest.replace("-provisional\"", "\"");
    for (manifest, setting) in [
        (&traced, "generate_request_id"),
        (&camel_case, "generate_request_id"),
        (&istio, "generate_request_id"),
        (&gateway, "headers.requestID"),
    ] {
        let warns = |manifest: &str, expected: &str| {
            let warnings = warnings(manifest);
            assert!(
                warnings.len() == 1 && warnings[0].starts_with(expected),
                "{warnings:?}"
            );
        };
        let without = without_mutation(manifest);
        assert_eq!(warnings(manifest), [""; 0]);
        warns(
            &without,
            &format!("{setting}: Envoy adds no ids, and no early header mutation"),
        );

        // With another header, the filter does not read Envoy's own x-request-id.
        let other_header = |manifest: &str| {
            let yaml = manifest.replace("log_origin: true", "header: x-id");
            yaml.replace("\"log_origin\": true", "\"header\": \"x-id\"")
        };
        assert_eq!(warnings(other_header(&without)), [""; 0]);
        let sets_another = "header: found \"x-id\", but the early header mutation sets";
        warns(&other_header(manifest), sets_another);
    }
    let envoys_ids = traced.replace("generate_request_id: false", "generate_request_id: true");
    for manifest in [untraced, envoys_ids] {
        assert_eq!(warnings(without_mutation(&manifest)), [""; 0]);
    }
}
