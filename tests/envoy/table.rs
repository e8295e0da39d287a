//! The table of cases on a real Envoy.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};
use request_id_rules::policy::IdFormat;
use serde_json::{Value, json};
use test_support::cases::{self, Case, Echo, Line};
use test_support::project;
use test_support::reference::Config;
use test_support::verdict::ExpectedId;

use crate::testbed::{
    Exchange, REQUEST_HEADERS_OF_ENVOY, RESPONSE_HEADERS_OF_ENVOY, Setup, SharedTestbeds, Testbed,
};
use test_support::client::Headers;
use test_support::message::values;
use xtask::{module, root};

pub fn trials(shared: &Arc<SharedTestbeds>) -> Vec<Trial> {
    let new_ids = Arc::<Mutex<HashSet<Vec<u8>>>>::default();
    let mut trials = Vec::new();
    for sampling in [None, Some(50), Some(100)] {
        for case in cases::all() {
            if sampling.is_some() && !tracing_could_change(&case) {
                continue;
            }
            let (shared, new_ids) = (Arc::clone(shared), Arc::clone(&new_ids));
            let traced = sampling.map_or(String::new(), |share| format!(", {share} % traced"));
            let name = format!("case: {}{traced}", case.name);
            trials.push(Trial::test(name, move || {
                let exchange = shared.get(sampling)?.exchange_case(&case);
                let mut new_ids = new_ids.lock().unwrap_or_else(PoisonError::into_inner);
                // With tracing, the default configuration is the one that is shipped.
                let is_shipped = sampling.is_some() && case.config.is_empty();
                check(&case, &exchange, &mut new_ids, is_shipped);
                Ok(())
            }));
        }
    }
    trials.push(Trial::test(
        "cargo: the module of a plain cargo build handles the whole table",
        the_module_of_cargo,
    ));
    trials
}

/// Returns whether tracing could change the id of a case. Envoy writes its decision into digit 15 of an id, and
/// only if that is an `x-request-id` of 36 bytes (`UUIDRequestIDExtension::setTraceReason`).
fn tracing_could_change(case: &Case) -> bool {
    let is_long_enough = match &case.verdict.id {
        ExpectedId::Is(id) => id.len() == 36,
        ExpectedId::New(format) => *format != IdFormat::Hex32,
    };
    case.header == "x-request-id" && is_long_enough
}

