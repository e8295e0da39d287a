//! The notes of a release, which there are for a version that can be released alone.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::root;

const CHANGELOG: &str = "CHANGELOG.md";

/// The latest version of the changelog.
#[derive(Debug, PartialEq, Eq)]
pub struct Latest {
    pub version: String,
    /// `Unreleased` as long as it is.
    pub date: String,
    /// What changed.
    pub notes: String,
}

/// # Errors
/// The changelog has no heading of the form `## [1.2.3] - 2026-01-31`.
pub fn latest(changelog: &str) -> Result<Latest> {
    let (_, rest) = changelog
        .split_once("\n## [")
        .with_context(|| format!("{CHANGELOG} has no heading `## [version] - date`"))?;
    let (heading, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    let (version, date) = heading.split_once("] - ").with_context(|| {
        format!("{CHANGELOG}: found `## [{heading}`; wanted `## [version] - date`")
    })?;
    let notes = rest.split_once("\n## [").map_or(rest, |(notes, _)| notes);
    Ok(Latest {
        version: version.into(),
        date: date.into(),
        notes: notes.trim().into(),
    })
}

/// What the changelog says of the version that `tag` names.
///
/// # Errors
/// The tag is not `v` and the version of Cargo.toml, or that is not the latest of the changelog, or has
/// no date there.
pub fn notes(tag: &str, changelog: &str) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        tag.strip_prefix('v') == Some(version),
        "the tag is {tag}, the version of Cargo.toml is {version}: tag v{version}, or change Cargo.toml"
    );
    let latest = latest(changelog)?;
    ensure!(
        latest.version == version,
        "the latest version of {CHANGELOG} is {}, that of Cargo.toml {version}",
        latest.version
    );
    let is_date = latest
        .date
        .split('-')
        .map(|part| part.parse::<u16>().map_or(0, |_| part.len()))
        .eq([4, 2, 2]);
    ensure!(
        is_date,
        "{CHANGELOG} has {version} as {}: give it its date, as in 2026-01-31",
        latest.date
    );
    Ok(latest.notes)
}

/// Prints the notes of the release that `tag` names.
///
/// # Errors
/// As [`notes`]; or the changelog cannot be read.
pub fn print_notes(tag: &str) -> Result<()> {
    let changelog = fs::read_to_string(root().join(CHANGELOG)).context(CHANGELOG)?;
    println!("{}", notes(tag, &changelog)?);
    Ok(())
}
