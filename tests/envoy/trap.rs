//! What becomes of requests if the filter ever traps. We know of no request that makes it trap, so these tests use a
//! module that does so on purpose.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use walrus::ir::{BinaryOp, Binop, Const, LocalGet, Value as Constant};
use xtask::envoy::Process;
use xtask::module;

use crate::counters::counters;
use crate::testbed::{
    self, PLUGIN, Testbed, at, eventually, is_new, listener_name, listeners, port, tests,
};
use test_support::cases::Line;
use test_support::client::{Connection, Response, get};
use test_support::upstream::{Reply, Upstream};

tests![
    with_fail_reload_as_shipped_the_filter_comes_back,
    with_fail_open_requests_go_on_without_the_filter,
    with_the_old_fail_open_requests_under_way_go_on_too,
    with_fail_closed_the_worker_answers_503,
];

/// A request with this many headers makes the module of [`trapping`] trap.
const TRAPPING_HEADER_COUNT: usize = 50;

/// Returns the built module, with a trap at the start of its request callback.
fn trapping() -> Vec<u8> {
    let built = module::build().expect("the module can be built");
    let mut module = walrus::Module::from_file(built).expect("the module can be read");
    let callback = module.exports.get_func("proxy_on_request_headers");
    let callback = callback.expect("the module exports the callback");
    let callback = module.funcs.get_mut(callback).kind.unwrap_local_mut();
    let count = callback.args[1];
    let limit = Const {
        value: Constant::I32(TRAPPING_HEADER_COUNT as i32),
    };
    let is_reached = Binop {
        op: BinaryOp::I32GeU,
    };
    let mut body = callback.builder_mut().func_body();
    body.instr_at(0, LocalGet { local: count })
        .instr_at(1, limit)
        .instr_at(2, is_reached);
    let trap = |then: &mut walrus::InstrSeqBuilder| {
        then.unreachable();
    };
    body.if_else_at(3, None, trap, |_| {});
    module.emit_wasm()
}

/// The statistic that counts how often Envoy has loaded the module again.
const RELOADS: &str = "wasm.request-id.vm_reload_success";

/// How many requests are under way on each of the two workers when the first traps.
const UNDER_WAY: usize = 8;

/// How long the upstream takes for each.
const UPSTREAM_DELAY: Duration = Duration::from_secs(3);

/// Longer than Envoy waits between loading a module and loading it anew (1 to 1.5 s).
const RELOAD_BACKOFF: Duration = Duration::from_millis(1600);

/// An Envoy whose filter has trapped on the first of two workers.
struct TrappedEnvoy {
    envoy: Process,
    port: u16,
    /// The response to the request that made the filter trap.
    trapping: Response,
    /// The responses to the requests that were under way on the first worker, and the ids that the upstream received.
    under_way: [(Response, String); UNDER_WAY],
    /// How long after the trap these responses had arrived.
    after: Duration,
    /// The response that had begun before the trap.
    begun: Response,
    _folder: TempDir,
}

impl TrappedEnvoy {
    /// Starts an Envoy with this setting in place of the shipped failure policy, and makes its filter trap. Whatever the
    /// setting is, the requests on the other worker succeed.
    fn with(setting: &str, value: impl Into<Value>) -> Self {
        let upstream = Upstream::start();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("trapping.wasm");
        fs::write(&file, trapping()).expect("the file can be written");
        let mut config = testbed::config(upstream.port, &[""]);
        let listener = &mut listeners(&mut config)[1];
        listener["stat_prefix"] = "main".into();
        let plugin = at(listener, PLUGIN);
        *at(plugin, "/vm_config/code/local/filename") = json!(file);
        at(plugin, "/failure_policy").take();
        plugin[setting] = value.into();
        let envoy = testbed::start(&config, "--concurrency 2 --log-level error");
        let port = port(&envoy, &listener_name(0));

        let open = |worker| connect(&envoy, port, worker);
        let connections = [0, 1].map(|worker| [(); UNDER_WAY].map(|()| open(worker)));
        let (mut begun, mut last) = (open(0), open(0));
        let mut number = 0;
        let [here, elsewhere] = connections.map(|connections| {
            connections.map(|mut connection| {
                number += 1;
                let path = format!("/{number}");
                upstream.expect(&path, Reply::Later(UPSTREAM_DELAY, response(b"ok")));
                connection.send(&get("test", &path, &[]));
                (connection, path)
            })
        });
        let answered = |(mut connection, path): (Connection, String)| {
            let response = connection.receive();
            let received = upstream.received(&path);
            assert_eq!(received.len(), 1, "{received:?}");
            let id = received[0].all("x-request-id").concat();
            (response, String::from_utf8(id).expect("the id is ASCII"))
        };
        let mut first = response(b"ok");
        let rest = first.split_off(first.len() - 1);
        upstream.expect("/begun", Reply::InTwo(first, UPSTREAM_DELAY, rest));
        begun.send(&get("test", "/begun", &[("connection", b"close".to_vec())]));
        thread::sleep(RELOAD_BACKOFF);
        let all = 2 * UNDER_WAY as u64 + 1;
        let generated = || counters(&envoy)["generated"];
        eventually(Duration::from_secs(1), generated, |count| *count == all);

        let started = Instant::now();
        let trapping = last.get("/", &trapping_headers());
        let under_way = here.map(answered);
        let after = started.elapsed();
        for (response, id) in elsewhere.map(answered) {
            assert_eq!((response.status, response.id()), (200, id));
        }
        let mut begun_response = begun.receive_head();
        begun_response.body = begun.rest();
        let trapped = Self {
            envoy,
            port,
            trapping,
            under_way,
            after,
            begun: begun_response,
            _folder: folder,
        };
        assert_served(&trapped.request(1));
        trapped
    }

