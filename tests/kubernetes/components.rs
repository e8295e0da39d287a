//! The programs that the test runs, built of the versions that the `go.mod` files beside this file
//! name, into `target/kubernetes/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use xtask::{envoy, root, sha256, target};

/// The programs: the folder of the Go module below `tests/kubernetes/`, the name of the program, and its package.
const PROGRAMS: &str = "\
registry registry github.com/distribution/distribution/v3/cmd/registry
registry crane github.com/google/go-containerregistry/cmd/crane
etcd etcd go.etcd.io/etcd/server/v3
kubernetes kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
kubernetes kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
kubernetes kubectl k8s.io/kubernetes/cmd/kubectl
kubernetes node kubernetes/node
kubernetes echo kubernetes/echo
istio pilot-discovery istio.io/istio/pilot/cmd/pilot-discovery
istio pilot-agent istio.io/istio/pilot/cmd/pilot-agent
istio istioctl istio.io/istio/istioctl/cmd/istioctl
envoy-gateway envoy-gateway github.com/envoyproxy/gateway/cmd/envoy-gateway
envoy-gateway helm helm.sh/helm/v3/cmd/helm
";

/// Files of the modules that the tests need: the folder of the module, the module that has the file, its path
/// there, and its path in `target/kubernetes/`. They are the template of Envoy's bootstrap that Istio's image
/// contains, and the charts of Envoy Gateway.
const FILES: &str = "\
istio istio.io/istio tools/packaging/common/envoy_bootstrap.json image/var/lib/istio/envoy/envoy_bootstrap_tmpl.json
istio istio.io/istio manifests/charts/base/files/crd-all.gen.yaml istio-crds.yaml
envoy-gateway github.com/envoyproxy/gateway charts/gateway-helm gateway-helm
";

/// Returns the rows of one of these tables.
fn rows<const COLUMNS: usize>(table: &str) -> Result<Vec<[&str; COLUMNS]>> {
    let row = |line| {
        let columns = str::split(line, ' ').collect::<Vec<_>>().try_into();
        columns.map_err(|_| anyhow!("{line:?} has not {COLUMNS} columns"))
    };
    table.lines().map(row).collect()
}

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
    let programs_to_build = rows(PROGRAMS)?;
    for (number, [family, name, package]) in programs_to_build.iter().enumerate() {
        let sources = module(family);
        let state = format!("{version}\n{}", state(&sources)?);
        let built = programs().join(name);
        let stamp = folder().join("built").join(name);
        let is_current = fs::read_to_string(&stamp).is_ok_and(|known| known == state);
        if is_current && built.exists() {
            continue;
        }
        println!(
            "building {name} ({} of {}; all of them take about 15 minutes)",
            number + 1,
            programs_to_build.len()
        );
        let started = Instant::now();
        let flags = format!("-s -w {}", kubernetes_version(&sources)?);
        let status = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags"])
            .args([&flags, "-o"])
            .arg(&built)
            .arg(package)
            .current_dir(&sources)
            .env("CGO_ENABLED", "0")
            .status()?;
        ensure!(status.success(), "{package} does not build");
        println!("  in {} s", started.elapsed().as_secs());
        write(&stamp, state.as_bytes())?;
    }
    for [family, path, from, to] in rows(FILES)? {
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
