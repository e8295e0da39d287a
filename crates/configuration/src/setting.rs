//! How the value of each key is read and shown.

use hifijson::value::Value;
use request_id_rules::header_name::HeaderName;
use request_id_rules::policy::{Accept, Echo, IdFormat, MaxLength, NonUuid, OnInvalid, Source};
use request_id_rules::trust::{Cidr, Trust};

use crate::json::Json;
use crate::problem::Problem;

/// The value of a key, by its type.
pub enum Setting<'a> {
    /// One of several words.
    Word(&'a mut dyn Word),
    /// `true` or `false`.
    Boolean(&'a mut bool),
    /// A whole number in [`MaxLength::RANGE`].
    Length(&'a mut MaxLength),
    /// The name of a header.
    HeaderName(&'a mut HeaderName),
    /// The name of a header, or `null`.
    HeaderNameOrNull(&'a mut Option<HeaderName>),
    /// A list of header names and `aws`.
    Sources(&'a mut Vec<Source>),
    /// `all`, `none` or a list of address ranges.
    Trust(&'a mut Trust),
}

const HEADER_NAME: &str = "the name of a header (letters, digits and hyphens, without a colon), but none that HTTP needs itself, such as host";

impl Setting<'_> {
    /// Takes on the value that `json` spells, or adds a problem if it spells none.
    #[inline(never)]
    pub(crate) fn read(&mut self, json: &Json<'_>, path: &str, problems: &mut Vec<Problem>) {
        let is_allowed = match (&mut *self, json) {
            (Self::Word(word), Value::String(text)) => word.choose(text),
            (Self::Boolean(value), Value::Bool(read)) => set(*value, Some(*read)),
            (Self::Length(length), Value::Number((number, _))) => {
                set(*length, whole_number(number).and_then(MaxLength::new))
            }
            (Self::HeaderName(name), Value::String(text)) => set(*name, HeaderName::new(text)),
            (Self::HeaderNameOrNull(name), Value::Null) => set(*name, Some(None)),
            (Self::HeaderNameOrNull(name), Value::String(text)) => {
                set(*name, HeaderName::new(text).map(Some))
            }
            (Self::Sources(sources), Value::Array(items)) => {
                **sources = read_sources(items, path, problems);
                true
            }
            (Self::Trust(trust), Value::String(text)) => match &**text {
                "all" => set(*trust, Some(Trust::All)),
                "none" => set(*trust, Some(Trust::None)),
                _ => false,
            },
            (Self::Trust(trust), Value::Array(items)) => {
                **trust = Trust::only(read_ranges(items, path, problems));
                true
            }
            _ => false,
        };
        if !is_allowed {
            problems.push(Problem::of_value(path.into(), json, &self.allowed()));
        }
    }

    /// Returns which values are allowed, for a message.
    #[inline(never)]
    fn allowed(&self) -> String {
        match self {
            Self::Word(word) => {
                let [first, second, third] = word.words();
                ["\"", first, "\", \"", second, "\" or \"", third, "\""].concat()
            }
            Self::Boolean(_) => "true or false".into(),
            Self::Length(_) => {
                let (least, most) = (MaxLength::RANGE.start(), MaxLength::RANGE.end());
                format!("a whole number from {least} to {most}")
            }
            Self::HeaderName(_) => HEADER_NAME.into(),
            Self::HeaderNameOrNull(_) => ["null or ", HEADER_NAME].concat(),
            Self::Sources(_) => "a list of header names and \"aws\"".into(),
            Self::Trust(_) => {
                "\"all\", \"none\" or a list of address ranges such as \"10.0.0.0/8\"".into()
            }
        }
    }

    /// Returns the value as JSON.
    #[inline(never)]
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Word(word) => quote(word.chosen()),
            Self::Boolean(true) => "true".into(),
            Self::Boolean(false) => "false".into(),
            Self::Length(length) => length.get().to_string(),
            Self::HeaderName(name) => quote(name.as_str()),
            Self::HeaderNameOrNull(None) => "null".into(),
            Self::HeaderNameOrNull(Some(name)) => quote(name.as_str()),
            Self::Sources(sources) => {
                let sources = sources.iter().map(Source::header);
                list(&mut sources.map(|header| header.unwrap_or("aws")))
            }
            Self::Trust(Trust::All) => quote("all"),
            Self::Trust(Trust::None) => quote("none"),
            Self::Trust(Trust::Only(ranges)) => list(&mut ranges.iter().map(Cidr::as_str)),
        }
    }
}

/// Sets `setting` to the value that was read, and returns whether there is one.
fn set<T>(setting: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *setting = value;
            true
        }
        None => false,
    }
}

#[inline(never)]
fn read_sources(items: &[Json<'_>], path: &str, problems: &mut Vec<Problem>) -> Vec<Source> {
    let allowed = ["\"aws\" or ", HEADER_NAME].concat();
    let mut sources = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let source = match text_of(item) {
            // Header names are accepted in any case, so this word is, too.
            text if text.eq_ignore_ascii_case("aws") => Some(Source::Aws),
            text => HeaderName::new(text).map(Source::from_header),
        };
        if source.is_none() {
            problems.push(Problem::of_item(path, index, item, &allowed));
        }
        // Any source in place of an invalid one keeps the indexes of those after it.
        sources.push(source.unwrap_or(Source::Aws));
    }
    sources
}

#[inline(never)]
fn read_ranges(items: &[Json<'_>], path: &str, problems: &mut Vec<Problem>) -> Vec<Cidr> {
    let allowed = "an IPv4 or IPv6 address, or a range such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
    let mut ranges = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match Cidr::parse(text_of(item)) {
            Some(range) => ranges.push(range),
            None => problems.push(Problem::of_item(path, index, item, allowed)),
        }
    }
    ranges
}

/// Returns the text of a string; no other value is a header name or an address.
fn text_of<'j>(json: &'j Json<'_>) -> &'j str {
    match json {
        Value::String(text) => text,
        _ => "",
    }
}

/// Reads a whole number, with or without a fraction of zeros: control planes differ in how they print
/// one. None of them prints a small number with an exponent, so that is not read.
fn whole_number(number: &str) -> Option<u16> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_whole = fraction.bytes().all(|digit| digit == b'0');
    whole.parse().ok().filter(|_| is_whole)
}

