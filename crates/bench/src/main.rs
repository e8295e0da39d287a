//! `make bench`: measures what the filter costs, next to other ways to give requests an id.
//!
//! All filters that are compared are listeners of one Envoy, and take turns, so that whatever else happens on
//! the machine affects all of them. An upstream, a second Envoy, answers the requests of h2load.

mod bootstrap;
mod chart;
mod cpu_time;
mod h2load;
mod instructions;
mod samples;
mod startup;
mod table;
mod variants;

use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use clap::Parser;
use procfs_core::{CpuInfo, FromRead};
use serde_json::Value;
use variants::Modules;
use xtask::envoy::{Output, Process};
use xtask::{find_root, module};

/// The path of the picture, relative to the root.
const CHART: &str = "target/cost.svg";

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// How many times each filter has its turn
    #[arg(long, env = "ROUNDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many requests each turn has
    #[arg(long, env = "REQUESTS", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..))]
    requests: u32,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything, prints the tables and draws the picture.
fn measure(&Arguments { rounds, requests }: &Arguments) -> Result<()> {
    find_root()?;
    h2load::require()?;
    let modules = Modules::build()?;
    let variants = variants::all(&modules);
    let upstream = start(&bootstrap::upstream(), 1)?;
    let upstream_port = upstream.port(bootstrap::UPSTREAM)?;
    let config = bootstrap::proxy(&variants, upstream_port);

    let envoy = start(&config, 1)?;
    for variant in &variants {
        variant.check(envoy.port(variant.name)?)?;
    }
    let measured = format!(
        "Envoy {}, {}",
        version(&envoy)?,
        module::description(&modules.filter)?
    );
    let compared: Vec<_> = variants
        .iter()
        .filter(|variant| variant.per_request)
        .collect();
    let cpu_time = cpu_time::measure(&envoy, &compared, rounds, requests)?;
    drop(envoy);
    println!(
        "{measured}
on {}
CPU time of Envoy per request: median and quartiles of ROUNDS={rounds} with REQUESTS={requests} each, sent over {}
connections to one worker. On top: more than without a filter in the same round.

{cpu_time}
",
        machine()?,
        h2load::CONNECTIONS
    );

    println!(
        "{measured}
What it costs to load a filter: medians of ROUNDS={rounds}. The first row is as measured, the others are on top of no filter
in the same round. Memory: private memory of Envoy (Private_Dirty), with one worker after {} requests, with {} after {}.
Ready: from the start of the process until /ready of the admin interface answers LIVE, asked every millisecond.

{}
",
        startup::REQUESTS,
        startup::MANY_WORKERS,
        startup::MANY_REQUESTS,
        startup::measure(&variants, upstream_port, rounds)?
    );

    if instructions::can_be_counted()? {
        let rounds = rounds.min(instructions::MOST_ROUNDS);
        let requests = requests.min(instructions::MOST_REQUESTS);
        let counted = instructions::measure(&config, &compared, rounds, requests)?;
        println!(
            "{measured}
Instructions of Envoy per request, counted by valgrind: median and quartiles of {rounds} rounds with {requests} requests each.

{counted}
"
        );
        chart::draw("thousands of instructions", &counted)?;
    } else {
        println!(
            "Instructions were not counted, since valgrind is missing (Debian: apt-get install valgrind).\n"
        );
        chart::draw("microseconds of CPU time", &cpu_time)?;
    }
    println!("{CHART}: a picture of the costs per request");
    Ok(())
}

/// The arguments for an Envoy that logs nothing but errors.
fn arguments(workers: &str) -> [&str; 4] {
    ["--concurrency", workers, "--log-level", "error"]
}

fn start(config: &Value, workers: u32) -> Result<Process> {
    Process::start(config, &Output::Kept, &arguments(&workers.to_string()))
}

/// Returns the version that the running Envoy reports; it may be another one than the pinned.
fn version(envoy: &Process) -> Result<String> {
    let info: Value = serde_json::from_str(&envoy.get("/server_info")?)?;
    let version = info["version"].as_str().unwrap_or_default();
    // The text contains the commit, the version, and how Envoy was built.
    Ok(version.split('/').nth(1).unwrap_or(version).to_owned())
}

/// Returns the number and the model of the processors.
fn machine() -> Result<String> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let info = CpuInfo::from_file("/proc/cpuinfo").context("the benchmark runs on Linux only")?;
    let model = info.model_name(0).unwrap_or("unknown processor");
    Ok(format!("{processors} x {model}"))
}
