//! Reads the configuration of request-id-filter: which ones are accepted, and what is wrong with the
//! others.
//!
//! A configuration is text; [`read`] turns it into a [`Policy`] or reports all of its problems.
//! `Settings::each_key` lists every key once, with its description. The defaults are those of
//! [`Policy::default`].

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod json;
mod problem;
mod setting;
mod warnings;

use json::Json;
pub use problem::Problem;
use problem::Problems;
pub use setting::Kind;
use setting::Setting;
pub use warnings::warnings;

use request_id_rules::header_name::HeaderName;
use request_id_rules::policy::{HeaderConflict, OnInvalid, Policy, PolicyHeaders, Source};

/// The values of all keys, each valid by itself.
struct Settings {
    header: HeaderName,
    original: Option<HeaderName>,
    sources: Vec<Source>,
    /// All other values; its headers are not used.
    policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            header: policy.headers.id().clone(),
            original: policy.headers.original().cloned(),
            sources: policy.headers.sources().to_vec(),
            policy,
        }
    }
}

impl Settings {
    /// Calls `visit` with the path, the description and the value of every key, in the order of the
    /// documentation.
    fn each_key(&mut self, mut visit: impl FnMut(&'static str, &'static str, &mut dyn Setting)) {
        let policy = &mut self.policy;
        visit(
            "header",
            "The header that carries the id.",
            &mut self.header,
        );
        visit(
            "incoming.trust",
            "The peers that may supply ids, in any header, by Envoy's `source.address`: every peer, no peer, or the peers in these address ranges.",
            &mut policy.trust,
        );
        visit(
            "incoming.accept",
            "The ids that are valid: `safe` allows letters, digits and `-._~+/=:@#`; `uuid` allows UUIDs in the form 8-4-4-4-12, of any version and in any case; `visible` allows any visible ASCII except a comma.",
            &mut policy.accept,
        );
        visit(
            "incoming.max_length",
            "The length of the longest valid id, in bytes.",
            &mut policy.max_length,
        );
        visit(
            "incoming.on_invalid",
            "What happens if an id is invalid: `replace` gives the request another id; `reject` answers 400; `keep` keeps the id and only counts it, as a dry run.",
            &mut policy.on_invalid,
        );
        visit(
            "incoming.original",
            "The header in which a replaced id is passed to the upstream, or null. If the peer is not trusted and no id was replaced, the header is removed.",
            &mut self.original,
        );
        visit(
            "adopt.from",
            "The headers from which an id is taken if the client sent none, in order of preference. `aws` stands for the request-id headers of AWS. Of `x-amzn-trace-id` the Root field is used, of `traceparent` the trace-id.",
            &mut self.sources,
        );
        visit(
            "adopt.non_uuid",
            "What an adopted value becomes if it is not an RFC 9562 UUID: `derive` hashes it to a version 5 UUID; `verbatim` uses it as it is; `skip` ignores it.",
            &mut policy.non_uuid,
        );
        visit(
            "generate",
            "The format of new ids: a random UUID, a UUID that sorts by time, or 32 random hexadecimal digits.",
            &mut policy.generate,
        );
        visit(
            "response.echo",
            "The id in the response: `overwrite` replaces whatever the upstream sent; `if_absent` adds the id if the upstream sent none; `never` does not add it.",
            &mut policy.echo,
        );
        visit(
            "response.normalize_aws",
            "Whether the AWS id of a response is published as `x-amzn-requestid`.",
            &mut policy.normalize_aws,
        );
        visit(
            "response.expose",
            "Whether the header is added to `access-control-expose-headers` of responses that have `access-control-allow-origin`, so that browser code of other origins can read it.",
            &mut policy.expose,
        );
        visit(
            "log_origin",
            "Whether access logs can show how the request got its id, as `%FILTER_STATE(wasm.request_id.origin:PLAIN)%`.",
            &mut policy.log_origin,
        );
    }
}

/// A configuration that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its meaning.
    pub policy: Policy,
    /// All keys with the values in force, as JSON on one line.
    pub effective: String,
}

/// A key of the configuration, for its schema and its documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The path, such as `incoming.trust`.
    pub path: &'static str,
    /// The meaning, in one or more sentences.
    pub description: &'static str,
    /// The values that are allowed.
    pub kind: Kind,
    /// The default as JSON.
    pub default: String,
}

/// Returns all keys of the configuration.
#[must_use]
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    Settings::default().each_key(|path, description, setting| {
        keys.push(Key {
            path,
            description,
            kind: setting.kind(),
            default: setting.to_json(),
        });
    });
    keys
}

