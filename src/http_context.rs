//! One request and its response.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use log::{debug, error};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use request_id_rules::aws;
use request_id_rules::counters::Counter;
use request_id_rules::header_name::HeaderName;
use request_id_rules::headers::{HeaderLine, joined_value};
use request_id_rules::id::{Invalid, RequestId};
use request_id_rules::policy::IdFormat;
use request_id_rules::rejection;
use request_id_rules::request::{Decision, OriginalChange, Outcome, Request, decide_on_request};
use request_id_rules::response::{EXPOSE_HEADERS, Response, decide_on_response};

use crate::header_map;
use crate::host_calls::{self, Map, Refused};
use crate::root_context::{ORIGIN_PROPERTY, Plugin};

thread_local! {
    static OPEN_STREAMS: Cell<usize> = const { Cell::new(0) };
}

/// Returns how many streams are open in this VM, whatever their plugin and its configuration.
pub fn open_streams() -> usize {
    OPEN_STREAMS.get()
}

/// The context of one stream. It keeps the configuration with which the stream began.
pub struct FilterStream {
    plugin: Rc<Plugin>,
    /// The id of the request. The host does not show request headers in the response phase.
    id: Option<RequestId>,
}

impl FilterStream {
    pub fn new(plugin: Rc<Plugin>) -> Self {
        OPEN_STREAMS.set(open_streams().saturating_add(1));
        Self { plugin, id: None }
    }

    /// Changes the headers of the request. A rejected request gets its id as well, so that the access
    /// log shows the id that the client received.
    fn change_request(&self, decision: &Decision) {
        let headers = &self.plugin.policy.headers;
        if decision.sets_id {
            set_header(Map::Request, headers.id().as_str(), decision.id.as_bytes());
        }
        if let Some(name) = headers.original() {
            match &decision.original {
                OriginalChange::None => {}
                OriginalChange::Set(value) => set_header(Map::Request, name.as_str(), value),
                OriginalChange::Remove => log_refusal(
                    name.as_str(),
                    host_calls::remove_header(Map::Request, name.as_str()),
                ),
            }
        }
    }

    /// Publishes the origin of the id for access logs, and remembers the id for a later run of the
    /// filter.
    fn set_properties(&self, decision: &Decision) {
        // A later run for the same request leaves the origin of the first one.
        if self.plugin.policy.log_origin && decision.outcome != Outcome::KeptOwn {
            set_origin(&decision.outcome);
        }
        if decision.must_be_remembered {
            set_property(&self.plugin.id_property, decision.id.as_bytes());
        }
    }

    /// Answers 400. If the host refuses that, the request continues with its new id.
    fn reject(&self, id: &RequestId, invalid: Invalid) -> Action {
        let sent = host_calls::send_local_response(
            rejection::STATUS,
            rejection::GRPC_STATUS,
            rejection::DETAILS,
            &header_map::write(&rejection::HEADERS),
            &rejection::body(&self.plugin.policy, id, invalid),
        );
        match sent {
            Ok(()) => Action::Pause,
            Err(Refused(status)) => {
                error!("the host refused to answer 400 (status {status})");
                Action::Continue
            }
        }
    }
}

impl Drop for FilterStream {
    fn drop(&mut self) {
        OPEN_STREAMS.set(open_streams().saturating_sub(1));
    }
}

impl Context for FilterStream {}

impl HttpContext for FilterStream {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let request = HostRequest {
            plugin: &self.plugin,
            serialized: OnceCell::new(),
        };
        let Some(decision) = decide_on_request(&self.plugin.policy, &request) else {
            error!("the host supplied no random bytes or no time: this request gets no id");
            return Action::Continue;
        };
        debug!("{decision}");
        for counter in decision.counters() {
            self.plugin.counters.increment(counter);
        }
        self.set_properties(&decision);
        self.change_request(&decision);
        let action = match decision.outcome {
            Outcome::Rejected(invalid) => self.reject(&decision.id, invalid),
            _ => Action::Continue,
        };
        self.id = Some(decision.id);
        action
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let Some(id) = &self.id else {
            return Action::Continue;
        };
        let policy = &self.plugin.policy;
        let response = HostResponse {
            plugin: &self.plugin,
            serialized: OnceCell::new(),
        };
        let changes = decide_on_response(policy, id, &response);
        if changes.sets_id {
            set_header(Map::Response, policy.headers.id().as_str(), id.as_bytes());
        }
        if let Some(aws_id) = changes.aws_id {
            set_header(Map::Response, aws::CANONICAL, aws_id);
            self.plugin.counters.increment(Counter::AwsNormalized);
        }
        if let Some(names) = changes.expose_headers {
            set_header(Map::Response, EXPOSE_HEADERS, &names);
        }
        Action::Continue
    }
}

fn set_origin(outcome: &Outcome) {
    set_property(ORIGIN_PROPERTY, outcome.to_string().as_bytes());
}

fn set_property(name: &str, value: &[u8]) {
    if let Err(Refused(status)) = host_calls::set_property(name, value) {
        debug!("the host refused to set the property {name} (status {status})");
    }
}

fn set_header(map: Map, name: &str, value: &[u8]) {
    log_refusal(name, host_calls::set_header(map, name, value));
}

fn log_refusal(name: &str, result: Result<(), Refused>) {
    if let Err(Refused(status)) = result {
        error!("the host refused to change {name} (status {status})");
    }
}

/// The current request. Its headers are read once, when the rules first ask for all of them.
struct HostRequest<'a> {
    plugin: &'a Plugin,
    serialized: OnceCell<Vec<u8>>,
}

impl Request for HostRequest<'_> {
    fn id_value(&self, name: &HeaderName) -> Option<Vec<u8>> {
        // The host call returns the first line of a repeated header, so it serves only for the
        // header whose lines Envoy joins.
        if name.as_str() == HeaderName::DEFAULT {
            host_calls::header(Map::Request, name.as_str())
        } else {
            joined_value(self.headers(), name)
        }
    }

    fn contains(&self, name: &HeaderName) -> bool {
        host_calls::header(Map::Request, name.as_str()).is_some()
    }

    fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        header_map::read(
            self.serialized
                .get_or_init(|| host_calls::headers(Map::Request)),
        )
    }

    fn source_address(&self) -> Vec<u8> {
        host_calls::property("source\0address").unwrap_or_default()
    }

    fn id_of_earlier_run(&self) -> Option<Vec<u8>> {
        host_calls::property(&self.plugin.id_property)
    }

    fn new_id(&self, format: IdFormat) -> Option<RequestId> {
        let random = self.plugin.random.try_borrow_mut().ok()?.next()?;
        let mut generator = self.plugin.generator.try_borrow_mut().ok()?;
        generator.next(format, random, host_calls::milliseconds_since_1970)
    }
}

/// The current response.
struct HostResponse<'a> {
    plugin: &'a Plugin,
    serialized: OnceCell<Vec<u8>>,
}

impl Response for HostResponse<'_> {
    fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        header_map::read(
            self.serialized
                .get_or_init(|| host_calls::headers(Map::Response)),
        )
    }

    fn id_of_last_run(&self) -> Option<Vec<u8>> {
        host_calls::property(&self.plugin.id_property)
    }
}
