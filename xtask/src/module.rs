//! The Wasm module.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{last_line, output, root, target};

const WASM: &str = "wasm32-wasip1";
const NO_RUST: &str = "install Rust from https://rustup.rs";

/// Where the module is built, relative to the root as Envoy configurations have it.
pub const PATH: &str = "target/request-id-filter.wasm";

/// Builds the module, adding the wasm target first if it is missing. Does nothing that is done
/// already.
///
/// # Errors
/// No Rust, no way to add the target, or code that does not compile.
pub fn build() -> Result<PathBuf> {
    add_target()?;
    // The crate type is passed here because naming it in Cargo.toml beside "rlib" turns LTO off.
    let status = Command::new("cargo")
        .args(["rustc", "--locked", "--release", "--lib"])
        .args([
            "--package",
            "request-id-filter",
            "--target",
            WASM,
            "--crate-type",
            "cdylib",
        ])
        .arg("--target-dir")
        .arg(target())
        .current_dir(root())
        .status()
        .with_context(|| format!("cargo cannot be run: {NO_RUST}"))?;
    ensure!(status.success(), "the module does not build");
    let module = root().join(PATH);
    let built = target().join(WASM).join("release/request_id_filter.wasm");
    fs::copy(&built, &module)
        .with_context(|| format!("cannot copy {} to {PATH}", built.display()))?;
    Ok(module)
}

fn add_target() -> Result<()> {
    let library = output(
        Command::new("rustc")
            .args(["--print", "target-libdir", "--target", WASM])
            .current_dir(root()),
        NO_RUST,
    )?;
    if PathBuf::from(String::from_utf8_lossy(&library.stdout).trim()).is_dir() {
        return Ok(());
    }
    println!("adding the Rust target {WASM}");
    let added = output(
        Command::new("rustup")
            .args(["target", "add", WASM])
            .current_dir(root()),
        "it adds the Rust target wasm32-wasip1; without rustup install the target as your \
         distribution has it (Debian: libstd-rust-dev-wasm32)",
    )?;
    ensure!(
        added.status.success(),
        "cannot add the Rust target {WASM}: {}",
        last_line(&added)
    );
    Ok(())
}
