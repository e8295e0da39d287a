//! The steps behind the Makefile: they build the module, install Envoy, and run one in the other. The
//! tests and the benchmark use them too.

pub mod check;
pub mod envoy;
pub mod image;
pub mod module;
pub mod post_link;
pub mod release;
pub mod run;
pub mod schema;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A file that only the project's root has at this path.
const IN_ROOT: &str = "xtask/Cargo.toml";

/// Finds the project's root, which the paths in Envoy configurations are relative to.
///
/// The search begins at the package that cargo runs or, if cargo does not run this program, at the working
/// directory, and goes upwards. The root is not compiled in: cargo does not build a copied tree again, and
/// the copy would work on the tree that it was copied from.
///
/// # Errors
/// Returns an error if there is no such folder.
pub fn find_root() -> Result<PathBuf> {
    let working_directory = env::current_dir().context("the working directory cannot be read")?;
    let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let is_root = |folder: &&Path| folder.join(IN_ROOT).is_file();
    package
        .iter()
        .chain([&working_directory])
        .find_map(|start| start.ancestors().find(is_root))
        .map(Path::to_owned)
        .with_context(|| {
            format!(
                "{} is not in the sources of request-id-filter: no folder from there upwards contains \
                 {IN_ROOT}; change into the sources",
                working_directory.display()
            )
        })
}

/// Returns the project's root, as [`find_root`] finds it.
///
/// # Panics
/// Panics if there is none. Programs call [`find_root`] first, to report that as an error.
#[must_use]
pub fn root() -> PathBuf {
    find_root().unwrap_or_else(|error| panic!("{error:#}"))
}

/// Returns the folder for everything that is built or installed.
#[must_use]
pub fn target() -> PathBuf {
    root().join("target")
}

/// Returns the SHA-256 of some bytes in hexadecimal, as `sha256sum` prints it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a command to its end and returns its output, whether it succeeded or not.
///
/// # Errors
/// Returns an error that ends with `hint` if the program cannot be run: what it is for, or how to get it.
pub fn output(command: &mut Command, hint: &str) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .with_context(|| format!("{program} cannot be run: {hint}"))
}

/// Returns the last line of a tool's error output, which is usually the one that says what went wrong.
#[must_use]
pub fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no message")
        .trim()
        .to_owned()
}
