//! CPU time, requests per second and latency.

use std::fs;

use anyhow::{Context, Result};
use procfs_core::process::Schedstat;
use procfs_core::{FromRead, ProcError};
use xtask::envoy::Process;

use crate::h2load::{self, CONNECTIONS, Workload};
use crate::samples::Samples;
use crate::table::{Costs, Row, Section};
use crate::variants::Variant;

#[derive(Default)]
struct Measured {
    microseconds: Samples,
    on_top: Samples,
    per_second: Samples,
    latencies: Samples,
}

/// Measures the variants in turn.
///
/// # Errors
/// Returns an error if a request fails, or the system does not report the CPU time.
pub fn measure(
    envoy: &Process,
    variants: &[&Variant],
    rounds: u32,
    requests: u32,
) -> Result<Costs> {
    let ports: Vec<_> = variants
        .iter()
        .map(|variant| envoy.port(variant.name))
        .collect::<Result<_>>()?;
    let sections = h2load::small().into_iter().map(|workload| {
        let measured = take_turns(envoy, &ports, &workload, rounds, requests)?;
        let rows = variants
            .iter()
            .zip(measured)
            .map(|(variant, measured)| Row {
                name: variant.name,
                cost: measured.microseconds,
                on_top: measured.on_top,
                others: vec![
                    format!("{:.0}", measured.per_second.median()),
                    format!("{:.0}", measured.latencies.median()),
                    format!("{:.0}", measured.latencies.percentile_99()),
                ],
            });
        Ok(Section {
            title: workload.title,
            rows: rows.collect(),
        })
    });
    Ok(Costs {
        unit: "CPU µs",
        others: &["requests/s", "p50 µs", "p99 µs"],
        sections: sections.collect::<Result<_>>()?,
    })
}

fn take_turns(
    envoy: &Process,
    ports: &[u16],
    workload: &Workload,
    rounds: u32,
    requests: u32,
) -> Result<Vec<Measured>> {
    for &port in ports {
        h2load::send(port, workload, requests, CONNECTIONS)?;
    }
    let mut all: Vec<_> = ports.iter().map(|_| Measured::default()).collect();
    for _ in 0..rounds {
        let mut without_filter = None;
        for (&port, measured) in ports.iter().zip(&mut all) {
            let before = cpu_nanoseconds(envoy)?;
            let report = h2load::send(port, workload, requests, CONNECTIONS)?;
            let used = cpu_nanoseconds(envoy)?.saturating_sub(before);
            let microseconds = used as f64 / 1000.0 / f64::from(requests);
            let base = *without_filter.get_or_insert(microseconds);
            measured.microseconds.push(microseconds);
            measured.on_top.push(microseconds - base);
            measured.per_second.push(report.per_second);
            measured.latencies.extend(report.latencies);
        }
    }
    Ok(all)
}

/// Returns the CPU time that all threads of Envoy have used. The system reports that of the process too, but
/// only in hundredths of a second.
fn cpu_nanoseconds(envoy: &Process) -> Result<u64> {
    let threads = format!("/proc/{}/task", envoy.id());
    let mut sum = 0;
    for thread in fs::read_dir(&threads).context(threads)? {
        match Schedstat::from_file(thread?.path().join("schedstat")) {
            Ok(used) => sum += used.sum_exec_runtime,
            // The thread has ended since the folder was read.
            Err(ProcError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sum)
}
