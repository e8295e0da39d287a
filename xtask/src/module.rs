//! The Wasm module.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{last_line, output, root, sha256, target};

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
    cargo(&["build", "--package", "request-id-filter"])?;
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

/// Builds the filter of `tests/textbook` in the same way, but as cargo leaves it.
///
/// # Errors
/// As for [`build`].
pub fn build_textbook() -> Result<PathBuf> {
    cargo(&["build", "--package", "textbook"])?;
    Ok(target().join(WASM).join("release/textbook.wasm"))
}

/// Runs a command of cargo for the module's target, which is added first if it is missing.
fn cargo(arguments: &[&str]) -> Result<()> {
    add_target()?;
    let status = Command::new("cargo")
        .args(arguments)
        .args(["--locked", "--release", "--target", WASM, "--target-dir"])
        .arg(target())
        // The flags that a machine has for its own programs, in RUSTFLAGS or a configuration of cargo,
        // have no place in the module.
        .env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f"))
        .current_dir(root())
        .status()
        .with_context(|| format!("cargo cannot be run: {NO_RUST}"))?;
    ensure!(status.success(), "the module does not build");
    Ok(())
}

/// Prints what identifies a built module.
///
/// # Errors
/// It cannot be read.
pub fn describe(module: &Path) -> Result<()> {
    println!("{}", description(module)?);
    Ok(())
}

/// What identifies a built module, in one line.
///
/// # Errors
/// It cannot be read.
pub fn description(module: &Path) -> Result<String> {
    let bytes = fs::read(module)?;
    let size = bytes.len();
    Ok(format!("{PATH}: {size} bytes, sha256 {}", sha256(&bytes)))
}

/// The flags of the compiler. Panics name the files that they come from: with these not by folders of
/// this machine, so that the module is the same from every machine.
fn flags() -> Result<Vec<String>> {
    // The standard library's files, which have a folder where the toolchain has the component rust-src.
    let sysroot = rustc(&["--print", "sysroot"])?;
    let version = rustc(&["--version", "--verbose"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "));
    let mut names = vec![(
        Path::new(sysroot.trim()).join("lib/rustlib/src/rust"),
        format!("/rustc/{}", commit.unwrap_or("unknown")),
    )];
    // The crates, in a folder for each registry or mirror of one. There is none where cargo takes
    // crates from elsewhere.
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let crates = cargo.context("neither CARGO_HOME nor HOME is set")?;
    let registries = fs::read_dir(crates.join("registry/src"));
    for registry in registries.into_iter().flatten() {
        names.push((registry?.path(), String::new()));
    }
    names.sort_unstable();
    let flag = |(folder, name): (PathBuf, String)| {
        format!("--remap-path-prefix={}={name}", folder.display())
    };
    Ok(names.into_iter().map(flag).collect())
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

/// The module without the exports that Envoy need not call, and without what only they used.
fn strip(built: &[u8]) -> Result<Vec<u8>> {
    let mut module = walrus::Module::from_buffer(built)?;
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
    let library = rustc(&["--print", "target-libdir", "--target", WASM])?;
    if Path::new(library.trim()).is_dir() {
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

/// What the compiler says of itself.
fn rustc(arguments: &[&str]) -> Result<String> {
    let asked = output(
        Command::new("rustc").args(arguments).current_dir(root()),
        NO_RUST,
    )?;
    Ok(String::from_utf8(asked.stdout)?)
}
