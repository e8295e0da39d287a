//! Commands as a user runs them.

use std::process::Command;

use xtask::root;

/// A command in the root, as in a shell of its own, even where `make` runs the test.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        command.env_remove(variable);
    }
    command.current_dir(root());
    command
}
