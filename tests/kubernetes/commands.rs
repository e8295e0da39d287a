//! The commands of the documentation, run as a user runs them.

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use test_support::pages;

use crate::{World, envoy_gateway, istio_changes, tests};

tests![each_command_of_the_page_on_troubleshooting_succeeds];

/// Of a service of the reader's own, which is not here.
const ELSEWHERE: &str = "https://api.example.com/";

/// Runs all commands of a page for a shell, one block after the other, in one shell. Each has to
/// succeed. `environment` has the variables that the page expects of its reader.
pub fn run(cluster: &Cluster, page: &str, environment: &[(&str, &str)]) -> Result<()> {
    let page = pages::page(page);
    let blocks = page.blocks.iter().filter(|block| block.language == "sh");
    let lines: Vec<_> = blocks.flat_map(|block| block.text.lines()).collect();
    ensure!(!lines.is_empty(), "{} has no commands", page.path);
    let mut script =
        String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for line in lines {
        // The image is the one that was built, and its name is in the environment.
        if line.starts_with("export IMAGE=") || line.contains(ELSEWHERE) {
            continue;
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
        "a command of {} fails:\n{stdout}\n{stderr}",
        page.path
    );
    Ok(())
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The page is about both control planes, and about what its reader has just seen.
fn each_command_of_the_page_on_troubleshooting_succeeds(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let pod = istio_changes::in_trouble(cluster)?;
    envoy_gateway::deploy(cluster, world.envoy_gateway()?)?;
    run(cluster, "docs/troubleshooting.md", &[("POD", &pod)])
}