/// Reads a configuration. Empty or blank text is the default configuration.
///
/// # Errors
/// Returns all problems. If the text is not JSON, that is one problem.
///
/// ```
/// use request_id_configuration::read;
///
/// let configuration = read(br#"{"incoming": {"accept": "uuid"}}"#).unwrap();
/// assert!(configuration.effective.contains(r#""accept":"uuid","max_length":200"#));
///
/// let problems = read(br#"{"incoming": {"acept": "uuid", "max_length": 0}}"#).unwrap_err();
/// let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
/// assert!(problems[0].starts_with("incoming.acept: unknown key"));
/// assert!(problems[0].contains("did you mean incoming.accept?"));
/// assert_eq!(problems[1], "incoming.max_length: found 0; allowed: a whole number from 1 to 1024");
/// ```
#[inline(never)]
pub fn read(text: &[u8]) -> Result<Configuration, Vec<Problem>> {
    let mut settings = Settings::default();
    let mut problems = Problems::default();
    if !text.trim_ascii().is_empty() {
        let json = Json::parse(text).map_err(|problem| vec![problem])?;
        read_object(json, "", &mut settings, &mut problems);
    }
    let effective = to_json(&mut settings);
    let policy = check(settings, &mut problems);
    match (policy, problems.into_vec()) {
        (Some(policy), problems) if problems.is_empty() => Ok(Configuration { policy, effective }),
        (_, problems) => Err(problems),
    }
}

/// Reads the members of the object at `parent`, which is empty for the whole configuration. Keys
/// that begin with an underscore belong to others: Higress adds `_rules_` and more.
#[inline(never)]
fn read_object(json: Json<'_>, parent: &str, settings: &mut Settings, problems: &mut Problems) {
    let members = match json.into_members() {
        Ok(members) => members,
        Err(other) => return problems.add_value(parent, &other, "an object"),
    };
    let mut seen: Vec<String> = Vec::new();
    for (key, value) in members {
        if key.starts_with('_') {
            continue;
        }
        let path = match parent {
            "" => key.clone().into_owned(),
            parent => format!("{parent}.{key}"),
        };
        if seen.contains(&path) {
            problems.add(path, "the key twice", "once");
            continue;
        }
        let mut value = Some(value);
        let mut is_object = false;
        settings.each_key(|known, _, setting| {
            is_object |= !key.is_empty() && parent_of(known) == path;
            if parent_of(known) == parent
                && name_of(known) == key
                && let Some(value) = value.take()
            {
                setting.read(value, &path, problems);
            }
        });
        match value {
            None => seen.push(path),
            Some(value) if is_object => {
                read_object(value, &path, settings, problems);
                seen.push(path);
            }
            Some(value) => problems.add_unknown_key(parent, &key, &value),
        }
    }
}

/// Returns the path of the object that contains the key at `path`.
fn parent_of(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// Returns the name of the key at `path` in its object.
fn name_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Returns all values as one JSON object. The keys of one object follow each other.
#[inline(never)]
fn to_json(settings: &mut Settings) -> String {
    let mut json = String::new();
    let mut current = "";
    settings.each_key(|path, _, setting| {
        let parent = parent_of(path);
        if parent != current && !current.is_empty() {
            json.push('}');
        }
        json.push(if json.is_empty() { '{' } else { ',' });
        if parent != current && !parent.is_empty() {
            json.push_str(&format!("\"{parent}\":{{"));
        }
        current = parent;
        json.push_str(&format!("\"{}\":{}", name_of(path), setting.to_json()));
    });
    json.push('}');
    json
}

/// Checks the values against each other. A key that already has a problem gets no second one.
#[inline(never)]
fn check(settings: Settings, problems: &mut Problems) -> Option<Policy> {
    let Settings {
        header,
        original,
        sources,
        mut policy,
    } = settings;
    match PolicyHeaders::new(header.clone(), original.clone(), sources) {
        Ok(headers) => policy.headers = headers,
        Err(_) if problems.contains("header") => return None,
        Err(conflicts) => {
            for conflict in conflicts {
                const NOT_THE_ID: &str = "a header other than the one of the id (`header`)";
                let (path, name, allowed) = match conflict {
                    HeaderConflict::OriginalIsId => {
                        ("incoming.original".into(), &header, NOT_THE_ID)
                    }
                    HeaderConflict::OriginalIsSource => (
                        "incoming.original".into(),
                        original.as_ref().unwrap_or(&header),
                        "a header from which no id is adopted (`adopt.from`)",
                    ),
                    HeaderConflict::SourceIsId(index) => {
                        (format!("adopt.from[{index}]"), &header, NOT_THE_ID)
                    }
                };
                problems.add(path, &format!("\"{name}\""), allowed);
            }
            return None;
        }
    }
    if policy.on_invalid == OnInvalid::Reject && problems.is_empty() {
        for own_id in policy.rejected_own_ids() {
            let found = format!(
                "\"reject\" with {} and {}",
                warnings::limit(own_id, &policy),
                warnings::key(own_id)
            );
            let allowed = "\"replace\" or \"keep\", or a change to one of the other two: the next proxy \
                           with this configuration would answer 400 to clients that sent no id";
            problems.add("incoming.on_invalid".into(), &found, allowed);
        }
    }
    Some(policy)
}
