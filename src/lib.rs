//! One trustworthy `X-Request-Id` for every request that passes an Envoy.
//!
//! Data flows one way:
//!
//! ```text
//! configuration    ──► config::parse    ──► Policy, or every problem there is
//! request headers  ──► decide::decide   ──► Decision (id, outcome, what to do to the request)
//! response headers ──► respond::respond ──► Response (what to set)
//! ```
//!
//! | module | the rule it holds |
//! |---|---|
//! | [`config`] | which configurations there are, and what is wrong with others |
//! | [`policy`] | what a configuration chooses |
//! | [`decide`] | which id a request gets, and what is done to its headers |
//! | [`trust`] | whose ids are believed |
//! | [`id`] | what makes an id good |
//! | [`adopt`] | which header an id is taken from when none came, and what becomes of it |
//! | [`generate`] | the forms of a new id |
//! | [`aws`] | the names AWS gives its request ids |
//! | [`sigv4`] | when a request must not be changed because its caller signed it |
//! | [`respond`] | what a response gets |
//! | [`stats`] | what is counted |
//! | [`headers`], [`header_name`] | how the host hands over a header map; what a name may be |
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
pub mod config;
pub mod decide;
pub mod generate;
pub mod header_name;
pub mod headers;
pub mod id;
pub mod policy;
pub mod respond;
pub mod sigv4;
pub mod stats;
pub mod trust;

#[cfg(target_family = "wasm")]
mod host;
