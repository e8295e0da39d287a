//! What it costs to load a filter: memory, and time until Envoy is ready.

use std::fs::{self, File};
use std::time::Instant;

use anyhow::{Context, Result};
use procfs_core::FromRead;
use procfs_core::process::SmapsRollup;
use xtask::envoy::{self, Process};
use xtask::module;

use crate::h2load;
use crate::samples::Samples;
use crate::table;
use crate::variants::Variant;
use crate::{bootstrap, start};

/// How many requests the Envoy with one worker gets before its memory is read.
pub const REQUESTS: u32 = 50;

/// A second Envoy shows what further workers need. Its requests come over many connections, so that each
/// worker gets some.
pub const MANY_WORKERS: u32 = 9;
pub const MANY_REQUESTS: u32 = 2000;
const MANY_CONNECTIONS: u32 = 100;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// The figures of a variant: the memory with one worker and with many, in MiB, and the time to ready, in
/// milliseconds.
type Figures<T> = [T; 3];

/// Starts Envoys with each of the variants in turn, and returns the table.
///
/// # Errors
/// Returns an error if an Envoy cannot be started, or the system does not report its memory.
pub fn measure(variants: &[Variant], upstream_port: u16, rounds: u32) -> Result<String> {
    // After an installation, pages of Envoy's file may not be on the disk yet. Those that only one process
    // has mapped would count as its private memory: with a Wasm filter, 12 MiB more, the code of V8.
    File::open(envoy::binary()?)?.sync_all()?;
    let mut rows: Vec<_> = variants
        .iter()
        .filter(|variant| variant.on_startup)
        .map(|variant| (variant, Figures::<Samples>::default()))
        .collect();
    for _ in 0..rounds {
        let mut without_filter = None;
        for (variant, samples) in &mut rows {
            let figures = measure_one(variant, upstream_port)?;
            // The first row is without a filter, and the others are on top of it.
            let base = without_filter.unwrap_or_default();
            without_filter.get_or_insert(figures);
            for (samples, (figure, base)) in samples.iter_mut().zip(figures.into_iter().zip(base)) {
                samples.push(figure - base);
            }
        }
    }

    let with_many = format!("with {MANY_WORKERS} workers");
    let mut table = table::plain(&[
        "",
        "code, bytes",
        "largest function, bytes",
        "memory, MiB",
        &with_many,
        "ready, ms",
    ]);
    for (number, (variant, samples)) in rows.iter().enumerate() {
        let text = match number {
            0 => Samples::median_text,
            _ => Samples::signed_median_text,
        };
        let mut cells = vec![variant.name.to_owned()];
        cells.extend(code_size(variant)?);
        cells.extend(samples.iter().map(text));
        table.add_row(cells);
    }
    Ok(table.trim_fmt())
}

/// Measures a variant once.
fn measure_one(variant: &Variant, upstream_port: u16) -> Result<Figures<f64>> {
    let config = bootstrap::proxy([variant], upstream_port);
    let started = Instant::now();
    let envoy = start(&config, 1)?;
    let milliseconds_to_ready = started.elapsed().as_secs_f64() * 1000.0;
    let memory = memory_after(&envoy, variant, REQUESTS, 1)?;
    drop(envoy);
    let envoy = start(&config, MANY_WORKERS)?;
    let memory_of_many = memory_after(&envoy, variant, MANY_REQUESTS, MANY_CONNECTIONS)?;
    Ok([memory, memory_of_many, milliseconds_to_ready])
}

/// Sends requests, half of them with an id, and returns Envoy's private memory, in MiB.
fn memory_after(
    envoy: &Process,
    variant: &Variant,
    requests: u32,
    connections: u32,
) -> Result<f64> {
    let port = envoy.port(variant.name)?;
    for workload in h2load::small() {
        h2load::send(port, &workload, requests / 2, connections)?;
    }
    let file = format!("/proc/{}/smaps_rollup", envoy.id());
    let rollup = SmapsRollup::from_file(&file)?;
    let total = rollup.memory_map_rollup.iter().next();
    let bytes = total.and_then(|map| map.extension.map.get("Private_Dirty"));
    let bytes = *bytes.with_context(|| format!("{file} has no Private_Dirty"))?;
    Ok(bytes as f64 / MEBIBYTE)
}

/// Returns the texts of the sizes of the code section and of the largest function.
fn code_size(variant: &Variant) -> Result<[String; 2]> {
    let Some(path) = &variant.module else {
        return Ok([String::new(), String::new()]);
    };
    let size = module::code_size(&fs::read(path)?)?;
    let largest = size.functions.first().copied().unwrap_or_default();
    Ok([size.section.to_string(), largest.to_string()])
}
