//! The kustomize bases under `envoy/`, read as kubectl reads them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use xtask::root;

use crate::project;

/// The placeholder that every manifest has for the user's own image.
pub const IMAGE: &str = "registry.example.com/request-id-filter@sha256:\
                         0000000000000000000000000000000000000000000000000000000000000000";

/// A folder for `kubectl apply -k`.
#[derive(Debug)]
pub struct Base {
    /// The path relative to the project's root.
    pub path: String,
    /// The content of `kustomization.yaml`.
    pub kustomization: Value,
    /// The resources, in the namespace that the kustomization gives them.
    pub resources: Vec<Value>,
}

impl Base {
    /// Returns the only resource of a kind.
    #[must_use]
    #[track_caller]
    pub fn resource(&self, kind: &str) -> &Value {
        let mut found = self.resources.iter().filter(|value| value["kind"] == kind);
        match (found.next(), found.next()) {
            (Some(resource), None) => resource,
            _ => panic!("{} does not have exactly one {kind}", self.path),
        }
    }

    /// Returns the images that the resources name, without a scheme.
    #[must_use]
    pub fn images(&self) -> Vec<&str> {
        let urls = self.resources.iter().filter_map(|resource| {
            let pointer = match resource["kind"].as_str()? {
                "WasmPlugin" => "/spec/url",
                "EnvoyExtensionPolicy" => "/spec/wasm/0/code/image/url",
                _ => return None,
            };
            resource.pointer(pointer)?.as_str()
        });
        let images = urls.map(|url| url.strip_prefix("oci://").unwrap_or(url));
        images.collect()
    }
}

/// Returns all bases, sorted by their paths.
#[must_use]
pub fn all() -> Vec<Base> {
    let mut bases = Vec::new();
    for file in project::files("envoy") {
        // A component is a change to bases.
        if let Some(path) = file.strip_suffix("/kustomization.yaml")
            && !project::text(&file).contains("\nkind: Component\n")
        {
            bases.push(read(path));
        }
    }
    bases.sort_by(|one, other| Path::new(&one.path).cmp(Path::new(&other.path)));
    bases
}

/// Returns the base at a path relative to the project's root.
#[must_use]
pub fn read(path: &str) -> Base {
    read_in(&root(), path)
}

/// Returns the base at a path relative to `root`.
#[must_use]
pub fn read_in(root: &Path, path: &str) -> Base {
    let documents = |file: &str| -> Vec<Value> {
        let file = root.join(path).join(file);
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
    };
    let kustomization = documents("kustomization.yaml").remove(0);
    let files = kustomization["resources"].as_array();
    let files = files.expect("a base has a list of resources").iter();
    let names = files.map(|file| file.as_str().expect("a resource is the name of a file"));
    let mut resources: Vec<Value> = names.flat_map(documents).collect();
    for resource in &mut resources {
        resource["metadata"]["namespace"] = kustomization["namespace"].clone();
    }
    Base {
        path: path.into(),
        kustomization,
        resources,
    }
}
