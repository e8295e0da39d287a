//! Which id a request gets, and how its headers are changed.
//!
//! - A valid id is kept byte for byte, and its header is not written: every write makes Envoy look up
//!   the route and decide about tracing again.
//! - Equal values of a repeated header count as one id; different values are invalid. Envoy joins the
//!   lines of `x-request-id` with commas, so a comma may come from Envoy or from the client.
//! - An id that is not kept is replaced as a whole. It is never trimmed, shortened or changed in case,
//!   because part of an id finds nothing in any log.
//! - The filter may run more than once for a request: after an internal redirect, after a redirect by
//!   `custom_response`, or as a second plugin. An id that it gave this very request is kept, whatever
//!   the policy says.

use std::fmt;

use uuid::Uuid;

use crate::header_name::HeaderName;
use crate::headers::{HeaderLine, list_items};
use crate::id::{self, Invalid, RequestId};
use crate::policy::{IdFormat, OnInvalid, Policy};
use crate::sources::{self, SourceHeader, UnusableSource};
use crate::trust::Trust;

/// A request as its host shows it. [`decide_on_request`] calls only what it needs, because every
/// call costs the host work.
pub trait Request {
    /// Returns the value of the header that carries the id. If there are several lines, it returns
    /// their values joined with commas (see [`joined_value`](crate::headers::joined_value)); if there
    /// is none, `None`.
    fn id_value(&self, name: &HeaderName) -> Option<Vec<u8>>;
    /// Returns whether the request has the header `name`.
    fn contains(&self, name: &HeaderName) -> bool;
    /// Returns all header lines.
    fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>>;
    /// Returns the address of the peer, as in Envoy's `source.address`; empty if it is unknown.
    fn source_address(&self) -> Vec<u8>;
    /// Returns the id that an earlier run of the filter remembered for this request
    /// ([`Decision::must_be_remembered`]).
    fn id_of_earlier_run(&self) -> Option<Vec<u8>>;
    /// Returns a new id, or `None` if the host supplies no random bytes or no time.
    fn new_id(&self, format: IdFormat) -> Option<RequestId>;
}

/// The decision on one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The id of the request, which its response carries too.
    pub id: RequestId,
    /// How the request got its id.
    pub outcome: Outcome,
    /// Whether the peer is one that may not supply ids.
    pub is_peer_untrusted: bool,
    /// Whether the header of the id has to be set to the id; otherwise it holds the id already.
    pub sets_id: bool,
    /// The change to the header that passes a replaced id on (`incoming.original`).
    pub original: OriginalChange,
    /// Whether a later run for the same request has to know this id: it could otherwise take the id
    /// for the client's and reject it.
    pub must_be_remembered: bool,
    /// The headers that the policy prefers to the one it used, but whose values are unusable.
    pub unusable_sources: Vec<UnusableSource>,
}

/// How a request got its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client sent a valid id.
    Kept,
    /// The header holds the id that an earlier run of the filter gave this request.
    KeptOwn,
    /// The client sent an invalid id, and the policy keeps those (a dry run).
    KeptInvalid(Invalid),
    /// The client sent no id, and this header supplied one.
    Adopted(SourceHeader),
    /// The client sent no id, and a new one was generated.
    Generated,
    /// The client sent an id that was not kept. The new one was adopted or generated.
    Replaced(Reason),
    /// The client sent an invalid id. The request is answered with 400, and the id is a new one for
    /// that answer.
    Rejected(Invalid),
}

/// The reason why an id was not kept, or would not have been kept without the dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The peer may not supply ids.
    Untrusted,
    /// The id is invalid.
    Invalid(Invalid),
}

impl Reason {
    /// Returns the word for the reason in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Invalid(invalid) => invalid.name(),
        }
    }
}

/// The change to the header that passes a replaced id on, if the policy names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginalChange {
    /// The header stays as it is.
    None,
    /// The header is removed: an untrusted peer sent it.
    Remove,
    /// The header is set to the id that was replaced.
    Set(Vec<u8>),
}

impl Outcome {
    /// Returns the reason why the client's id was not valid or not kept, if that is the case.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match *self {
            Self::KeptInvalid(invalid) | Self::Rejected(invalid) => Some(Reason::Invalid(invalid)),
            Self::Replaced(reason) => Some(reason),
            Self::Kept | Self::KeptOwn | Self::Adopted(_) | Self::Generated => None,
        }
    }
}

/// Names the outcome for access logs and the debug log: `kept`, `kept:bad_byte` (in a dry run),
/// `adopted:x-amz-request-id`, `generated`, `replaced:untrusted`, `rejected:too_long`. No byte of it
/// is the client's.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept | Self::KeptOwn | Self::KeptInvalid(_) => "kept",
            Self::Adopted(_) => "adopted",
            Self::Generated => "generated",
            Self::Replaced(_) => "replaced",
            Self::Rejected(_) => "rejected",
        })?;
        if let Self::Adopted(header) = self {
            f.write_str(":")?;
            header.fmt(f)?;
        }
        if let Some(reason) = self.reason() {
            f.write_str(":")?;
            f.write_str(reason.name())?;
        }
        Ok(())
    }
}

