//! Every command and snippet of the README, run or compared with what is run.

#[allow(dead_code)] // Only the paths and images of the bases count here.
mod bases;
mod command;
mod picture;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use command::command;
use request_id_rules::configuration;
use serde_json::Value;
use test_support::cases;
use xtask::{envoy, root};

static README: LazyLock<String> =
    LazyLock::new(|| fs::read_to_string(root().join("README.md")).expect("README.md"));

/// The contents of the fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    README
        .split(&opening)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("an end of the block"))
        .collect()
}

/// Each command of the README with the output that it shows.
fn commands() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in blocks("console").into_iter().flat_map(str::lines) {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command, Vec::new()));
        } else {
            commands.last_mut().expect("a command first").1.push(line);
        }
    }
    commands
}

/// `make run`, stopped when dropped.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        // As `kill` does it. make passes SIGTERM on, and everything below it ends.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Whether `shown`, with `...` for any lines (or for the rest of a line), is what was printed.
fn assert_printed(command: &str, shown: &[&str], printed: &[String]) {
    let mut left = printed.iter();
    let mut any_lines = false;
    for line in shown {
        if *line == "..." {
            any_lines = true;
            continue;
        }
        let matches = |printed: &String| match line.strip_suffix("...") {
            Some(start) => printed.starts_with(start),
            None => without_random(printed) == without_random(line),
        };
        let found = if any_lines {
            left.any(matches)
        } else {
            left.next().is_some_and(matches)
        };
        assert!(
            found,
            "`{command}` does not print {line:?} in its place:\n{}",
            printed.join("\n")
        );
        any_lines = false;
    }
    let left: Vec<_> = left.collect();
    assert!(
        any_lines || left.is_empty(),
        "`{command}` prints more: {left:?}"
    );
}

/// Version 4 UUIDs differ from run to run.
fn without_random(line: &str) -> String {
    let mut line = line.to_owned();
    for start in 0..line.len() {
        let random = line.get(start..start + 36).is_some_and(|id| {
            request_id_rules::id::parse_rfc9562(id.as_bytes())
                .is_some_and(|id| id.get_version_num() == 4)
        });
        if random {
            line.replace_range(start..start + 36, "00000000-0000-0000-0000-000000000000");
        }
    }
    line
}

#[test]
fn commands_print_what_the_readme_shows() {
    let (port, admin_port) = (free_port(), free_port());
    let with_ports = |text: &str| {
        text.replace("10000", &port.to_string())
            .replace("9901", &admin_port.to_string())
    };
    let mut run = None;
    let mut ran = Vec::new();
    for (line, shown) in commands() {
        let shown: Vec<_> = shown.iter().map(|line| with_ports(line)).collect();
        let shown: Vec<_> = shown.iter().map(String::as_str).collect();
        match line {
            "make run" => {
                let mut child = command("make")
                    .args([
                        "run",
                        &format!("PORT={port}"),
                        &format!("ADMIN_PORT={admin_port}"),
                    ])
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("make is missing: install it (Debian: apt-get install make)");
                let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
                run = Some(Run(child));
                let mut printed: Vec<String> = Vec::new();
                while !printed.iter().any(|line| line.contains("derived from it")) {
                    printed.push(lines.next().expect("what to try").expect("text"));
                }
                thread::spawn(move || lines.for_each(drop));
                assert_printed(line, &shown, &printed);
            }
            // This is it; CI runs the command itself.
            "make test" => {}
            // tests/compose.rs does what it does, without Docker.
            "make run-docker" => {}
            // It takes minutes and other tools. `tests/tools/bench.rs` runs it, and compares.
            "make bench" => {}
            _ => {
                let output = command("bash")
                    .args(["-c", &with_ports(line)])
                    .output()
                    .expect("bash is missing");
                assert!(
                    output.status.success(),
                    "`{line}` fails; is its program missing? {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                let printed = String::from_utf8(output.stdout).expect("text");
                let printed: Vec<_> = printed
                    .lines()
                    .map(|line| line.trim_end().to_owned())
                    .collect();
                assert_printed(line, &shown, &printed);
            }
        }
        ran.push(line.split(' ').next().unwrap_or_default());
    }
    assert!(
        ["make", "curl", "python3"]
            .iter()
            .all(|program| ran.contains(program)),
        "{ran:?}"
    );
    drop(run.expect("make run is in the README"));
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(),
        "Envoy still runs"
    );
}

#[test]
fn ci_runs_the_test_command() {
    let ci = fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    for command in [
        "make lint",
        "make deny",
        "make test",
        "make test-tools",
        "make fuzz SECONDS=10",
    ] {
        assert!(ci.lines().any(|line| line == command), "{command}");
    }
}

