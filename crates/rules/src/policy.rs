//! The policy: the checked meaning of a configuration, on which decisions are made.
//!
//! A configuration is text and can have problems; a [`Policy`] is what is left if it has none, so it
//! contains no contradiction.

use crate::aws::{self, AwsHeader};
use crate::header_name::HeaderName;
use crate::trust::Trust;

/// Everything that a configuration can choose. [`Default`] is the recommended policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The headers that are read and written.
    pub headers: PolicyHeaders,
    /// Which peers may supply ids.
    pub trust: Trust,
    /// Which ids are valid.
    pub accept: Accept,
    /// The length of the longest valid id.
    pub max_length: MaxLength,
    /// What happens if an id is invalid.
    pub on_invalid: OnInvalid,
    /// What an adopted value becomes that is not a UUID.
    pub non_uuid: NonUuid,
    /// The format of new ids.
    pub generate: IdFormat,
    /// Whether the response carries the id.
    pub echo: Echo,
    /// Whether the AWS id of a response is published under one name.
    pub normalize_aws: bool,
    /// Whether browser code of other origins may read the id of a response.
    pub expose: bool,
    /// Whether access logs can show how a request got its id.
    pub log_origin: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            headers: PolicyHeaders::default(),
            trust: Trust::All,
            accept: Accept::Safe,
            max_length: MaxLength::default(),
            on_invalid: OnInvalid::Replace,
            non_uuid: NonUuid::Derive,
            generate: IdFormat::Uuid4,
            echo: Echo::Overwrite,
            normalize_aws: true,
            expose: false,
            log_origin: false,
        }
    }
}

impl Policy {
    /// Returns whether a later run of the filter for the same request could reject an id that this
    /// policy generates or adopts, or log another origin for it.
    #[must_use]
    pub fn may_misjudge_own_ids(&self) -> bool {
        self.trust != Trust::All || self.log_origin || !self.rejected_own_ids().is_empty()
    }

    /// Returns the kinds of ids that this policy generates or adopts, but would not accept from a
    /// client.
    #[inline(never)]
    #[must_use]
    pub fn rejected_own_ids(&self) -> Vec<RejectedOwnId> {
        let sources = self.headers.sources();
        let mut rejected = Vec::new();
        let shortest_limit = match (self.generate, sources) {
            (IdFormat::Hex32, []) => 32,
            _ => 36, // Adopted ids are UUIDs, too.
        };
        if self.max_length.get() < shortest_limit {
            rejected.push(RejectedOwnId::MaxLength(shortest_limit));
        }
        if self.accept == Accept::Uuid {
            let uses_non_uuid = sources
                .iter()
                .any(|source| matches!(source, Source::Aws | Source::Header(_)));
            if self.generate == IdFormat::Hex32 {
                rejected.push(RejectedOwnId::Hex32);
            }
            if self.non_uuid == NonUuid::Verbatim && uses_non_uuid {
                rejected.push(RejectedOwnId::Verbatim);
            }
            if sources.contains(&Source::Traceparent) {
                rejected.push(RejectedOwnId::Traceparent);
            }
        }
        rejected
    }
}

/// A kind of id that a policy generates or adopts, but would not accept from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectedOwnId {
    /// The ids have this many bytes, more than `incoming.max_length`.
    MaxLength(usize),
    /// `generate: hex32` supplies ids that are not UUIDs.
    Hex32,
    /// `adopt.non_uuid: verbatim` supplies ids that are not UUIDs.
    Verbatim,
    /// `traceparent` in `adopt.from` supplies ids that are not UUIDs.
    Traceparent,
}

/// The headers that a policy reads and writes. None of the others is the header of the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyHeaders {
    id: HeaderName,
    original: Option<HeaderName>,
    sources: Vec<Source>,
}

/// Two uses of one header that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderConflict {
    /// The header for a replaced id is the header of the id.
    OriginalIsId,
    /// The header for a replaced id is also one from which ids are adopted.
    OriginalIsSource,
    /// The source at this index of the list is the header of the id.
    SourceIsId(usize),
}

impl PolicyHeaders {
    /// Returns the headers, checked against each other.
    ///
    /// # Errors
    /// Returns all conflicts.
    pub fn new(
        id: HeaderName,
        original: Option<HeaderName>,
        sources: Vec<Source>,
    ) -> Result<Self, Vec<HeaderConflict>> {
        let mut conflicts = Vec::new();
        if let Some(original) = &original {
            if *original == id {
                conflicts.push(HeaderConflict::OriginalIsId);
            } else if sources.iter().any(|source| source.reads(original)) {
                conflicts.push(HeaderConflict::OriginalIsSource);
            }
        }
        for (index, source) in sources.iter().enumerate() {
            if source.header() == Some(id.as_str()) {
                conflicts.push(HeaderConflict::SourceIsId(index));
            }
        }
        if conflicts.is_empty() {
            Ok(Self {
                id,
                original,
                sources,
            })
        } else {
            Err(conflicts)
        }
    }

