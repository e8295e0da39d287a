//! One Envoy with the built module between a client and an upstream.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use request_id_configuration as configuration;
use request_id_rules::header_name::HeaderName;
use request_id_rules::policy::IdFormat;
use serde_json::{Value, json};
use xtask::envoy::{self, Output, Process};
use xtask::module;

use crate::echo;
use crate::tracing::tracers::Tracer;
use test_support::cases::{self, Case, Line};
use test_support::client::{Connection, Request, Response, get};
use test_support::shipped::cluster;
pub use test_support::shipped::{FILTER, MANAGER, PLUGIN};
use test_support::upstream::{Reply, Upstream, free_ports};
use test_support::verdict;

/// A test of this program: its name and what it does.
pub type Test = (&'static str, fn(&Testbed));

/// Lists the tests of a module, which are named as cargo names tests: by module and function.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub const TESTS: &[$crate::testbed::Test] =
            &[$((concat!(module_path!(), "::", stringify!($test)), $test)),*];
    };
}
pub(crate) use tests;

/// How a testbed differs from the default one, in which one worker logs every call of the filter.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Whether two workers serve, and the filter logs nothing but warnings.
    pub has_two_workers: bool,
    /// The percentage of requests to trace, if requests are traced. The table's default
    /// configuration is then the one that the project ships.
    pub sampling: Option<u32>,
    /// The module, if it is not the one of `make build`.
    pub module: Option<PathBuf>,
    /// A host call that the filter has to do without.
    pub without: Option<&'static str>,
}

/// The testbeds that tests share, by the percentage of requests that are traced. The first test that needs a
/// testbed starts it.
#[derive(Default)]
pub struct SharedTestbeds([OnceLock<Option<Testbed>>; 3]);

impl SharedTestbeds {
    pub fn get(&self, sampling: Option<u32>) -> Result<&Testbed, &str> {
        let place = match sampling {
            None => 0,
            Some(50) => 1,
            Some(100) => 2,
            Some(other) => panic!("no testbed samples {other} %"),
        };
        let setup = Setup {
            sampling,
            ..Setup::default()
        };
        let testbed = self.0[place].get_or_init(|| catch_unwind(|| Testbed::start(setup)).ok());
        testbed.as_ref().ok_or("the testbed has not started")
    }
}

/// Returns each configuration of the table once.
pub fn configurations() -> Vec<&'static str> {
    let mut configurations: Vec<_> = cases::all().iter().map(|case| case.config).collect();
    configurations.sort_unstable();
    configurations.dedup();
    configurations
}

pub struct Testbed {
    pub envoy: Process,
    pub upstream: Upstream,
    /// The port on which the filter runs with the default configuration.
    pub port: u16,
    /// The port on which it trusts 10.0.0.0/8 alone, and Envoy takes the peer's address from the connection.
    pub edge: u16,
    /// The ports on which it runs with each configuration of the table.
    ports: HashMap<&'static str, u16>,
    exchanges: AtomicUsize,
    /// How many lines Envoy had printed when no request was under way.
    settled: AtomicUsize,
}

/// What was sent and what became of it.
#[derive(Debug)]
pub struct Exchange {
    pub response: Response,
    /// What the upstream received, with each attempt.
    pub received: Vec<Request>,
    /// What Envoy logged about the filter: each call between the two, and the filter's own lines.
    pub trace: Vec<String>,
    /// The line of the access log.
    pub access_log: Value,
}

impl Exchange {
    /// Returns what follows `mark` in those lines of the trace that have it.
    pub fn traced<'a>(&'a self, mark: &str) -> Vec<&'a str> {
        let marked = self.trace.iter().filter_map(|line| line.split_once(mark));
        marked.map(|(_, rest)| rest).collect()
    }

    /// Returns the only request that the upstream received.
    #[track_caller]
    pub fn received(&self) -> &Request {
        assert_eq!(self.received.len(), 1, "{self:#?}");
        &self.received[0]
    }
}

impl Testbed {
    pub fn start(setup: Setup) -> Self {
        module::build().expect("the module can be built");
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let configurations = configurations();
        let mut config = config(upstream.port, &configurations);
        setup.apply(&mut config, collector.port);
        let (workers, level) = if setup.has_two_workers {
            (2, "warning")
        } else {
            (1, "trace")
        };
        let arguments =
            format!("--concurrency {workers} --log-level error --component-log-level wasm:{level}");
        let envoy = start(&config, &arguments);
        let numbered = configurations.into_iter().enumerate();
        let ports: HashMap<_, _> = numbered
            .map(|(number, text)| (text, port(&envoy, &listener_name(number))))
            .collect();
        Self {
            port: ports[""],
            edge: port(&envoy, "edge"),
            ports,
            upstream,
            envoy,
            exchanges: AtomicUsize::default(),
            settled: AtomicUsize::default(),
        }
    }