/// Of each claim about security the README names the test.
#[test]
fn claims_about_security_are_tested() {
    let (_, section) = README.split_once("\n## Security\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let sources: String = ["tests", "tests/envoy", "tests/cases"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).expect("a folder"))
        .map(|file| file.expect("a file").path())
        // This one names what it looks for.
        .filter(|path| path.is_file() && !path.ends_with("readme.rs"))
        .map(|path| fs::read_to_string(path).expect("text"))
        .collect();
    let claims: Vec<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| can"))
        .collect();
    assert!(claims.len() > 5, "{claims:?}");
    for claim in claims {
        let test = claim
            .strip_suffix("` |")
            .and_then(|claim| Some(claim.rsplit_once('`')?.1))
            .unwrap_or_else(|| panic!("no test is named: {claim}"));
        let is_there = sources.contains(&format!("\"{test}\""))
            || sources.contains(&format!("    fn {test}("))
            || sources.contains(&format!("\nfn {test}("));
        assert!(is_there, "there is no test {test:?}");
    }
}

/// `make test-matrix` runs them; the last is the one that everything else runs.
#[test]
fn the_versions_are_those_of_the_matrix() {
    let env = fs::read_to_string(root().join("envoy/versions.env")).expect("versions.env");
    let matrix = env
        .lines()
        .find_map(|line| line.strip_prefix("ENVOY_MATRIX=\"")?.strip_suffix('"'))
        .expect("a matrix");
    let (older, pinned) = matrix.rsplit_once(' ').expect("several versions");
    assert_eq!(pinned, envoy::pinned());
    let sentence = format!(
        "Tested with Envoy {} and {pinned}:",
        older.replace(' ', ", ")
    );
    assert!(README.contains(&sentence), "{sentence}");
}

/// The tests run `envoy/envoy.yaml`; the README shows parts of it.
#[test]
fn the_snippet_is_what_the_tests_run() {
    let shipped = envoy::read_config(&root().join("envoy/envoy.yaml")).expect("YAML");
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let manager = shipped.pointer(manager).expect("a connection manager");
    let snippets = blocks("yaml");
    assert!(!snippets.is_empty());
    for snippet in snippets {
        let snippet: Value = serde_saphyr::from_str(snippet).expect("YAML in the README");
        for (key, value) in snippet.as_object().expect("a mapping") {
            assert_eq!(&manager[key], value, "{key} differs from envoy/envoy.yaml");
        }
    }
}

/// Every configuration that the README shows is one of the table, which a real Envoy runs.
#[test]
fn configurations_are_in_the_table_of_cases() {
    let parse = |text: &str| {
        serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    let table: Vec<_> = cases::all()
        .iter()
        .filter(|case| !case.config.is_empty())
        .map(|case| parse(case.config))
        .collect();
    let shown = blocks("json");
    assert!(shown.len() > 15, "{}", shown.len());
    for text in shown {
        assert!(
            table.contains(&parse(text)),
            "no case has the configuration {text}"
        );
    }
}

/// The lines for a shell are for a cluster, which the tests have not: all but those are run, on a copy
/// of the manifests, and what would be applied then is a base with the user's image.
#[test]
fn what_is_deployed_is_a_base_with_the_users_image() {
    let mut applied = Vec::new();
    for block in blocks("sh") {
        let copy = tempfile::tempdir().expect("a folder");
        let copied = Command::new("cp")
            .arg("-R")
            .arg(root().join("envoy"))
            .arg(copy.path())
            .status();
        assert!(copied.expect("cp").success());
        let needs_a_cluster = |line: &&str| line.starts_with("kubectl") || line.starts_with("curl");
        let here: Vec<_> = block
            .lines()
            .filter(|line| !needs_a_cluster(line))
            .collect();
        let shell = |arguments: &[&str]| {
            let output = Command::new("bash")
                .args(arguments)
                .current_dir(copy.path())
                .output()
                .expect("bash is missing");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && errors.is_empty(), "{errors}");
            String::from_utf8(output.stdout).expect("text")
        };
        shell(&["-n", "-c", block]);
        let image = shell(&["-ec", &format!("{}\necho \"$IMAGE\"", here.join("\n"))]);
        let image = image.trim();
        assert!(!image.is_empty() && image != bases::IMAGE, "{block}");
        for line in block.lines().filter(needs_a_cluster) {
            if let Some(path) = line.strip_prefix("kubectl apply -k ") {
                let base = bases::read_in(copy.path(), path);
                assert_eq!(base.images(), [image], "{block}");
                let mut untouched = bases::read(path);
                let image = serde_json::to_string(&untouched.resources)
                    .expect("JSON")
                    .replace(bases::IMAGE, image);
                untouched.resources = serde_json::from_str(&image).expect("JSON");
                assert_eq!(base.resources, untouched.resources, "{block}");
                applied.push(path);
            }
            if let Some((_, patch)) = line.split_once(" -p ") {
                let patch: Value = serde_json::from_str(patch.trim_matches('\'')).expect("JSON");
                let named = &patch["spec"]["infrastructure"]["parametersRef"];
                let proxy = bases::read("envoy/gateway").resource("EnvoyProxy").clone();
                assert_eq!(named["name"], proxy["metadata"]["name"]);
                assert_eq!(named["kind"], proxy["kind"]);
                let (group, _) = proxy["apiVersion"]
                    .as_str()
                    .and_then(|version| version.split_once('/'))
                    .expect("a group");
                assert_eq!(named["group"], group);
            }
        }
    }
    applied.sort_unstable();
    assert_eq!(
        applied,
        ["envoy/gateway", "envoy/higress", "envoy/istio/gateway"]
    );
    for base in bases::all() {
        assert!(
            README.contains(&format!("]({})", base.path)),
            "{}",
            base.path
        );
    }
}

/// Of the same run: what the picture has at its bars is in the table of instructions.
#[test]
fn the_picture_of_the_costs_shows_the_table() {
    let table = README
        .split_once("\nInstructions of Envoy")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("a table of instructions")
        .0;
    // The name, the cost and its quartiles, what is on top and its quartiles.
    let on_top = |line: &'static str| {
        let cells: Vec<_> = line
            .strip_prefix("  ")?
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        match cells[..] {
            [name, _, _, on_top, _] => Some([name, on_top]),
            _ => None,
        }
    };
    let sections = table
        .split("\n\n")
        .filter(|section| section.contains("no filter"));
    let expected: Vec<_> = sections
        .take(2)
        .flat_map(|section| section.lines().filter_map(on_top))
        .collect();
    assert_eq!(expected.len(), 12, "{table}");

    let picture = fs::read_to_string(root().join("envoy/cost.svg")).expect("the picture");
    let texts = picture::texts(&picture);
    for name_and_number in &expected {
        for text in name_and_number {
            assert!(
                texts.iter().any(|known| known == text),
                "{text} is not in {texts:?}"
            );
        }
    }
    let numbers = texts.iter().filter(|text| text.parse::<f64>().is_ok());
    let shown: Vec<_> = numbers.collect();
    let expected: Vec<_> = expected.iter().map(|[_, number]| number).collect();
    assert_eq!(shown, expected);
}

