//! Reads the configuration of request-id-filter: which ones are accepted, and what is wrong with the
//! others.
//!
//! A configuration is text; [`read`] turns it into a [`Policy`] or reports all of its problems.
//! [`Settings::keys`] lists every key once, with its description. The defaults are those of
//! [`Policy::default`].
//!
//! The largest functions are `#[inline(never)]`, as [in the rules](request_id_rules).

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
use problem::join;
pub use setting::{Setting, Word};
pub use warnings::warnings;

use request_id_rules::header_name::HeaderName;
use request_id_rules::policy::{HeaderConflict, OnInvalid, Policy, PolicyHeaders, Source};

/// The values of all keys, each valid by itself.
pub struct Settings {
    header: HeaderName,
    original: Option<HeaderName>,
    sources: Vec<Source>,
    /// All other values; its headers are not used.
    policy: Policy,
}

/// A key of the configuration with its value.
pub struct Key<'a> {
    /// The name of the object that holds the key, such as `incoming`; empty for the configuration itself.
    pub object: &'static str,
    /// The name in that object, such as `trust`.
    pub name: &'static str,
    /// The meaning, in one or more sentences.
    pub description: &'static str,
    /// The value.
    pub setting: Setting<'a>,
}

impl Key<'_> {
    /// Returns the path, such as `incoming.trust`.
    #[must_use]
    pub fn path(&self) -> String {
        join(self.object, self.name)
    }
}

impl Settings {
    /// Returns every key, in the order of the documentation.
    pub fn keys(&mut self) -> [Key<'_>; 13] {
        let policy = &mut self.policy;
        [
            Key {
                object: "",
                name: "header",
                description: "The header that carries the id.",
                setting: Setting::HeaderName(&mut self.header),
            },
            Key {
                object: "incoming",
                name: "trust",
                description: "The peers that may supply ids, in any header, by Envoy's `source.address`: every peer, no peer, or the peers in these address ranges.",
                setting: Setting::Trust(&mut policy.trust),
            },
            Key {
                object: "incoming",
                name: "accept",
                description: "The ids that are valid: `safe` allows letters, digits and `-._~+/=:@#`; `uuid` allows UUIDs in the form 8-4-4-4-12, of any version and in any case; `visible` allows any visible ASCII except a comma.",
                setting: Setting::word(&mut policy.accept),
            },
            Key {
                object: "incoming",
                name: "max_length",
                description: "The length of the longest valid id, in bytes.",
                setting: Setting::Length(&mut policy.max_length),
            },
            Key {
                object: "incoming",
                name: "on_invalid",
                description: "What happens if an id is invalid: `replace` gives the request another id; `reject` answers 400; `keep` keeps the id and only counts it, as a dry run.",
                setting: Setting::word(&mut policy.on_invalid),
            },
            Key {
                object: "incoming",
                name: "original",
                description: "The header in which a replaced id is passed to the upstream, or null. If the peer is not trusted and no id was replaced, the header is removed.",
                setting: Setting::HeaderNameOrNull(&mut self.original),
            },
            Key {
                object: "adopt",
                name: "from",
                description: "The headers from which an id is taken if the client sent no valid one, in order of preference. `aws` stands for the request-id headers of AWS. Of `x-amzn-trace-id` the Root field is used, of `traceparent` the trace-id.",
                setting: Setting::Sources(&mut self.sources),
            },
            Key {
                object: "adopt",
                name: "non_uuid",
                description: "What an adopted value becomes if it is not an RFC 9562 UUID: `derive` hashes it to a version 5 UUID; `verbatim` uses it as it is; `skip` ignores it.",
                setting: Setting::word(&mut policy.non_uuid),
            },
            Key {
                object: "",
                name: "generate",
                description: "The format of new ids: a random UUID, a UUID that sorts by time, or 32 random hexadecimal digits.",
                setting: Setting::word(&mut policy.generate),
            },
            Key {
                object: "response",
                name: "echo",
                description: "The id in the response: `overwrite` replaces whatever the upstream sent; `if_absent` adds the id if the upstream sent none; `never` does not add it.",
                setting: Setting::word(&mut policy.echo),
            },
            Key {
                object: "response",
                name: "normalize_aws",
                description: "Whether the AWS id of a response is published as `x-amzn-requestid`.",
                setting: Setting::Boolean(&mut policy.normalize_aws),
            },
            Key {
                object: "response",
                name: "expose",
                description: "Whether the header is added to `access-control-expose-headers` of responses that have `access-control-allow-origin`, so that browser code of other origins can read it.",
                setting: Setting::Boolean(&mut policy.expose),
            },
            Key {
                object: "",
                name: "log_origin",
                description: "Whether access logs can show how the request got its id, as `%FILTER_STATE(wasm.request_id.origin:PLAIN)%`.",
                setting: Setting::Boolean(&mut policy.log_origin),
            },
        ]
    }
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

/// A configuration that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its meaning.
    pub policy: Policy,
    /// All keys with the values in force, as JSON on one line.
    pub effective: String,
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
    let mut problems = Vec::new();
    if !text.trim_ascii().is_empty() {
        let json = json::parse(text).map_err(|problem| vec![problem])?;
        read_object(json, "", &mut settings, &mut problems);
    }
    let effective = to_json(&mut settings);
    match check(settings, &mut problems) {
        Some(policy) if problems.is_empty() => Ok(Configuration { policy, effective }),
        _ => Err(problems),
    }
}

