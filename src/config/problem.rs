//! What is wrong with a configuration, where, and what is allowed instead.

use std::fmt;

use super::json::Json;

/// One problem, which displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl Problem {
    /// A problem of the whole text.
    pub(super) fn of_text(what: String) -> Self {
        Self(format!("{}: {what}", Place::root()))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a configuration, such as `incoming.trust[2]`; the root is empty.
pub struct Place(String);

impl Place {
    pub fn root() -> Self {
        Self(String::new())
    }

    pub fn key(&self, key: &str) -> Self {
        match self.0.as_str() {
            "" => Self(key.into()),
            parent => Self(format!("{parent}.{key}")),
        }
    }

    pub fn item(&self, place: usize) -> Self {
        Self(format!("{}[{place}]", self.0))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.as_str() {
            "" => "the configuration",
            path => path,
        })
    }
}

/// The problems found so far.
pub struct Problems {
    found: Vec<(String, Problem)>,
    /// The paths of all keys there are.
    known: Vec<String>,
}

impl Problems {
    pub fn new(known: Vec<String>) -> Self {
        Self {
            found: Vec::new(),
            known,
        }
    }

    pub fn add(&mut self, path: String, found: String, allowed: String) {
        let problem = Problem(format!("{path}: found {found}; allowed: {allowed}"));
        self.found.push((path, problem));
    }

    /// A value that is none of those allowed.
    pub fn value(&mut self, place: &Place, value: &Json<'_>, allowed: String) {
        self.add(place.to_string(), value.to_string(), allowed);
    }

    /// A key that is written twice: which one counts would be anyone's guess.
    pub fn repeated_key(&mut self, place: &Place) {
        self.add(place.to_string(), "the key twice".into(), "once".into());
    }

    pub fn unknown_key(&mut self, parent: &Place, key: &str, value: &Json<'_>, allowed: &[&str]) {
        let shown = match key {
            "" => "\"\"".into(),
            key => key.escape_default().to_string(),
        };
        let path = parent.key(&shown).to_string();
        let hint = match self.likely(&path, key) {
            Some(likely) => format!("did you mean {likely}? "),
            None => String::new(),
        };
        let problem = format!(
            "{path}: unknown key, with {value}; {hint}allowed: {}",
            allowed.join(", ")
        );
        self.found.push((path, Problem(problem)));
    }

    /// The known path whose last name is nearest to `key`; of equally near ones the nearest path.
    fn likely(&self, path: &str, key: &str) -> Option<&str> {
        let distance_of = |known: &&String| {
            let last = known.rsplit('.').next().unwrap_or_default();
            (distance(key, last), distance(path, known))
        };
        let nearest = self.known.iter().min_by_key(distance_of)?;
        let (of_key, _) = distance_of(&nearest);
        // A third of the key may be wrong.
        (of_key.saturating_mul(3) <= key.chars().count()).then_some(nearest)
    }

    pub fn has(&self, path: &str) -> bool {
        self.found.iter().any(|(found, _)| found == path)
    }

    pub fn into_vec(self) -> Vec<Problem> {
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// How many characters must be inserted, removed or changed to make one of the other (Levenshtein).
/// Case, and hyphens for underscores, do not count.
fn distance(one: &str, other: &str) -> usize {
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .take(64)
            .map(|char| {
                if char == '-' {
                    '_'
                } else {
                    char.to_ascii_lowercase()
                }
            })
            .collect()
    };
    let (one, other) = (plain(one), plain(other));
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.iter().enumerate() {
        let mut diagonal = line;
        let mut left = line.saturating_add(1);
        for (b, above) in other.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal.saturating_add((a != b).into());
            left = changed
                .min(left.saturating_add(1))
                .min(above.saturating_add(1));
            diagonal = std::mem::replace(above, left);
        }
        if let Some(first) = row.first_mut() {
            *first = line.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distance_counts_edits() {
        for (one, other, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("max_lenght", "max_length", 2),
            ("maxLength", "max_length", 1),
            ("Max-Length", "max_length", 0),
            ("acept", "accept", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), edits, "{one} {other}");
            assert_eq!(distance(other, one), edits, "{other} {one}");
        }
    }
}