/// The table of keys says what the schema says.
#[test]
fn the_table_of_keys_is_that_of_the_schema() {
    let schema = config::schema::schema();
    let mut rows: HashMap<_, _> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(key, rest)| Some((key, rest.split(" | ").next()?)))
        .collect();
    for (key, setting) in settings(&schema) {
        let values = rows
            .remove(key.as_str())
            .unwrap_or_else(|| panic!("{key} has no row"));
        let default = setting["default"].to_string();
        assert!(
            values.starts_with(&format!("`{default}`")),
            "the default of {key} is {default}: {values}"
        );
        for word in setting["enum"].as_array().into_iter().flatten() {
            assert!(
                values.contains(&format!("`{word}`")),
                "{key} may be {word}: {values}"
            );
        }
        assert!(
            blocks("json")
                .iter()
                .any(|text| settings_of(text).contains(&key)),
            "no example of {key}"
        );
    }
    assert!(
        !rows
            .keys()
            .any(|key| key.contains('.') && !key.contains(' ')),
        "no such keys: {rows:?}"
    );
}

/// The keys of the schema that are no objects, by their paths.
fn settings(schema: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        if value["type"] == "object" {
            let below = settings(value)
                .into_iter()
                .map(|(path, value)| (format!("{key}.{path}"), value));
            found.extend(below);
        } else {
            found.push((key.clone(), value));
        }
    }
    found
}

/// The paths of the keys that a configuration has.
fn settings_of(text: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(text).expect("JSON");
    let mut paths = Vec::new();
    for (key, value) in json.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(object) => paths.extend(object.keys().map(|below| format!("{key}.{below}"))),
            None => paths.push(key.clone()),
        }
    }
    paths
}

#[test]
fn links_lead_somewhere() {
    let targets = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let headings: Vec<_> = README
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .replace(' ', "-")
        })
        .collect();
    for target in targets.filter(|target| !target.starts_with("https://")) {
        let found = match target.strip_prefix('#') {
            Some(heading) => headings.iter().any(|known| known == heading),
            None => root().join(target).exists(),
        };
        assert!(found, "{target}");
    }
}
