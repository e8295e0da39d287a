//! Which id a request gets, and what is done to its headers.
//!
//! # A good id is kept, byte for byte
//! And its header is not written: each write makes Envoy look up the route and decide about
//! tracing once more.
//!
//! # Equal repetitions are one id, different ones are none
//! Envoy joins repeated `x-request-id` lines with a comma, so that is what repetition looks like
//! here. It does not matter whether a comma came from Envoy or from the caller.
//!
//! # What is not believed is replaced as a whole
//! Never trimmed inside, cut or re-cased: half an id finds nothing in any log.
//!
//! # A signed header is left as it is
//! Whatever it holds, and whatever is to become of bad ids: see [`sigv4`].

use std::fmt;

use crate::adopt::{self, adopt};
use crate::header_name::HeaderName;
use crate::headers::{HeaderMap, elements};
use crate::id::{self, Invalid, RequestId};
use crate::policy::{Accept, Form, OnInvalid, Policy};
use crate::sigv4;
use crate::trust::Trust;

/// What the decision may ask of a request. It asks only for what it needs: each answer costs the
/// host work.
pub trait Request: HeaderMap {
    /// The address and port of the peer, as Envoy's `source.address` has it; empty if unknown.
    fn peer(&mut self) -> Vec<u8>;
    /// A new id, or `None` if the host has no randomness or time for it.
    fn new_id(&mut self, form: Form) -> Option<RequestId>;
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The request's id from now on; the response carries it too.
    pub id: RequestId,
    /// How it came to that id.
    pub outcome: Outcome,
    /// Whether the peer is one whose ids are not believed.
    pub untrusted: bool,
    /// What is done to the header of the id.
    pub write: Write,
    /// What is done to the header of a replaced id.
    pub original: Original,
}

/// How a request came to its id. Every request that gets one has exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By the one that came.
    Kept,
    /// By the one that came although it is not good: a dry run.
    DryRun(Invalid),
    /// None came; another header had one.
    Adopted(adopt::Origin),
    /// None came.
    Generated,
    /// One came that is not good; the new one is adopted or generated.
    Replaced(Invalid),
    /// One came from a peer whose ids are not believed.
    Disbelieved,
    /// One came that is not good; the request goes no further, and the id is its response's.
    Rejected(Invalid),
}

/// What is done to the header of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing: it holds the id already.
    Unneeded,
    /// It is set to the id.
    Set,
    /// Nothing: it would be set, but the caller has signed it.
    Signed,
}

/// What is done to the header of a replaced id, if the policy names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Original {
    /// Nothing.
    Unneeded,
    /// It is removed: it came with the request.
    Remove,
    /// It is set to what came in the header of the id.
    Set(Vec<u8>),
}

/// One line for the log, without a byte of what is not believed.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.id;
        match &self.outcome {
            Outcome::Kept => write!(f, "{id} kept"),
            Outcome::DryRun(invalid) => write!(f, "kept in a dry run, is {}", invalid.name()),
            Outcome::Adopted(origin) => write!(f, "{id} adopted from {}", origin.header()),
            Outcome::Generated => write!(f, "{id} generated"),
            Outcome::Replaced(invalid) => write!(f, "{id} replaced, was {}", invalid.name()),
            Outcome::Disbelieved => write!(f, "{id} replaced, was untrusted"),
            Outcome::Rejected(invalid) => write!(f, "{id} rejected, was {}", invalid.name()),
        }?;
        match self.write {
            Write::Signed => f.write_str(", signed"),
            Write::Unneeded | Write::Set => Ok(()),
        }
    }
}

impl Decision {
    /// Where the id is from, in one word for access logs: `kept`, `adopted:x-amz-request-id`,
    /// `generated`, `replaced:too_long`, `rejected:bad_byte`, `kept:bad_byte` in a dry run, and
    /// `signed` for a request that is left as it is. No byte of it is a caller's.
    #[must_use]
    pub fn origin(&self) -> String {
        if self.write == Write::Signed {
            return "signed".into();
        }
        match &self.outcome {
            Outcome::Kept => "kept".into(),
            Outcome::DryRun(invalid) => format!("kept:{}", invalid.name()),
            Outcome::Adopted(origin) => format!("adopted:{}", origin.header()),
            Outcome::Generated => "generated".into(),
            Outcome::Replaced(invalid) => format!("replaced:{}", invalid.name()),
            Outcome::Disbelieved => "replaced:untrusted".into(),
            Outcome::Rejected(invalid) => format!("rejected:{}", invalid.name()),
        }
    }
}

