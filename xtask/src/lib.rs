//! What the commands of the Makefile and the tests both need: the built module, an Envoy, and the
//! two of them running.

#[cfg(feature = "bench")]
pub mod bench;
pub mod check;
pub mod envoy;
pub mod image;
pub mod module;
pub mod release;
pub mod run;
pub mod schema;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The project's root, which paths in Envoy configurations are relative to.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// Where everything that is built or installed goes.
#[must_use]
pub fn target() -> PathBuf {
    root().join("target")
}

/// As `sha256sum` prints it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a command and returns what it printed; `missing` says what to do when there is no such
/// program.
fn output(command: &mut Command, missing: &str) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .with_context(|| format!("{program} cannot be run: {missing}"))
}

/// The line of a tool's error output that says most: its last.
fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no message")
        .trim()
        .to_owned()
}
