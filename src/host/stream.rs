//! One request and its response.

use std::cell::RefCell;
use std::rc::Rc;

use log::{debug, error};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::abi::{self, Map};
use super::random::Random;
use crate::decide::{Request, Write, decide};
use crate::headers::Headers;
use crate::id::RequestId;
use crate::respond::respond;
use crate::{ID_HEADER, aws};

/// What has to be remembered of a request: in the response phase the host shows nothing of it.
pub struct Stream {
    random: Rc<RefCell<Random>>,
    id: Option<RequestId>,
}

impl Stream {
    pub fn new(random: Rc<RefCell<Random>>) -> Self {
        Self { random, id: None }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(decision) = decide(&mut HostRequest(&self.random)) else {
            error!("no random bytes from the host: this request has no id");
            return Action::Continue;
        };
        debug!("{} {}", decision.id, decision.origin);
        if decision.write == Write::Set {
            set(Map::Request, ID_HEADER, decision.id.as_bytes());
        }
        self.id = Some(decision.id);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some(id) = &self.id else {
            return Action::Continue;
        };
        let serialized = abi::headers(Map::Response);
        let response = respond(id, Headers::new(&serialized));
        if response.set_id {
            set(Map::Response, ID_HEADER, id.as_bytes());
        }
        if let Some(aws_id) = response.aws_id {
            set(Map::Response, aws::CANONICAL, aws_id);
        }
        Action::Continue
    }
}

fn set(map: Map, name: &str, value: &[u8]) {
    if let Err(abi::Refused(status)) = abi::set_header(map, name, value) {
        error!("the host refused to set {name}: status {status}");
    }
}

/// The request that the host has at hand.
struct HostRequest<'a>(&'a RefCell<Random>);

impl Request for HostRequest<'_> {
    fn id(&mut self) -> Option<Vec<u8>> {
        abi::header(Map::Request, ID_HEADER)
    }

    fn headers(&mut self) -> Vec<u8> {
        abi::headers(Map::Request)
    }

    fn random(&mut self) -> Option<[u8; 16]> {
        self.0.try_borrow_mut().ok()?.next()
    }
}
