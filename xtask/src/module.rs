//! The Wasm module: how it is built, and what it exports and imports.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use wasmparser::Payload;

use crate::{last_line, output, post_link, root, sha256, target};

/// The Rust target of the module.
const WASM: &str = "wasm32-wasip1";
const NO_RUST: &str = "install Rust from https://rustup.rs";

/// The path of the built module, relative to the root as in the Envoy configurations.
pub const PATH: &str = "target/request-id-filter.wasm";

/// Builds the module and returns its path. Adds the Rust target first if it is missing.
///
/// # Errors
/// Returns an error if Rust is missing, the target cannot be added, or the code does not compile.
pub fn build() -> Result<PathBuf> {
    let folder = cargo(&["build", "--package", "request-id-filter"])?;
    let built = folder.join("request_id_filter.wasm");
    let built = fs::read(&built).with_context(|| built.display().to_string())?;
    let module = root().join(PATH);
    let finished = post_link::run(&built).context("the built module")?;
    // Tests build the module while other tests read it, so the file is replaced as a whole.
    let new = tempfile::NamedTempFile::new_in(target())?;
    fs::write(new.path(), finished)?;
    fs::set_permissions(new.path(), Permissions::from_mode(0o644))?;
    new.persist(&module).context(PATH)?;
    Ok(module)
}

/// Runs a cargo command that builds a package for Wasm with the release profile, and returns the folder
/// of the built files. Adds the Rust target first if it is missing.
///
/// # Errors
/// Returns an error if Rust is missing, the target cannot be added, or the code does not compile.
pub fn cargo(arguments: &[&str]) -> Result<PathBuf> {
    add_target()?;
    let status = Command::new("cargo")
        .args(arguments)
        .args(["--locked", "--release", "--target", WASM, "--target-dir"])
        .arg(target())
        // This replaces flags that are meant for the programs of this machine, from RUSTFLAGS or from
        // cargo's configuration.
        .env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f"))
        .current_dir(root())
        .status()
        .with_context(|| format!("cargo cannot be run: {NO_RUST}"))?;
    ensure!(status.success(), "the module cannot be built");
    Ok(target().join(WASM).join("release"))
}

/// Prints the description of a built module.
///
/// # Errors
/// Returns an error if the module cannot be read.
pub fn describe(module: &Path) -> Result<()> {
    println!("{}", description(module)?);
    Ok(())
}

/// Returns the path, the size and the SHA-256 of a built module, in one line.
///
/// # Errors
/// Returns an error if the module cannot be read.
pub fn description(module: &Path) -> Result<String> {
    let bytes = fs::read(module)?;
    let size = bytes.len();
    Ok(format!("{PATH}: {size} bytes, sha256 {}", sha256(&bytes)))
}

/// Returns the flags for the compiler. Panic messages name source files; with these flags they do not
/// name folders of this machine, so that every machine builds the same module.
fn flags() -> Result<Vec<String>> {
    // The files of the standard library, which are on this machine if rust-src is installed.
    let sysroot = rustc(&["--print", "sysroot"])?;
    let version = rustc(&["--version", "--verbose"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "));
    let mut names = vec![(
        Path::new(sysroot.trim()).join("lib/rustlib/src/rust"),
        format!("/rustc/{}", commit.unwrap_or("unknown")),
    )];
    // The crates, in one folder per registry or mirror. There is no such folder if cargo is configured
    // to take crates from elsewhere.
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

/// Returns the names of the exports of a module and of its imports (as `module.name`), both sorted.
///
/// # Errors
/// Returns an error if the bytes are not a Wasm module.
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

/// How much code a module has. V8 compiles all of it when the module is loaded, two functions at a time, so
/// the time that takes goes by the section, and the memory by the largest functions too.
#[derive(Clone, Debug)]
pub struct CodeSize {
    /// The size of the code section, in bytes.
    pub section: usize,
    /// The sizes of the functions, in bytes, the largest first.
    pub functions: Vec<usize>,
}

/// Returns how much code a module has.
///
/// # Errors
/// Returns an error if the bytes are not a Wasm module with code.
pub fn code_size(module: &[u8]) -> Result<CodeSize> {
    let mut section = None;
    let mut functions = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        match payload? {
            Payload::CodeSectionStart { range, .. } => section = Some(range.len()),
            Payload::CodeSectionEntry(body) => functions.push(body.range().len()),
            _ => {}
        }
    }
    functions.sort_unstable_by(|one, other| other.cmp(one));
    Ok(CodeSize {
        section: section.context("the module has no code section")?,
        functions,
    })
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

/// Asks the compiler for a fact about itself.
fn rustc(arguments: &[&str]) -> Result<String> {
    let asked = output(
        Command::new("rustc").args(arguments).current_dir(root()),
        NO_RUST,
    )?;
    Ok(String::from_utf8(asked.stdout)?)
}
