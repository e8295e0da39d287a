//! Configurations that are refused, and updates of a running filter, under load.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use request_id_rules::policy::IdFormat;
use serde_json::{Value, json};
use xtask::envoy::{Output, Process};

use crate::testbed::{
    self, FILTER, PLUGIN, Testbed, at, eventually, is_new, listeners, string_value, tests,
};
use test_support::client::{Connection, Response};
use test_support::upstream::{Reply, Upstream, free_ports};
use test_support::verdict;

tests![
    a_refused_configuration_keeps_envoy_from_starting_and_says_why,
    the_message_about_a_struct_names_string_value,
    updates_by_lds_lose_nothing_under_load,
    updates_by_ecds_lose_nothing_under_load,
];

const INVALID: &str =
    r#"{"generate": "uuid5", "incoming": {"max_lenght": 64, "trust": ["10.0.0.0/8", "x"]}}"#;

/// Returns [`INVALID`] as another text: Envoy remembers which texts were refused, and does not ask the filter again.
fn invalid_again(attempt: u64) -> String {
    INVALID.replacen('{', &format!(r#"{{"_attempt": {attempt}, "#), 1)
}

/// The problems of [`INVALID`].
const PROBLEMS: [&str; 3] = [
    r#"configuration refused: generate: found "uuid5"; allowed: "uuid4", "uuid7" or "hex32""#,
    "configuration refused: incoming.max_lenght: unknown key, with 64; did you mean incoming.max_length?",
    r#"configuration refused: incoming.trust[1]: found "x"; allowed: "#,
];

/// Starts an Envoy whose filter has this `configuration`, and returns why it fails.
fn failed_start(configuration: Value) -> String {
    let mut config = testbed::config(1, &[""]);
    at(&mut listeners(&mut config)[1], PLUGIN)["configuration"] = configuration;
    match Process::start(&config, &Output::Kept, &[]) {
        Ok(_) => panic!("Envoy started"),
        Err(error) => format!("{error:#}"),
    }
}

fn a_refused_configuration_keeps_envoy_from_starting_and_says_why(_: &Testbed) {
    let error = failed_start(string_value(INVALID));
    assert!(error.contains("Envoy ended with exit status: 1"), "{error}");
    for problem in PROBLEMS {
        assert!(error.contains(problem), "{error}");
    }
}

fn the_message_about_a_struct_names_string_value(_: &Testbed) {
    let error = failed_start(json!({
        "@type": "type.googleapis.com/google.protobuf.Struct",
        "value": {"generate": "uuid7"},
    }));
    let problem =
        "configuration refused: the configuration: found a protobuf message instead of text";
    assert!(error.contains(problem), "{error}");
    assert!(error.contains("google.protobuf.StringValue"), "{error}");
}

/// An Envoy whose filter gets its configuration from a file.
struct Discovery {
    envoy: Process,
    upstream: Upstream,
    port: u16,
    folder: tempfile::TempDir,
    /// The resource that contains the configuration, and its place there.
    resource: Value,
    configuration: String,
}

impl Discovery {
    /// Publishes a new configuration as a whole.
    fn publish(&mut self, configuration: &str) {
        *at(&mut self.resource, &self.configuration) = string_value(configuration);
        publish(self.folder.path(), &self.resource);
    }

    /// Waits until new ids have this format.
    fn wait_for(&self, format: IdFormat) {
        let id = || request(self.port).id();
        eventually(Duration::from_secs(20), id, |id| {
            verdict::is_new(format, id)
        });
    }
}

/// Sends a request on a connection of its own.
fn request(port: u16) -> Response {
    let mut connection = Connection::open(port);
    connection.send(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    connection.receive()
}

/// Returns the file from which Envoy reads resources.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("resources.json")
}

/// Publishes a resource as a whole.
pub fn publish(folder: &Path, resource: &Value) {
    let new = folder.join("new.json");
    fs::write(&new, json!({"resources": [resource]}).to_string()).expect("the file can be written");
    fs::rename(new, file(folder)).expect("the file can be renamed"); // what Envoy watches for
}

/// Publishes invalid and valid updates in turn, while requests arrive without pause and one is under way all the time.
fn update_under_load(discovery: &mut Discovery, rejected: &str) {
    discovery.wait_for(IdFormat::Uuid4);
    let later = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec();
    let reply = Reply::Later(Duration::from_secs(4), later);
    discovery.upstream.expect("/late", reply);
    let mut late = Connection::open(discovery.port);
    late.send(b"GET /late HTTP/1.1\r\nhost: test\r\n\r\n");

    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let port = discovery.port;
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop); // also when an assertion fails below
        let load = || {
            let mut requests = 0_u32;
            // As long as there are updates, and longer if they are quick.
            let more = |requests| !stop.load(Ordering::Relaxed) || requests < 100;
            while more(requests) && started.elapsed() < Duration::from_secs(60) {
                let response = request(port);
                assert_eq!(response.status, 200, "{response:?}");
                assert!(!response.id().is_empty());
                requests += 1;
            }
            requests
        };
        let loads = [scope.spawn(load), scope.spawn(load)];
        let formats = [
            ("hex32", IdFormat::Hex32),
            ("uuid7", IdFormat::Uuid7),
            ("uuid4", IdFormat::Uuid4),
            ("hex32", IdFormat::Hex32),
        ];
        for (refused, (valid, format)) in (1..).zip(formats) {
            let before = request(port).id();
            let mark = discovery.envoy.mark();
            discovery.publish(&invalid_again(refused));
            let rejections = || testbed::statistic(&discovery.envoy, rejected);
            eventually(Duration::from_secs(20), rejections, |count| {
                *count >= refused
            });
            for problem in PROBLEMS {
                let logged = (discovery.envoy).lines_until(mark, |line| line.contains(problem));
                logged.unwrap_or_else(|error| panic!("{problem}: {error:#}"));
            }
            // The previous configuration stays in force.
            assert_eq!(request(port).id().len(), before.len());
            discovery.publish(&format!(r#"{{"generate": "{valid}"}}"#));
            discovery.wait_for(format);
        }
        stop.store(true, Ordering::Relaxed);
        for load in loads {
            assert!(load.join().expect("no request is lost") >= 100);
        }
    });
    let late = late.receive();
    assert_eq!((late.status, &*late.body), (200, &b"late"[..]));
    // A request keeps the id that it received first.
    assert!(is_new(&late.id()), "{late:?}");

    // No count is lost with the plugins that were replaced.
    let counts = || {
        let names = [
            "wasmcustom.request_id_filter.generated",
            "http.main.downstream_rq_total",
        ];
        names.map(|name| testbed::statistic(&discovery.envoy, name))
    };
    eventually(Duration::from_secs(5), counts, |[counted, served]| {
        counted == served
    });
}

pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes a listener read its filter from the file in this folder, and returns the filter's resource.
pub fn take_filter(listener: &mut Value, folder: &Path) -> Value {
    let filter = at(listener, FILTER).take();
    *at(listener, FILTER) = json!({
        "name": filter["name"],
        "config_discovery": {
            "config_source": {"path_config_source": {"path": file(folder)}, "resource_api_version": "V3"},
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        },
    });
    json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": filter["name"],
        "typed_config": filter["typed_config"],
    })
}

