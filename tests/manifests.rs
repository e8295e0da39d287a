//! The manifests for Istio, Envoy Gateway and Higress: that they fit each other, the filter and
//! `envoy/envoy.yaml`. tests/kubernetes deploys them.

use std::fs;

use serde_json::json;
use test_support::kustomize::{self, Base, IMAGE};
use test_support::shipped::MANAGER;
use xtask::{envoy, root};

/// The bases for Istio's resources.
fn istio() -> Vec<Base> {
    let mut all = kustomize::all();
    all.retain(|base| base.path.starts_with("envoy/istio/"));
    all
}

#[test]
fn there_is_a_base_for_each_case() {
    let paths: Vec<_> = kustomize::all().into_iter().map(|base| base.path).collect();
    assert_eq!(
        paths,
        [
            "envoy/gateway",
            "envoy/higress",
            "envoy/istio/gateway",
            "envoy/istio/mesh",
            "envoy/istio/waypoint",
            "envoy/istio/workload"
        ]
    );
}

/// No file is forgotten, and nothing is used that an old or a coming kustomize does not know.
#[test]
fn a_base_lists_what_is_beside_it() {
    for base in kustomize::all() {
        let folder = fs::read_dir(root().join(&base.path)).expect("the folder can be read");
        let entries = folder.map(|entry| entry.expect("the entry can be read"));
        let mut files: Vec<_> = entries
            .filter(|entry| entry.path().is_file()) // a folder is a component
            .map(|entry| entry.file_name())
            .map(|name| name.into_string().expect("the name is UTF-8"))
            .filter(|name| name != "kustomization.yaml")
            .collect();
        files.sort();
        let mut kustomization = base.kustomization.clone();
        let listed = kustomization["resources"]
            .as_array_mut()
            .expect("the value is a list");
        listed.sort_by_key(ToString::to_string);
        assert_eq!(
            kustomization,
            json!({
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": base.kustomization["namespace"].as_str().expect("there is a namespace"),
                "resources": files,
            }),
            "{}",
            base.path
        );
    }
}

#[test]
fn the_image_is_the_same_placeholder_everywhere() {
    for base in kustomize::all() {
        assert_eq!(base.images(), [IMAGE], "{}", base.path);
    }
}

#[test]
fn the_configurations_are_the_same() {
    for base in kustomize::all() {
        let plugins = base.resources.iter();
        let configurations: Vec<_> = plugins
            .filter_map(|resource| match resource["kind"].as_str()? {
                "WasmPlugin" if base.path == "envoy/higress" => {
                    Some(&resource["spec"]["defaultConfig"])
                }
                "WasmPlugin" => Some(&resource["spec"]["pluginConfig"]),
                "EnvoyExtensionPolicy" => Some(&resource["spec"]["wasm"][0]["config"]),
                _ => None,
            })
            .collect();
        assert_eq!(
            configurations,
            [&json!({"log_origin": true})],
            "{}",
            base.path
        );
    }
}

/// The bases say where, under names of their own; what they deploy is the same.
#[test]
fn the_bases_for_istio_differ_in_names_and_selectors_alone() {
    let mut others = Vec::new();
    for base in istio() {
        let (mut resources, mut selectors) = (base.resources, Vec::new());
        let (_, name) = base.path.rsplit_once('/').expect("the base is in a folder");
        for resource in &mut resources {
            assert_eq!(resource["metadata"]["name"], format!("request-id-{name}"));
            resource["metadata"].take();
            let spec = resource["spec"]
                .as_object_mut()
                .expect("the resource has a spec");
            if let Some(selector) = spec.remove("selector") {
                selectors.push(selector["matchLabels"].clone());
            }
            if let Some(selector) = spec.remove("workloadSelector") {
                selectors.push(selector["labels"].clone());
            }
            selectors.extend(spec.remove("targetRefs"));
        }
        match name {
            "mesh" => assert!(selectors.is_empty()),
            name => {
                assert_eq!(selectors.len(), 2, "{name}");
                assert_eq!(selectors[0], selectors[1], "{name}");
            }
        }
        others.push(resources);
    }
    for resources in &others {
        assert_eq!(resources, &others[0]);
    }
}

