//! The notes of a release, from the changelog.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::root;

const CHANGELOG: &str = "CHANGELOG.md";

/// The latest version in the changelog.
#[derive(Debug, PartialEq, Eq)]
pub struct Latest {
    pub version: String,
    /// The date of the release, or `Unreleased`.
    pub date: String,
    /// The text below the heading.
    pub notes: String,
}

/// Returns the latest version in the text of the changelog.
///
/// # Errors
/// Returns an error if it has no heading of the form `## [1.2.3] - 2026-01-31`.
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

/// Returns what the changelog says about the version that `tag` names.
///
/// # Errors
/// Returns an error if the version cannot be released: the tag is not `v` followed by the version in
/// Cargo.toml, or that version is not the latest in the changelog, or it has no date there.
pub fn notes(tag: &str, changelog: &str) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        tag.strip_prefix('v') == Some(version),
        "the tag is {tag}, but the version in Cargo.toml is {version}: tag v{version}, or change Cargo.toml"
    );
    let latest = latest(changelog)?;
    ensure!(
        latest.version == version,
        "the latest version in {CHANGELOG} is {}, but the version in Cargo.toml is {version}: add a section \
         for it",
        latest.version
    );
    let is_date = latest
        .date
        .split('-')
        .map(|part| part.parse::<u16>().map_or(0, |_| part.len()))
        .eq([4, 2, 2]);
    ensure!(
        is_date,
        "{CHANGELOG} says {:?} for the date of {version}: write the date of the release, such as 2026-01-31",
        latest.date
    );
    Ok(latest.notes)
}

/// Prints the notes of the release that `tag` names.
///
/// # Errors
/// Returns an error if the version cannot be released, as for [`notes`], or the changelog cannot be read.
pub fn print_notes(tag: &str) -> Result<()> {
    let changelog = fs::read_to_string(root().join(CHANGELOG)).context(CHANGELOG)?;
    println!("{}", notes(tag, &changelog)?);
    Ok(())
}