/// Quotes text that needs no escaping in JSON: words and header names.
fn quote(text: &str) -> String {
    ["\"", text, "\""].concat()
}

fn list(items: &mut dyn Iterator<Item = &str>) -> String {
    let mut json = String::from("[");
    for item in items {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&quote(item));
    }
    json + "]"
}

/// A value that is one of three words.
pub trait Word {
    /// Returns the words.
    fn words(&self) -> [&'static str; 3];
    /// Returns the word of this value.
    fn chosen(&self) -> &'static str;
    /// Takes on the value of a word, and returns whether there is such a word.
    fn choose(&mut self, word: &str) -> bool;
}

/// The words of a type, and the value that each stands for.
trait Choice: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self); 3];
}

impl<T: Choice> Word for T {
    fn words(&self) -> [&'static str; 3] {
        T::WORDS.map(|(word, _)| word)
    }

    fn chosen(&self) -> &'static str {
        let chosen = T::WORDS.iter().find(|(_, value)| value == self);
        chosen.map_or("", |(word, _)| word)
    }

    fn choose(&mut self, word: &str) -> bool {
        let chosen = T::WORDS.iter().find(|(known, _)| *known == word);
        set(self, chosen.map(|(_, value)| *value))
    }
}

impl Choice for Accept {
    const WORDS: &'static [(&'static str, Self); 3] = &[
        ("safe", Self::Safe),
        ("uuid", Self::Uuid),
        ("visible", Self::Visible),
    ];
}

impl Choice for OnInvalid {
    const WORDS: &'static [(&'static str, Self); 3] = &[
        ("replace", Self::Replace),
        ("reject", Self::Reject),
        ("keep", Self::Keep),
    ];
}

impl Choice for NonUuid {
    const WORDS: &'static [(&'static str, Self); 3] = &[
        ("derive", Self::Derive),
        ("verbatim", Self::Verbatim),
        ("skip", Self::Skip),
    ];
}

impl Choice for IdFormat {
    const WORDS: &'static [(&'static str, Self); 3] = &[
        ("uuid4", Self::Uuid4),
        ("uuid7", Self::Uuid7),
        ("hex32", Self::Hex32),
    ];
}

impl Choice for Echo {
    const WORDS: &'static [(&'static str, Self); 3] = &[
        ("overwrite", Self::Overwrite),
        ("if_absent", Self::IfAbsent),
        ("never", Self::Never),
    ];
}
