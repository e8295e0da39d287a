//! What is wrong with a configuration, where, and what is allowed instead.

use std::fmt;

use crate::json::Json;
use crate::{keys, name_of, parent_of};

/// A problem of a configuration, which displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl Problem {
    pub(super) fn of_whole_text(problem: &str) -> Self {
        Self(format!("{WHOLE}: {problem}"))
    }
}

const WHOLE: &str = "the configuration";

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The problems found so far, with their paths.
#[derive(Default)]
pub struct Problems(Vec<(String, Problem)>);

impl Problems {
    #[inline(never)]
    pub fn add(&mut self, path: String, found: &str, allowed: &str) {
        let place = if path.is_empty() { WHOLE } else { &path };
        let problem = Problem(format!("{place}: found {found}; allowed: {allowed}"));
        self.0.push((path, problem));
    }

    pub fn add_value(&mut self, path: &str, found: &Json<'_>, allowed: &str) {
        self.add(path.into(), &found.to_string(), allowed);
    }

    #[inline(never)]
    pub fn add_unknown_key(&mut self, parent: &str, key: &str, value: &Json<'_>) {
        let shown = match key {
            "" => "\"\"".into(),
            key => key.escape_default().to_string(),
        };
        let path = match parent {
            "" => shown,
            parent => format!("{parent}.{shown}"),
        };
        let hint = match most_similar(&path, key) {
            Some(likely) => format!("did you mean {likely}? "),
            None => String::new(),
        };
        let mut allowed: Vec<&str> = Vec::new();
        for known in keys().iter().map(|known| known.path) {
            let below = match parent {
                "" => Some(known),
                parent => known
                    .strip_prefix(parent)
                    .and_then(|rest| rest.strip_prefix('.')),
            };
            if let Some(name) = below.and_then(|below| below.split('.').next())
                && !allowed.contains(&name)
            {
                allowed.push(name);
            }
        }
        let allowed = allowed.join(", ");
        let problem = format!("{path}: unknown key, with {value}; {hint}allowed: {allowed}");
        self.0.push((path, Problem(problem)));
    }

    pub fn contains(&self, path: &str) -> bool {
        self.0.iter().any(|(known, _)| known == path)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_vec(self) -> Vec<Problem> {
        self.0.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// Returns the known path whose last name is most similar to `key`, if at most a third of `key` is
/// wrong. Of equally similar names, the one with the more similar path is returned.
#[inline(never)]
fn most_similar(path: &str, key: &str) -> Option<&'static str> {
    // Control planes and people write the same name in several styles.
    let normalize = |text: &str| -> String {
        let normalize = |char: char| match char {
            '-' => '_',
            char => char.to_ascii_lowercase(),
        };
        text.chars().take(64).map(normalize).collect()
    };
    let distance = |one: &str, other: &str| strsim::levenshtein(&normalize(one), other);
    let keys = keys();
    let paths = keys.iter().map(|known| known.path);
    let parents = keys.iter().map(|known| parent_of(known.path));
    let nearest = paths
        .chain(parents.filter(|parent| !parent.is_empty()))
        .min_by_key(|known| (distance(key, name_of(known)), distance(path, known)))?;
    (distance(key, name_of(nearest)).saturating_mul(3) <= key.chars().count()).then_some(nearest)
}
