//! The project's files, and commands as a user runs them.

use std::fs;
use std::process::Command;

use xtask::root;

/// Returns a command in the project's root, with the environment of a shell of its own even if `make`
/// runs the test.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        command.env_remove(variable);
    }
    command.current_dir(root());
    command
}

/// Returns the text of a file of the project.
#[must_use]
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