    /// Sends one more request, on a connection of its own to this worker.
    fn request(&self, worker: usize) -> Response {
        self.send(worker, &[])
    }

    fn send(&self, worker: usize, lines: &[Line]) -> Response {
        connect(&self.envoy, self.port, worker).get("/", lines)
    }
}

/// Returns the headers of a request that makes the module trap.
fn trapping_headers() -> Vec<Line> {
    vec![("x-one-more", b"1".to_vec()); TRAPPING_HEADER_COUNT]
}

/// Opens a connection to this worker. The kernel decides which worker takes a connection, so this may take several.
fn connect(envoy: &Process, port: u16, worker: usize) -> Connection {
    let taken = || {
        [0, 1].map(|worker| {
            let name = format!("listener.main.worker_{worker}.downstream_cx_total");
            testbed::statistic(envoy, &name)
        })
    };
    for _ in 0..100 {
        let before = taken();
        let connection = Connection::open(port);
        let now = eventually(Duration::from_secs(10), taken, |now| *now != before);
        if now[worker] > before[worker] {
            return connection;
        }
    }
    panic!("none of 100 connections is for worker {worker}");
}

fn response(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Checks that the filter was there for a request.
fn assert_served(response: &Response) {
    assert_eq!(response.status, 200, "{response:?}");
    assert!(is_new(&response.id()), "{response:?}");
}

/// Checks that requests under way failed when their response came, with the id that the upstream saw, and that a
/// response that had begun ended where it was.
fn assert_those_under_way_fail(trapped: &TrappedEnvoy) {
    let TrappedEnvoy {
        trapping, begun, ..
    } = trapped;
    assert_eq!(trapping.status, 503, "{trapping:?}");
    assert!(is_new(&trapping.id()), "{trapping:?}");
    for (response, id) in &trapped.under_way {
        assert_eq!((response.status, &response.id()), (503, id));
    }
    assert_eq!((begun.status, &*begun.body), (200, &b"o"[..]));
    let (failed, after) = (1 + UNDER_WAY, trapped.after);
    println!("{failed} requests answered 503, 1 response cut, within {after:?}");
}

/// Checks that the responses stay like this for longer than Envoy waits before it loads a module again.
fn assert_permanent(trapped: &TrappedEnvoy, is_so: impl Fn(&Response) -> bool) {
    let started = Instant::now();
    while started.elapsed() < RELOAD_BACKOFF {
        let response = trapped.request(0);
        assert!(is_so(&response), "{response:?}");
    }
    assert_eq!(testbed::statistic(&trapped.envoy, RELOADS), 0);
}

fn has_no_id(response: &Response) -> bool {
    response.status == 200 && response.all("x-request-id").is_empty()
}

fn with_fail_reload_as_shipped_the_filter_comes_back(_: &Testbed) {
    let trapped = TrappedEnvoy::with("failure_policy", "FAIL_RELOAD");
    assert_those_under_way_fail(&trapped);
    assert_served(&trapped.request(0));

    // Envoy does not load a module again that it has just loaded: it answers 503 until it does.
    thread::sleep(RELOAD_BACKOFF);
    let mut failed = 0;
    for _ in 0..2 {
        assert_eq!(trapped.send(0, &trapping_headers()).status, 503);
        let started = Instant::now();
        let next = || {
            let next = trapped.request(0);
            failed += usize::from(next.status == 503);
            next
        };
        let served = eventually(2 * RELOAD_BACKOFF, next, |next| next.status != 503);
        assert_served(&served);
        let after = started.elapsed();
        println!("back after {after:?}, {failed} requests failed");
    }
    assert!(failed > 0);

    // The counters continue. What was counted within the second before a trap may be lost.
    let generated = || counters(&trapped.envoy)["generated"];
    let before = generated();
    trapped.request(0);
    eventually(Duration::from_secs(5), generated, |count| *count > before);
    assert_eq!(testbed::statistic(&trapped.envoy, RELOADS), 3);
}

fn with_fail_open_requests_go_on_without_the_filter(_: &Testbed) {
    let trapped = TrappedEnvoy::with("failure_policy", "FAIL_OPEN");
    assert_those_under_way_fail(&trapped);
    assert_permanent(&trapped, has_no_id);
}

fn with_the_old_fail_open_requests_under_way_go_on_too(_: &Testbed) {
    let trapped = TrappedEnvoy::with("fail_open", true);
    assert!(has_no_id(&trapped.trapping), "{:?}", trapped.trapping);
    for (response, _) in &trapped.under_way {
        assert!(has_no_id(response), "{response:?}");
    }
    let TrappedEnvoy { begun, .. } = &trapped;
    assert_eq!((begun.status, &*begun.body), (200, &b"ok"[..]));
    assert_permanent(&trapped, has_no_id);
}

fn with_fail_closed_the_worker_answers_503(_: &Testbed) {
    let trapped = TrappedEnvoy::with("failure_policy", "FAIL_CLOSED");
    assert_those_under_way_fail(&trapped);
    assert_permanent(&trapped, |response| response.status == 503);
}
