//! Every command, configuration, manifest and link of `README.md` and `docs/`, run or checked.
//!
//! What a block is follows from its language:
//!
//! | language | what is done with it |
//! |---|---|
//! | `console` | the commands are run, and print what the block shows |
//! | `json` | a configuration, which the filter accepts |
//! | `example` | a request through a real Envoy, with the last configuration above it in its section |
//! | `yaml` | by what it holds: a part of an Envoy configuration serves, a manifest is checked |
//! | `sh` | commands for a cluster: their syntax, and what they do to the manifests |
//! | `mermaid` | `make test-tools` has a browser draw it |
//! | `haproxy` | not checked: a line for another program |
//!
//! `tests/external_tools/documentation.rs` runs what needs further tools.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;

use anyhow::{Context, Result, ensure};
use request_id_configuration as configuration;
use request_id_rules::policy::IdFormat;
use serde_json::Value;
use test_support::client::{self, Connection};
use test_support::kustomize;
use test_support::message::values;
use test_support::pages::{self, Block, Page};
use test_support::project;
use test_support::shipped::{self, MANAGER, PLUGIN};
use test_support::svg;
use test_support::upstream::{self, Reply, Upstream};
use test_support::verdict::is_new;
use xtask::envoy::{self, Output, Process};
use xtask::{check, module, root};

static PAGES: LazyLock<Vec<Page>> = LazyLock::new(pages::all);

/// The module and Envoy, which the first test that needs them builds and installs.
static READY: LazyLock<()> = LazyLock::new(|| {
    module::build().expect("the module can be built");
    envoy::binary().expect("Envoy can be installed");
});

/// The blocks of a language, of all pages.
fn blocks(language: &str) -> impl Iterator<Item = &'static Block> {
    let blocks = PAGES.iter().flat_map(|page| &page.blocks);
    blocks.filter(move |block| block.language == language)
}

#[test]
fn every_block_is_of_a_language_that_a_test_knows() {
    const KNOWN: [&str; 7] = [
        "console", "example", "haproxy", "json", "mermaid", "sh", "yaml",
    ];
    for block in PAGES.iter().flat_map(|page| &page.blocks) {
        let language = block.language.as_str();
        assert!(KNOWN.contains(&language), "{}: {language:?}", block.place);
    }
}

// Commands

/// A process of `make run`, which is stopped when this is dropped.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        // make passes SIGTERM on, and everything below it ends.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// The commands of a block, each with the output that it shows.
fn commands(block: &Block) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command, Vec::new()));
        } else {
            let command = commands.last_mut();
            let (_, shown) = command.unwrap_or_else(|| panic!("{}: no command first", block.place));
            shown.push(line);
        }
    }
    commands
}

/// Compares what a command printed with what a page shows. In that, `...` stands for any lines, or for
/// the rest of a line.
fn compare(shown: &[&str], printed: &[String]) -> Result<()> {
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
        ensure!(
            found,
            "it does not print {line:?} in its place:\n{}",
            printed.join("\n")
        );
        any_lines = false;
    }
    let left: Vec<_> = left.collect();
    ensure!(any_lines || left.is_empty(), "it prints more: {left:?}");
    Ok(())
}

/// Replaces the version 4 UUIDs in a line, which differ from run to run.
fn without_random(line: &str) -> String {
    let mut line = line.to_owned();
    for start in 0..line.len() {
        if line
            .get(start..start + 36)
            .is_some_and(|part| is_new(IdFormat::Uuid4, part))
        {
            line.replace_range(start..start + 36, "00000000-0000-0000-0000-000000000000");
        }
    }
    line
}

/// Runs `make run` until it says that Envoy is ready.
fn run(port: u16, admin_port: u16, shown: &[&str]) -> Result<Run> {
    LazyLock::force(&READY);
    let ports = [format!("PORT={port}"), format!("ADMIN_PORT={admin_port}")];
    let mut child = project::command("make")
        .arg("run")
        .args(ports)
        .stdout(Stdio::piped())
        .spawn()
        .context("make is missing: install it (Debian: apt-get install make)")?;
    let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
    let run = Run(child);
    let mut printed: Vec<String> = Vec::new();
    while !printed.iter().any(|line| line.contains("Ctrl-C")) {
        printed.push(lines.next().context("it ends before Envoy is ready")??);
    }
    thread::spawn(move || lines.for_each(drop));
    compare(shown, &printed)?;
    Ok(run)
}

