//! How the value of each type is read and shown.

use crate::json::Json;
use crate::problem::Problems;
use request_id_rules::header_name::HeaderName;
use request_id_rules::policy::{Accept, Echo, IdFormat, MaxLength, NonUuid, OnInvalid, Source};
use request_id_rules::trust::{Cidr, Trust};

/// The value of a key.
pub trait Setting {
    /// Takes on the value that `json` spells, or adds a problem if it spells none.
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems);
    /// Returns the value as JSON.
    fn to_json(&self) -> String;
    /// Returns which values are allowed.
    fn kind(&self) -> Kind;
}

/// The values that a key allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Words(Vec<&'static str>),
    /// `true` or `false`.
    Boolean,
    /// A whole number in [`MaxLength::RANGE`].
    Length,
    /// A [`HeaderName`].
    HeaderName,
    /// `null` or a [`HeaderName`].
    HeaderNameOrNull,
    /// A list of header names and `aws`.
    Sources,
    /// `all`, `none` or a list of address ranges ([`Cidr`]).
    Trust,
}

const HEADER_NAME: &str = "the name of a header (letters, digits and hyphens, without a colon), but none that HTTP needs itself, such as host";

impl Kind {
    fn allowed(&self) -> String {
        match self {
            Self::Words(words) => one_of(words),
            Self::Boolean => "true or false".into(),
            Self::Length => {
                let (least, most) = (MaxLength::RANGE.start(), MaxLength::RANGE.end());
                format!("a whole number from {least} to {most}")
            }
            Self::HeaderName => HEADER_NAME.into(),
            Self::HeaderNameOrNull => format!("null or {HEADER_NAME}"),
            Self::Sources => "a list of header names and \"aws\"".into(),
            Self::Trust => {
                "\"all\", \"none\" or a list of address ranges such as \"10.0.0.0/8\"".into()
            }
        }
    }
}

/// Returns `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
    match &*quoted {
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
        [] => String::new(),
    }
}

/// Quotes text that needs no escaping in JSON: words, header names and address ranges.
fn quote(text: &str) -> String {
    format!("\"{text}\"")
}

/// Sets `setting` to the value that was read, or adds a problem if there is none.
fn set<T: Setting>(
    setting: &mut T,
    value: Option<T>,
    json: &Json<'_>,
    path: &str,
    problems: &mut Problems,
) {
    match value {
        Some(value) => *setting = value,
        None => problems.add_value(path, json, &setting.kind().allowed()),
    }
}

/// A value that is one of several words.
trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

impl Word for Accept {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("safe", Self::Safe),
        ("uuid", Self::Uuid),
        ("visible", Self::Visible),
    ];
}

impl Word for OnInvalid {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("replace", Self::Replace),
        ("reject", Self::Reject),
        ("keep", Self::Keep),
    ];
}

impl Word for NonUuid {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("derive", Self::Derive),
        ("verbatim", Self::Verbatim),
        ("skip", Self::Skip),
    ];
}

impl Word for IdFormat {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("uuid4", Self::Uuid4),
        ("uuid7", Self::Uuid7),
        ("hex32", Self::Hex32),
    ];
}

impl Word for Echo {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("overwrite", Self::Overwrite),
        ("if_absent", Self::IfAbsent),
        ("never", Self::Never),
    ];
}

impl<T: Word> Setting for T {
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems) {
        let found = T::WORDS
            .iter()
            .find(|(word, _)| json.as_text() == Some(word));
        set(self, found.map(|(_, value)| *value), &json, path, problems);
    }

    fn to_json(&self) -> String {
        let found = T::WORDS.iter().find(|(_, value)| value == self);
        quote(found.map_or("", |(word, _)| word))
    }

    fn kind(&self) -> Kind {
        Kind::Words(T::WORDS.iter().map(|(word, _)| *word).collect())
    }
}

impl Setting for bool {
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems) {
        set(self, json.as_bool(), &json, path, problems);
    }

    fn to_json(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> Kind {
        Kind::Boolean
    }
}

impl Setting for MaxLength {
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems) {
        let length = json.as_whole_number().and_then(Self::new);
        set(self, length, &json, path, problems);
    }

    fn to_json(&self) -> String {
        self.get().to_string()
    }

    fn kind(&self) -> Kind {
        Kind::Length
    }
}

impl Setting for HeaderName {
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems) {
        let name = json.as_text().and_then(Self::new);
        set(self, name, &json, path, problems);
    }

    fn to_json(&self) -> String {
        quote(self.as_str())
    }

    fn kind(&self) -> Kind {
        Kind::HeaderName
    }
}

impl Setting for Option<HeaderName> {
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems) {
        let name = match json.as_text() {
            None if json.is_null() => Some(None),
            None => None,
            Some(name) => HeaderName::new(name).map(Some),
        };
        set(self, name, &json, path, problems);
    }

    fn to_json(&self) -> String {
        self.as_ref().map_or("null".into(), Setting::to_json)
    }

    fn kind(&self) -> Kind {
        Kind::HeaderNameOrNull
    }
}

impl Setting for Vec<Source> {
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems) {
        let items = match json.into_items() {
            Ok(items) => items,
            Err(other) => return set(self, None, &other, path, problems),
        };
        self.clear();
        for (index, item) in items.iter().enumerate() {
            let source = match item.as_text() {
                // Header names are accepted in any case, so this word is, too.
                Some(name) if name.eq_ignore_ascii_case("aws") => Some(Source::Aws),
                Some(name) => HeaderName::new(name).map(Source::from_header),
                None => None,
            };
            if source.is_none() {
                let path = format!("{path}[{index}]");
                problems.add_value(&path, item, &format!("\"aws\" or {HEADER_NAME}"));
            }
            // Any source in place of an invalid one keeps the indexes of those after it.
            self.push(source.unwrap_or(Source::Aws));
        }
    }

    fn to_json(&self) -> String {
        let names = self.iter().map(|source| source.header().unwrap_or("aws"));
        list(names.map(quote))
    }

    fn kind(&self) -> Kind {
        Kind::Sources
    }
}

impl Setting for Trust {
    fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Problems) {
        match json.as_text() {
            Some("all") => return *self = Self::All,
            Some("none") => return *self = Self::None,
            _ => {}
        }
        let items = match json.into_items() {
            Ok(items) => items,
            Err(other) => return set(self, None, &other, path, problems),
        };
        let mut ranges = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_text().and_then(Cidr::parse) {
                Some(range) => ranges.push(range),
                None => {
                    let allowed = "an IPv4 or IPv6 address, or a range such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
                    problems.add_value(&format!("{path}[{index}]"), item, allowed);
                }
            }
        }
        *self = match ranges[..] {
            [] => Self::None,
            _ => Self::Only(ranges),
        };
    }

    fn to_json(&self) -> String {
        match self {
            Self::All => quote("all"),
            Self::None => quote("none"),
            Self::Only(ranges) => list(ranges.iter().map(|range| quote(&range.to_string()))),
        }
    }

    fn kind(&self) -> Kind {
        Kind::Trust
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
