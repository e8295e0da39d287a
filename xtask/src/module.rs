//! The Wasm module.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
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
    let built = target().join(WASM).join("release/request_id_filter.wasm");
    let built = fs::read(&built).with_context(|| built.display().to_string())?;
    let module = root().join(PATH);
    let stripped = strip(&built).context("the built module")?;
    // Tests build it again while others read it: the file is replaced as a whole.
    let new = tempfile::NamedTempFile::new_in(target())?;
    fs::write(new.path(), stripped)?;
    fs::set_permissions(new.path(), Permissions::from_mode(0o644))?;
    new.persist(&module).context(PATH)?;
    Ok(module)
}

/// What Envoy may call. The SDK exports every callback there is, and Envoy calls every one that is
/// exported: for each chunk of a body, for trailers, for the log and the end of a stream.
pub const EXPORTS: [&str; 11] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// The names of what a module exports and imports, imports as `module.name`, both sorted.
///
/// # Errors
/// It is no Wasm module.
pub fn interface(module: &[u8]) -> Result<(Vec<String>, Vec<String>)> {
    let module = walrus::Module::from_buffer(module)?;
    let mut exports: Vec<_> = module
        .exports
        .iter()
        .map(|export| export.name.clone())
        .collect();
    let mut imports: Vec<_> = module
        .imports
        .iter()
        .map(|import| format!("{}.{}", import.module, import.name))
        .collect();
    exports.sort_unstable();
    imports.sort_unstable();
    Ok((exports, imports))
}

/// What the module names an export that takes the place of the SDK's, before its name.
const OURS: &str = "ours_";

/// The module without the exports that Envoy need not call, and without what only they used.
fn strip(built: &[u8]) -> Result<Vec<u8>> {
    let mut module = walrus::Module::from_buffer(built)?;
    let replaced: Vec<_> = module
        .exports
        .iter()
        .filter_map(|export| export.name.strip_prefix(OURS))
        .map(str::to_owned)
        .collect();
    for name in replaced {
        module.exports.remove(&name)?;
    }
    for export in module.exports.iter_mut() {
        if let Some(name) = export.name.strip_prefix(OURS) {
            export.name = name.to_owned();
        }
    }
    let unused: Vec<_> = module
        .exports
        .iter()
        .filter(|export| !EXPORTS.contains(&export.name.as_str()))
        .map(walrus::Export::id)
        .collect();
    for export in unused {
        module.exports.delete(export);
    }
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
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