/// Decides about one request. `None` if a new id is needed and there is none to be had; the
/// request then passes as it is.
pub fn decide(policy: &Policy, request: &mut impl Request) -> Option<Decision> {
    let names = &policy.names;
    let value = request.joined(names.id());
    let came = value.is_some();
    let value = value.unwrap_or_default();
    let received = judge(policy, &value);
    let untrusted = policy.trust != Trust::All && !policy.trust.believes(&request.peer());
    // A caller's own header of that name would pass for ours.
    let original = match names.original() {
        Some(name) if request.has(name) => Original::Remove,
        _ => Original::Unneeded,
    };

    let kept_as_it_is = match received {
        _ if untrusted => None,
        Received::Good => Some(Outcome::Kept),
        Received::Bad(invalid) if policy.on_invalid == OnInvalid::Keep => {
            Some(Outcome::DryRun(invalid))
        }
        _ => None,
    };
    if let Some(outcome) = kept_as_it_is {
        return Some(Decision {
            id: RequestId::received(value),
            outcome,
            untrusted,
            write: Write::Unneeded,
            original,
        });
    }

    // AWS refuses a request that lists a header it does not have, whatever we do: where the headers
    // are not read for anything else, this is not worth reading them.
    let may_be_signed = came || !names.sources().is_empty();
    let write = if may_be_signed && signs(request, names.id()) {
        Write::Signed
    } else {
        Write::Set
    };
    let (id, outcome) = match received {
        Received::Missing if untrusted => (request.new_id(policy.generate)?, Outcome::Generated),
        _ if untrusted => (request.new_id(policy.generate)?, Outcome::Disbelieved),
        Received::Repeated(id) => (RequestId::received(id.to_vec()), Outcome::Kept),
        Received::Bad(invalid) if policy.on_invalid == OnInvalid::Reject && write == Write::Set => {
            (request.new_id(policy.generate)?, Outcome::Rejected(invalid))
        }
        Received::Missing | Received::Good | Received::Bad(_) => {
            let adopted = match names.sources() {
                [] => None,
                _ => adopt(policy, request.all()),
            };
            let (id, origin) = match adopted {
                Some((id, origin)) => (id, Some(origin)),
                None => (request.new_id(policy.generate)?, None),
            };
            let outcome = match (received, origin) {
                (Received::Bad(invalid), _) => Outcome::Replaced(invalid),
                (_, Some(origin)) => Outcome::Adopted(origin),
                (_, None) => Outcome::Generated,
            };
            (id, outcome)
        }
    };
    let is_replaced = matches!(outcome, Outcome::Replaced(_) | Outcome::Disbelieved);
    let original = if is_replaced && write == Write::Set && names.original().is_some() {
        Original::Set(value)
    } else {
        original
    };
    Some(Decision {
        id,
        outcome,
        untrusted,
        write,
        original,
    })
}

/// Whether the caller has signed the header of the id.
fn signs(request: &mut impl Request, id: &HeaderName) -> bool {
    request
        .all()
        .iter()
        .any(|(name, value)| sigv4::signs(name, value, id.as_str().as_bytes()))
}

/// What came in the header of the id.
#[derive(Clone, Copy)]
enum Received<'a> {
    /// No value, or nothing but blanks and commas.
    Missing,
    /// An id as it stands.
    Good,
    /// An id in a value that holds more than the id: its repetitions, blanks, a stray comma.
    Repeated(&'a [u8]),
    /// No good id.
    Bad(Invalid),
}

fn judge<'a>(policy: &Policy, value: &'a [u8]) -> Received<'a> {
    let check = |value| id::check(policy.accept, policy.max_length, value);
    // Nearly every value is a good id, and no good id has a comma or a blank: one look is enough.
    if check(value).is_ok() {
        return Received::Good;
    }
    let mut found = elements(value);
    let Some(only) = found.next() else {
        return Received::Missing;
    };
    if !found.all(|other| other == only) {
        return Received::Bad(Invalid::Duplicate);
    }
    match check(only) {
        Err(invalid) => Received::Bad(invalid),
        Ok(()) => Received::Repeated(only),
    }
}

/// The body of the answer to a rejected request (RFC 9457): which header broke which rule, without
/// the value. Names of headers and new ids need no escape in JSON.
#[must_use]
pub fn problem(policy: &Policy, id: &RequestId, invalid: Invalid) -> String {
    let header = policy.names.id();
    let longest = policy.max_length.get();
    let detail = match (invalid, policy.accept) {
        (Invalid::TooLong, _) => format!("{header} is longer than {longest} bytes"),
        (Invalid::Duplicate, _) => format!("{header} came more than once, with different values"),
        (Invalid::BadByte, Accept::Visible) => {
            format!("{header} has a byte that is not visible ASCII")
        }
        (Invalid::BadByte, _) => {
            format!("{header} has a byte that is no letter, no digit and none of -._~+/=:@")
        }
        (Invalid::NotUuid, _) => format!("{header} is no UUID of the form 8-4-4-4-12"),
    };
    format!(
        r#"{{"type":"about:blank","title":"Bad Request","status":400,"detail":"{detail}","request_id":"{id}"}}"#
    )
}
