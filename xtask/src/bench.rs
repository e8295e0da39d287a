//! `make bench`: what each request pays for its id, beside what it would pay for others' ways.

mod chart;
mod footprint;
mod instructions;
mod load;
mod samples;
mod speed;
mod table;
mod variants;

use std::thread;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::envoy::{Output, Process};
use crate::module;

/// The picture, relative to the root.
pub const CHART: &str = "target/cost.svg";

/// How long it measures.
#[derive(Args)]
pub struct Extent {
    /// How often each filter has its turn
    #[arg(long, env = "ROUNDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests in each turn
    #[arg(long, env = "REQUESTS", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..))]
    requests: u32,
}

/// Measures and prints all tables, and draws the picture.
///
/// # Errors
/// What is missing, in one line; or a filter that does not do what its row says.
pub fn bench(extent: &Extent) -> Result<()> {
    load::require()?;
    let module = module::build()?;
    let textbook = module::build_textbook()?;
    let variants = variants::all(&textbook);
    let upstream = start(&variants::upstream())?;
    let upstream_port = upstream.port("upstream")?;
    let config = variants::bootstrap(&variants, upstream_port);

    let envoy = start(&config)?;
    for variant in &variants {
        variant.check(envoy.port(variant.name)?)?;
    }
    let measured = format!(
        "Envoy {}, {}",
        version(&envoy)?,
        module::description(&module)?
    );
    let speed = speed::measure(&envoy, &variants, extent)?;
    drop(envoy);
    let Extent { rounds, requests } = extent;
    println!(
        "{measured}
on {}
CPU time of Envoy per request: median and quartiles over ROUNDS={rounds} of REQUESTS={requests} each, by {} connections
to one worker. On top: what is more than without a filter in the same round.

{speed}
",
        machine(),
        load::CONNECTIONS
    );

    let rounds = extent.rounds.min(footprint::MOST_ROUNDS);
    println!(
        "{measured}
What it takes to run at all: medians over {rounds} of each. A worker's VM is what it has on top.

{}
",
        footprint::measure(&variants, upstream_port, rounds)?
    );

    if instructions::can_be_counted()? {
        let rounds = extent.rounds.min(instructions::MOST_ROUNDS);
        let requests = extent.requests.min(instructions::MOST_REQUESTS);
        let counted = instructions::measure(&config, &variants, rounds, requests)?;
        println!(
            "{measured}
Instructions of Envoy per request, counted by valgrind: median and quartiles over {rounds} rounds of {requests}.

{counted}
"
        );
        chart::draw("thousands of instructions", &counted)?;
    } else {
        println!("No instructions: install valgrind to have them counted (Debian: valgrind).\n");
        chart::draw("microseconds of CPU time", &speed)?;
    }
    println!("{CHART}: what each adds to a request, as a picture");
    Ok(())
}

/// An Envoy with one worker, from which nothing is heard but what went wrong.
fn start(config: &Value) -> Result<Process> {
    start_with_workers(config, 1)
}

fn start_with_workers(config: &Value, workers: u32) -> Result<Process> {
    let workers = workers.to_string();
    Process::start(
        config,
        &Output::Kept,
        &["--concurrency", &workers, "--log-level", "error"],
    )
}

/// What Envoy says of itself, which `ENVOY` may have chosen.
fn version(envoy: &Process) -> Result<String> {
    let info: Value = serde_json::from_str(&envoy.get("/server_info")?)?;
    let version = info["version"].as_str().unwrap_or_default();
    // The commit, the version, and how it was built.
    Ok(version.split('/').nth(1).unwrap_or(version).to_owned())
}

/// The processor, by which times differ.
fn machine() -> String {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    format!("{processors} x {model}")
}