/// The place of the configuration in such a resource.
pub const CONFIGURATION: &str = "/typed_config/config/configuration";

impl Discovery {
    /// Starts an Envoy that reads from a file what `take` takes from the static configuration and the listener of
    /// the filter.
    fn start(configuration: &str, take: impl Fn(&mut Value, Value, &Path) -> Value) -> Self {
        let upstream = Upstream::start();
        let mut config = testbed::config(upstream.port, &[""]);
        let mut listener = listeners(&mut config).remove(1);
        let [port] = free_ports();
        *at(&mut listener, "/address/socket_address/port_value") = port.into();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let resource = take(&mut config, listener, folder.path());
        publish(folder.path(), &resource);
        Self {
            envoy: testbed::start(&config, "--concurrency 2 --log-level error"),
            upstream,
            port,
            folder,
            resource,
            configuration: configuration.into(),
        }
    }
}

fn updates_by_lds_lose_nothing_under_load(_: &Testbed) {
    let place = format!("{PLUGIN}/configuration");
    let mut discovery = Discovery::start(&place, |config, mut listener, folder| {
        config["dynamic_resources"] =
            json!({"lds_config": {"path_config_source": {"path": file(folder)}}});
        listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        listener
    });
    update_under_load(&mut discovery, "listener_manager.lds.update_rejected");
}

fn updates_by_ecds_lose_nothing_under_load(_: &Testbed) {
    let mut discovery = Discovery::start(CONFIGURATION, |config, mut listener, folder| {
        let filter = take_filter(&mut listener, folder);
        listeners(config).push(listener);
        filter
    });
    update_under_load(&mut discovery, "request-id.update_rejected");
}