    /// Returns in how many plugins the filter runs.
    pub fn plugins(&self) -> usize {
        self.ports.len() + 1
    }

    /// Returns the port on which the filter runs with a configuration of the table.
    pub fn port_with(&self, configuration: &str) -> u16 {
        self.ports[configuration]
    }

    /// Returns `path` with a query that no other request has.
    pub fn unique(&self, path: &str) -> String {
        let number = self.exchanges.fetch_add(1, Ordering::Relaxed);
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}exchange={number}")
    }

    /// Waits until Envoy has logged the end of every request: what it logs then is of later ones.
    pub fn settle(&self) {
        let number = self.exchanges.fetch_add(1, Ordering::Relaxed);
        let id = format!("settled-{number}");
        let response = Connection::open(self.port).get("/", &[("x-request-id", id.clone().into())]);
        assert_eq!(response.id(), id);
        let kept = format!("kept {id}");
        let mut open = HashSet::new();
        let mut is_last = false;
        let from = self.settled.load(Ordering::Relaxed);
        let lines = lines_until(&self.envoy, from, |line| {
            if let Some((_, created)) = line.split_once("[host->vm] proxy_on_context_create(") {
                // A context without a parent is a plugin, which stays.
                if let Some((context, parent)) = created.split_once(", ")
                    && !parent.starts_with('0')
                {
                    open.insert(context.to_owned());
                }
            } else if let Some((_, deleted)) = line.split_once("[host->vm] proxy_on_delete(") {
                open.remove(deleted.split(')').next().unwrap_or_default());
            }
            is_last |= line.contains(&kept);
            is_last && open.is_empty()
        });
        self.settled.store(from + lines.len(), Ordering::Relaxed);
    }

    /// Sends a GET with these header lines to an upstream that answers so.
    pub fn exchange(&self, path: &str, lines: &[Line], reply: Reply) -> Exchange {
        self.exchange_with(self.port, "test", path, lines, reply)
    }

    /// Sends a case's request to the filter with the case's configuration.
    pub fn exchange_case(&self, case: &Case) -> Exchange {
        let (port, reply) = (self.ports[case.config], Reply::ok(&case.upstream));
        self.exchange_with(port, "test", case.path, &case.request, reply)
    }

    /// Sends a request to another port or `host`.
    pub fn exchange_with(
        &self,
        port: u16,
        host: &str,
        path: &str,
        lines: &[Line],
        reply: Reply,
    ) -> Exchange {
        let path = self.unique(path);
        self.upstream.expect(&path, reply);
        let mark = self.envoy.mark();
        let mut connection = Connection::open(port);
        connection.send(&get(host, &path, lines));
        let response = connection.receive();
        self.finish(mark, &path, response)
    }

    /// Collects what Envoy logs of a request once it is over.
    pub fn finish(&self, mark: usize, path: &str, response: Response) -> Exchange {
        // The end of another request may be logged after the mark, so this waits for the end of the
        // first context that was created since.
        let mut delete = None;
        let mut is_deleted = false;
        let trace = lines_until(&self.envoy, mark, |line| {
            let created = line.split_once("[host->vm] proxy_on_context_create(");
            if let Some((_, created)) = created
                && delete.is_none()
            {
                let context = created.split(',').next().unwrap_or_default();
                delete = Some(format!("[host->vm] proxy_on_delete({context})"));
            }
            is_deleted |= delete.as_ref().is_some_and(|delete| line.contains(delete));
            is_deleted && line.contains("[host<-vm] proxy_on_delete return")
        });
        Exchange {
            response,
            received: self.upstream.received(path),
            trace,
            access_log: access_log(&self.envoy, mark, path),
        }
    }
}

