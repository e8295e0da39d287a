//! The checked configuration: what a decision goes by. It holds no contradiction.

use crate::aws::{self, Rank};
use crate::header_name::HeaderName;
use crate::trust::Trust;

/// All rules that a configuration chooses. [`Default`] is the recommended one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The headers that are read and written.
    pub names: Names,
    /// Whose ids are believed.
    pub trust: Trust,
    /// Which ids are kept.
    pub accept: Accept,
    /// The longest id that is kept or adopted.
    pub max_length: MaxLength,
    /// What becomes of one that is not.
    pub on_invalid: OnInvalid,
    /// What an adopted id becomes that is no UUID.
    pub non_uuid: NonUuid,
    /// The form of a new id.
    pub generate: Form,
    /// The id in the response.
    pub echo: Echo,
    /// Whether the AWS id of a response gets its one name.
    pub normalize_aws: bool,
    /// Whether browser code of other origins may read the id of a response.
    pub expose: bool,
    /// Whether access logs can say where an id is from.
    pub log_origin: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            names: Names::default(),
            trust: Trust::All,
            accept: Accept::Safe,
            max_length: MaxLength::default(),
            on_invalid: OnInvalid::Replace,
            non_uuid: NonUuid::Derive,
            generate: Form::Uuid4,
            echo: Echo::Overwrite,
            normalize_aws: true,
            expose: false,
            log_origin: false,
        }
    }
}

impl Policy {
    /// What a user of this policy should know, a line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.generate == Form::Uuid7 {
            // Envoy samples by the first eight digits, modulo 10000: here, by 65.5 seconds of time.
            warnings.push(
                "generate: a uuid7 begins with the time, and Envoy samples traces by the beginning of \
                 the id: of all requests or of none, for days on end; with proportional sampling \
                 use uuid4"
                    .into(),
            );
        }
        let longest = match (self.generate, self.names.sources()) {
            (Form::Hex32, []) => 32,
            _ => 36, // Adopted ids are UUIDs, too.
        };
        if longest > self.max_length.get() {
            warnings.push(format!(
                "incoming.max_length: {} is less than the {longest} bytes of an id that this filter \
                 gives; a second such filter on the way replaces it",
                self.max_length.get()
            ));
        } else if self.accept == Accept::Uuid {
            let no_uuids = [
                (self.generate == Form::Hex32, "generate: hex32"),
                (
                    self.non_uuid == NonUuid::Verbatim,
                    "adopt.non_uuid: verbatim",
                ),
                (
                    self.names.sources().contains(&Source::Traceparent),
                    "adopt.from: traceparent",
                ),
            ];
            for (_, key) in no_uuids.iter().filter(|(gives_others, _)| *gives_others) {
                warnings.push(format!(
                    "{key} gives ids that are no UUIDs; a second such filter on the way, with \
                     incoming.accept uuid, replaces them"
                ));
            }
        }
        warnings
    }
}

/// The names of headers, of which none but the first is the id's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    id: HeaderName,
    original: Option<HeaderName>,
    sources: Vec<Source>,
}

/// Two uses of one header that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The header for the replaced id is the id's own.
    OriginalIsId,
    /// The header for the replaced id, of which a caller's is removed, is one an id is taken from.
    OriginalIsSource,
    /// The source at this place of the list is the id's own header.
    SourceIsId(usize),
}

impl Names {
    /// # Errors
    /// All clashes.
    pub fn new(
        id: HeaderName,
        original: Option<HeaderName>,
        sources: Vec<Source>,
    ) -> Result<Self, Vec<Clash>> {
        let mut clashes = Vec::new();
        if let Some(original) = &original {
            if *original == id {
                clashes.push(Clash::OriginalIsId);
            } else if sources.iter().any(|source| source.reads(original)) {
                clashes.push(Clash::OriginalIsSource);
            }
        }
        for (place, source) in sources.iter().enumerate() {
            if source.header() == Some(id.as_str()) {
                clashes.push(Clash::SourceIsId(place));
            }
        }
        if clashes.is_empty() {
            Ok(Self {
                id,
                original,
                sources,
            })
        } else {
            Err(clashes)
        }
    }

    /// The header that carries the id.
    #[must_use]
    pub fn id(&self) -> &HeaderName {
        &self.id
    }

    /// The header that carries a replaced id upstream.
    #[must_use]
    pub fn original(&self) -> Option<&HeaderName> {
        self.original.as_ref()
    }

    /// Where an id is taken from when none came, best first.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

impl Default for Names {
    fn default() -> Self {
        Self {
            id: HeaderName::default(),
            original: None,
            sources: vec![Source::Aws],
        }
    }
}

/// The trace header of AWS, of which a source takes the `Root` field.
pub const TRACE_ROOT: &str = "x-amzn-trace-id";
/// The trace header of W3C, of which a source takes the trace-id.
pub const TRACEPARENT: &str = "traceparent";

/// Where an id is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The request-id headers of AWS, [`crate::aws::REQUEST_NAMES`].
    Aws,
    /// The `Root` field of `x-amzn-trace-id`.
    TraceRoot,
    /// The trace-id of `traceparent`.
    Traceparent,
    /// The value of a header.
    Header(HeaderName),
}

impl Source {
    /// The header that `name` stands for.
    #[must_use]
    pub fn of(name: HeaderName) -> Self {
        match name.as_str() {
            TRACE_ROOT => Self::TraceRoot,
            TRACEPARENT => Self::Traceparent,
            _ => Self::Header(name),
        }
    }

    /// Whether it reads the header `name`.
    fn reads(&self, name: &HeaderName) -> bool {
        match self.header() {
            Some(header) => header == name.as_str(),
            None => Rank::of(name.as_str().as_bytes(), aws::REQUEST_NAMES).is_some(),
        }
    }

    /// The one header it reads, if it is one.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Aws => None,
            Self::TraceRoot => Some(TRACE_ROOT),
            Self::Traceparent => Some(TRACEPARENT),
            Self::Header(name) => Some(name.as_str()),
        }
    }
}

/// Which ids are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Of [`crate::id::is_safe`] bytes.
    Safe,
    /// Of the form 8-4-4-4-12, any version, any case.
    Uuid,
    /// Of any visible ASCII but a comma.
    Visible,
}

/// What becomes of an id that is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// Another one takes its place.
    Replace,
    /// The request is refused.
    Reject,
    /// It is kept and only counted: a dry run.
    Keep,
}

/// What an adopted id becomes that is no RFC 9562 UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonUuid {
    /// A version 5 UUID of it.
    Derive,
    /// Itself.
    Verbatim,
    /// Nothing: it is not adopted.
    Skip,
}

/// The form of a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A random UUID.
    Uuid4,
    /// A UUID that sorts by time.
    Uuid7,
    /// 32 hexadecimal digits, all random.
    Hex32,
}

/// The id in the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Replaces whatever the upstream sent.
    Overwrite,
    /// Is added where the upstream sent none.
    IfAbsent,
    /// Is not added.
    Never,
}

/// A length in bytes, from 1 to 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLength(u16);

impl MaxLength {
    /// The smallest and the largest.
    pub const RANGE: std::ops::RangeInclusive<u16> = 1..=1024;

    /// `length`, if it is in [`Self::RANGE`].
    #[must_use]
    pub fn new(length: u16) -> Option<Self> {
        Self::RANGE.contains(&length).then_some(Self(length))
    }

    /// In bytes.
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
