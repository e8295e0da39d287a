//! The image that `make image` makes: in a registry, and made elsewhere.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::client::{Connection, Response};
use test_support::project;
use xtask::{image, module, root, sha256};

use crate::{Running, printed_by, run};

const SOURCE: &str = "https://git.example.com/request-id-filter";

/// Runs `make image` in a folder and returns what it prints.
fn make(folder: &Path, change: impl FnOnce(&mut Command)) -> String {
    let mut command = project::command("make");
    command
        .arg("image")
        .env_remove("CARGO_TARGET_DIR")
        .env("SOURCE", SOURCE)
        .current_dir(folder);
    change(&mut command);
    let output = command
        .output()
        .expect("make is missing: apt-get install make");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the text is UTF-8")
}

/// What `make image` prints on this machine.
static PRINTED: LazyLock<String> = LazyLock::new(|| make(&root(), |_| {}));

/// Makes the image, and returns the digest of its manifest.
pub fn digest_of_the_image() -> &'static str {
    after(&PRINTED, "\ndigest ")
}

/// What follows a text in what was printed, to the end of the line.
#[track_caller]
fn after<'a>(printed: &'a str, text: &str) -> &'a str {
    let (_, rest) = printed
        .split_once(text)
        .unwrap_or_else(|| panic!("no {text:?} in {printed}"));
    rest.lines().next().unwrap_or_default()
}

/// A registry on a free port, stopped when dropped.
pub struct Registry {
    _process: Running,
    pub port: u16,
    _storage: TempDir,
}

impl Registry {
    pub fn start() -> Self {
        let storage = tempfile::tempdir().expect("a temporary folder can be made");
        let config = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": storage.path() } },
            "http": { "addr": "127.0.0.1:0" },
        });
        let file = storage.path().join("config.yml");
        fs::write(&file, config.to_string()).expect("the file can be written");
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is missing: apt-get install docker-registry");
        let mut lines = BufReader::new(process.stderr.take().expect("the output is piped")).lines();
        let process = Running(process);
        // The log is shown if the test fails.
        let mut log = lines
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| println!("{line}"));
        let port = log.find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        });
        thread::spawn(move || lines.for_each(drop));
        Self {
            _process: process,
            port: port.expect("docker-registry listens"),
            _storage: storage,
        }
    }

    fn get(&self, path: &str, accept: &str) -> Response {
        let mut connection = Connection::open(self.port);
        let head = format!("GET /v2/{path} HTTP/1.1\r\nhost: registry\r\naccept: {accept}\r\n\r\n");
        connection.send(head.as_bytes());
        let response = connection.receive();
        assert_eq!(response.status, 200, "{path}: {response:?}");
        response
    }

    /// Fetches the blob of a descriptor and compares its size and digest with it.
    fn blob(&self, name: &str, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().expect("there is a digest");
        let blob = self.get(&format!("{name}/blobs/{digest}"), "*/*").body;
        assert_eq!(descriptor["size"], blob.len());
        assert_eq!(digest, format!("sha256:{}", sha256(&blob)));
        blob
    }
}

/// What go-containerregistry accepts, with which Istio, Envoy Gateway and Higress fetch.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v1+json,\
    application/vnd.docker.distribution.manifest.v1+prettyjws,\
    application/vnd.docker.distribution.manifest.v2+json,\
    application/vnd.oci.image.manifest.v1+json,\
    application/vnd.docker.distribution.manifest.list.v2+json,\
    application/vnd.oci.image.index.v1+json";

/// An image as the three see it.
struct Fetched {
    /// Of the manifest, with which they compare the digest that a user demands.
    digest: String,
    manifest: Value,
    /// A gzipped tar.
    layer: Vec<u8>,
}

