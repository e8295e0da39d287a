//! How many instructions Envoy runs for a request, counted by callgrind: unlike time it is the same on
//! every machine of a kind, and hardly depends on what else runs.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::load::{self, Workload};
use super::samples::Samples;
use super::table::{Costs, Row, Section};
use super::variants::{self, DEFAULT, NO_FILTER, Variant};
use crate::envoy::{self, Output, Process};
use crate::{last_line, output};

/// Counted, Envoy is some thirty times slower, and few requests are enough.
pub const MOST_ROUNDS: u32 = 5;
pub const MOST_REQUESTS: u32 = 200;

const VALGRIND: &str = "valgrind";

/// Under valgrind a start takes some twenty seconds; a busy machine needs more.
const START: Duration = Duration::from_secs(300);

/// Whether valgrind is installed.
///
/// # Errors
/// It is, but cannot be run.
pub fn can_be_counted() -> Result<bool> {
    match Command::new(VALGRIND).arg("--version").output() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(VALGRIND),
    }
}

/// Lets the variants take turns at each kind of request.
///
/// # Errors
/// A request failed, or valgrind.
pub fn measure(config: &Value, variants: &[Variant], rounds: u32, requests: u32) -> Result<Costs> {
    let mut counted = Counted::start(config)?;
    let two: Vec<_> = [NO_FILTER, DEFAULT]
        .into_iter()
        .map(|name| variants::named(variants, name))
        .collect::<Result<_>>()?;
    let mut sections = Vec::new();
    for workload in load::simple() {
        let all = variants.iter();
        sections.push(counted.take_turns(all, workload, rounds, requests)?);
    }
    for workload in load::large() {
        let two = two.iter().copied();
        sections.push(counted.take_turns(two, workload, rounds, requests)?);
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
    /// Where callgrind writes a file for each dump, named by its number.
    folder: TempDir,
    dumps: u32,
}

impl Counted {
    fn start(config: &Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(VALGRIND);
        command
            .args(["--quiet", "--tool=callgrind", "--instr-atstart=no"])
            // V8 writes the code that it runs.
            .arg("--smc-check=all-non-file")
            .arg(format!(
                "--callgrind-out-file={}",
                folder.path().join("counts").display()
            ))
            .arg(envoy::binary()?);
        let arguments = ["--concurrency", "1", "--log-level", "error"];
        let envoy = Process::start_as(command, START, config, &Output::Kept, &arguments)?;
        let counted = Self {
            envoy,
            folder,
            dumps: 0,
        };
        counted.tell(&["instrumentation", "on"])?;
        Ok(counted)
    }

    fn take_turns<'a>(
        &mut self,
        variants: impl Iterator<Item = &'a Variant>,
        workload: Workload,
        rounds: u32,
        requests: u32,
    ) -> Result<Section> {
        let mut rows = Vec::new();
        for variant in variants {
            let port = self.envoy.port(variant.name)?;
            load::send(port, &workload, requests, 1)?;
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

    /// Of instructions, for each request.
    fn thousands(&mut self, port: u16, workload: &Workload, requests: u32) -> Result<f64> {
        self.tell(&["zero"])?;
        load::send(port, workload, requests, 1)?;
        self.tell(&["dump"])?;
        self.dumps += 1;
        let counts: PathBuf = self.folder.path().join(format!("counts.{}", self.dumps));
        let text = fs::read_to_string(&counts).with_context(|| counts.display().to_string())?;
        let total: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix("totals: ")?.parse().ok())
            .with_context(|| format!("no totals in {}", counts.display()))?;
        fs::remove_file(counts)?;
        Ok(total / 1000.0 / f64::from(requests))
    }

    /// Has callgrind carry out a command, and waits until it has.
    fn tell(&self, command: &[&str]) -> Result<()> {
        let told = output(
            Command::new("vgdb")
                .arg(format!("--pid={}", self.envoy.id()))
                .args(command),
            "install valgrind, which it is a part of",
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