/// Its module still has the exports that Envoy does not need, so Envoy calls all callbacks of the SDK.
fn the_module_of_cargo() -> Result<(), Failed> {
    let folder = root().join("target/plain-cargo");
    let built = project::command("cargo")
        .args("build --locked --release --target wasm32-wasip1 --target-dir".split(' '))
        .arg(&folder)
        .status()?;
    assert!(built.success(), "cargo cannot build the module");
    let files = fs::read_dir(folder.join("wasm32-wasip1/release"))?;
    let mut files = files
        .map(|file| Ok(file?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension() == Some("wasm".as_ref()));
    let [module] = &files[..] else {
        panic!("cargo must build one module: {files:?}");
    };
    let (exports, _) = module::interface(&fs::read(module)?)?;
    assert!(exports.contains(&"proxy_on_request_body".to_owned()));

    let testbed = Testbed::start(Setup {
        module: Some(module.clone()),
        ..Setup::default()
    });
    let mut new_ids = HashSet::new();
    for case in cases::all() {
        println!("{}", case.name);
        let exchange = testbed.exchange_case(&case);
        check(&case, &exchange, &mut new_ids, false);
    }
    Ok(())
}

fn check(case: &Case, exchange: &Exchange, new_ids: &mut HashSet<Vec<u8>>, is_shipped: bool) {
    let id = check_id(case, exchange, new_ids);
    check_request(case, exchange, &id);
    check_response(case, exchange, &id);
    check_filter(case, exchange, &id, is_shipped);
}

/// Checks that the client, the upstream and the access log have the same id, and returns it.
fn check_id(case: &Case, exchange: &Exchange, new_ids: &mut HashSet<Vec<u8>>) -> Vec<u8> {
    let response = exchange.response.all(case.header);
    let id = match case.echo {
        Echo::Id => {
            assert_eq!(response.len(), 1, "{exchange:#?}");
            response[0].to_vec()
        }
        Echo::Upstream => {
            let theirs = as_passed_on(&case.upstream);
            let theirs = values(&theirs, case.header);
            assert_eq!(response, theirs, "{exchange:#?}");
            match (&case.verdict.id, &exchange.received[..]) {
                (ExpectedId::Is(id), _) => id.clone(),
                (ExpectedId::New(_), [received]) => received.all(case.header).concat(),
                // Nobody but the log saw it.
                (ExpectedId::New(_), _) => return access_logged(exchange, "request_id"),
            }
        }
    };
    assert!(case.verdict.id.matches(&id), "{exchange:#?}");
    if let ExpectedId::New(_) = case.verdict.id {
        assert!(new_ids.insert(id.clone()), "given before: {exchange:#?}");
    }
    if case.header == "x-request-id" {
        let logged = as_logged(&id);
        assert_eq!(
            access_logged(exchange, "request_id"),
            logged,
            "{exchange:#?}"
        );
        if case.echo == Echo::Id {
            assert_eq!(access_logged(exchange, "response_request_id"), logged);
        }
    }
    id
}

fn access_logged(exchange: &Exchange, key: &str) -> Vec<u8> {
    let id = exchange.access_log[key].as_str();
    id.expect("there is an id in the log").into()
}

/// Returns an id as Envoy's JSON log has it: each byte of an id that is not UTF-8 is a character of its own.
fn as_logged(id: &[u8]) -> Vec<u8> {
    match str::from_utf8(id) {
        Ok(_) => id.into(),
        Err(_) => String::from_iter(id.iter().copied().map(char::from)).into(),
    }
}

/// Checks what reached the upstream.
fn check_request(case: &Case, exchange: &Exchange, id: &[u8]) {
    if case.rejected.is_some() {
        assert!(exchange.received.is_empty(), "{exchange:#?}");
        return;
    }
    let received = &exchange.received().headers;
    let sent = as_passed_on(&case.request);
    let ids = values(received, case.header);
    assert_eq!(ids.concat(), id, "{exchange:#?}");
    assert!(ids.len() == 1 || !case.verdict.sets_id, "{exchange:#?}");
    let originals = case.verdict.originals(&values(&sent, cases::ORIGINAL));
    assert_eq!(
        values(received, cases::ORIGINAL),
        originals,
        "{exchange:#?}"
    );

    let by_filter = [case.header, cases::ORIGINAL];
    let by_envoy: Vec<_> = REQUEST_HEADERS_OF_ENVOY.split(' ').collect();
    let others = |lines| without(&without(lines, &by_envoy), &by_filter);
    assert_eq!(others(received), others(&sent));
}

/// Checks what reached the client, apart from the id.
fn check_response(case: &Case, exchange: &Exchange, id: &[u8]) {
    let response = &exchange.response;
    if let Some(detail) = case.rejected {
        assert_eq!(response.status, 400);
        assert_eq!(response.all("content-type"), [b"application/problem+json"]);
        let body: Value = serde_json::from_slice(&response.body).expect("the body is JSON");
        let expected = json!({
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": detail,
            "request_id": str::from_utf8(id).expect("the id is ASCII"),
        });
        assert_eq!(body, expected);
        assert_eq!(exchange.access_log["details"], "request_id_rejected");
        return;
    }
    assert_eq!(response.status, 200, "{exchange:#?}");
    let by_envoy = RESPONSE_HEADERS_OF_ENVOY.split(' ');
    let mut others: Vec<_> = by_envoy.chain([case.header]).collect();
    if let Some(aws_id) = case.aws_id {
        assert_eq!(response.all("x-amzn-requestid"), [aws_id]);
        others.push("x-amzn-requestid");
    }
    if let Some(names) = case.expose {
        let exposed = response.all("access-control-expose-headers");
        assert_eq!(exposed, [names.as_bytes()]);
        others.push("access-control-expose-headers");
    }
    if let [aws_id] = response.all("x-amzn-requestid")[..]
        && let Ok(aws_id) = str::from_utf8(aws_id)
        && !aws_id.is_empty()
    {
        assert_eq!(exchange.access_log["aws_request_id"], aws_id);
    }
    assert_eq!(
        without(&response.headers, &others),
        without(&as_passed_on(&case.upstream), &others)
    );
}

/// Checks the host calls that the filter made, and the line that it logged.
fn check_filter(case: &Case, exchange: &Exchange, id: &[u8], is_shipped: bool) {
    let calls = exchange.traced("[vm->host] env.");
    const KNOWN: &str = "proxy_get_current_time_nanoseconds( proxy_get_header_map_pairs( \
         proxy_get_header_map_value( proxy_get_log_level( proxy_get_property( proxy_log( \
         proxy_remove_header_map_value(0, proxy_replace_header_map_value( proxy_send_local_response( \
         proxy_increment_metric( proxy_set_property(";
    for call in &calls {
        let is_known = KNOWN.split(' ').any(|known| call.starts_with(known));
        assert!(is_known, "unexpected: {call}");
    }
    let count = |call: &str| calls.iter().filter(|known| known.starts_with(call)).count();
    let changes = (
        count("proxy_replace_header_map_value(0,"),
        count("proxy_remove_header_map_value("),
    );
    assert_eq!(changes, case.verdict.header_changes(), "{calls:#?}");

    // The filter counts by itself, and hands its counts over with each tick, which may have begun before.
    let trace = exchange.trace.iter();
    let own: Vec<_> = trace
        .skip_while(|line| !line.contains("proxy_on_context_create("))
        .collect();
    let has = |call| own.iter().any(|line| line.contains(call));
    assert!(has("proxy_on_request_headers("), "{own:#?}");
    assert!(
        !has("proxy_increment_metric(") || has("proxy_on_tick("),
        "{own:#?}"
    );
    let mut config = Config::read(case.config.as_bytes()).expect("the configuration is valid");
    config.log_origin |= is_shipped; // The shipped configuration publishes the origin.
    let properties = usize::from(config.log_origin) + usize::from(config.remembers(&case.verdict));
    assert_eq!(count("proxy_set_property("), properties, "{calls:#?}");
    let origin = json!(config.log_origin.then_some(&case.verdict.origin));
    assert_eq!(exchange.access_log["origin"], origin, "{exchange:#?}");

    let said = exchange.traced("wasm log request-id request-id request-id: ");
    assert_eq!(said, [case.verdict.log_line(&String::from_utf8_lossy(id))]);
}

/// Returns lines as Envoy passes them on: names in lower case, values without blanks around them.
fn as_passed_on(lines: &[Line]) -> Headers {
    let line = |(name, value): &Line| (name.to_lowercase(), value.trim_ascii().to_vec());
    lines.iter().map(line).collect()
}

fn without(headers: &Headers, names: &[&str]) -> Headers {
    let is_other = |(name, _): &&(String, _)| !names.contains(&name.as_str());
    headers.iter().filter(is_other).cloned().collect()
}