/// Waits for a line of Envoy's output, and returns the lines from `mark` to that one.
pub fn lines_until(envoy: &Process, mark: usize, is_last: impl FnMut(&str) -> bool) -> Vec<String> {
    let lines = envoy.lines_until(mark, is_last);
    lines.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Returns the line of the access log for the request for `path`.
pub fn access_log(envoy: &Process, mark: usize, path: &str) -> Value {
    let path = format!("\"path\":\"{path}\"");
    let is_of_request = |line: &str| line.starts_with('{') && line.contains(&path);
    let lines = lines_until(envoy, mark, is_of_request);
    serde_json::from_str(&lines[lines.len() - 1]).expect("the access log consists of JSON")
}

/// Returns the port of a listener.
pub fn port(envoy: &Process, listener: &str) -> u16 {
    envoy
        .port(listener)
        .unwrap_or_else(|error| panic!("{error:#}"))
}

/// The request headers that Envoy sets or removes itself: the last ones after an internal redirect and with tracing.
pub const REQUEST_HEADERS_OF_ENVOY: &str = "host content-length x-forwarded-proto x-envoy-expected-rq-timeout-ms \
     x-envoy-internal x-envoy-external-address x-envoy-original-url x-b3-traceid x-b3-spanid x-b3-parentspanid \
     x-b3-sampled";
/// The response headers that Envoy sets itself.
pub const RESPONSE_HEADERS_OF_ENVOY: &str =
    "content-length date server x-envoy-upstream-service-time";

impl Setup {
    pub fn apply(&self, config: &mut Value, collector: u16) {
        let mut shipped = envoy::shipped(0, 0).expect("the configuration can be read");
        let shipped = at(&mut listeners(&mut shipped)[0], PLUGIN)["configuration"].take();
        for listener in listeners(config) {
            if let Some(sampling) = self.sampling {
                at(listener, MANAGER)["tracing"] = Tracer::Zipkin.tracing(sampling, 0);
                let plugin = at(listener, PLUGIN);
                if plugin["configuration"] == string_value("") {
                    plugin["configuration"] = shipped.clone();
                }
            }
            if let Some(module) = &self.module {
                at(listener, PLUGIN)["vm_config"]["code"]["local"]["filename"] = json!(module);
            }
            if let Some(call) = self.without {
                restrict(listener, call);
            }
        }
        clusters(config).push(cluster("collector", collector));
    }
}

/// The calls between the module and Envoy, in both directions, that a plain request needs.
const HOST_CALLS: &str = "fd_write random_get proxy_call_foreign_function \
     proxy_define_metric proxy_get_buffer_bytes proxy_get_current_time_nanoseconds proxy_get_header_map_pairs \
     proxy_get_header_map_value proxy_get_log_level proxy_get_property proxy_increment_metric proxy_log \
     proxy_remove_header_map_value proxy_replace_header_map_value proxy_send_local_response proxy_set_property \
     proxy_set_tick_period_milliseconds proxy_on_configure proxy_on_context_create proxy_on_delete proxy_on_done \
     proxy_on_request_headers proxy_on_response_headers proxy_on_tick proxy_on_vm_start";

/// Makes the filter of a listener do without this host call.
pub fn restrict(listener: &mut Value, without: &str) {
    let allowed = HOST_CALLS.split(' ').filter(|call| *call != without);
    let allowed: Value = allowed.map(|call| (call, json!({}))).collect();
    let plugin = at(listener, PLUGIN);
    plugin["capability_restriction_config"] = json!({"allowed_capabilities": allowed});
    // Before 1.40, Envoy gives it the VM of another plugin with the same code, and that one's host calls.
    plugin["vm_config"]["vm_id"] = json!("restricted");
}

pub fn listener_name(number: usize) -> String {
    format!("configuration {number}")
}

/// Returns `envoy/envoy.yaml` on free ports, changed for tests: with the listener `edge` and then one for each
/// configuration of the filter, with the test's upstream in place of the demo's, and with other routes.
pub fn config(upstream: u16, configurations: &[&str]) -> Value {
    let mut config = envoy::shipped(0, 0).expect("the configuration can be read");
    config["node"] = json!({"id": "test", "cluster": "test"}); // which discovery requires
    let listener = at(&mut config, "/static_resources/listeners/0");
    let manager = at(listener, MANAGER);
    // The table has a header with an underscore, and shows that it is another one.
    manager["common_http_protocol_options"]["headers_with_underscores_action"] = "ALLOW".into();
    // The paths of hostile messages must arrive as they were sent.
    manager["normalize_path"] = false.into();
    manager["merge_slashes"] = false.into();
    manager["path_with_escaped_slashes_action"] = "KEEP_UNCHANGED".into();
    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    manager["route_config"] = routes();
    let main = listener.take();
    let with_configuration = |name: &str, configuration: &str| {
        let mut listener = main.clone();
        listener["name"] = name.into();
        at(&mut listener, PLUGIN)["configuration"] = string_value(configuration);
        // Envoy's provisional ids are for x-request-id only.
        let parsed = configuration::read(configuration.as_bytes());
        if parsed.is_ok_and(|parsed| parsed.policy.headers.id().as_str() != HeaderName::DEFAULT) {
            at(&mut listener, MANAGER)["early_header_mutation_extensions"].take();
        }
        listener
    };
    let mut edge = with_configuration("edge", r#"{"incoming": {"trust": ["10.0.0.0/8"]}}"#);
    at(&mut edge, MANAGER)["use_remote_address"] = true.into();
    let mut all = vec![edge];
    for (number, configuration) in configurations.iter().enumerate() {
        all.push(with_configuration(&listener_name(number), configuration));
    }
    *listeners(&mut config) = all;
    let [refused] = free_ports();
    let http2 = cluster("h2", echo::start_http2());
    *clusters(&mut config) = vec![
        cluster("demo", upstream),
        cluster("refused", refused),
        with_protocol(http2, "http2_protocol_options"),
    ];
    config
}

/// Returns routes that end in each way a route can. Most of them lead to the cluster `demo`.
pub fn routes() -> Value {
    json!({
        "validate_clusters": false,
        "virtual_hosts": [
            {"name": "no route", "domains": ["nowhere"]},
            {"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/redirect"}, "redirect": {"path_redirect": "/elsewhere"}},
                {"match": {"prefix": "/direct"},
                 "direct_response": {"status": 418, "body": {"inline_string": "tea"}}},
                {"match": {"prefix": "/slow"}, "route": {"cluster": "demo", "timeout": "0.2s"}},
                {"match": {"prefix": "/retry"},
                 "route": {"cluster": "demo", "retry_policy": {"retry_on": "5xx", "num_retries": 1}}},
                {"match": {"prefix": "/moved"}, "route": {"cluster": "demo", "internal_redirect_policy": {}}},
                {"match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
                {"match": {"prefix": "/unknown"}, "route": {"cluster": "unknown"}},
                {"match": {"prefix": "/h2"}, "route": {"cluster": "h2"}},
                {"match": {"prefix": "/"}, "route": {"cluster": "demo"}},
            ]},
        ],
    })
}

