//! `make image`: the module as an OCI image, as Istio, Envoy Gateway and Higress fetch it.
//!
//! All three look into the last layer of an image, which has to be a gzipped tar, for `plugin.wasm`,
//! and compare a digest with that of the image's manifest. So: one layer with one file, and a manifest
//! that no index stands before.
//!
//! The documents are written here and not by a crate's types (`oci-spec`), which keep annotations in a
//! `HashMap`: in another order, and so with another digest, each time.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};

use crate::{last_line, module, output, root, sha256};

/// The image as a folder, relative to the root.
pub const LAYOUT: &str = "target/image";
/// The same as one file.
pub const ARCHIVE: &str = "target/image.tar";

/// The name of the module in the image.
const PLUGIN: &str = "plugin.wasm";

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

/// Builds the module, writes the image and prints what to do with it.
///
/// # Errors
/// The module does not build, or a file cannot be written.
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

/// The commit that the sources are, with `-dirty` if they are not quite.
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
    // The way up to the repository's root, and the commit.
    let head = git(&["rev-parse", "--show-cdup", "HEAD"])?;
    let (up, commit) = head.split_once('\n').unwrap_or_default();
    ensure!(up.is_empty(), "the sources are no repository of their own");
    let commit = commit.trim_end();
    let changes = git(&["--no-optional-locks", "status", "--porcelain"])?;
    Ok(match changes.is_empty() {
        true => commit.into(),
        false => format!("{commit}-dirty"),
    })
}

/// Writes an image of a module and returns the digest of its manifest. Nothing in it depends on when
/// and where it is made.
fn write(module: &[u8], annotations: &Map<String, Value>) -> Result<String> {
    let files = tar([(PLUGIN, module)])?;
    let mut layer = GzBuilder::new().write(Vec::new(), Compression::best());
    layer.write_all(&files)?;
    let layer = layer.finish()?;
    let config = json!({
        // The module runs anywhere, but some tools refuse an image for another machine than theirs,
        // and this is what `FROM scratch` gives most often.
        "architecture": "amd64",
        "os": "linux",
        // Where a tool converts the image to Docker's format, annotations get lost and labels do not.
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
    // A layout begins with an index. It stays here: what a push of the one image sends is the manifest.
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

/// What OCI's documents say of a blob.
fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": format!("sha256:{}", sha256(bytes)),
        "size": bytes.len(),
    })
}

/// A tar of files with these names, from no user and no time.
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
