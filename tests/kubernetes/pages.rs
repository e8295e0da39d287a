//! The commands of the documentation, run as a user runs them.

use std::fs;

use anyhow::{Result, ensure};
use xtask::root;

use crate::cluster::Cluster;

/// Runs all commands of a page, one block after the other, in one shell. Each has to succeed.
/// `environment` has the variables that the page expects of its reader.
pub fn run(cluster: &Cluster, page: &str, environment: &[(&str, &str)]) -> Result<()> {
    let text = fs::read_to_string(root().join(page))?;
    let blocks = blocks(&text);
    ensure!(!blocks.is_empty(), "{page} has no commands");
    let mut script =
        String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for line in blocks.iter().flat_map(|block| block.lines()) {
        if line.starts_with("export IMAGE=") {
            continue; // ours is in the environment
        }
        script += &format!("echo {}\n{line}\n", quote(&format!("$ {line}")));
    }
    let output = cluster
        .command("bash")
        .args(["-c", &script])
        .envs(environment.iter().copied())
        .output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "a command of {page} fails:\n{stdout}\n{stderr}"
    );
    Ok(())
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The blocks of shell commands of a page in Markdown.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match &mut open {
            None if line.trim_start() == "```sh" => open = Some((indent, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take().map(|(_, block)| block)),
            Some((indent, block)) => {
                *block += line.get(*indent..).unwrap_or_default();
                block.push('\n');
            }
        }
    }
    blocks
}
