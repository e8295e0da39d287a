//! From the bytes of a configuration to a [`Policy`], or to every problem it has.
//!
//! The keys, their types, defaults and descriptions stand once, in the `object!` blocks below.
//! Reading, errors, the effective configuration and the JSON Schema all come from them.

mod json;
mod problem;
#[cfg(not(target_family = "wasm"))]
pub mod schema;
mod setting;

use json::Json;
pub use problem::Problem;
use problem::{Place, Problems};
use setting::{Setting, object};

use crate::header_name::HeaderName;
use crate::policy::{
    Accept, Clash, Echo, Form, MaxLength, Names, NonUuid, OnInvalid, Policy, Source,
};
use crate::trust::Trust;

object! {
    /// Configuration of request-id-filter. Every key is optional; none at all is recommended.
    Config {
        /// The header that carries the id.
        header: HeaderName = HeaderName::default(),
        /// What is done with an id that came.
        incoming: Incoming = Incoming::default(),
        /// Where an id is taken from when none came.
        adopt: Adopt = Adopt::default(),
        /// The form of a new id: a random UUID, a UUID that sorts by time, or 32 hexadecimal digits.
        generate: Form = Form::Uuid4,
        /// What is done to a response.
        response: Response = Response::default(),
        /// Whether access logs can say where an id is from, as `%FILTER_STATE(wasm.request_id.origin:PLAIN)%`.
        log_origin: bool = false,
    }
}

object! {
    /// What is done with an id that came.
    Incoming {
        /// Whose ids, AWS headers and other sources are believed, by Envoy's `source.address`: everyone's, nobody's, or those of peers in these ranges.
        trust: Trust = Trust::All,
        /// Which ids are kept: letters, digits and `-._~+/=:@`; the form 8-4-4-4-12 of any version and case; any visible ASCII but a comma.
        accept: Accept = Accept::Safe,
        /// The longest id that is kept or adopted, in bytes.
        max_length: MaxLength = MaxLength::default(),
        /// What becomes of an id that is not kept: a new one takes its place; the request is answered with 400; it is kept after all and only counted, as a dry run.
        on_invalid: OnInvalid = OnInvalid::Replace,
        /// The header that carries a replaced id upstream. A caller's own header of that name is always removed.
        original: Option<HeaderName> = None,
    }
}

object! {
    /// Where an id is taken from when none came.
    Adopt {
        /// Header names, best first; `aws` stands for the request-id headers of AWS. Of `x-amzn-trace-id` the Root is taken, of `traceparent` the trace-id.
        from: Vec<Source> = vec![Source::Aws],
        /// What an id becomes that is no RFC 9562 UUID: a version 5 UUID of it; itself; nothing, so that the next one is tried.
        non_uuid: NonUuid = NonUuid::Derive,
    }
}

object! {
    /// What is done to a response.
    Response {
        /// The id in the response: over whatever the upstream sent; where it sent none; not at all.
        echo: Echo = Echo::Overwrite,
        /// Whether the AWS id of a response is published as `x-amzn-requestid`.
        normalize_aws: bool = true,
        /// Whether the header of the id is added to `access-control-expose-headers` of responses that have `access-control-allow-origin`, so that browser code of other origins can read it.
        expose: bool = false,
    }
}

/// A configuration that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What it means.
    pub policy: Policy,
    /// All keys with the values in force, as JSON in one line.
    pub effective: String,
}

/// Reads the configuration of the plugin. No text, or a blank one, is the default.
///
/// # Errors
/// Every problem of the text; of text that is no JSON the first.
pub fn parse(text: &[u8]) -> Result<Accepted, Vec<Problem>> {
    let mut problems = Problems::new(Config::paths(&Place::root()));
    let config = if text.trim_ascii().is_empty() {
        Some(Config::default())
    } else {
        let json = Json::parse(text).map_err(|problem| vec![problem])?;
        Config::read(json, &Place::root(), &mut problems)
    };
    let config = config.unwrap_or_default();
    let policy = policy(&config, &mut problems);
    match (policy, problems.into_vec()) {
        (Some(policy), problems) if problems.is_empty() => {
            let mut effective = String::new();
            config.show(&mut effective);
            Ok(Accepted { policy, effective })
        }
        (_, problems) => Err(problems),
    }
}

/// What holds between keys. A key that is refused already is not blamed again.
fn policy(config: &Config, problems: &mut Problems) -> Option<Policy> {
    let names = Names::new(
        config.header.clone(),
        config.incoming.original.clone(),
        config.adopt.from.clone(),
    );
    let names = match names {
        Ok(names) => names,
        Err(_) if problems.has("header") => return None,
        Err(clashes) => {
            const NOT_THE_ID: &str = "another header than the id's own (`header`)";
            for clash in clashes {
                let (path, allowed) = match clash {
                    Clash::OriginalIsId => ("incoming.original".into(), NOT_THE_ID),
                    Clash::OriginalIsSource => (
                        "incoming.original".into(),
                        "a header that no id is taken from (`adopt.from`)",
                    ),
                    Clash::SourceIsId(place) => (format!("adopt.from[{place}]"), NOT_THE_ID),
                };
                let name = match (clash, &config.incoming.original) {
                    (Clash::OriginalIsSource, Some(original)) => original,
                    _ => &config.header,
                };
                problems.add(path, format!("\"{name}\""), allowed.into());
            }
            return None;
        }
    };
    Some(Policy {
        names,
        trust: config.incoming.trust.clone(),
        accept: config.incoming.accept,
        max_length: config.incoming.max_length,
        on_invalid: config.incoming.on_invalid,
        non_uuid: config.adopt.non_uuid,
        generate: config.generate,
        echo: config.response.echo,
        normalize_aws: config.response.normalize_aws,
        expose: config.response.expose,
        log_origin: config.log_origin,
    })
}
