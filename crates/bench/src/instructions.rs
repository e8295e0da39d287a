//! How many instructions Envoy executes per request, counted by callgrind. Unlike CPU time, the number hardly
//! depends on what else the machine does.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use xtask::envoy::{self, Output, Process};
use xtask::{last_line, output};

use crate::arguments;
use crate::h2load::{self, Workload};
use crate::samples::Samples;
use crate::table::{Costs, Row, Section};
use crate::variants::{self, DEFAULT, NO_FILTER, Variant};

/// Under valgrind Envoy is about thirty times slower, and a few requests are enough.
pub const MOST_ROUNDS: u32 = 5;
pub const MOST_REQUESTS: u32 = 200;

const VALGRIND: &str = "valgrind";

/// How long Envoy may take to start. It takes about twenty seconds, but more on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(300);

/// Tells whether valgrind is installed.
///
/// # Errors
/// Returns an error if it is installed, but cannot be run.
pub fn can_be_counted() -> Result<bool> {
    match Command::new(VALGRIND).arg("--version").output() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(VALGRIND),
    }
}

/// Measures the variants in turn with small requests, and the filter with large ones.
///
/// # Errors
/// Returns an error if a request or valgrind fails.
pub fn measure(config: &Value, variants: &[&Variant], rounds: u32, requests: u32) -> Result<Costs> {
    let mut counted = Counted::start(config)?;
    let named = |name| variants::named(variants.iter().copied(), name);
    let with_and_without = [named(NO_FILTER)?, named(DEFAULT)?];
    let mut sections = Vec::new();
    for workload in h2load::small() {
        sections.push(counted.take_turns(variants, workload, rounds, requests)?);
    }
    for workload in h2load::large() {
        sections.push(counted.take_turns(&with_and_without, workload, rounds, requests)?);
    }
    Ok(Costs {
        unit: "thousands",
        others: &[],
        sections,
    })
}

/// An Envoy under callgrind.
struct Counted {
    envoy: Process,
    /// The folder into which callgrind writes a file for each dump, with its number in the name.
    folder: TempDir,
    dumps: u32,
}

impl Counted {
    fn start(config: &Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(VALGRIND);
        command
            .args(["--quiet", "--tool=callgrind", "--instr-atstart=no"])
            // V8 generates the code that it executes.
            .arg("--smc-check=all-non-file")
            .arg(format!(
                "--callgrind-out-file={}",
                folder.path().join("counts").display()
            ))
            .arg(envoy::binary()?);
        let envoy =
            Process::start_with(command, START_LIMIT, config, &Output::Kept, &arguments("1"))?;
        let counted = Self {
            envoy,
            folder,
            dumps: 0,
        };
        counted.tell(&["instrumentation", "on"])?;
        Ok(counted)
    }

    fn take_turns(
        &mut self,
        variants: &[&Variant],
        workload: Workload,
        rounds: u32,
        requests: u32,
    ) -> Result<Section> {
        let mut rows = Vec::new();
        for variant in variants {
            let port = self.envoy.port(variant.name)?;
            h2load::send(port, &workload, requests, 1)?;
            let row = Row {
                name: variant.name,
                cost: Samples::default(),
                on_top: Samples::default(),
                others: Vec::new(),
            };
            rows.push((port, row));
        }
        for _ in 0..rounds {
            let mut without_filter = None;
            for (port, row) in &mut rows {
                let thousands = self.thousands(*port, &workload, requests)?;
                let base = *without_filter.get_or_insert(thousands);
                row.cost.push(thousands);
                row.on_top.push(thousands - base);
            }
        }
        Ok(Section {
            title: workload.title,
            rows: rows.into_iter().map(|(_, row)| row).collect(),
        })
    }

    /// Sends requests, and returns the thousands of instructions per request.
    fn thousands(&mut self, port: u16, workload: &Workload, requests: u32) -> Result<f64> {
        self.tell(&["zero"])?;
        h2load::send(port, workload, requests, 1)?;
        self.tell(&["dump"])?;
        self.dumps += 1;
        let counts: PathBuf = self.folder.path().join(format!("counts.{}", self.dumps));
        let text = fs::read_to_string(&counts).with_context(|| counts.display().to_string())?;
        let total: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix("totals: ")?.parse().ok())
            .with_context(|| format!("{} has no totals", counts.display()))?;
        fs::remove_file(counts)?;
        Ok(total / 1000.0 / f64::from(requests))
    }

    /// Makes callgrind execute a command, and waits until it is done.
    fn tell(&self, command: &[&str]) -> Result<()> {
        let told = output(
            Command::new("vgdb")
                .arg(format!("--pid={}", self.envoy.id()))
                .args(command),
            "it is a part of valgrind",
        )?;
        ensure!(
            told.status.success(),
            "vgdb {}: {}",
            command.join(" "),
            last_line(&told)
        );
        Ok(())
    }
}
