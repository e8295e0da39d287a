//! `make check-config`: checks a configuration with the module's own reader before it is deployed.

mod local_replies;
mod manifest;
mod tracing;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use manifest::{Contents, FilterConfiguration};
use request_id_configuration as configuration;
use serde_json::Value;

/// Checks each configuration of the filter in a file. For each valid one, prints `ok`, the effective
/// configuration and the warnings.
///
/// # Errors
/// Returns an error if the file contains no configuration of the filter, or an invalid one; then it has a
/// line for each problem of all of them.
pub fn check(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    let contents = Contents::read(&bytes).with_context(|| file.display().to_string())?;
    let mut problems = Vec::new();
    let mut headers = Vec::new();
    for filter in &contents.filters {
        let FilterConfiguration { name, text, .. } = filter;
        let prefix = name
            .as_ref()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        let parsed = match text {
            Ok(text) => configuration::read(text.as_bytes())
                .map_err(|problems| problems.iter().map(ToString::to_string).collect()),
            Err(problem) => Err(vec![problem.clone()]),
        };
        match parsed {
            Ok(parsed) => {
                let effective: Value = serde_json::from_str(&parsed.effective)?;
                println!("{prefix}ok\n{effective:#}");
                headers.extend(effective["header"].as_str().map(str::to_owned));
                let policy = &parsed.policy;
                let mut warnings = configuration::warnings(policy);
                warnings.extend(local_replies::warnings(policy, &contents.documents));
                if filter.has_match_rules {
                    let higress = "spec.matchRules has no effect: the filter has one configuration, defaultConfig";
                    warnings.push(format!("{prefix}{higress}"));
                }
                for warning in warnings {
                    println!("warning: {warning}");
                }
            }
            Err(more) => problems.extend(more.iter().map(|problem| format!("{prefix}{problem}"))),
        }
    }
    for skipped in &contents.skipped {
        println!("warning: {skipped}");
    }
    for warning in tracing::warnings(&contents.documents, &headers) {
        println!("warning: {warning}");
    }
    if !problems.is_empty() {
        bail!("{}: refused\n{}", file.display(), problems.join("\n"));
    }
    Ok(())
}