/// Describes the decision in one line for the debug log. An invalid id is not shown.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::KeptInvalid(_) => write!(f, "{}", self.outcome)?,
            _ => write!(f, "{} {}", self.outcome, self.id)?,
        }
        for source in &self.unusable_sources {
            write!(f, "; {source}")?;
        }
        Ok(())
    }
}

/// Decides which id a request gets. Returns `None` if the request needs a new id and the host
/// cannot supply one; the request then passes unchanged.
///
/// ```
/// use request_id_rules::header_name::HeaderName;
/// use request_id_rules::headers::{HeaderLine, joined_value};
/// use request_id_rules::id::RequestId;
/// use request_id_rules::policy::{IdFormat, Policy};
/// use request_id_rules::request::{Outcome, Request, decide_on_request};
///
/// struct Headers(Vec<(&'static str, &'static str)>);
///
/// impl Request for Headers {
///     fn id_value(&self, name: &HeaderName) -> Option<Vec<u8>> {
///         joined_value(self.headers(), name)
///     }
///     fn contains(&self, name: &HeaderName) -> bool {
///         self.headers().any(|(line_name, _)| name.matches(line_name))
///     }
///     fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>> {
///         self.0.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
///     }
///     fn source_address(&self) -> Vec<u8> {
///         b"192.0.2.1:4711".to_vec()
///     }
///     fn id_of_earlier_run(&self) -> Option<Vec<u8>> {
///         None
///     }
///     fn new_id(&self, _format: IdFormat) -> Option<RequestId> {
///         Some(RequestId::from_hex([0x5a; 16])) // A real host uses random bytes.
///     }
/// }
///
/// let policy = Policy::default();
/// let request = Headers(vec![("x-request-id", "order-4711")]);
/// let decision = decide_on_request(&policy, &request).unwrap();
/// assert_eq!(decision.id.as_bytes(), b"order-4711");
/// assert_eq!(decision.outcome, Outcome::Kept);
/// assert!(!decision.sets_id);
///
/// let request = Headers(vec![("x-amz-request-id", "4B4NGF0EAWN0GE63")]);
/// let decision = decide_on_request(&policy, &request).unwrap();
/// assert_eq!(decision.id.as_bytes(), b"37be84ba-5e55-5531-9cda-bc301b676303");
/// assert_eq!(decision.outcome.to_string(), "adopted:x-amz-request-id");
/// ```
#[inline(never)]
pub fn decide_on_request(policy: &Policy, request: &impl Request) -> Option<Decision> {
    let value = request.id_value(policy.headers.id()).unwrap_or_default();
    let incoming = Incoming::classify(policy, &value);
    let is_peer_untrusted = is_peer_untrusted(policy, request);
    let is_kept = match incoming {
        Incoming::Valid(id) => !is_peer_untrusted && id.len() == value.len(),
        _ => false,
    };
    // An id that would be kept anyway is compared only for the sake of its origin in the access log.
    let is_own = (!is_kept || policy.log_origin)
        && !value.is_empty()
        && request.id_of_earlier_run().as_deref() == Some(&value);
    if !is_kept && !is_own {
        return supply_id(policy, request, &value, incoming, is_peer_untrusted);
    }
    let outcome = match is_own {
        true => Outcome::KeptOwn,
        false => Outcome::Kept,
    };
    Some(Decision {
        id: RequestId::from_header(value),
        is_peer_untrusted: false,
        sets_id: false,
        original: OriginalChange::None,
        must_be_remembered: must_be_remembered(policy, &outcome),
        unusable_sources: Vec::new(),
        outcome,
    })
}

fn is_peer_untrusted(policy: &Policy, request: &impl Request) -> bool {
    policy.trust != Trust::All && !policy.trust.includes(&request.source_address())
}

