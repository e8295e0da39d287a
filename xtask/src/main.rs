//! The commands behind the Makefile.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
#[cfg(feature = "bench")]
use xtask::bench;
use xtask::{check, image, module, release, run, schema};

#[derive(Parser)]
#[command(about)]
enum Task {
    /// Build the module and print its size and its sha256
    Build,
    /// Measure what the filter costs, and draw it
    #[cfg(feature = "bench")]
    Bench(bench::Extent),
    /// Make an OCI image of the module and print its digest
    Image(image::Source),
    /// Run the filter in Envoy in front of a demo upstream
    Run(run::Ports),
    /// Check the filter's configuration: bare JSON, or a manifest that holds it
    CheckConfig {
        /// JSON, or YAML or JSON of an Envoy configuration, a WasmPlugin or an EnvoyExtensionPolicy
        file: PathBuf,
    },
    /// Write the JSON Schema of the configuration
    Schema,
    /// Print what the changelog says of a version that is to be released
    ReleaseNotes {
        /// `v` and the version
        tag: String,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Build => module::build().and_then(|module| module::describe(&module)),
        #[cfg(feature = "bench")]
        Task::Bench(extent) => bench::bench(&extent),
        Task::Image(source) => image::make(&source),
        Task::Run(ports) => run::run(&ports),
        Task::CheckConfig { file } => check::check(&file),
        Task::Schema => schema::write(),
        Task::ReleaseNotes { tag } => release::print_notes(&tag),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
