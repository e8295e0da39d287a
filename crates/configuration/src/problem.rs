//! What is wrong with a configuration, where, and what is allowed instead.

use std::fmt;

use crate::Key;
use crate::json::{Json, escape_controls, shown};

/// A problem of a configuration, which displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the key or the list item; empty for the whole configuration.
    pub(crate) path: String,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.path {
            "" => "the configuration",
            path => path,
        })?;
        f.write_str(": ")?;
        f.write_str(&self.message)
    }
}

impl Problem {
    pub(crate) fn of_whole_text(message: String) -> Self {
        let path = String::new();
        Self { path, message }
    }

    pub(crate) fn new(path: String, found: &str, allowed: &str) -> Self {
        let message = ["found ", found, "; allowed: ", allowed].concat();
        Self { path, message }
    }

    pub(crate) fn of_value(path: String, found: Json<'_>, allowed: &str) -> Self {
        Self::new(path, &shown(found), allowed)
    }

    pub(crate) fn of_item(path: &str, index: usize, found: Json<'_>, allowed: &str) -> Self {
        Self::of_value(format!("{path}[{index}]"), found, allowed)
    }

    /// Describes a key that is not among the known `keys`; `parent` is the path of its object, empty
    /// for the whole configuration.
    #[inline(never)]
    pub(crate) fn unknown_key(parent: &str, name: &str, value: Json<'_>, keys: &[Key<'_>]) -> Self {
        let path = match name {
            "" => join(parent, "\"\""),
            name => join(parent, &escape_controls(name)),
        };
        let hint = match most_similar(&path, name, keys) {
            Some(similar) => ["did you mean ", &similar, "? "].concat(),
            None => String::new(),
        };
        let mut allowed: Vec<&str> = Vec::new();
        for key in keys {
            let known = match parent {
                // An object is listed once, where its first key is.
                "" if !key.object.is_empty() => key.object,
                _ if key.object == parent => key.name,
                _ => continue,
            };
            if allowed.last() != Some(&known) {
                allowed.push(known);
            }
        }
        let (value, allowed) = (shown(value), allowed.join(", "));
        let message = [
            "unknown key, with ",
            &value,
            "; ",
            &hint,
            "allowed: ",
            &allowed,
        ]
        .concat();
        Self { path, message }
    }
}

/// Returns the path of `name` in the object at `parent`.
pub fn join(parent: &str, name: &str) -> String {
    match parent {
        "" => name.into(),
        parent => [parent, ".", name].concat(),
    }
}

/// Returns the known path whose last name is most similar to `name`, if at most a third of `name` is
/// wrong. Of equally similar names, the one with the more similar path is returned.
fn most_similar(path: &str, name: &str, keys: &[Key<'_>]) -> Option<String> {
    let (path, name) = (normalize(path), normalize(name));
    let mut best = (usize::MAX, usize::MAX);
    let mut similar = None;
    for key in keys {
        for (known, known_path) in [(key.name, key.path()), (key.object, key.object.into())] {
            let distance = (
                strsim::levenshtein(&name, known),
                strsim::levenshtein(&path, &known_path),
            );
            if distance < best && !known.is_empty() {
                best = distance;
                similar = Some(known_path);
            }
        }
    }
    similar.filter(|_| best.0.saturating_mul(3) <= name.len())
}

/// Writes a name in one style: control planes and people write the same one in several.
fn normalize(name: &str) -> String {
    let normalize = |char| match char {
        '-' => '_',
        char => char.to_ascii_lowercase(),
    };
    name.chars().take(64).map(normalize).collect()
}
