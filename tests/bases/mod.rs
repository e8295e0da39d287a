//! The kustomize bases under `envoy/`, read as kubectl reads them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xtask::root;

/// What every manifest has in the place of the user's own image.
pub const IMAGE: &str = "registry.example.com/request-id-filter@sha256:\
                         0000000000000000000000000000000000000000000000000000000000000000";

/// A folder for `kubectl apply -k`.
#[derive(Debug)]
pub struct Base {
    /// Relative to the project's root.
    pub path: String,
    pub kustomization: Value,
    /// As they are applied: in the base's namespace.
    pub resources: Vec<Value>,
}

impl Base {
    /// The only resource of a kind.
    #[track_caller]
    pub fn resource(&self, kind: &str) -> &Value {
        let mut found = self.resources.iter().filter(|value| value["kind"] == kind);
        match (found.next(), found.next()) {
            (Some(resource), None) => resource,
            _ => panic!("{} has not one {kind}", self.path),
        }
    }

    /// The images that it names, without a scheme.
    pub fn images(&self) -> Vec<&str> {
        let urls =
            self.resources
                .iter()
                .filter_map(|resource| match resource["kind"].as_str()? {
                    "WasmPlugin" => resource["spec"]["url"].as_str(),
                    "EnvoyExtensionPolicy" => {
                        resource["spec"]["wasm"][0]["code"]["image"]["url"].as_str()
                    }
                    _ => None,
                });
        urls.map(|url| url.strip_prefix("oci://").unwrap_or(url))
            .collect()
    }
}

/// All bases, by their paths.
pub fn all() -> Vec<Base> {
    let mut folders = Vec::new();
    collect(&root().join("envoy"), &mut folders);
    folders.retain(|folder| !is_component(folder));
    folders.sort();
    let relative = folders.iter().map(|folder| {
        let path = folder.strip_prefix(root()).expect("below the root");
        path.to_str().expect("a path in UTF-8")
    });
    relative.map(read).collect()
}

/// Whether a folder holds a change to a base, which is no base itself.
fn is_component(folder: &Path) -> bool {
    let text = fs::read_to_string(folder.join("kustomization.yaml")).expect("a kustomization");
    text.contains("\nkind: Component\n")
}

/// The base at a path relative to the project's root.
pub fn read(path: &str) -> Base {
    read_in(&root(), path)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.ends_with("kustomization.yaml") {
            found.push(folder.to_owned());
        }
    }
}

/// The base at a path relative to `root`.
pub fn read_in(root: &Path, path: &str) -> Base {
    let documents = |file: &str| -> Vec<Value> {
        let file = root.join(path).join(file);
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
    };
    let kustomization = documents("kustomization.yaml").remove(0);
    let files = kustomization["resources"].as_array().expect("resources");
    let mut resources: Vec<Value> = files
        .iter()
        .flat_map(|file| documents(file.as_str().expect("a file")))
        .collect();
    for resource in &mut resources {
        resource["metadata"]["namespace"] = kustomization["namespace"].clone();
    }
    Base {
        path: path.into(),
        kustomization,
        resources,
    }
}
