//! What a release rests on: one version, and workflows that run nothing but what they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use test_support::project;
use xtask::{envoy, release, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn changelog() -> String {
    project::text("CHANGELOG.md")
}

#[test]
fn the_changelog_begins_with_the_version_of_cargo_toml() {
    let latest = release::latest(&changelog()).expect("there is a version");
    assert_eq!(latest.version, VERSION);
    assert!(!latest.notes.is_empty());
}

#[test]
fn notes_are_those_of_the_version() {
    let tag = format!("v{VERSION}");
    let changelog = format!(
        "# Changelog\n\n## [{VERSION}] - 2026-01-31\n\n- It.\n\n## [0.0.1] - 2025-01-31\n\n- Before.\n"
    );
    assert_eq!(release::notes(&tag, &changelog).unwrap(), "- It.");
}

#[test]
fn what_prevents_a_release_is_named() {
    let tag = format!("v{VERSION}");
    let dated = |version: &str, date: &str| format!("# Changelog\n\n## [{version}] - {date}\n");
    for (tag, changelog, why) in [
        ("v0.0.0", dated(VERSION, "2026-01-31"), "the tag is v0.0.0"),
        (VERSION, dated(VERSION, "2026-01-31"), "tag v"),
        (
            &tag,
            dated("0.0.0", "2026-01-31"),
            "in CHANGELOG.md is 0.0.0",
        ),
        (
            &tag,
            dated(VERSION, "Unreleased"),
            "says \"Unreleased\" for the date",
        ),
        (
            &tag,
            dated(VERSION, "31-01-2026"),
            "says \"31-01-2026\" for the date",
        ),
        (&tag, "# Changelog\n".into(), "no heading"),
    ] {
        let error = release::notes(tag, &changelog).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// The workflows with their names.
fn workflows() -> Vec<(PathBuf, Value)> {
    let folder = fs::read_dir(root().join(".github/workflows")).expect("the workflows can be read");
    let found: Vec<_> = folder
        .map(|file| file.expect("the folder can be read").path())
        .map(|path| {
            (
                path.clone(),
                envoy::read_config(&path).expect("the text is valid YAML"),
            )
        })
        .collect();
    assert!(found.len() >= 2);
    found
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    workflow["jobs"]
        .as_object()
        .expect("the workflow has jobs")
        .iter()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A tag can be moved to other code, a commit and a digest cannot.
#[test]
fn actions_and_images_are_pinned_to_what_they_hold() {
    let mut actions = 0;
    for (path, workflow) in workflows() {
        for (name, job) in jobs(&workflow) {
            if let Some(image) = job["container"].as_str() {
                let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
                assert!(
                    digest.is_some_and(|digest| is_hex(digest, 64)),
                    "{name}: {image}"
                );
            }
            for step in job["steps"].as_array().expect("the job has steps") {
                let Some(action) = step["uses"].as_str() else {
                    continue;
                };
                let commit = action.split_once('@').map(|(_, commit)| commit);
                assert!(
                    commit.is_some_and(|commit| is_hex(commit, 40)),
                    "{name}: {action}"
                );
                // For people, and for Dependabot.
                let text = fs::read_to_string(&path).expect("the text is UTF-8");
                let named = text
                    .lines()
                    .any(|line| line.contains(&format!("{action} # v")));
                assert!(named, "{action} has no version beside it");
                actions += 1;
            }
        }
    }
    assert!(actions > 3, "{actions}");
}

/// No token can do what no step needs; what runs the code of others can read, and nothing else.
#[test]
fn jobs_have_the_permissions_they_name() {
    for (path, workflow) in workflows() {
        assert_eq!(
            workflow["permissions"],
            serde_json::json!({}),
            "{}",
            path.display()
        );
        for (name, job) in jobs(&workflow) {
            let permissions = &job["permissions"];
            assert!(permissions.is_object(), "{name} names none");
            let checks_out = job["steps"].to_string().contains("actions/checkout@");
            if checks_out {
                assert_eq!(
                    *permissions,
                    serde_json::json!({"contents": "read"}),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn workflows_run_the_gate_on_the_toolchain_of_the_repository() {
    let toolchain = project::text("rust-toolchain.toml");
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .expect("the toolchain names a channel");
    for (path, workflow) in workflows() {
        let gate = jobs(&workflow)
            .map(|(_, job)| job)
            .find(|job| job["steps"].to_string().contains(r#""run":".ci/run"#));
        let gate = gate.unwrap_or_else(|| panic!("{} does not run it", path.display()));
        let image = gate["container"].as_str().expect("there is an image");
        assert!(
            image.contains(&format!("/rust:{channel}-bookworm@")),
            "{image}"
        );
    }
}

/// `make notices` writes the file. This needs no tool: it names every crate that is linked into the
/// module, with its version, and has no blank left to fill in.
#[test]
fn the_third_party_notices_name_what_is_linked_into_the_module() {
    let arguments = [
        "tree",
        "--locked",
        "--package=request-id-filter",
        "--edges=normal",
        "--target=wasm32-wasip1",
        "--prefix=none",
        "--format={p}",
    ];
    let output = Command::new("cargo")
        .args(arguments)
        .current_dir(root())
        .output();
    let output = output.expect("cargo is missing: install Rust");
    let printed = String::from_utf8(output.stdout).expect("the text is UTF-8");
    let linked: BTreeSet<_> = printed
        .lines()
        .filter(|line| !line.contains('/')) // the crates of this repository
        .map(|line| line.trim_end_matches(" (*)"))
        // Nothing of a macro's crate is linked, but `make notices` cannot tell.
        .map(|line| line.trim_end_matches(" (proc-macro)").replace(" v", " "))
        .collect();
    assert!(linked.len() > 5, "{printed}");

    let notices = project::text("THIRD-PARTY-NOTICES.txt");
    // A crate has a line of its own: its name, its version, and after those its authors or its licence.
    let named: BTreeSet<_> = notices
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            let version = rest.split([',', ':']).next()?;
            let numbers: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
            matches!(numbers[..], [Ok(_), Ok(_), Ok(_)]).then(|| format!("{name} {version}"))
        })
        .collect();
    assert_eq!(named, linked, "update the notices: make notices");
    for blank in ["<year>", "<owner>", "<copyright holders>"] {
        assert!(!notices.contains(blank), "{blank}");
    }
}
