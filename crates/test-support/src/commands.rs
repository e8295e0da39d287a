//! Commands as a user runs them.

use std::process::Command;

use xtask::root;

/// Returns a command in the project's root, with the environment of a shell of its own even if `make`
/// runs the test.
#[must_use]
pub fn in_root(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        command.env_remove(variable);
    }
    command.current_dir(root());
    command
}
