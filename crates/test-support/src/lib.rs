//! What several tests of request-id-filter share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cases`] | the table of cases: what is sent, and what must become of it |
//! | [`verdict`] | what the filter must decide about a request, and what follows from it |
//! | [`reference`](mod@reference) | the rules once more, written from their description alone |
//! | [`comparison`] | the rules and the reference, compared on any bytes |
//! | [`message`] | the headers of a message as Envoy shows them to the filter |
//! | [`hostile`] | a generator of messages that nobody should send |

#![deny(missing_docs)]

pub mod cases;
pub mod comparison;
pub mod hostile;
pub mod message;
pub mod reference;
pub mod verdict;