/// Decides on a request whose header does not hold exactly one valid id of a trusted peer.
#[inline(never)]
fn supply_id(
    policy: &Policy,
    request: &impl Request,
    value: &[u8],
    incoming: Incoming<'_>,
    is_peer_untrusted: bool,
) -> Option<Decision> {
    let new_id = || request.new_id(policy.generate);
    let mut unusable_sources = Vec::new();
    let mut adopt_or_generate =
        |provisional| adopt_or_generate(policy, request, provisional, &mut unusable_sources);
    let (id, outcome) = match incoming {
        Incoming::Missing | Incoming::Provisional(_) if is_peer_untrusted => {
            (new_id()?, Outcome::Generated)
        }
        _ if is_peer_untrusted => (new_id()?, Outcome::Replaced(Reason::Untrusted)),
        Incoming::Missing => adopt_or_generate(None)?,
        Incoming::Provisional(uuid) => adopt_or_generate(Some(uuid))?,
        Incoming::Valid(id) => (RequestId::from_header(id.to_vec()), Outcome::Kept),
        Incoming::Invalid(invalid) => match policy.on_invalid {
            OnInvalid::Keep => (
                RequestId::from_header(value.to_vec()),
                Outcome::KeptInvalid(invalid),
            ),
            OnInvalid::Reject => (new_id()?, Outcome::Rejected(invalid)),
            OnInvalid::Replace => {
                let (id, _) = adopt_or_generate(None)?;
                (id, Outcome::Replaced(Reason::Invalid(invalid)))
            }
        },
    };
    Some(Decision {
        id,
        is_peer_untrusted,
        sets_id: !matches!(outcome, Outcome::KeptInvalid(_)),
        original: original_change(policy, request, value, &outcome, is_peer_untrusted),
        must_be_remembered: must_be_remembered(policy, &outcome),
        unusable_sources,
        outcome,
    })
}

/// Takes the id from another header, or else from the provisional id, or else generates one.
#[inline(never)]
fn adopt_or_generate(
    policy: &Policy,
    request: &impl Request,
    provisional: Option<Uuid>,
    unusable_sources: &mut Vec<UnusableSource>,
) -> Option<(RequestId, Outcome)> {
    if let Some((id, header)) = sources::search(policy, request, unusable_sources) {
        return Some((id, Outcome::Adopted(header)));
    }
    let id = match (provisional, policy.generate) {
        (Some(uuid), IdFormat::Uuid4) => RequestId::from_uuid(uuid),
        (Some(uuid), IdFormat::Hex32) => RequestId::from_hex(uuid.into_bytes()),
        // The provisional id holds no time.
        (Some(_), IdFormat::Uuid7) | (None, _) => request.new_id(policy.generate)?,
    };
    Some((id, Outcome::Generated))
}

/// Returns the change to the header of `incoming.original`.
fn original_change(
    policy: &Policy,
    request: &impl Request,
    value: &[u8],
    outcome: &Outcome,
    is_peer_untrusted: bool,
) -> OriginalChange {
    match (policy.headers.original(), outcome) {
        (Some(_), Outcome::Replaced(_)) => OriginalChange::Set(value.to_vec()),
        // The upstream could take the client's header for one that this filter set.
        (Some(name), _) if is_peer_untrusted && request.contains(name) => OriginalChange::Remove,
        _ => OriginalChange::None,
    }
}

fn must_be_remembered(policy: &Policy, outcome: &Outcome) -> bool {
    match outcome {
        // A later run may see another address: the connection's instead of the one that Envoy took
        // from x-forwarded-for.
        Outcome::Kept | Outcome::KeptInvalid(_) => matches!(policy.trust, Trust::Only(_)),
        Outcome::KeptOwn => false,
        Outcome::Adopted(_) | Outcome::Generated => policy.may_misjudge_own_ids(),
        // Another plugin that ran before in this proxy finds here which id won.
        Outcome::Replaced(_) | Outcome::Rejected(_) => true,
    }
}

/// What the header of the id holds when the request arrives.
#[derive(Clone, Copy)]
enum Incoming<'a> {
    /// Nothing, or only blanks and commas.
    Missing,
    /// An id that Envoy put there because the client sent none.
    Provisional(Uuid),
    /// A valid id: the whole value, or what is left of it without repetitions, blanks and an extra
    /// comma.
    Valid(&'a [u8]),
    /// No valid id.
    Invalid(Invalid),
}

impl<'a> Incoming<'a> {
    fn classify(policy: &Policy, value: &'a [u8]) -> Self {
        // Most requests without an id do not have the header at all.
        if value.is_empty() {
            return Self::Missing;
        }
        let check = |value| id::check(policy.accept, policy.max_length, value);
        let is_default_header = policy.headers.id().as_str() == HeaderName::DEFAULT;
        let provisional = |item| id::parse_provisional(item).filter(|_| is_default_header);
        // Nearly every value is a valid id, and no valid id has a comma or a blank. Without this look
        // at the whole value, a request with a valid id takes 1 % more instructions.
        if check(value).is_ok() && provisional(value).is_none() {
            return Self::Valid(value);
        }
        let mut items = list_items(value);
        let Some(item) = items.next() else {
            return Self::Missing;
        };
        if !items.all(|other| other == item) {
            return Self::Invalid(Invalid::Duplicate);
        }
        if let Some(uuid) = provisional(item) {
            return Self::Provisional(uuid);
        }
        match check(item) {
            Err(invalid) => Self::Invalid(invalid),
            Ok(()) => Self::Valid(item),
        }
    }
}
