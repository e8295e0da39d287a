//! `make image`: the module as an OCI image that Istio, Envoy Gateway and Higress can fetch.
//!
//! All three look for `plugin.wasm` in the last layer of an image, which has to be a gzipped tar, and
//! compare the digest that the user gave with that of the image's manifest. So the image has one layer
//! with the module and the texts of its licences, and a push sends the manifest without an index.
//!
//! The JSON documents are written here and not by the crate `oci-spec`: it keeps annotations in a
//! `HashMap`, so their order, and with it the digest, would differ each time.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};

use crate::{last_line, module, output, root, sha256};

/// The folder with the image, relative to the root.
pub const LAYOUT: &str = "target/image";
/// The archive with the same image, relative to the root.
pub const ARCHIVE: &str = "target/image.tar";

/// The name of the module in the layer.
const PLUGIN: &str = "plugin.wasm";

/// The files with the licences of the module, which are in the layer, too.
pub const LICENCES: [&str; 2] = ["LICENSE", "THIRD-PARTY-NOTICES.txt"];

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Where the sources are published.
#[derive(Args, Default)]
pub struct Source {
    /// URL of the sources, for the image's annotations; empty for none
    #[arg(long = "source", env = "SOURCE", default_value = env!("CARGO_PKG_REPOSITORY"))]
    url: String,
}

/// Builds the module, writes the image and prints how to push it.
///
/// # Errors
/// Returns an error if the module cannot be built or a file cannot be written.
pub fn make(source: &Source) -> Result<()> {
    let path = module::build()?;
    module::describe(&path)?;
    let mut annotations = Map::new();
    let mut annotate = |name: &str, value: &str| {
        println!("  {name}: {value}");
        annotations.insert(format!("org.opencontainers.image.{name}"), value.into());
    };
    println!("{LAYOUT} and, as one file, {ARCHIVE}: an OCI image");
    annotate("title", "request-id-filter");
    annotate("version", env!("CARGO_PKG_VERSION"));
    annotate("licenses", env!("CARGO_PKG_LICENSE"));
    if source.url.is_empty() {
        println!("  no source: make image SOURCE=https://…");
    } else {
        annotate("source", &source.url);
    }
    match revision() {
        Ok(revision) => annotate("revision", &revision),
        // An image without a revision is published by mistake only.
        Err(error) if root().join(".git").exists() => {
            return Err(error.context("git does not tell the revision of the sources"));
        }
        Err(error) => println!("  no revision: {error:#}"),
    }
    let digest = write(&fs::read(path)?, &annotations)?;
    print!(
        "digest sha256:{digest}

  skopeo copy --preserve-digests oci:{LAYOUT} docker://REGISTRY/request-id-filter:{}
      pushes it; then deploy oci://REGISTRY/request-id-filter@sha256:{digest}
",
        env!("CARGO_PKG_VERSION")
    );
    Ok(())
}

/// Returns the commit of the sources, with `-dirty` if there are changes that are not committed.
fn revision() -> Result<String> {
    let git = |arguments: &[&str]| {
        let output = output(
            Command::new("git").args(arguments).current_dir(root()),
            "install git",
        )?;
        if !output.status.success() {
            bail!(last_line(&output));
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    // The path from here to the repository's root, which is empty in that root, and the commit.
    let head = git(&["rev-parse", "--show-cdup", "HEAD"])?;
    let (up, commit) = head.split_once('\n').unwrap_or_default();
    ensure!(up.is_empty(), "the sources are part of another repository");
    let commit = commit.trim_end();
    let changes = git(&["--no-optional-locks", "status", "--porcelain"])?;
    Ok(match changes.is_empty() {
        true => commit.into(),
        false => format!("{commit}-dirty"),
    })
}

/// Writes an image of a module and returns the digest of its manifest. The same module gives the same
/// image, at any time and on any machine.
fn write(module: &[u8], annotations: &Map<String, Value>) -> Result<String> {
    let mut files = vec![(PLUGIN, module.to_vec())];
    for name in LICENCES {
        files.push((name, fs::read(root().join(name)).context(name)?));
    }
    let files = tar(files.iter().map(|(name, bytes)| (*name, bytes.as_slice())))?;
    let mut layer = GzBuilder::new().write(Vec::new(), Compression::best());
    layer.write_all(&files)?;
    let layer = layer.finish()?;
    let config = json!({
        // The module runs on any architecture, but some tools refuse an image for one that is not
        // theirs. Most images that are built `FROM scratch` say this.
        "architecture": "amd64",
        "os": "linux",
        // A tool that converts the image to Docker's format drops annotations, but keeps labels.
        "config": { "Labels": annotations },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&files))] },
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config),
        "layers": [descriptor(LAYER, &layer)],
        "annotations": annotations,
    });
    let manifest = manifest.to_string().into_bytes();
    // The layout needs an index, but a push of its one image sends only the manifest.
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [descriptor(MANIFEST, &manifest)],
    });
    let index = index.to_string().into_bytes();

    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", sha256(bytes));
    let layout: [(&str, &[u8]); 5] = [
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", &index),
        (&blob(&manifest), &manifest),
        (&blob(&config), &config),
        (&blob(&layer), &layer),
    ];
    let folder = root().join(LAYOUT);
    if folder.exists() {
        fs::remove_dir_all(&folder).context(LAYOUT)?;
    }
    for (name, bytes) in layout {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&folder)).context(LAYOUT)?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    fs::write(root().join(ARCHIVE), tar(layout)?).context(ARCHIVE)?;
    Ok(sha256(&manifest))
}

/// Returns the OCI descriptor of a blob.
fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": format!("sha256:{}", sha256(bytes)),
        "size": bytes.len(),
    })
}

/// Returns a tar of files with these names, without users or times.
fn tar<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, name, bytes)?;
    }
    tar.into_inner()
}
