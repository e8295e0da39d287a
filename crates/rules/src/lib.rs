//! The rules of request-id-filter: which id a request gets, and what its response carries.
//!
//! Every rule is a function of bytes. This crate does not depend on a proxy or an SDK; whoever runs
//! the rules implements [`Request`](request::Request) and [`Response`](response::Response).
//!
//! ```text
//! request headers  ──► request::decide_on_request   ──► Decision: the id, and the changes to the request
//! response headers ──► response::decide_on_response ──► Changes to the response
//! ```
//!
//! | module | what it answers |
//! |---|---|
//! | [`policy`] | What can an operator choose? (`crates/configuration` reads a policy from text.) |
//! | [`request`] | Which id does a request get, and how are its headers changed? |
//! | [`trust`] | Which peers may supply ids? |
//! | [`id`] | Which ids are valid? |
//! | [`sources`] | Which other header supplies the id if the client sent none? |
//! | [`aws`] | Under which names does AWS send its request ids? |
//! | [`generator`] | How are new ids made? |
//! | [`rejection`] | What does the answer 400 say? |
//! | [`response`] | What is set on the response? |
//! | [`counters`] | What is counted? |
//! | [`headers`], [`header_name`] | How are header values and names read? |

//!
//! Functions that are large or that only some requests need are `#[inline(never)]`: in a Wasm module
//! V8 compiles each function as a whole, and the memory that this takes at its peak stays with the
//! proxy. Small functions keep the peak low.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
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

pub mod aws;
pub mod counters;
pub mod generator;
pub mod header_name;
pub mod headers;
pub mod id;
pub mod policy;
pub mod rejection;
pub mod request;
pub mod response;
mod sha1;
pub mod sources;
pub mod trust;