/// Reads the members of the object at the path `parent`, which is empty for the whole configuration.
/// Keys that begin with an underscore belong to others: Higress adds `_rules_` and more.
#[inline(never)]
fn read_object(json: Json<'_>, parent: &str, settings: &mut Settings, problems: &mut Vec<Problem>) {
    let Some(members) = json.members() else {
        return problems.push(Problem::of_value(parent.into(), json, "an object"));
    };
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in &members {
        if name.starts_with('_') {
            continue;
        }
        let path = join(parent, name);
        if seen.contains(&&**name) {
            problems.push(Problem::new(path, "the key twice", "once"));
            continue;
        }
        seen.push(name);
        let mut keys = settings.keys();
        let found = keys
            .iter_mut()
            .find(|key| key.object == parent && key.name == *name);
        if let Some(key) = found {
            key.setting.read(*value, &path, problems);
        } else if parent.is_empty()
            && !name.is_empty()
            && keys.iter().any(|key| key.object == *name)
        {
            read_object(*value, &path, settings, problems);
        } else {
            problems.push(Problem::unknown_key(parent, name, *value, &keys));
        }
    }
}

/// Returns all values as one JSON object on one line.
#[inline(never)]
fn to_json(settings: &mut Settings) -> String {
    let mut json = String::new();
    let mut current = "";
    for key in settings.keys() {
        let Key { object, name, .. } = key;
        // The keys of an object follow each other.
        if object != current && !current.is_empty() {
            json.push('}');
        }
        json.push(if json.is_empty() { '{' } else { ',' });
        if object != current && !object.is_empty() {
            json.push_str(&["\"", object, "\":{"].concat());
        }
        current = object;
        json.push_str(&["\"", name, "\":", &key.setting.to_json()].concat());
    }
    json.push('}');
    json
}

/// Checks the values against each other. A key that already has a problem gets no second one.
#[inline(never)]
fn check(settings: Settings, problems: &mut Vec<Problem>) -> Option<Policy> {
    let Settings {
        header,
        original,
        sources,
        mut policy,
    } = settings;
    match PolicyHeaders::new(header.clone(), original.clone(), sources) {
        Ok(headers) => policy.headers = headers,
        Err(_) if problems.iter().any(|problem| problem.path == "header") => return None,
        Err(conflicts) => {
            let original = original.unwrap_or_default();
            let conflicts = conflicts.into_iter();
            problems
                .extend(conflicts.map(|conflict| conflict_problem(conflict, &header, &original)));
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
            problems.push(Problem::new("incoming.on_invalid".into(), &found, allowed));
        }
    }
    Some(policy)
}

/// Returns the problem that two keys name the same header: `header` is that of the id, `original` that of
/// `incoming.original`.
fn conflict_problem(
    conflict: HeaderConflict,
    header: &HeaderName,
    original: &HeaderName,
) -> Problem {
    const NOT_THE_ID: &str = "a header other than the one of the id (`header`)";
    let (path, name, allowed) = match conflict {
        HeaderConflict::OriginalIsId => ("incoming.original".into(), header, NOT_THE_ID),
        HeaderConflict::OriginalIsSource => (
            "incoming.original".into(),
            original,
            "a header from which no id is adopted (`adopt.from`)",
        ),
        HeaderConflict::SourceIsId(index) => (format!("adopt.from[{index}]"), header, NOT_THE_ID),
    };
    Problem::new(path, &["\"", name.as_str(), "\""].concat(), allowed)
}
