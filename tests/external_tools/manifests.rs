//! The manifests as kubectl and the published types of their resources take them.

use std::fs;
use std::process::Command;

use serde_json::Value;
use test_support::{kustomize, pages};

use crate::documentation::npm_install;
use crate::{run, try_run};

#[test]
fn kubectl_makes_of_each_base_what_is_in_its_files() {
    for base in kustomize::all() {
        let output = run(
            Command::new("kubectl").args(["kustomize", &base.path]),
            "kubernetes-client",
        );
        let printed = String::from_utf8(output.stdout).expect("text");
        let mut printed: Vec<Value> = serde_saphyr::from_multiple(&printed).expect("YAML");
        let mut expected = base.resources;
        for resources in [&mut printed, &mut expected] {
            resources.sort_by_key(|resource| resource["kind"].to_string());
        }
        assert_eq!(printed, expected, "{}", base.path);
    }
}

/// TypeScript refuses a key that a type has not, a value of another type and a word that is none of
/// an enumeration.
#[test]
fn every_resource_is_of_its_published_type() {
    let mut resources: Vec<_> = kustomize::all()
        .into_iter()
        .flat_map(|base| base.resources)
        .chain(shown())
        .collect();
    // Whether TypeScript does refuse: each of these is as good, but for one value.
    let broken = BROKEN.map(|(pointer, value)| {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let has_it = |resource: &&Value| resource.pointer(parent).is_some_and(Value::is_object);
        let mut resource = resources.iter().find(has_it).expect(pointer).clone();
        let value = serde_json::from_str(value).expect("JSON");
        resource.pointer_mut(parent).expect("an object")[key] = value;
        resource
    });
    let good = resources.len();
    resources.extend(broken);

    let mistakes = mistakes(&resources);
    let of = |number: usize| {
        let file = format!("resource-{number}.ts(");
        let lines = mistakes.lines().filter(move |line| line.contains(&file));
        lines.collect::<Vec<_>>().join("\n")
    };
    for (number, resource) in resources[..good].iter().enumerate() {
        assert_eq!(of(number), "", "{resource:#}");
    }
    for (number, (pointer, value)) in BROKEN.iter().enumerate() {
        let is_refused = !of(good + number).is_empty();
        assert!(is_refused, "{pointer} may be {value}: {mistakes}");
    }
}

/// The resources that the documentation shows. The published types have no `TrafficExtension`, and of
/// Envoy Gateway no `sampler`, which came later.
fn shown() -> Vec<Value> {
    let blocks = pages::all().into_iter().flat_map(|page| page.blocks);
    let resources = blocks
        .filter(|block| block.language == "yaml")
        .map(|block| serde_saphyr::from_str(&block.text).expect("YAML"))
        .map(|mut resource: Value| {
            const TRACER: &str = "/spec/telemetry/tracing/provider/openTelemetry";
            if let Some(Value::Object(tracer)) = resource.pointer_mut(TRACER) {
                tracer.remove("sampler");
            }
            resource
        })
        .filter(|resource: &Value| {
            let other = ["Kustomization", "TrafficExtension"];
            let kind = resource["kind"].as_str();
            kind.is_some_and(|kind| !other.contains(&kind))
        });
    resources.collect()
}

const BROKEN: [(&str, &str); 13] = [
    ("/apiVersion", r#""v1""#),
    ("/spec/failStrategy", r#""FAIL_RELAOD""#),
    ("/spec/priority", r#""first""#),
    ("/spec/selektor", "{}"),
    ("/spec/url", "null"),
    ("/spec/configPatches/0/applyTo", r#""NETWORK""#),
    ("/spec/configPatches/0/match/listener/filterchain", "{}"),
    ("/spec/headers/requestID", r#""Keep""#),
    ("/spec/headers/requestId", r#""Preserve""#),
    ("/spec/wasm/0/code/image/digest", r#""x""#),
    ("/spec/targetRefs/0/kind", "1"),
    ("/spec/telemetry/requestID/tracing", r#""Trace""#),
    (
        "/spec/filterOrder/0/before",
        r#""envoy.filters.http.first""#,
    ),
];

/// What TypeScript says of resources, by their numbers.
fn mistakes(resources: &[Value]) -> String {
    let folder = npm_install("schemas");
    let mut tsc = Command::new("node");
    tsc.arg(folder.join("node_modules/typescript/bin/tsc"))
        .args(["--noEmit", "--strict", "--skipLibCheck"])
        .args(["--target", "es2022", "--module", "preserve"]);
    for (number, resource) in resources.iter().enumerate() {
        let kind = resource["kind"].as_str().expect("a kind");
        let mut resource = resource.clone();
        let package = match kind {
            "WasmPlugin" => "istio/extensions.istio.io/v1alpha1",
            "EnvoyFilter" => "istio/networking.istio.io/v1alpha3",
            _ => "envoy-gateway/gateway.envoyproxy.io/v1alpha1",
        };
        // There is no package of Higress's, which are Istio's with more: of that, we have one key.
        if resource["apiVersion"] == "extensions.higress.io/v1alpha1" {
            resource["apiVersion"] = "extensions.istio.io/v1alpha1".into();
            let spec = resource["spec"].as_object_mut().expect("a spec");
            let configuration = spec.remove("defaultConfig").expect("a configuration");
            spec.insert("pluginConfig".into(), configuration);
        }
        let program = format!(
            "import type {{ I{kind} }} from '@kubernetes-models/{package}';\n\
             export const resource: I{kind} = {resource:#};\n"
        );
        let file = folder.join(format!("resource-{number}.ts"));
        fs::write(&file, program).expect("a file");
        tsc.arg(file);
    }
    let output = try_run(&mut tsc, "nodejs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