/// Fetches as the three do: the manifest by tag or digest, and of its layers the last.
fn fetch(registry: &Registry, name: &str, reference: &str) -> Fetched {
    let response = registry.get(&format!("{name}/manifests/{reference}"), ACCEPT);
    let digest = format!("sha256:{}", sha256(&response.body));
    assert_eq!(
        response.all("docker-content-digest"),
        [digest.as_bytes()],
        "the registry's digest"
    );
    // From an index they would choose the image for linux/amd64, which has another digest.
    let of_an_image: &[u8] = b"application/vnd.oci.image.manifest.v1+json";
    assert_eq!(response.all("content-type"), [of_an_image]);
    let manifest: Value = serde_json::from_slice(&response.body).expect("the text is valid JSON");
    let layer = manifest["layers"].as_array().and_then(|all| all.last());
    let layer = layer.expect("there is a layer");
    assert_eq!(
        layer["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+gzip"
    );
    let layer = registry.blob(name, layer);
    Fetched {
        digest,
        manifest,
        layer,
    }
}

#[test]
fn a_registry_has_the_image_as_istio_and_envoy_gateway_fetch_it() {
    let printed = &*PRINTED;
    let digest = after(printed, "\ndigest ");
    let registry = Registry::start();
    let address = format!("127.0.0.1:{}", registry.port);

    // The command as it is printed, to a registry without TLS.
    let push = format!("skopeo copy{}", after(printed, "  skopeo copy"))
        .replace("REGISTRY", &address)
        .replace("docker://", "--dest-tls-verify=false docker://");
    run(Command::new("sh").args(["-c", &push]), "skopeo");
    let tag = push.rsplit(':').next().expect("there is a tag");
    assert_eq!(tag, env!("CARGO_PKG_VERSION"));
    let archive = format!("oci-archive:{}", image::ARCHIVE);
    run(
        Command::new("skopeo")
            .args(["copy", "--preserve-digests", "--dest-tls-verify=false"])
            .args([&archive, &format!("docker://{address}/archive:{tag}")]),
        "skopeo",
    );

    let fetched = fetch(&registry, "request-id-filter", tag);
    assert_eq!(fetched.digest, digest);
    for (name, reference) in [("request-id-filter", digest), ("archive", tag)] {
        let same = fetch(&registry, name, reference);
        assert_eq!(same.digest, digest);
        assert_eq!(same.layer, fetched.layer);
    }
    let manifest = &fetched.manifest;
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    let annotations = &manifest["annotations"];
    let annotation = |name: &str| &annotations[format!("org.opencontainers.image.{name}")];
    assert_eq!(annotation("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(annotation("licenses"), "Apache-2.0");
    assert_eq!(annotation("source"), SOURCE);

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let layer = folder.path().join("layer.tar.gz");
    fs::write(&layer, &fetched.layer).expect("the file can be written");
    let tar =
        |arguments: &[&str]| run(Command::new("tar").args(arguments).arg(&layer), "tar").stdout;
    let files = String::from_utf8(tar(&["-tzf"])).expect("the names are UTF-8");
    let files: Vec<_> = files.lines().collect();
    assert_eq!(files, [&["plugin.wasm"][..], &image::LICENCES].concat());
    for licence in image::LICENCES {
        let text = fs::read(root().join(licence)).expect("the file can be read");
        assert_eq!(tar(&["-xzO", licence, "-f"]), text, "{licence}");
    }
    let plugin = tar(&["-xzO", "plugin.wasm", "-f"]);
    let built = fs::read(root().join(module::PATH)).expect("the file can be read");
    assert!(plugin == built, "the image has another module");
    assert_eq!(sha256(&built), after(printed, " bytes, sha256 "));

    // What tools for containers look at.
    let config = registry.blob("request-id-filter", &manifest["config"]);
    let config: Value = serde_json::from_slice(&config).expect("the text is valid JSON");
    let unzipped = run(Command::new("gzip").arg("-dc").arg(&layer), "gzip").stdout;
    let diff_id = format!("sha256:{}", sha256(&unzipped));
    assert_eq!(config["rootfs"]["diff_ids"], json!([diff_id]));
    assert_eq!(&config["config"]["Labels"], annotations);
}

/// Makes, in the folder `$1`, what another machine would have for the sources in `$2`: a copy with what git knows
/// of them, cargo's folder, and a toolchain.
const OTHER_MACHINE: &str = r#"
cd "$1"
entries() { find "$1" -mindepth 1 -maxdepth 1 ! -name "$2" -exec "${@:3}" {} +; }
# What was built in the copy before may stay: cargo sees what is out of date.
mkdir -p copy
entries copy target rm -rf
entries "$2" target cp -a -t copy
# rustup would put the programs in bin before our compiler.
rm -rf cargo toolchain
mkdir cargo
entries "${CARGO_HOME:-$HOME/.cargo}" bin ln -s -t cargo
# With the component rust-src, which editors install, as far as the compiler looks for it.
sysroot=$(rustc --print sysroot)
mkdir -p toolchain/lib/rustlib/src/rust/library/std/src
touch toolchain/lib/rustlib/src/rust/library/std/src/lib.rs
entries "$sysroot/lib/rustlib" src ln -s -t toolchain/lib/rustlib
printf '#!/bin/sh\nexec "%s/bin/rustc" --sysroot "%s/toolchain" "$@"\n' "$sysroot" "$PWD" > toolchain/rustc
chmod +x toolchain/rustc
"#;

#[test]
fn the_image_is_the_same_from_another_machine() {
    let here = &*PRINTED;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut other_machine = Command::new("bash");
    other_machine.args(["-euc", OTHER_MACHINE, "bash"]);
    run(other_machine.arg(folder).arg(root()), "bash findutils");
    let [copy, cargo, toolchain] = ["copy", "cargo", "toolchain"].map(|name| folder.join(name));
    let path = std::env::var("PATH").expect("PATH is set");
    let make = || {
        make(&copy, |command| {
            command
                .env("CARGO_HOME", &cargo)
                .env("RUSTC", toolchain.join("rustc"))
                .env("PATH", format!("{}:{path}", toolchain.display()))
                .env("RUSTFLAGS", "-C debug-assertions")
                // Of xtask, to have it sooner.
                .env("CARGO_PROFILE_DEV_DEBUG", "0");
        })
    };
    let there = make();
    for file in [module::PATH, image::ARCHIVE] {
        let [here, there] = [root(), copy.clone()].map(|folder| fs::read(folder.join(file)));
        assert!(
            here.expect("the file can be read") == there.expect("the file can be read"),
            "{file} differs"
        );
    }
    assert_eq!(*here, there);

    // The digest speaks of a commit only where the sources are that commit.
    run(
        Command::new("rm").arg("-rf").arg(copy.join(".git")),
        "coreutils",
    );
    let reason = after(&make(), "  no revision: ").to_owned();
    assert_eq!(reason, "the sources are part of another repository");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(&copy)
            .args(["-c", "user.name=test", "-c", "user.email=test"]);
        printed_by(command.args(arguments), "git")
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "all"]);
    let commit = git(&["rev-parse", "HEAD"]);
    let clean = make();
    assert_eq!(after(&clean, "  revision: "), commit.trim_end());
    fs::write(copy.join("new"), "").expect("the file can be written");
    let changed = make();
    assert_eq!(
        after(&changed, "  revision: "),
        format!("{}-dirty", commit.trim_end())
    );
    assert_ne!(after(&clean, "\ndigest "), after(&changed, "\ndigest "));
}
