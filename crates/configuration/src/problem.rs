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

    #[inline(never)]
    pub(crate) fn new(path: String, found: &str, allowed: &str) -> Self {
        let message = ["found ", found, "; allowed: ", allowed].concat();
        Self { path, message }
    }

    pub(crate) fn of_value(path: String, found: &Json<'_>, allowed: &str) -> Self {
        Self::new(path, &shown(found), allowed)
    }

    #[inline(never)]
    pub(crate) fn of_item(path: &str, index: usize, found: &Json<'_>, allowed: &str) -> Self {
        Self::of_value(format!("{path}[{index}]"), found, allowed)
    }

    /// Describes a key that is not among the known `keys`; `parent` is the path of its object, empty
    /// for the whole configuration.
    #[inline(never)]
    pub(crate) fn unknown_key(
        parent: &str,
        name: &str,
        value: &Json<'_>,
        keys: &[Key<'_>],
    ) -> Self {
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
            let (object, last) = split(key.path);
            let known = match parent {
                // An object is listed once, where its first key is.
                "" if !object.is_empty() => object,
                _ if object == parent => last,
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

/// Splits the path of a key into the path of its object, which is empty for the whole configuration,
/// and its name.
pub fn split(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or(("", path))
}

/// Returns the known path whose last name is most similar to `name`, if at most a third of `name` is
/// wrong. Of equally similar names, the one with the more similar path is returned.
#[inline(never)]
fn most_similar(path: &str, name: &str, keys: &[Key<'_>]) -> Option<String> {
    // Control planes and people write the same name in several styles.
    let normalize = |text: &str| -> String {
        let text: String = text.chars().take(64).collect();
        text.to_ascii_lowercase().replace('-', "_")
    };
    let (path, normalized) = (normalize(path), normalize(name));
    let paths = keys.iter().map(|key| key.path);
    let objects = keys.iter().map(|key| split(key.path).0);
    let similar = paths
        .chain(objects.filter(|object| !object.is_empty()))
        .map(|known| {
            let distance = strsim::levenshtein(&normalized, split(known).1);
            (distance, strsim::levenshtein(&path, known), known)
        })
        .min()?;
    (similar.0.saturating_mul(3) <= name.chars().count()).then(|| similar.2.into())
}
