//! What a release rests on: one version, and workflows that run nothing but what they name.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use test_support::project;
use xtask::{release, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn the_changelog_begins_with_the_version_of_cargo_toml() {
    let latest = release::latest(&project::text("CHANGELOG.md")).expect("there is a version");
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
    for (tag, heading, why) in [
        ("v0.0.0", "[VERSION] - 2026-01-31", "the tag is v0.0.0"),
        ("VERSION", "[VERSION] - 2026-01-31", "tag v"),
        ("vVERSION", "[0.0.0] - 2026-01-31", "the latest version"),
        ("vVERSION", "[VERSION] - Unreleased", "\"Unreleased\""),
        ("vVERSION", "[VERSION] - 31-01-2026", "\"31-01-2026\""),
        ("vVERSION", "", "no heading"),
    ] {
        let changelog = format!("# Changelog\n\n## {heading}\n").replace("VERSION", VERSION);
        let tag = &tag.replace("VERSION", VERSION);
        let error = release::notes(tag, &changelog).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// The texts of the workflows, and what they contain.
fn workflows() -> Vec<(String, Value)> {
    let folder = fs::read_dir(root().join(".github/workflows")).expect("the workflows can be read");
    let read = |path| {
        let text = fs::read_to_string(path).expect("the workflow can be read");
        let workflow = serde_saphyr::from_str(&text).expect("the text is valid YAML");
        (text, workflow)
    };
    let paths = folder.map(|file| file.expect("the folder can be read").path());
    let workflows: Vec<_> = paths.map(read).collect();
    assert!(workflows.len() >= 2);
    workflows
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let jobs = workflow["jobs"].as_object();
    jobs.expect("the workflow has jobs").iter()
}

/// A tag can be moved to other code, a commit and a digest cannot.
#[test]
fn actions_and_images_are_pinned_to_what_they_hold() {
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut actions = 0;
    for (text, _) in workflows() {
        for line in text.lines() {
            if let Some((_, action)) = line.split_once("uses: ") {
                let (_, commit) = action.split_once('@').unwrap_or_default();
                // The version is for people, and for Dependabot.
                let (commit, _) = commit.split_once(" # v").unwrap_or_default();
                assert!(is_hex(commit, 40), "no commit with its version: {line}");
                actions += 1;
            } else if let Some((_, image)) = line.split_once("container: ") {
                let (_, digest) = image.split_once("@sha256:").unwrap_or_default();
                assert!(is_hex(digest, 64), "no digest: {line}");
            }
        }
    }
    assert!(actions > 3, "{actions}");
}

/// No token can do what no step needs; what runs the code of others can read, and nothing else.
#[test]
fn jobs_have_the_permissions_they_name() {
    for (_, workflow) in workflows() {
        assert_eq!(workflow["permissions"], json!({}), "{}", workflow["name"]);
        for (name, job) in jobs(&workflow) {
            let permissions = &job["permissions"];
            assert!(permissions.is_object(), "{name} names none");
            if job["steps"].to_string().contains("actions/checkout@") {
                assert_eq!(*permissions, json!({"contents": "read"}), "{name}");
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
    for (_, workflow) in workflows() {
        let (_, gate) = jobs(&workflow)
            .find(|(_, job)| job["steps"].to_string().contains(r#""run":".ci/run"#))
            .unwrap_or_else(|| panic!("{} does not run it", workflow["name"]));
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