/// Runs any other command.
fn run_in_shell(line: &str, shown: &[&str]) -> Result<()> {
    let output = project::command("bash").args(["-c", line]).output();
    let output = output.context("bash is missing: install it")?;
    ensure!(
        output.status.success(),
        "it fails; is its program missing? {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout)?;
    let printed: Vec<_> = printed
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    compare(shown, &printed)
}

#[test]
fn commands_print_what_the_pages_show() {
    let [port, admin_port] = upstream::free_ports();
    let with_ports = |text: &str| {
        text.replace("10000", &port.to_string())
            .replace("9901", &admin_port.to_string())
    };
    let mut running = None;
    let mut failures = Vec::new();
    let mut count = 0;
    for block in blocks("console") {
        for (line, shown) in commands(block) {
            let shown: Vec<_> = shown.iter().map(|line| with_ports(line)).collect();
            let shown: Vec<_> = shown.iter().map(String::as_str).collect();
            count += 1;
            let done = match line {
                "make run" => run(port, admin_port, &shown).map(|run| running = Some(run)),
                // This is a part of it, and `.ci/run` runs the command itself.
                "make test" => Ok(()),
                // It takes minutes and further tools: `tests/external_tools/bench.rs` runs it.
                command if command.starts_with("make bench") => Ok(()),
                _ => run_in_shell(&with_ports(line), &shown),
            };
            if let Err(error) = done {
                failures.push(format!("{}: `{line}`: {error:#}", block.place));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 10, "{count} commands");
    drop(running.expect("the README has `make run`"));
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(),
        "Envoy still runs"
    );
}

/// The test above leaves `make test` to the gate.
#[test]
fn the_gate_runs_the_tests() {
    let gate = project::text(".ci/run");
    let all = "set -- lint deny test test-tools test-kubernetes fuzz";
    assert!(gate.contains(all), "{gate}");
}

// Configurations and what they do

#[test]
fn configurations_are_accepted_and_the_longest_shows_all_defaults() {
    for block in blocks("json") {
        let problems = configuration::read(block.text.as_bytes()).err();
        assert!(problems.is_none(), "{}: {problems:?}", block.place);
    }
    let longest = blocks("json").max_by_key(|block| block.text.len());
    let longest = longest.expect("the pages show a configuration");
    let default = configuration::read(b"").expect("an empty configuration is valid");
    let [shown, default] = [&longest.text, &default.effective]
        .map(|text| serde_json::from_str::<Value>(text).expect("a valid configuration is JSON"));
    assert_eq!(shown, default, "{}", longest.place);
}

/// An example of a request, with the configuration that it runs with.
struct Example {
    block: &'static Block,
    configuration: &'static str,
    listener: String,
}

/// Returns all examples. Each runs with the last configuration above it in its section.
fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for page in PAGES.iter() {
        let mut configuration: Option<&Block> = None;
        for block in &page.blocks {
            match block.language.as_str() {
                "json" => configuration = Some(block),
                "example" => {
                    let above = configuration.filter(|above| above.section == block.section);
                    examples.push(Example {
                        block,
                        configuration: above.map_or("", |above| &above.text),
                        listener: format!("example-{}", examples.len()),
                    });
                }
                _ => {}
            }
        }
    }
    examples
}

/// Returns the lines of an example about a message: after this keyword, a header and its value.
fn lines_of<'a>(block: &'a Block, keyword: &str) -> Vec<(&'a str, &'a str)> {
    let lines = block.text.lines().filter_map(|line| {
        let (word, rest) = line.split_once(' ')?;
        (word == keyword).then_some(rest.trim())
    });
    let header = |line: &'a str| {
        let header = line.split_once(':');
        let (name, value) = header.unwrap_or_else(|| panic!("{}: {line:?}", block.place));
        (name, value.trim())
    };
    lines.map(header).collect()
}

