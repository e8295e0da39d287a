//! The commands behind the Makefile.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use xtask::{check, find_root, image, module, release, run, schema};

#[derive(Parser)]
#[command(about)]
enum Task {
    /// Build the module and print its size and its SHA-256
    Build,
    /// Make an OCI image of the module and print its digest
    Image(image::Source),
    /// Run Envoy with the filter in front of a demo upstream
    Run(run::Ports),
    /// Check a configuration of the filter: bare JSON, or a manifest that contains it
    CheckConfig {
        /// JSON, or an Envoy configuration or a manifest of Istio, Higress or Envoy Gateway in YAML or JSON
        file: PathBuf,
    },
    /// Write the JSON Schema of the configuration
    Schema,
    /// Print what the changelog says about the version to be released
    ReleaseNotes {
        /// `v` followed by the version
        tag: String,
    },
}

fn main() -> ExitCode {
    match execute(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(task: Task) -> Result<()> {
    find_root()?;
    match task {
        Task::Build => module::describe(&module::build()?),
        Task::Image(source) => image::make(&source),
        Task::Run(ports) => run::run(&ports),
        Task::CheckConfig { file } => check::check(&file),
        Task::Schema => schema::write(),
        Task::ReleaseNotes { tag } => release::print_notes(&tag),
    }
}
