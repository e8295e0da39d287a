//! What the pages of the documentation hold that needs further tools: diagrams, configurations of
//! Prometheus, a kustomization, and commands that push the image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use test_support::client::Connection;
use test_support::kustomize;
use test_support::pages::{self, Block};
use test_support::shipped;
use test_support::upstream::free_ports;
use xtask::{envoy, root, target};

use crate::image::{Registry, digest_of_the_image};
use crate::{Running, chromium, printed_by, result_in_a_browser, run};

/// The blocks of a language, of all pages.
fn blocks(language: &str) -> Vec<Block> {
    let blocks = pages::all().into_iter().flat_map(|page| page.blocks);
    blocks.filter(|block| block.language == language).collect()
}

// Diagrams

/// Has npm install Mermaid, and returns the path of its script for browsers.
fn mermaid() -> PathBuf {
    let folder = target().join("mermaid");
    fs::create_dir_all(&folder).expect("the folder can be made");
    for file in ["package.json", "package-lock.json"] {
        let from = root().join("tests/external_tools/mermaid").join(file);
        fs::copy(from, folder.join(file)).expect(file);
    }
    let arguments = "ci --no-audit --no-fund --ignore-scripts --prefix".split(' ');
    run(
        Command::new("npm").args(arguments).arg(&folder),
        "nodejs npm",
    );
    folder.join("node_modules/mermaid/dist/mermaid.min.js")
}

/// Has Mermaid draw diagrams in a browser, and returns what it says about each: nothing, or an error.
fn draw(diagrams: &[&str]) -> Vec<String> {
    let page = format!(
        "<!doctype html><meta charset=utf-8><title>diagrams</title><pre id=result>none</pre>
         <script src='file://{}'></script>
         <script>
         (async () => {{
           mermaid.initialize({{ startOnLoad: false }});
           const said = [];
           for (const [number, text] of Object.entries({})) {{
             try {{
               const {{ svg }} = await mermaid.render('diagram-' + number, text);
               said.push(svg.includes('</svg>') ? '' : 'no picture');
             }} catch (error) {{
               said.push('error: ' + error.message);
             }}
           }}
           document.getElementById('result').textContent = JSON.stringify(said);
         }})();
         </script>",
        mermaid().display(),
        json!(diagrams)
    );
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("page.html");
    fs::write(&file, page).expect("the file can be written");
    let address = format!("file://{}", file.display());
    let result = result_in_a_browser(&address);
    serde_json::from_str(&result).unwrap_or_else(|error| panic!("{error}: {result}"))
}

#[test]
fn a_browser_draws_every_diagram() {
    let blocks = blocks("mermaid");
    assert!(blocks.len() > 3, "{} diagrams", blocks.len());
    let mut diagrams: Vec<_> = blocks.iter().map(|block| block.text.as_str()).collect();
    diagrams.push("flowchart LR\n  a[open --> b");
    let mut said = draw(&diagrams);
    let broken = said.pop().expect("there is a result");
    assert!(broken.starts_with("error: "), "{broken}");
    assert_eq!(said.len(), blocks.len());
    for (block, said) in blocks.iter().zip(said) {
        assert_eq!(said, "", "{}", block.place);
    }
}

// Prometheus

/// The configurations of Prometheus, with the paths of rules from the root.
fn prometheus_configurations() -> Vec<Block> {
    let mut found = blocks("yaml");
    found.retain(|block| block.text.contains("scrape_configs:"));
    let rules = "envoy/prometheus-rules.yaml";
    let absolute = root().join(rules).display().to_string();
    for block in &mut found {
        block.text = block.text.replace(rules, &absolute);
    }
    found
}

#[test]
fn prometheus_accepts_its_configurations() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("prometheus.yaml");
    let configurations = prometheus_configurations();
    assert!(!configurations.is_empty());
    for block in configurations {
        fs::write(&file, block.text).expect("the file can be written");
        let arguments = ["check", "config", "--lint-fatal"];
        run(
            Command::new("promtool").args(arguments).arg(&file),
            "prometheus",
        );
    }
}

/// Starts Prometheus with a configuration, and returns it with its address.
fn start_prometheus(folder: &Path, configuration: &str) -> (Running, String) {
    let file = folder.join("prometheus.yaml");
    fs::write(&file, configuration).expect("the file can be written");
    let [port] = free_ports();
    let address = format!("127.0.0.1:{port}");
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus is missing: apt-get install prometheus");
    (Running(child), address)
}

/// The number that Prometheus answers to a query, once it has one.
fn query(address: &str, query: &str) -> Option<f64> {
    let url = format!("http://{address}/api/v1/query");
    let answer = ureq::get(url).query("query", query).call().ok()?;
    let answer: Value = serde_json::from_str(&answer.into_body().read_to_string().ok()?).ok()?;
    let number = answer.pointer("/data/result/0/value/1")?.as_str()?;
    number.parse().ok()
}