/// Makes Envoy use another protocol than HTTP/1.1 for a cluster.
pub fn with_protocol(mut cluster: Value, options: &str) -> Value {
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {options: {}},
        }
    });
    cluster
}

/// Returns a configuration as Envoy passes it on to the filter.
pub fn string_value(text: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text})
}

/// Returns the listeners of a configuration.
pub fn listeners(config: &mut Value) -> &mut Vec<Value> {
    let listeners = config["static_resources"]["listeners"].as_array_mut();
    listeners.expect("the configuration has listeners")
}

/// Returns the clusters of a configuration.
pub fn clusters(config: &mut Value) -> &mut Vec<Value> {
    let clusters = config["static_resources"]["clusters"].as_array_mut();
    clusters.expect("the configuration has clusters")
}

/// Returns the HTTP filters of a listener.
pub fn filters(listener: &mut Value) -> &mut Vec<Value> {
    let filters = at(listener, MANAGER)["http_filters"].as_array_mut();
    filters.expect("the listener has HTTP filters")
}

pub fn at<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Value {
    value
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("envoy/envoy.yaml has no {pointer}"))
}

/// Looks until it sees what is wanted, and returns that. If it takes too long, it panics with what it saw last.
pub fn eventually<T: Debug>(
    limit: Duration,
    mut look: impl FnMut() -> T,
    is_wanted: impl Fn(&T) -> bool,
) -> T {
    let started = Instant::now();
    loop {
        let seen = look();
        if is_wanted(&seen) {
            return seen;
        }
        assert!(
            started.elapsed() < limit,
            "after {limit:?} it is still {seen:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the only statistic of Envoy whose name ends with this.
pub fn statistic(envoy: &Process, name: &str) -> u64 {
    let statistics = envoy.get("/stats").expect("Envoy shows its statistics");
    let lines = statistics.lines().filter_map(|line| line.split_once(": "));
    let found: Vec<_> = lines.filter(|(known, _)| known.ends_with(name)).collect();
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found[0].1.parse().expect("a statistic is a number")
}

/// Checks that Envoy has logged no error.
pub fn assert_no_errors(envoy: &Process) {
    let log = envoy.log();
    let is_error = |line: &&str| line.contains("[error]") || line.contains("[critical]");
    let errors: Vec<_> = log.lines().filter(is_error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Starts an Envoy with arguments that blanks separate.
pub fn start(config: &Value, arguments: &str) -> Process {
    let arguments: Vec<_> = arguments.split(' ').collect();
    Process::start(config, &Output::Kept, &arguments).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Returns whether `id` has the form of a new id by default: a version 4 UUID in lower case.
pub fn is_new(id: &str) -> bool {
    verdict::is_new(IdFormat::Uuid4, id)
}
