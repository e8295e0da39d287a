//! One request and its response.

use std::cell::RefCell;

use log::{debug, error};
use proxy_wasm::types::Action;

use super::abi::{self, Map, Refused};
use super::plugin::{Ids, Plugin};
use crate::aws;
use crate::decide::{Decision, Original, Outcome, Request, Write, decide, problem};
use crate::header_name::HeaderName;
use crate::headers::{HeaderMap, Headers};
use crate::id::RequestId;
use crate::policy::{Form, Policy};
use crate::respond::{EXPOSE, respond};
use crate::stats::Counter;

/// What `log_origin` publishes; in Envoy `%FILTER_STATE(wasm.request_id.origin:PLAIN)%`.
const ORIGIN: &str = "request_id.origin";

/// `content-type: application/problem+json`, serialized.
const PROBLEM_HEADERS: &[u8] = b"\x01\0\0\0\x0c\0\0\0\x18\0\0\0\
    content-type\0application/problem+json\0";

/// Gives the request at hand its id, and says whether it goes on.
pub fn on_request(plugin: &Plugin) -> (Action, Option<RequestId>) {
    let mut request = HostRequest {
        map: HostMap::new(Map::Request),
        ids: &plugin.ids,
    };
    let policy = &plugin.policy;
    let Some(decision) = decide(policy, &mut request) else {
        error!("no random bytes or no time from the host: this request gets no id");
        return (Action::Continue, None);
    };
    debug!("{decision}");
    for counter in decision.counters() {
        plugin.metrics.add(counter);
    }
    if policy.log_origin
        && let Err(Refused(status)) = abi::publish(ORIGIN, &decision.origin())
    {
        debug!("the host refused to set {ORIGIN}: status {status}");
    }
    (apply(policy, &decision), Some(decision.id))
}

/// Gives the response at hand the id of its request.
pub fn on_response(plugin: &Plugin, id: &RequestId) {
    let policy = &plugin.policy;
    let mut map = HostMap::new(Map::Response);
    let response = respond(policy, id, &mut map);
    if response.set_id {
        set(Map::Response, policy.names.id().as_str(), id.as_bytes());
    }
    if let Some(aws_id) = response.aws_id {
        set(Map::Response, aws::CANONICAL, aws_id);
        plugin.metrics.add(Counter::AwsNormalized);
    }
    if let Some(names) = response.expose {
        set(Map::Response, EXPOSE, &names);
    }
}

/// Sets what was decided on the request, and says whether it goes on. One that is rejected gets
/// its id as well: the access log then shows the one that the client got.
fn apply(policy: &Policy, decision: &Decision) -> Action {
    let names = &policy.names;
    if decision.write == Write::Set {
        set(Map::Request, names.id().as_str(), decision.id.as_bytes());
    }
    match (names.original(), &decision.original) {
        (Some(name), Original::Set(value)) => set(Map::Request, name.as_str(), value),
        (Some(name), Original::Remove) => {
            log_refusal(
                name.as_str(),
                abi::remove_header(Map::Request, name.as_str()),
            );
        }
        _ => {}
    }
    let Outcome::Rejected(invalid) = decision.outcome else {
        return Action::Continue;
    };
    let body = problem(policy, &decision.id, invalid);
    const BAD_REQUEST: u32 = 400;
    const INVALID_ARGUMENT: i32 = 3; // what a gRPC client gets in its place
    let answer = abi::respond(
        BAD_REQUEST,
        INVALID_ARGUMENT,
        "request_id_rejected",
        PROBLEM_HEADERS,
        &body,
    );
    match answer {
        Ok(()) => Action::Pause,
        Err(Refused(status)) => {
            error!("the host refused to answer 400: status {status}");
            Action::Continue
        }
    }
}

fn set(map: Map, name: &str, value: &[u8]) {
    log_refusal(name, abi::set_header(map, name, value));
}

fn log_refusal(name: &str, done: Result<(), Refused>) {
    if let Err(Refused(status)) = done {
        error!("the host refused to change {name}: status {status}");
    }
}

/// A header map of the host, read when it is first asked for.
struct HostMap {
    map: Map,
    serialized: Option<Vec<u8>>,
}

impl HostMap {
    const fn new(map: Map) -> Self {
        Self {
            map,
            serialized: None,
        }
    }
}

impl HeaderMap for HostMap {
    fn joined(&mut self, name: &HeaderName) -> Option<Vec<u8>> {
        // Of a repeated header the host call returns the first line alone. Envoy joins the lines of
        // this one before.
        if name.as_str() == HeaderName::DEFAULT {
            abi::header(self.map, name.as_str())
        } else {
            self.all().joined(name)
        }
    }

    fn has(&mut self, name: &HeaderName) -> bool {
        abi::header(self.map, name.as_str()).is_some()
    }

    fn all(&mut self) -> Headers<'_> {
        let map = self.map;
        Headers::new(self.serialized.get_or_insert_with(|| abi::headers(map)))
    }
}

/// The request that the host has at hand.
struct HostRequest<'a> {
    map: HostMap,
    ids: &'a RefCell<Ids>,
}

impl HeaderMap for HostRequest<'_> {
    fn joined(&mut self, name: &HeaderName) -> Option<Vec<u8>> {
        self.map.joined(name)
    }

    fn has(&mut self, name: &HeaderName) -> bool {
        self.map.has(name)
    }

    fn all(&mut self) -> Headers<'_> {
        self.map.all()
    }
}

impl Request for HostRequest<'_> {
    fn peer(&mut self) -> Vec<u8> {
        abi::peer().unwrap_or_default()
    }

    fn new_id(&mut self, form: Form) -> Option<RequestId> {
        let mut ids = self.ids.try_borrow_mut().ok()?;
        let random = ids.random.next()?;
        ids.generator.next(form, random, abi::now)
    }
}