/// The picture in docs/images is made by this: `make pictures`. Otherwise it goes to target/pictures.
#[test]
fn prometheus_shows_the_counters() {
    let [admin] = free_ports();
    let config = envoy::shipped(0, admin).expect("the configuration can be read");
    let envoy = shipped::start(&config);
    let block = prometheus_configurations().remove(0);
    assert!(block.text.contains("localhost:9901"), "{}", block.place);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let configuration = block
        .text
        .replace("localhost:9901", &format!("127.0.0.1:{admin}"));
    let (_prometheus, address) = start_prometheus(folder.path(), &configuration);

    // Traffic of every kind, until there is enough of it for a graph.
    let port = envoy.port("main").expect("Envoy has the listener");
    let mut connection = Connection::open(port);
    let kinds = [
        ("x-request-id: my-id-1", 5),
        ("x-amz-request-id: 4B4NGF0EAWN0GE63", 3),
        ("accept: */*", 2),
        ("x-request-id: my id", 1),
    ];
    let started = Instant::now();
    while query(&address, "count_over_time(request_id_filter_kept[5m])")
        .is_none_or(|samples| samples < 35.0)
    {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "too few samples"
        );
        for (line, requests) in kinds {
            for _ in 0..requests {
                let request = format!("GET / HTTP/1.1\r\nhost: demo\r\n{line}\r\n\r\n");
                connection.send(request.as_bytes());
                assert_eq!(connection.receive().status, 200);
            }
        }
        thread::sleep(Duration::from_millis(100)); // the pace of the traffic
    }

    // `rate` drops the name of a metric, which has to be a label, then.
    let outcomes = r#"rate(label_replace({__name__=~"request_id_filter_(kept|adopted|generated|replaced|rejected)"}, "outcome", "$1", "__name__", "request_id_filter_(.+)")[10s:1s])"#;
    let page = format!(
        "http://{address}/classic/graph?g0.expr={}&g0.tab=0&g0.range_input=30s",
        utf8_percent_encode(outcomes, NON_ALPHANUMERIC)
    );
    let dom = chromium(&["--virtual-time-budget=10000", "--dump-dom", &page]);
    let smallest = [
        ("kept", 5.0),
        ("adopted", 3.0),
        ("generated", 2.0),
        ("replaced", 1.0),
    ];
    for (outcome, smallest) in smallest {
        let counted = query(&address, &format!("request_id_filter_{outcome}"));
        assert!(counted >= Some(smallest), "{outcome}: {counted:?}");
        assert!(
            dom.contains(&format!("outcome=\"{outcome}\"")),
            "{outcome}: {dom}"
        );
    }
    let pictures =
        std::env::var("PICTURES").map_or(target().join("pictures"), |folder| root().join(folder));
    fs::create_dir_all(&pictures).expect("the folder can be made");
    let picture = pictures.join("prometheus.png");
    let _ = fs::remove_file(&picture);
    chromium(&[
        "--virtual-time-budget=10000",
        "--window-size=1200,860",
        "--hide-scrollbars",
        &format!("--screenshot={}", picture.display()),
        &page,
    ]);
    let picture = fs::read(&picture).expect("the chart can be read");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000);
}

// Manifests and the image

/// A user's kustomization that takes a base from a copy of this repository beside it.
#[test]
fn kubectl_makes_of_a_users_kustomization_what_its_page_says() {
    let mut count = 0;
    for block in blocks("yaml") {
        if !block.text.contains("kind: Kustomization") {
            continue;
        }
        count += 1;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let [repository, mine] = ["request-id-filter", "mine"].map(|name| folder.path().join(name));
        for folder in [&repository, &mine] {
            fs::create_dir(folder).expect("the folder can be made");
        }
        run(
            Command::new("cp")
                .arg("-R")
                .arg(root().join("envoy"))
                .arg(&repository),
            "coreutils",
        );
        fs::write(mine.join("kustomization.yaml"), &block.text).expect("the file can be written");
        let printed = printed_by(
            Command::new("kubectl").arg("kustomize").arg(&mine),
            "kubernetes-client",
        );
        let resources: Vec<Value> =
            serde_saphyr::from_multiple(&printed).expect("the text is valid YAML");
        assert!(resources.len() > 1, "{printed}");
        let written: Value = serde_saphyr::from_str(&block.text).expect("the text is valid YAML");
        for resource in &resources {
            assert_eq!(resource["metadata"]["namespace"], written["namespace"]);
        }
        // The patches of the page have been applied.
        let has_placeholder = printed.contains(kustomize::IMAGE);
        assert_ne!(
            has_placeholder,
            block.text.contains("/spec/url"),
            "{}",
            block.place
        );
        let gateways = |text: &str| text.matches("my-gateway").count();
        assert_eq!(gateways(&printed), gateways(&block.text), "{printed}");
    }
    assert!(count > 0);
}

/// The commands of the page on the image, to a registry without TLS.
#[test]
fn the_commands_of_the_page_push_the_image() {
    let digest = digest_of_the_image();
    let registry = Registry::start();
    let page = pages::page("docs/deploy/oci-image.md");
    let blocks = page.blocks.iter().filter(|block| block.language == "sh");
    let script: String = blocks.map(|block| block.text.as_str()).collect();
    let registry_address = format!("127.0.0.1:{}", registry.port);
    let script = script
        .replace("registry.example.com", &registry_address)
        .replace("skopeo copy", "skopeo copy --dest-tls-verify=false")
        .replace("skopeo inspect", "skopeo inspect --tls-verify=false");
    let printed = printed_by(Command::new("bash").args(["-euc", &script]), "skopeo");
    let lines: Vec<_> = printed.lines().rev().take(2).collect();
    assert!(lines[0].ends_with(&format!("@{digest}")), "{printed}");
    assert_eq!(lines[1], digest, "{printed}");
}
