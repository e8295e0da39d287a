//! request-id-filter, a Proxy-Wasm filter that gives every request exactly one valid `X-Request-Id`.
//!
//! This crate is the adapter between a proxy and the rules: it reads what the rules ask for and
//! carries out what they decide. The rules themselves are in `crates/rules`, the configurations that
//! deploy the filter in `envoy/`, the tests in `tests/`, and the build steps in `xtask/`.
//!
//! | module | concept of the SDK |
//! |---|---|
//! | `root_context` | the lifecycle of the plugin and its configuration |
//! | `http_context` | one request and its response |
//! | `counters` | metrics |
//! | `random` | random bytes |
//! | `host_calls` | host functions that the SDK does not offer in a form that fits |
//! | `header_map` | the serialized form in which the host passes headers |
//! | `allocator` | the module's memory |

#![deny(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

#[cfg(target_family = "wasm")]
mod allocator;
#[cfg(target_family = "wasm")]
mod counters;
#[cfg(any(target_family = "wasm", test))]
mod header_map;
#[cfg(target_family = "wasm")]
mod host_calls;
#[cfg(target_family = "wasm")]
mod http_context;
#[cfg(any(target_family = "wasm", test))]
mod random;
#[cfg(target_family = "wasm")]
mod root_context;

// The host allows `define_metric` and `get_log_level` only after `_initialize`, which runs this:
// calling one of them here would keep the module from loading.
#[cfg(target_family = "wasm")]
proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_context_id| Box::new(root_context::FilterRoot::default()));
}}
