//! Which id a request gets, and whether its header is written.
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
//! Whatever it holds: see [`sigv4`].

use crate::ID_HEADER;
use crate::adopt::{Source, adopt};
use crate::headers::{Headers, elements};
use crate::id::{Invalid, RequestId};
use crate::sigv4;

/// What the decision may ask of a request. It asks only for what it needs: each answer costs the
/// host work.
pub trait Request {
    /// The value of the id header, or `None` if there is no such header.
    fn id(&mut self) -> Option<Vec<u8>>;
    /// All headers, serialized as [`Headers`] reads them.
    fn headers(&mut self) -> Vec<u8>;
    /// Bytes from a cryptographically secure source, or `None` if it failed.
    fn random(&mut self) -> Option<[u8; 16]>;
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The request's id from now on; the response carries it too.
    pub id: RequestId,
    /// Where it is from.
    pub origin: Origin,
    /// What is done to the request's id header.
    pub write: Write,
}

/// Where an id is from. Every request has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A good one came.
    Kept,
    /// None came; AWS had named one.
    Adopted(Source),
    /// None came.
    Generated,
    /// One came that is not believed; the new one is adopted or generated.
    Replaced(Invalid),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept => f.write_str("kept"),
            Self::Adopted(source) => write!(f, "adopted from {source}"),
            Self::Generated => f.write_str("generated"),
            Self::Replaced(invalid) => write!(f, "replaced, was {}", invalid.name()),
        }
    }
}

/// What is done to the request's id header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing: it holds the id already.
    Unneeded,
    /// It is set to the id.
    Set,
    /// Nothing: it would be set, but the caller has signed it.
    Signed,
}

/// Decides about one request. `None` if a new id is needed and there is no randomness for it; the
/// request then passes as it is.
pub fn decide(request: &mut impl Request) -> Option<Decision> {
    let received = match request.id().map_or(Received::Missing, read) {
        Received::Good(id) => {
            return Some(Decision {
                id,
                origin: Origin::Kept,
                write: Write::Unneeded,
            });
        }
        other => other,
    };

    let serialized = request.headers();
    let headers = Headers::new(&serialized);
    let write = if headers
        .iter()
        .any(|(name, value)| sigv4::signs(name, value, ID_HEADER.as_bytes()))
    {
        Write::Signed
    } else {
        Write::Set
    };

    if let Received::Repeated(id) = received {
        let origin = Origin::Kept;
        return Some(Decision { id, origin, write });
    }
    let (id, source) = match adopt(headers) {
        Some((id, source)) => (id, Some(source)),
        None => (RequestId::v4(request.random()?), None),
    };
    let origin = match (received, source) {
        (Received::Bad(invalid), _) => Origin::Replaced(invalid),
        (_, Some(source)) => Origin::Adopted(source),
        (_, None) => Origin::Generated,
    };
    Some(Decision { id, origin, write })
}

enum Received {
    /// No value, or nothing but blanks and commas.
    Missing,
    /// An id as it stands.
    Good(RequestId),
    /// An id in a value that holds more than the id: its repetitions, blanks, a stray comma.
    Repeated(RequestId),
    Bad(Invalid),
}

fn read(value: Vec<u8>) -> Received {
    let only = {
        let mut found = elements(&value);
        let Some(first) = found.next() else {
            return Received::Missing;
        };
        if !found.all(|other| other == first) {
            return Received::Bad(Invalid::Duplicate);
        }
        first
    };
    if only.len() == value.len() {
        RequestId::received(value).map_or_else(Received::Bad, Received::Good)
    } else {
        RequestId::received(only.to_vec()).map_or_else(Received::Bad, Received::Repeated)
    }
}
