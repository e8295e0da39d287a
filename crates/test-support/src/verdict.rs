//! What the filter must decide about a request: the table of cases states it, and the reference
//! computes it. What follows from it for counters, logs and host calls is derived here only.

use request_id_rules::policy::IdFormat;
use request_id_rules::request::OriginalChange;
use uuid::{Uuid, Variant};

/// What the filter must decide about a request.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The id of the request.
    pub id: ExpectedId,
    /// How the request got its id, in the words of the access log: `replaced:bad_byte`.
    pub origin: String,
    /// Whether the peer is not trusted.
    pub is_peer_untrusted: bool,
    /// Whether the header of the id is written.
    pub sets_id: bool,
    /// The change to the header that `incoming.original` names.
    pub original: OriginalChange,
    /// What the debug log contains about preferred sources with unusable values.
    pub unusable_sources: Vec<String>,
}

/// An id that is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedId {
    /// These bytes.
    Is(Vec<u8>),
    /// A new id of this format.
    New(IdFormat),
}

impl ExpectedId {
    /// Returns whether an id is the expected one, or has the form of a new one.
    #[must_use]
    pub fn matches(&self, id: &[u8]) -> bool {
        match self {
            Self::Is(expected) => id == expected,
            Self::New(format) => str::from_utf8(id).is_ok_and(|id| is_new(*format, id)),
        }
    }
}

impl Verdict {
    /// Returns the verdict on a request without an id, from a trusted peer.
    #[must_use]
    pub fn generated(format: IdFormat) -> Self {
        Self {
            id: ExpectedId::New(format),
            origin: "generated".into(),
            is_peer_untrusted: false,
            sets_id: true,
            original: OriginalChange::None,
            unusable_sources: Vec::new(),
        }
    }

    /// Returns the outcome and the reason or the source: `("replaced", "bad_byte")`.
    #[must_use]
    pub fn outcome(&self) -> (&str, &str) {
        self.origin.split_once(':').unwrap_or((&self.origin, ""))
    }

    /// Returns whether an invalid id is kept, as a dry run does.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        matches!(self.outcome(), ("kept", reason) if !reason.is_empty())
    }

    /// Returns whether the request is answered with 400.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.outcome().0 == "rejected"
    }

    /// Returns the names of the counters that the request increments, without their prefix.
    #[must_use]
    pub fn counters(&self) -> Vec<String> {
        let (outcome, reason) = self.outcome();
        let mut counters = vec![outcome.to_owned()];
        if ["too_long", "duplicate", "bad_byte", "not_uuid"].contains(&reason) {
            counters.push(format!("invalid.{reason}"));
        }
        if self.is_peer_untrusted {
            counters.push("untrusted".into());
        }
        counters
    }

    /// Returns the line of the debug log for a request that got `id`.
    #[must_use]
    pub fn log_line(&self, id: &str) -> String {
        let mut line = self.origin.clone();
        if !self.is_dry_run() {
            line = format!("{line} {id}");
        }
        for source in &self.unusable_sources {
            line = format!("{line}; {source}");
        }
        line
    }

    /// Returns the values that reach the upstream in the header that `incoming.original` names, if the
    /// client sent these.
    #[must_use]
    pub fn originals<'a>(&'a self, sent: &[&'a [u8]]) -> Vec<&'a [u8]> {
        match &self.original {
            OriginalChange::None => sent.to_vec(),
            OriginalChange::Remove => Vec::new(),
            OriginalChange::Set(value) => vec![value],
        }
    }

    /// Returns how many request headers are written and how many are removed.
    #[must_use]
    pub fn header_changes(&self) -> (usize, usize) {
        let (set, removed) = match self.original {
            OriginalChange::None => (0, 0),
            OriginalChange::Remove => (0, 1),
            OriginalChange::Set(_) => (1, 0),
        };
        (set + usize::from(self.sets_id), removed)
    }
}

/// Returns whether an id has the form of a new one.
#[must_use]
pub fn is_new(format: IdFormat, id: &str) -> bool {
    let Ok(uuid) = Uuid::try_parse(id) else {
        return false;
    };
    let is_of_version = |version| {
        uuid.get_version_num() == version
            && uuid.get_variant() == Variant::RFC4122
            && uuid.hyphenated().to_string() == id
    };
    match format {
        IdFormat::Uuid4 => is_of_version(4),
        IdFormat::Uuid7 => is_of_version(7),
        IdFormat::Hex32 => uuid.simple().to_string() == id,
    }
}
