//! What several tests of request-id-filter share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cases`] | the table of cases: what is sent, and what the filter must do |
//! | [`verdict`] | what the filter must decide about a request, and what follows from it |
//! | [`reference`](mod@reference) | the rules once more, written from their description alone |
//! | [`comparison`] | the rules and the reference, compared on any bytes |
//! | [`configuration_pool`] | configurations with every kind of value under every key |
//! | [`message`] | the headers of a message as Envoy shows them to the filter |
//! | [`hostile`] | a generator of hostile messages: invalid, repeated, nested, too long |
//! | [`client`], [`upstream`] | an HTTP/1.1 client and server that send any bytes |
//! | [`project`] | the project's files, and commands as a user runs them |
//! | [`kustomize`] | the manifests under `envoy/` |
//! | [`pages`] | the documentation, taken apart |
//! | [`shipped`] | the configuration of Envoy that the project ships, with another upstream |
//! | [`svg`] | the chart that `make bench` draws |
//!
//! The functions panic where others would return an error, because a test cannot go on then: if a file is missing, for
//! example, or if a server does not answer in time.

#![deny(missing_docs)]

pub mod cases;
#[cfg(feature = "servers")]
pub mod client;
pub mod comparison;
pub mod configuration_pool;
pub mod hostile;
#[cfg(feature = "files")]
pub mod kustomize;
pub mod message;
#[cfg(feature = "files")]
pub mod pages;
#[cfg(feature = "files")]
pub mod project;
pub mod reference;
#[cfg(feature = "files")]
pub mod shipped;
#[cfg(feature = "files")]
pub mod svg;
#[cfg(feature = "servers")]
pub mod upstream;
pub mod verdict;
