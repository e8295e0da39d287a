//! The time to start, and memory.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use super::load;
use super::samples::Samples;
use super::table;
use super::variants::{self, DEFAULT, NO_FILTER, Variant};
use crate::envoy::Process;

/// More of a kind need not be started.
pub const MOST_ROUNDS: u32 = 5;

const MANY_WORKERS: u32 = 9;

#[derive(Default)]
struct Measured {
    start_milliseconds: Samples,
    megabytes: Samples,
    megabytes_with_many_workers: Samples,
    /// Of the filter's VMs only.
    linear_kilobytes: Samples,
}

impl Measured {
    /// Of one worker, when Envoy has others.
    fn megabytes_per_worker(&self) -> f64 {
        let more = self.megabytes_with_many_workers.median() - self.megabytes.median();
        more / f64::from(MANY_WORKERS - 1)
    }
}

/// Starts Envoys without the filter and with it, in turns, and returns the table.
///
/// # Errors
/// One does not start, or the system does not tell its memory.
pub fn measure(variants: &[Variant], upstream: u16, rounds: u32) -> Result<String> {
    let names = [NO_FILTER, DEFAULT];
    let [without, with] = names.map(|name| (name, Measured::default()));
    let mut all = [without, with];
    for _ in 0..rounds {
        for (name, measured) in &mut all {
            let variant = variants::named(variants, name)?;
            let config = variants::bootstrap([variant], upstream);
            let started = Instant::now();
            let envoy = super::start(&config)?;
            let start = started.elapsed();
            measured
                .start_milliseconds
                .push(start.as_secs_f64() * 1000.0);
            measured.megabytes.push(megabytes_in_use(&envoy, variant)?);
            measured.linear_kilobytes.extend(linear_kilobytes(&envoy)?);
            drop(envoy);
            let envoy = super::start_with_workers(&config, MANY_WORKERS)?;
            let megabytes = megabytes_in_use(&envoy, variant)?;
            measured.megabytes_with_many_workers.push(megabytes);
        }
    }

    let [(_, without), (_, with)] = all;
    let mut table = table::plain(&["", NO_FILTER, DEFAULT, "on top"]);
    let mut row = |title: &str, of: &dyn Fn(&Measured) -> f64| {
        let (without, with) = (of(&without), of(&with));
        table.add_row([
            title.to_owned(),
            format!("{without:.1}"),
            format!("{with:.1}"),
            format!("{:.1}", with - without),
        ]);
    };
    row("from start to ready, ms", &|measured| {
        measured.start_milliseconds.median()
    });
    row("resident memory with 1 worker, MB", &|measured| {
        measured.megabytes.median()
    });
    row(
        &format!("resident memory with {MANY_WORKERS} workers, MB"),
        &|measured| measured.megabytes_with_many_workers.median(),
    );
    row("each further worker, MB", &Measured::megabytes_per_worker);
    let linear = match with.linear_kilobytes.median() {
        kilobytes if kilobytes.is_nan() => "unknown".into(),
        kilobytes => format!("{:.1}", kilobytes / 1024.0),
    };
    table.add_row(["linear memory of a VM, MB", "", "", &linear]);
    Ok(table.trim_fmt())
}

/// What is resident when each worker has had requests.
fn megabytes_in_use(envoy: &Process, variant: &Variant) -> Result<f64> {
    let [keep, generate] = load::simple();
    for workload in [keep, generate] {
        load::send(envoy.port(variant.name)?, &workload, 2000, 100)?;
    }
    Ok(envoy.resident()? as f64 / f64::from(1 << 20))
}

/// The size of a module's own memory, in which it has all that it keeps. V8 reserves the addresses
/// behind it, which is how it can be told from other memory; empty if this V8 does not.
fn linear_kilobytes(envoy: &Process) -> Result<Option<f64>> {
    const RESERVED: u64 = 4 << 30;
    let maps = fs::read_to_string(format!("/proc/{}/maps", envoy.id()))?;
    let mut smallest: Option<u64> = None;
    let mut before = None;
    for line in maps.lines() {
        let mut columns = line.split(' ');
        let range = columns.next().and_then(|range| range.split_once('-'));
        let (start, end) = range.with_context(|| format!("no range: {line}"))?;
        let start = u64::from_str_radix(start, 16)?;
        let end = u64::from_str_radix(end, 16)?;
        let access = columns.next().unwrap_or_default();
        if let Some((used, until)) = before
            && until == start
            && access.starts_with("---")
            && end - start >= RESERVED
        {
            smallest = Some(smallest.map_or(used, |smallest| smallest.min(used)));
        }
        before = access.starts_with("rw-").then_some((end - start, end));
    }
    Ok(smallest.map(|bytes| bytes as f64 / 1024.0))
}
