//! The programs that the test runs, built of the versions that the `go.mod` files beside this file
//! name, into `target/kubernetes/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::{envoy, root, sha256, target};

/// A program of a Go module.
struct Component {
    /// The folder of the module, below `tests/kubernetes/`.
    module: &'static str,
    package: &'static str,
    name: &'static str,
}

const COMPONENTS: [Component; 13] = [
    component(
        "registry",
        "github.com/distribution/distribution/v3/cmd/registry",
        "registry",
    ),
    component(
        "registry",
        "github.com/google/go-containerregistry/cmd/crane",
        "crane",
    ),
    component("etcd", "go.etcd.io/etcd/server/v3", "etcd"),
    component(
        "kubernetes",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-apiserver",
    ),
    component(
        "kubernetes",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-controller-manager",
    ),
    component("kubernetes", "k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    component("kubernetes", "kubernetes/node", "node"),
    component("kubernetes", "kubernetes/echo", "echo"),
    component(
        "istio",
        "istio.io/istio/pilot/cmd/pilot-discovery",
        "pilot-discovery",
    ),
    component(
        "istio",
        "istio.io/istio/pilot/cmd/pilot-agent",
        "pilot-agent",
    ),
    component("istio", "istio.io/istio/istioctl/cmd/istioctl", "istioctl"),
    component(
        "envoy-gateway",
        "github.com/envoyproxy/gateway/cmd/envoy-gateway",
        "envoy-gateway",
    ),
    component("envoy-gateway", "helm.sh/helm/v3/cmd/helm", "helm"),
];

const fn component(module: &'static str, package: &'static str, name: &'static str) -> Component {
    Component {
        module,
        package,
        name,
    }
}

/// Files of the modules that the test needs: the template of Envoy's bootstrap that Istio's image
/// holds, and the charts of Envoy Gateway.
const FILES: [(&str, &str, &str, &str); 3] = [
    (
        "istio",
        "istio.io/istio",
        "tools/packaging/common/envoy_bootstrap.json",
        "image/var/lib/istio/envoy/envoy_bootstrap_tmpl.json",
    ),
    (
        "istio",
        "istio.io/istio",
        "manifests/charts/base/files/crd-all.gen.yaml",
        "istio-crds.yaml",
    ),
    (
        "envoy-gateway",
        "github.com/envoyproxy/gateway",
        "charts/gateway-helm",
        "gateway-helm",
    ),
];

pub fn folder() -> PathBuf {
    target().join("kubernetes")
}

/// Where the programs are.
pub fn programs() -> PathBuf {
    folder().join("bin")
}

fn module(name: &str) -> PathBuf {
    root().join("tests/kubernetes").join(name)
}

/// The programs of Debian packages that the test runs, or that the documentation has.
const TOOLS: [(&str, &str); 6] = [
    ("curl", "curl"),
    ("iptables", "iptables"),
    ("openssl", "openssl"),
    ("perl", "perl"),
    ("prometheus", "prometheus"),
    ("unshare", "util-linux"),
];

/// Checks that the programs are there that this does not build.
///
/// # Errors
/// Some are missing: with the packages that have them.
pub fn check_tools() -> Result<()> {
    let path = env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let is_missing = |(tool, _): &&(&str, &str)| {
        !path
            .split(':')
            .any(|folder| Path::new(folder).join(tool).exists())
    };
    let missing: Vec<_> = TOOLS
        .iter()
        .filter(is_missing)
        .map(|(_, package)| *package)
        .collect();
    ensure!(
        missing.is_empty(),
        "tools are missing: apt-get install {}",
        missing.join(" ")
    );
    Ok(())
}

/// Builds what is not built of the sources and versions that there are now.
///
/// # Errors
/// Go is missing, or something does not build.
pub fn build() -> Result<()> {
    fs::create_dir_all(programs())?;
    let version = go(&root(), &["env", "GOVERSION"])?;
    for (number, component) in COMPONENTS.iter().enumerate() {
        let sources = module(component.module);
        let state = format!("{version}\n{}", state(&sources)?);
        let built = programs().join(component.name);
        let stamp = folder().join("built").join(component.name);
        let is_current = fs::read_to_string(&stamp).is_ok_and(|known| known == state);
        if is_current && built.exists() {
            continue;
        }
        println!(
            "building {} ({} of {}; all of them take about 15 minutes)",
            component.name,
            number + 1,
            COMPONENTS.len()
        );
        let started = Instant::now();
        let flags = format!("-s -w {}", kubernetes_version(&sources)?);
        let arguments = [
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &flags,
            "-o",
        ];
        let status = Command::new("go")
            .args(arguments)
            .arg(&built)
            .arg(component.package)
            .current_dir(&sources)
            .env("CGO_ENABLED", "0")
            .status()?;
        ensure!(status.success(), "{} does not build", component.package);
        println!("  in {} s", started.elapsed().as_secs());
        write(&stamp, state.as_bytes())?;
    }
    for (family, path, from, to) in FILES {
        let sources = module(family);
        let stamp = folder().join("built").join(to.replace('/', "_"));
        let state = state(&sources)?;
        if fs::read_to_string(&stamp).is_ok_and(|known| known == state) {
            continue;
        }
        let home = go(&sources, &["mod", "download", "-json", path])?;
        let home: serde_json::Value = serde_json::from_str(&home)?;
        let home = home["Dir"].as_str().context("a module without a folder")?;
        copy(&Path::new(home).join(from), &folder().join(to))?;
        write(&stamp, state.as_bytes())?;
    }
    link_envoy()
}

/// What a module's programs are built of.
fn state(module: &Path) -> Result<String> {
    let mut files: Vec<_> = fs::read_dir(module)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .flat_map(|path| match fs::read_dir(&path) {
            Ok(inner) => inner.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(_) => vec![path],
        })
        .collect();
    files.sort();
    let mut state = String::new();
    for file in files {
        let name = file.strip_prefix(module)?.display();
        state += &format!("{name} {}\n", sha256(&fs::read(&file)?));
    }
    Ok(state)
}

/// What the linker has to write into the programs of Kubernetes, which do not know their version.
fn kubernetes_version(module: &Path) -> Result<String> {
    let text = fs::read_to_string(module.join("go.mod"))?;
    let version = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    let Some(version) = version else {
        return Ok(String::new());
    };
    let mut parts = version.split('.');
    let mut next = || parts.next().unwrap_or_default();
    let (major, minor) = (next(), next());
    let package = "k8s.io/component-base/version";
    Ok(format!(
        "-X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    ))
}

/// The Envoy of the other tests, as `envoy` among the programs.
fn link_envoy() -> Result<()> {
    let envoy = envoy::binary()?;
    let link = programs().join("envoy");
    if fs::metadata(&link).ok().map(|known| known.len()) != Some(fs::metadata(&envoy)?.len()) {
        let _ = fs::remove_file(&link);
        fs::copy(envoy, link)?;
    }
    Ok(())
}

fn go(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut go = Command::new("go");
    go.args(arguments)
        .current_dir(folder)
        .stderr(Stdio::inherit());
    let output = go.output().context(
        "go is missing: install Go 1.26 or later from https://go.dev/dl/ (an older one from 1.21 on \
         fetches it by itself)",
    )?;
    ensure!(output.status.success(), "go {} fails", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().context("a path without a folder")?)?;
    fs::write(path, content).with_context(|| path.display().to_string())
}

/// Copies a file or folder. The copy can be written to, which files of Go's cache cannot.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return write(to, &fs::read(from)?);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
