//! A copy of a built tree works on itself and not on the tree that it was copied from.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use xtask::{module, root, schema};

/// Copies the sources and the built xtask, as `cp -a` copies a tree: cargo considers the xtask in the copy to be
/// up to date and does not build it again.
fn copied_tree() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut sources: Vec<_> = root()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    sources.retain(|path| {
        ![".git", "fuzz", "target"]
            .iter()
            .any(|name| path.ends_with(name))
    });
    succeeds(Command::new("cp").arg("-a").args(sources).arg(copy.path()));
    let binary = copy.path().join("target/debug/xtask");
    fs::create_dir_all(binary.parent().unwrap()).unwrap();
    fs::copy(env::var_os("CARGO_BIN_EXE_xtask").unwrap(), binary).unwrap();
    copy
}

/// Returns a command of the xtask in a copied tree, in a working directory and without cargo.
fn xtask(copy: &Path, working_directory: &Path, task: &str) -> Command {
    let mut command = Command::new(copy.join("target/debug/xtask"));
    command
        .arg(task)
        .current_dir(working_directory)
        .env_remove("CARGO_MANIFEST_DIR");
    command
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

#[test]
fn a_copy_builds_into_itself() {
    let copy = copied_tree();
    // cargo sets this for the programs that it runs, and leaves the working directory as it is.
    succeeds(
        xtask(copy.path(), &env::temp_dir(), "build")
            .env("CARGO_MANIFEST_DIR", copy.path().join("xtask")),
    );
    let built = fs::read(copy.path().join(module::PATH)).unwrap();
    assert!(module::interface(&built).is_ok());
}

#[test]
fn without_cargo_the_working_directory_decides() {
    let copy = copied_tree();
    let schema = copy.path().join(schema::PATH);
    for folder in ["", "envoy/istio", "xtask/src"] {
        fs::remove_file(&schema).unwrap();
        succeeds(&mut xtask(copy.path(), &copy.path().join(folder), "schema"));
        assert!(schema.is_file(), "{folder:?}");
    }
}

#[test]
fn outside_of_the_sources_the_error_says_so() {
    let copy = copied_tree();
    let outside = tempfile::tempdir().unwrap();
    let mut build = xtask(copy.path(), outside.path(), "build");
    let output = build.output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    let start = format!(
        "error: {} is not in the sources of request-id-filter",
        outside.path().display()
    );
    assert!(error.starts_with(&start), "{error}");
}