    /// Returns the header that carries the id.
    #[must_use]
    pub fn id(&self) -> &HeaderName {
        &self.id
    }

    /// Returns the header that passes a replaced id on to the upstream.
    #[must_use]
    pub fn original(&self) -> Option<&HeaderName> {
        self.original.as_ref()
    }

    /// Returns where an id is taken from if the client sent none, in order of preference.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

impl Default for PolicyHeaders {
    fn default() -> Self {
        Self {
            id: HeaderName::default(),
            original: None,
            sources: vec![Source::Aws],
        }
    }
}

/// Where an id is taken from if the client sent none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The request-id headers of AWS, [`aws::REQUEST_NAMES`].
    Aws,
    /// The `Root` field of `x-amzn-trace-id`.
    TraceRoot,
    /// The trace-id of `traceparent`.
    Traceparent,
    /// The value of a header.
    Header(HeaderName),
}

impl Source {
    /// AWS's trace header, of which [`Source::TraceRoot`] uses the `Root` field.
    pub const TRACE_ROOT: &str = "x-amzn-trace-id";
    /// W3C's trace header, of which [`Source::Traceparent`] uses the trace-id.
    pub const TRACEPARENT: &str = "traceparent";

    /// Returns the source that the header `name` is.
    #[must_use]
    pub fn from_header(name: HeaderName) -> Self {
        match name.as_str() {
            Self::TRACE_ROOT => Self::TraceRoot,
            Self::TRACEPARENT => Self::Traceparent,
            _ => Self::Header(name),
        }
    }

    /// Returns whether it reads the header `name`.
    fn reads(&self, name: &HeaderName) -> bool {
        match self.header() {
            Some(header) => header == name.as_str(),
            None => AwsHeader::find(name.as_str().as_bytes(), aws::REQUEST_NAMES).is_some(),
        }
    }

    /// Returns the header that it reads, or `None` for [`Source::Aws`], which reads several.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Aws => None,
            Self::TraceRoot => Some(Self::TRACE_ROOT),
            Self::Traceparent => Some(Self::TRACEPARENT),
            Self::Header(name) => Some(name.as_str()),
        }
    }
}

/// Which ids are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Ids of bytes for which [`is_safe`](crate::id::is_safe) holds.
    Safe,
    /// UUIDs in the form 8-4-4-4-12, of any version and in any case.
    Uuid,
    /// Ids of any visible ASCII except a comma.
    Visible,
}

/// What happens if an id is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// The id is replaced by an adopted or a new one.
    Replace,
    /// The request is answered with 400.
    Reject,
    /// The id is kept and only counted: a dry run.
    Keep,
}

/// What an adopted value becomes that is not an RFC 9562 UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonUuid {
    /// It is hashed to a version 5 UUID.
    Derive,
    /// It is used as it is.
    Verbatim,
    /// It is not adopted.
    Skip,
}

/// The format of new ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFormat {
    /// A random UUID.
    Uuid4,
    /// A UUID that sorts by time.
    Uuid7,
    /// 32 random hexadecimal digits.
    Hex32,
}

/// Whether the response carries the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// The id replaces whatever the upstream sent.
    Overwrite,
    /// The id is added if the upstream sent none.
    IfAbsent,
    /// The id is not added.
    Never,
}

/// A length in bytes, from 1 to 1024. The default is 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLength(u16);

impl MaxLength {
    /// The shortest and the longest limit that a configuration may set.
    pub const RANGE: std::ops::RangeInclusive<u16> = 1..=1024;

    /// Returns `length` if it is in [`Self::RANGE`].
    #[must_use]
    pub fn new(length: u16) -> Option<Self> {
        Self::RANGE.contains(&length).then_some(Self(length))
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn get(self) -> usize {
        self.0.into()
    }
}

impl Default for MaxLength {
    fn default() -> Self {
        Self(200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with several threads can share one policy.
    #[test]
    fn a_policy_can_be_shared_between_threads() {
        fn assert_shareable<T: Send + Sync>(_: &T) {}
        assert_shareable(&Policy::default());
    }
}
