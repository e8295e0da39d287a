//! CPU time, requests per second and latency.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::Extent;
use super::load::{self, CONNECTIONS, Workload};
use super::samples::Samples;
use super::table::{Costs, Row, Section};
use super::variants::Variant;
use crate::envoy::Process;

#[derive(Default)]
struct Measured {
    microseconds: Samples,
    on_top: Samples,
    per_second: Samples,
    latencies: Samples,
}

/// Lets the variants take turns, so that what else the machine does meets all of them.
///
/// # Errors
/// A request failed, or the system does not tell the CPU time.
pub fn measure(envoy: &Process, variants: &[Variant], extent: &Extent) -> Result<Costs> {
    let ports: Vec<_> = variants
        .iter()
        .map(|variant| envoy.port(variant.name))
        .collect::<Result<_>>()?;
    let sections = load::simple().into_iter().map(|workload| {
        let measured = take_turns(envoy, &ports, &workload, extent)?;
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
                    format!("{:.0}", measured.latencies.quantile(0.99)),
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
    extent: &Extent,
) -> Result<Vec<Measured>> {
    for &port in ports {
        load::send(port, workload, extent.requests, CONNECTIONS)?;
    }
    let mut all: Vec<_> = ports.iter().map(|_| Measured::default()).collect();
    for _ in 0..extent.rounds {
        let mut without_filter = None;
        for (&port, measured) in ports.iter().zip(&mut all) {
            let before = cpu_nanoseconds(envoy)?;
            let answers = load::send(port, workload, extent.requests, CONNECTIONS)?;
            let used = cpu_nanoseconds(envoy)?.saturating_sub(before);
            let microseconds = used as f64 / 1000.0 / f64::from(extent.requests);
            let base = *without_filter.get_or_insert(microseconds);
            measured.microseconds.push(microseconds);
            measured.on_top.push(microseconds - base);
            measured.per_second.push(answers.per_second);
            measured.latencies.extend(answers.latencies);
        }
    }
    Ok(all)
}

/// What all threads of Envoy have used. The process's own account is in hundredths of a second.
fn cpu_nanoseconds(envoy: &Process) -> Result<u64> {
    let tasks = format!("/proc/{}/task", envoy.id());
    let tasks = fs::read_dir(&tasks)
        .with_context(|| format!("{tasks}: CPU time is measured on Linux only"))?;
    let mut sum = 0;
    for task in tasks {
        sum += nanoseconds(&task?.path().join("schedstat"))?;
    }
    Ok(sum)
}

fn nanoseconds(schedstat: &Path) -> Result<u64> {
    let text = match fs::read_to_string(schedstat) {
        // The thread has just ended.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        text => text.with_context(|| schedstat.display().to_string())?,
    };
    text.split(' ')
        .next()
        .and_then(|nanoseconds| nanoseconds.parse().ok())
        .with_context(|| format!("{} has no time: {text:?}", schedstat.display()))
}
