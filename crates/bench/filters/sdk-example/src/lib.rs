//! A request-id filter as the documentation of the SDK would write it: it keeps or generates an id, and
//! returns it to the client. It has no checks, no AWS ids and no counters. The benchmark compares with it.
#![cfg(target_family = "wasm")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

const HEADER: &str = "x-request-id";

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { id: Vec::new() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    id: Vec<u8>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Some(id) = self.get_http_request_header_bytes(HEADER) {
            self.id = id;
            return Action::Continue;
        }
        let mut random = [0; 16];
        if getrandom::fill(&mut random).is_ok() {
            let id = uuid::Builder::from_random_bytes(random).into_uuid();
            self.id = id.to_string().into_bytes();
            self.set_http_request_header_bytes(HEADER, Some(&self.id));
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header_bytes(HEADER, Some(&self.id));
        Action::Continue
    }
}
