//! The commands behind the Makefile.

use std::process::ExitCode;

use clap::Parser;
use xtask::{module, run};

#[derive(Parser)]
#[command(about)]
enum Task {
    /// Build the module and print its size
    Build,
    /// Run the filter in Envoy in front of a demo upstream
    Run(run::Ports),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Build => build(),
        Task::Run(ports) => run::run(&ports),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> anyhow::Result<()> {
    let path = module::build()?;
    let size = std::fs::metadata(&path)?.len();
    println!("{}: {size} bytes", module::PATH);
    Ok(())
}