/// Each setting of the connection manager is that of `envoy/envoy.yaml`, which all other tests run.
#[test]
fn the_envoy_filters_set_what_envoy_yaml_sets() {
    let shipped = envoy::shipped(0, 0).expect("the configuration can be read");
    let manager = shipped["static_resources"]["listeners"][0].pointer(MANAGER);
    let manager = manager.expect("the listener has a connection manager");
    let higress = kustomize::read("envoy/higress");
    for base in istio().iter().chain([&higress]) {
        let filter = base.resource("EnvoyFilter");
        let patches = filter["spec"]["configPatches"]
            .as_array()
            .expect("the value is a list");
        assert_eq!(patches.len(), 1);
        let patched = &patches[0]["patch"]["value"]["typed_config"];
        let patched = patched.as_object().expect("the patch has settings");
        const SETTINGS: &str = "@type generate_request_id preserve_external_request_id \
             early_header_mutation_extensions request_id_extension local_reply_config";
        assert!(patched.keys().eq(SETTINGS.split(' ')), "{patched:?}");
        for (key, value) in patched {
            match key.as_str() {
                // For gateways; the listener of envoy.yaml is none.
                "preserve_external_request_id" => assert_eq!(value, true),
                _ => assert_eq!(value, &manager[key], "{}: {key}", base.path),
            }
        }
    }
}

/// The policies are for the same Gateway and leave its ids to the filter.
#[test]
fn the_policies_of_envoy_gateway_belong_together() {
    let base = kustomize::read("envoy/gateway");
    let client = &base.resource("ClientTrafficPolicy")["spec"];
    let extension = &base.resource("EnvoyExtensionPolicy")["spec"];
    assert_eq!(client["targetRefs"], extension["targetRefs"]);
    assert_eq!(client["headers"]["requestID"], "Preserve");
    assert_eq!(
        client["headers"]["earlyRequestHeaders"],
        json!({"addIfAbsent": [{"name": "x-request-id", "value": "%UNIQUE_ID%-provisional"}]})
    );
    let proxy = &base.resource("EnvoyProxy")["spec"];
    assert_eq!(proxy["telemetry"]["requestID"]["tracing"], "Sample");
}

/// Envoy Gateway sorts by kind and then obeys `filterOrder` line by line, where a line about a filter
/// that the chain has not does nothing.
#[test]
fn the_filter_is_the_first_in_envoy_gateway() {
    const WASM: &str = "envoy.filters.http.wasm";
    let base = kustomize::read("envoy/gateway");
    let order = base.resource("EnvoyProxy")["spec"]["filterOrder"].clone();
    let order = order.as_array().expect("the value is a list");
    let ordered = |mut chain: Vec<String>| {
        for line in order {
            let before = chain.iter().position(|filter| line["before"] == **filter);
            let from = chain.iter().position(|filter| line["name"] == **filter);
            if let (Some(before), Some(from)) = (before, from) {
                let moved = chain.remove(from);
                chain.insert(before - usize::from(from < before), moved);
            }
        }
        chain
    };
    // Envoy Gateway's own order.
    const OTHERS: &str = "custom_response health_check fault cors csrf header_mutation ext_authz \
         api_key_auth basic_auth oauth2 jwt_authn stateful_session buffer lua ext_proc";
    let others = OTHERS
        .split(' ')
        .map(|name| format!("envoy.filters.http.{name}"));
    let others: Vec<_> = others.collect();
    let chain = |others: &[String]| [others, &[WASM.to_owned()]].concat();
    for first in 0..others.len() {
        for last in first..others.len() {
            let chain = ordered(chain(&others[first..=last]));
            assert_eq!(chain[0], WASM, "{chain:?}");
            assert_eq!(chain[1..], others[first..=last], "{chain:?}");
        }
    }
}