/// The only line of an example with this keyword.
fn word_of<'a>(block: &'a Block, keyword: &str) -> Option<&'a str> {
    let mut lines = block.text.lines();
    lines.find_map(|line| Some(line.strip_prefix(keyword)?.trim()))
}

/// The words with which lines of an example begin: headers of the four messages, the response's status, and the origin in
/// the access log.
const KEYWORDS: [&str; 6] = [
    "answer", "origin", "request", "response", "status", "upstream",
];

#[test]
fn examples_behave_as_shown() {
    LazyLock::force(&READY);
    let examples = examples();
    assert!(examples.len() > 30, "{} examples", examples.len());
    let upstream = Upstream::start();
    let mut config = shipped::with_upstream(upstream.port);
    let template = config["static_resources"]["listeners"][0].clone();
    let listeners = config["static_resources"]["listeners"].as_array_mut();
    let listeners = listeners.expect("the configuration has listeners");
    for example in &examples {
        let mut listener = template.clone();
        listener["name"] = example.listener.clone().into();
        let plugin = listener
            .pointer_mut(PLUGIN)
            .expect("the listener has the filter");
        plugin["configuration"]["value"] = example.configuration.into();
        listeners.push(listener);
    }
    let envoy = shipped::start(&config);

    let failures: Vec<_> = examples
        .iter()
        .filter_map(|example| {
            let error = check_example(example, &envoy, &upstream).err()?;
            Some(format!("{}: {error:#}", example.block.place))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Sends the request of an example and compares what becomes of it.
fn check_example(example: &Example, envoy: &Process, upstream: &Upstream) -> Result<()> {
    let Example {
        block, listener, ..
    } = example;
    for line in block.text.lines() {
        let keyword = line.split(' ').next().unwrap_or_default();
        ensure!(KEYWORDS.contains(&keyword), "{line:?} is not of an example");
    }
    let path = format!("/{listener}");
    let answer: Vec<_> = lines_of(block, "answer")
        .into_iter()
        .map(|(name, value)| (name, value.as_bytes().to_vec()))
        .collect();
    upstream.expect(&path, Reply::ok(&answer));
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: example\r\n");
    for (name, value) in lines_of(block, "request") {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mark = envoy.mark();
    let mut connection = Connection::open(envoy.port(listener)?);
    connection.send(request.as_bytes());
    let response = connection.receive();

    let status = word_of(block, "status").unwrap_or("200");
    ensure!(response.status.to_string() == status, "{response:?}");
    let mut new_ids = BTreeSet::new();
    check_headers(block, "response", &response.headers, &mut new_ids)?;
    match &upstream.received(&path)[..] {
        [received] => check_headers(block, "upstream", &received.headers, &mut new_ids)?,
        received => ensure!(
            received.is_empty() && status != "200" && lines_of(block, "upstream").is_empty(),
            "the upstream received {received:?}"
        ),
    }
    ensure!(new_ids.len() < 2, "several new ids: {new_ids:?}");
    if let Some(origin) = word_of(block, "origin") {
        let is_of_it = |line: &str| line.contains(&format!("\"path\":\"{path}\""));
        let lines = envoy.lines_until(mark, is_of_it)?;
        let line = lines.last().context("no line in the access log")?;
        ensure!(line.contains(&format!("\"origin\":\"{origin}\"")), "{line}");
    }
    Ok(())
}

/// Compares the headers of a message that an example names, and collects the new ids in them.
fn check_headers(
    block: &Block,
    keyword: &str,
    headers: &client::Headers,
    new_ids: &mut BTreeSet<String>,
) -> Result<()> {
    let shown = lines_of(block, keyword);
    let names: BTreeSet<_> = shown.iter().map(|(name, _)| *name).collect();
    for name in names {
        let of_it = shown.iter().filter(|(known, _)| *known == name);
        let expected: Vec<_> = of_it
            .map(|(_, value)| *value)
            .filter(|value| *value != "(none)")
            .collect();
        let found: Vec<_> = values(headers, name)
            .into_iter()
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
        let is_it = |(expected, found): (&&str, &String)| match *expected {
            "<new UUID>" => is_new(IdFormat::Uuid4, found),
            "<32 hex digits>" => is_new(IdFormat::Hex32, found),
            value => value == found,
        };
        ensure!(
            expected.len() == found.len() && expected.iter().zip(&found).all(is_it),
            "the {keyword} has {name}: {found:?}, the page says {expected:?}"
        );
        let pairs = expected.into_iter().zip(found);
        let new = pairs
            .filter(|(expected, _)| expected.starts_with("<new") || expected.starts_with("<32"));
        new_ids.extend(new.map(|(_, found)| found));
    }
    Ok(())
}

// YAML

/// The documents of the YAML blocks with their blocks.
fn documents() -> Vec<(&'static Block, Value)> {
    let documents = blocks("yaml").map(|block| {
        let document = serde_saphyr::from_str(&block.text);
        let document = document.unwrap_or_else(|error| panic!("{}: {error}", block.place));
        (block, document)
    });
    documents.collect()
}

/// Starts the shipped configuration after a change of its connection manager, and checks that a
/// request gets an id. Returns the line of the access log.
fn serve(block: &Block, change: impl FnOnce(&mut Value)) -> String {
    LazyLock::force(&READY);
    let upstream = Upstream::start();
    let mut config = shipped::with_upstream(upstream.port);
    let manager = config["static_resources"]["listeners"][0].pointer_mut(MANAGER);
    change(manager.expect("the listener has a connection manager"));
    // The pages on tracing name a collector. Nothing is there, and nothing waits for it.
    let clusters = config["static_resources"]["clusters"].as_array_mut();
    clusters
        .expect("the configuration has clusters")
        .push(shipped::cluster("collector", upstream.port));
    let envoy = Process::start(&config, &Output::Kept, &["--concurrency", "1"])
        .unwrap_or_else(|error| panic!("{}: {error:#}", block.place));
    let mark = envoy.mark();
    let mut connection = Connection::open(envoy.port("main").expect("Envoy has the listener"));
    connection.send(b"GET /shown HTTP/1.1\r\nhost: example\r\n\r\n");
    let id = connection.receive().id();
    assert!(is_new(IdFormat::Uuid4, &id), "{}: {id}", block.place);
    let received = upstream.received("/shown");
    assert_eq!(received[0].all("x-request-id"), [id.as_bytes()]);
    let lines = envoy.lines_until(mark, |line| line.contains(&id));
    lines
        .unwrap_or_else(|error| panic!("{}: {error:#}", block.place))
        .pop()
        .expect("there is a line")
}

/// What is neither a resource of Kubernetes nor of Istio or Prometheus is settings of the HTTP connection manager.
#[test]
fn parts_of_an_envoy_configuration_serve() {
    let mut count = 0;
    for (block, document) in documents() {
        let of_others = ["kind", "meshConfig", "scrape_configs"];
        if of_others.iter().any(|key| document.get(key).is_some()) {
            continue;
        }
        count += 1;
        serve(block, |manager| {
            for (key, value) in document.as_object().expect("the value is a mapping") {
                manager[key] = value.clone();
            }
        });
    }
    assert!(count > 3, "{count} parts");
}

/// What it shows first is a part of `envoy/envoy.yaml`, which the other tests run.
#[test]
fn the_page_on_envoy_shows_the_shipped_configuration() {
    let shipped =
        envoy::read_config(&root().join("envoy/envoy.yaml")).expect("the text is valid YAML");
    let manager = &shipped["static_resources"]["listeners"][0].pointer(MANAGER);
    let manager = manager.expect("the listener has a connection manager");
    let mut documents = documents().into_iter();
    let (_, shown) = documents
        .find(|(block, _)| block.place.starts_with("docs/deploy/envoy.md:"))
        .expect("there is a part of the configuration");
    for (key, value) in shown.as_object().expect("the value is a mapping") {
        assert_eq!(&manager[key], value, "{key} differs from envoy/envoy.yaml");
    }
}

/// The JSON formats of access logs for Istio and Envoy Gateway, which Envoy's own format becomes.
#[test]
fn access_logs_of_other_products_show_the_origin() {
    let mut count = 0;
    for (block, document) in documents() {
        let format = match document["meshConfig"]["accessLogFormat"].as_str() {
            Some(format) => serde_json::from_str(format).expect("the text is valid JSON"),
            None => {
                let settings = &document["spec"]["telemetry"]["accessLog"]["settings"];
                match &settings[0]["format"]["json"] {
                    Value::Null => continue,
                    format => format.clone(),
                }
            }
        };
        count += 1;
        let line = serve(block, |manager| {
            manager["access_log"][0]["typed_config"]["log_format"]["json_format"] = format;
        });
        let line: Value = serde_json::from_str(&line).expect("the line is valid JSON");
        assert_eq!(line["origin"], "generated", "{line}");
        assert_eq!(line["request_id"], line["response_request_id"], "{line}");
    }
    assert_eq!(count, 2);
}

#[test]
fn resources_have_configurations_that_the_filter_accepts() {
    let mut count = 0;
    for (block, document) in documents() {
        if ["WasmPlugin", "EnvoyExtensionPolicy"]
            .contains(&document["kind"].as_str().unwrap_or_default())
        {
            let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
            fs::write(&file, &block.text).expect("the file can be written");
            check::check(file.path()).unwrap_or_else(|error| panic!("{}: {error:#}", block.place));
            assert!(
                block.text.contains("example.com/"),
                "{} names another image",
                block.place
            );
            count += 1;
        }
    }
    assert!(count > 1, "{count} resources");
}

// Commands for a cluster

/// `make test-kubernetes` runs these commands, except those for Higress. Here: their syntax, the bases that they
/// name, and what they do to the manifests, in a copy.
#[test]
fn commands_for_a_cluster_deploy_the_bases_with_the_users_image() {
    let mut applied = BTreeSet::new();
    for block in blocks("sh") {
        let copy = tempfile::tempdir().expect("a temporary folder can be made");
        let bash = |option: &str, script: &str| {
            let output = Command::new("bash")
                .args([option, script])
                .current_dir(copy.path())
                .output()
                .expect("bash is missing: install it");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && errors.is_empty(),
                "{}: {errors}",
                block.place
            );
            String::from_utf8(output.stdout).expect("the text is UTF-8")
        };
        bash("-nc", &block.text);
        let is_on_manifests =
            |line: &&str| line.starts_with("perl ") || line.starts_with("export IMAGE=reg");
        let on_manifests: Vec<_> = block.text.lines().filter(is_on_manifests).collect();
        let bases = root().join("envoy");
        let script = format!(
            "cp -R '{}' .\n{}\necho \"$IMAGE\"",
            bases.display(),
            on_manifests.join("\n")
        );
        let image = bash("-ec", &script);
        for line in block.text.lines() {
            let Some((command, path)) = line.split_once(" -k ") else {
                continue;
            };
            let base = kustomize::read_in(copy.path(), path);
            if command == "kubectl apply" {
                assert_eq!(base.images(), [image.trim()], "{}", block.place);
                applied.insert(base.path);
            }
        }
    }
    let expected = ["envoy/gateway", "envoy/higress", "envoy/istio/gateway"];
    assert_eq!(applied, expected.map(str::to_owned).into());
}

// Links

/// Links to other pages and files lead somewhere, and a title of a link to a source is a text in it:
/// the name of a test, for example. Links to other sites are not followed.
#[test]
fn links_lead_somewhere() {
    let mut sources = 0;
    for page in PAGES.iter() {
        let folder = root().join(&page.path);
        let folder = folder.parent().expect("the path has a parent");
        for link in &page.links {
            let target = link.target.as_str();
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => root().join(&page.path),
                path => folder.join(path),
            };
            let file = fs::canonicalize(&file)
                .unwrap_or_else(|error| panic!("{}: {target}: {error}", page.path));
            if !anchor.is_empty() {
                let known = anchors_of(&file);
                assert!(
                    known.iter().any(|known| known == anchor),
                    "{}: {target}: no such heading among {known:?}",
                    page.path
                );
            }
            if !link.title.is_empty() {
                let text = fs::read_to_string(&file).expect("the source can be read");
                assert!(
                    text.contains(&link.title),
                    "{}: {target} has no {:?}",
                    page.path,
                    link.title
                );
                sources += 1;
            }
        }
    }
    assert!(sources > 10, "{sources} links to sources");
}

/// The anchors of the page at an absolute path.
fn anchors_of(file: &Path) -> &'static [String] {
    let page = PAGES
        .iter()
        .find(|page| fs::canonicalize(root().join(&page.path)).is_ok_and(|path| path == file));
    let page = page.unwrap_or_else(|| panic!("{} is no page", file.display()));
    &page.anchors
}

#[test]
fn the_index_names_every_page_and_the_pages_every_base() {
    let index = pages::page("docs/README.md");
    for page in PAGES.iter() {
        if let Some(path) = page.path.strip_prefix("docs/")
            && path != "README.md"
        {
            assert!(
                index.links.iter().any(|link| link.target == path),
                "docs/README.md does not name {path}"
            );
        }
    }
    let linked: Vec<_> = PAGES.iter().flat_map(|page| &page.links).collect();
    for base in kustomize::all() {
        let is_to_it = |target: &str| target.split('#').next() == Some(&base.path);
        let is_linked = linked.iter().any(|link| {
            let target = link.target.trim_start_matches("../");
            is_to_it(target) || target.starts_with(&format!("{}/", base.path))
        });
        assert!(is_linked, "no page links to {}", base.path);
    }
}

// Figures

/// `make test-matrix` runs the tests with these.
#[test]
fn the_readme_names_the_versions_of_envoy_that_are_tested() {
    let env = project::text("envoy/versions.env");
    let (_, matrix) = env
        .split_once("ENVOY_MATRIX=\"")
        .expect("there is a matrix");
    let (matrix, _) = matrix.split_once('"').expect("the matrix ends");
    let (others, last) = matrix.rsplit_once(' ').expect("there are two versions");
    let named = format!(
        "Envoy {} and {last} (`make test-matrix`)",
        others.replace(' ', ", ")
    );
    assert!(
        project::text("README.md").contains(&named),
        "README.md does not name {named}"
    );
}

/// The table of instructions that `make bench` printed: by section, what each row has on top.
fn costs() -> Vec<Vec<[String; 2]>> {
    let page = pages::page("docs/performance.md");
    let table = page.blocks.iter().find_map(|block| {
        let (_, table) = block.text.split_once("\nInstructions of Envoy")?;
        Some(table)
    });
    // The name, the cost and its quartiles, what is on top and its quartiles.
    let on_top = |line: &str| {
        let cells: Vec<_> = line
            .strip_prefix("  ")?
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        match cells[..] {
            [name, _, _, on_top, _] => Some([name.to_owned(), on_top.to_owned()]),
            _ => None,
        }
    };
    table
        .expect("there is a table of instructions")
        .split("\n\n")
        .filter(|section| section.contains("no filter"))
        .map(|section| section.lines().filter_map(on_top).collect())
        .collect()
}

/// Both are of the same run: what the chart has at its bars is in the table.
#[test]
fn the_chart_of_the_costs_shows_the_table() {
    let expected: Vec<_> = costs().into_iter().take(2).flatten().collect();
    assert!(expected.len() > 10, "{expected:?}");
    let chart = project::text("docs/images/cost.svg");
    let texts = svg::texts(&chart);
    for text in expected.iter().flatten() {
        assert!(texts.contains(text), "{text} is not in {texts:?}");
    }
    let numbers: Vec<_> = texts
        .iter()
        .filter(|text| text.parse::<f64>().is_ok())
        .collect();
    let expected: Vec<_> = expected.iter().map(|[_, number]| number).collect();
    assert_eq!(numbers, expected);
}

/// Its numbers of the form `40,000` are instructions, by which a request of the first two sections of
/// the table costs more with the default configuration.
#[test]
fn the_readme_has_the_costs_of_the_table() {
    let readme = project::text("README.md");
    let words = readme.split(|c: char| !(c.is_ascii_digit() || c == ','));
    let named = words.filter_map(|word| word.strip_suffix(",000")?.parse::<f64>().ok());
    let measured = costs().into_iter().take(2).map(|section| {
        let row = section
            .into_iter()
            .find(|[name, _]| name == "this filter, default");
        let [_, number] = row.expect("there is a row of this filter");
        number.parse::<f64>().expect("the text is a number").round()
    });
    assert_eq!(named.collect::<Vec<_>>(), measured.collect::<Vec<_>>());
}
