//! One trustworthy `X-Request-Id` for every request that passes an Envoy.
//!
//! Data flows one way:
//!
//! ```text
//! request headers  ──► decide::decide   ──► Decision (id, origin, what to do to the request)
//! response headers ──► respond::respond ──► Response (what to set)
//! ```
//!
//! | module | the rule it holds |
//! |---|---|
//! | [`decide`] | which id a request gets, and whether its header is written |
//! | [`id`] | what makes an id good; the forms of a new one |
//! | [`adopt`] | which header an id is taken from when none came, and what becomes of it |
//! | [`aws`] | the names AWS gives its request ids |
//! | [`sigv4`] | when a request must not be changed because its caller signed it |
//! | [`respond`] | what a response gets |
//! | [`headers`] | how the host hands over a header map |
//!
//! All of these are functions of bytes. `host`, which exists in the wasm build only, is the one
//! place that knows `proxy_wasm`: it reads, asks, and carries out.

#![deny(missing_docs, unsafe_code)]
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

pub mod adopt;
pub mod aws;
pub mod decide;
pub mod headers;
pub mod id;
pub mod respond;
pub mod sigv4;

#[cfg(target_family = "wasm")]
mod host;

/// The header that carries the id, lower-cased as Envoy keeps header names.
pub const ID_HEADER: &str = "x-request-id";
