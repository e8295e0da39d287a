//! The project's files, and commands as a user runs them.

use std::fs;
use std::path::Path;
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

/// Returns the paths of all files below a folder of the project, relative to the project's root.
#[must_use]
pub fn files(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect("the folder can be read") {
        let entry = entry.expect("the entry can be read");
        let name = entry.file_name().into_string();
        let path = format!("{folder}/{}", name.expect("the name is UTF-8"));
        if entry.path().is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort_by(|one, other| Path::new(one).cmp(Path::new(other)));
    files
}
