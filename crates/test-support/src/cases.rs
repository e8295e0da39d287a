//! The table of cases: what a client sends, what an upstream answers, and what the filter must do with
//! both, as bytes. The rules (`tests/table.rs`) and a real Envoy (`tests/envoy`) run all of it.
//!
//! Two things hold for every case and are not repeated in it: every other header of the request and
//! of the response arrives as it was sent, and a header is written only if the case expects it.

use request_id_rules::policy::IdFormat;
use request_id_rules::request::OriginalChange;

use crate::verdict::{ExpectedId, Verdict};

// One case is one row.
#[rustfmt::skip]
mod configured;
#[rustfmt::skip]
mod default_configuration;

/// What a client sends and what must become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Says what the case shows.
    pub name: &'static str,
    /// The configuration of the plugin.
    pub config: &'static str,
    /// The header of the id, as the configuration names it.
    pub header: &'static str,
    /// The path of the request.
    pub path: &'static str,
    /// The lines of the request, in order.
    pub request: Vec<Line>,
    /// The lines of the upstream's response, in order.
    pub upstream: Vec<Line>,
    /// What the filter must decide about the request.
    pub verdict: Verdict,
    /// The rule that the answer 400 names, if the request is rejected.
    pub rejected: Option<&'static str>,
    /// The id in the response.
    pub echo: Echo,
    /// The value that is set as `x-amzn-requestid` of the response, if it is set.
    pub aws_id: Option<&'static [u8]>,
    /// The value that is set as `access-control-expose-headers`, if it is set.
    pub expose: Option<&'static str>,
}

/// The name and the value of a header line.
pub type Line = (&'static str, Vec<u8>);

/// The header that configurations of this table name as `incoming.original`.
pub const ORIGINAL: &str = "x-original-request-id";

/// The id in the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// The response has the id of the request, once.
    Id,
    /// The response has what the upstream sent, or nothing.
    Upstream,
}

fn case(name: &'static str) -> Case {
    Case {
        name,
        config: "",
        header: "x-request-id",
        path: "/",
        request: Vec::new(),
        upstream: Vec::new(),
        verdict: Verdict::generated(IdFormat::Uuid4),
        rejected: None,
        echo: Echo::Id,
        aws_id: None,
        expose: None,
    }
}

impl Case {
    fn id(self, value: impl AsRef<[u8]>) -> Self {
        let header = self.header;
        self.header(header, value)
    }

    fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.request.push((name, value.as_ref().to_vec()));
        self
    }

    fn path(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    fn upstream(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.upstream.push((name, value.as_ref().to_vec()));
        self
    }

    /// The last header of the request is the id; it is kept, and its header is not written.
    fn kept(self) -> Self {
        let id = self.request.last().expect("there is an id").1.clone();
        self.kept_as(id).unwritten()
    }

    /// The value contains the id and more, so the header is set to the id alone.
    fn kept_as(mut self, id: impl AsRef<[u8]>) -> Self {
        self.verdict.id = ExpectedId::Is(id.as_ref().to_vec());
        self.verdict.origin = "kept".into();
        self
    }

    fn unwritten(mut self) -> Self {
        self.verdict.sets_id = false;
        self
    }

    /// An invalid id is kept in a dry run.
    fn kept_in_dry_run(self, id: impl AsRef<[u8]>, reason: &str) -> Self {
        let mut case = self.kept_as(id).unwritten();
        case.verdict.origin = format!("kept:{reason}");
        case
    }

    fn adopted(mut self, id: impl AsRef<[u8]>, source: &str) -> Self {
        self.verdict.id = ExpectedId::Is(id.as_ref().into());
        self.verdict.origin = format!("adopted:{source}");
        self
    }

    /// The provisional id of the request becomes its id.
    fn generated_as(mut self, id: impl AsRef<[u8]>) -> Self {
        self.verdict.id = ExpectedId::Is(id.as_ref().into());
        self
    }

    fn generated(mut self, format: IdFormat) -> Self {
        self.verdict.id = ExpectedId::New(format);
        self
    }

    fn untrusted(mut self) -> Self {
        self.verdict.is_peer_untrusted = true;
        self
    }

    fn replaced(mut self, reason: &str) -> Self {
        self.verdict.is_peer_untrusted |= reason == "untrusted";
        self.verdict.origin = format!("replaced:{reason}");
        self
    }

    fn replaced_by(mut self, id: &str, reason: &str) -> Self {
        self.verdict.id = ExpectedId::Is(id.into());
        self.replaced(reason)
    }

    fn rejected(mut self, reason: &str, detail: &'static str) -> Self {
        self.verdict.origin = format!("rejected:{reason}");
        self.rejected = Some(detail);
        self
    }

    /// A header that could have supplied the id has an unusable value.
    fn unusable(mut self, header: &str, reason: &str) -> Self {
        let unusable = format!("{header} not used: {reason}");
        self.verdict.unusable_sources.push(unusable);
        self
    }

    fn original(mut self, value: impl AsRef<[u8]>) -> Self {
        self.verdict.original = OriginalChange::Set(value.as_ref().to_vec());
        self
    }

    fn original_removed(mut self) -> Self {
        self.verdict.original = OriginalChange::Remove;
        self
    }

    fn upstream_id(mut self) -> Self {
        self.echo = Echo::Upstream;
        self
    }

    fn expose(mut self, names: &'static str) -> Self {
        self.expose = Some(names);
        self
    }

    fn aws_id(mut self, id: &'static str) -> Self {
        self.aws_id = Some(id.as_bytes());
        self
    }

    /// Returns the counters that the request and its response increment.
    #[must_use]
    pub fn counters(&self) -> Vec<String> {
        let mut counters = self.verdict.counters();
        if self.aws_id.is_some() {
            counters.push("aws_normalized".into());
        }
        counters
    }
}

const UUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
/// An S3 id and what it becomes. Every derived id of this file is what Python prints for
/// `uuid5(uuid5(NAMESPACE_DNS, "amazonaws.com"), id)`; `tests/table.rs` asks Python again.
const S3: &str = "4B4NGF0EAWN0GE63";
const FROM_S3: &str = "37be84ba-5e55-5531-9cda-bc301b676303";

const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-west-1/s3/aws4_request, \
     SignedHeaders=host;x-amz-date;x-request-id, Signature=0123456789abcdef";

/// What Envoy's early header mutation sets if the client sent no id.
const PROVISIONAL: &str = "0f8fad5b-d9cb-469f-a165-70867728950e-provisional";

/// Returns all cases.
#[must_use]
pub fn all() -> Vec<Case> {
    [default_configuration::all(), configured::all()].concat()
}
