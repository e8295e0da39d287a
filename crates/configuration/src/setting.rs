//! How the value of each key is read and shown.

use request_id_rules::header_name::HeaderName;
use request_id_rules::policy::{Accept, Echo, IdFormat, MaxLength, NonUuid, OnInvalid, Source};
use request_id_rules::trust::{Cidr, Trust};

use crate::json::{Json, Part};
use crate::problem::Problem;

/// The value of a key, by its type.
pub enum Setting<'a> {
    /// One of three words.
    Word([&'static str; 3], &'a mut dyn Word),
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

impl<'a> Setting<'a> {
    pub(crate) fn word<T: Words>(value: &'a mut T) -> Self {
        Self::Word(T::WORDS, value)
    }

    /// Takes on the value that `json` spells, or adds a problem if it spells none.
    pub(crate) fn read(&mut self, json: Json<'_>, path: &str, problems: &mut Vec<Problem>) {
        if self.set(json, path, problems).is_none() {
            problems.push(Problem::of_value(path.into(), json, &self.allowed()));
        }
    }

    /// Takes on the value that `json` spells. Returns `None` if it spells none; a list is taken on even if
    /// some of its items are not valid, and a problem is added for each of those.
    #[inline(never)]
    fn set(&mut self, json: Json<'_>, path: &str, problems: &mut Vec<Problem>) -> Option<()> {
        let text = json.string();
        match self {
            Self::Word(words, value) => value.set(words.iter().position(|word| *word == text)?),
            Self::Boolean(value) => **value = json.as_written().parse().ok()?,
            Self::Length(length) => {
                **length = whole_number(json.as_written()).and_then(MaxLength::new)?;
            }
            Self::HeaderName(name) => **name = HeaderName::new(&text)?,
            Self::HeaderNameOrNull(name) => {
                **name = match json.as_written() {
                    "null" => None,
                    _ => Some(HeaderName::new(&text)?),
                }
            }
            Self::Sources(sources) => **sources = read_sources(&json.items()?, path, problems),
            Self::Trust(trust) => {
                **trust = match &*text {
                    "all" => Trust::All,
                    "none" => Trust::None,
                    _ => Trust::only(read_ranges(&json.items()?, path, problems)),
                }
            }
        }
        Some(())
    }

    /// Returns which values are allowed, for a message.
    fn allowed(&self) -> String {
        match self {
            Self::Word([first, second, third], _) => {
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
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Word(words, value) => {
                quote(words.get(value.index()).copied().unwrap_or_default())
            }
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

#[inline(never)]
fn read_sources(items: &[Part<'_>], path: &str, problems: &mut Vec<Problem>) -> Vec<Source> {
    let allowed = ["\"aws\" or ", HEADER_NAME].concat();
    let mut sources = Vec::new();
    for (index, (_, item)) in items.iter().enumerate() {
        let source = match &*item.string() {
            // Header names are accepted in any case, so this word is, too.
            text if text.eq_ignore_ascii_case("aws") => Some(Source::Aws),
            text => HeaderName::new(text).map(Source::from_header),
        };
        if source.is_none() {
            problems.push(Problem::of_item(path, index, *item, &allowed));
        }
        // Any source in place of an invalid one keeps the indexes of those after it.
        sources.push(source.unwrap_or(Source::Aws));
    }
    sources
}

fn read_ranges(items: &[Part<'_>], path: &str, problems: &mut Vec<Problem>) -> Vec<Cidr> {
    let allowed = "an IPv4 or IPv6 address, or a range such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
    let mut ranges = Vec::new();
    for (index, (_, item)) in items.iter().enumerate() {
        match Cidr::parse(&item.string()) {
            Some(range) => ranges.push(range),
            None => problems.push(Problem::of_item(path, index, *item, allowed)),
        }
    }
    ranges
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
    /// Returns the index of the word of this value.
    fn index(&self) -> usize;
    /// Takes on the value of the word at this index.
    fn set(&mut self, index: usize);
}

/// The words of a type, and the value that each stands for.
pub(crate) trait Words: Copy + PartialEq {
    const WORDS: [&'static str; 3];
    const VALUES: [Self; 3];
}

impl<T: Words> Word for T {
    fn index(&self) -> usize {
        T::VALUES.iter().take_while(|value| *value != self).count()
    }

    fn set(&mut self, index: usize) {
        if let Some(value) = T::VALUES.get(index) {
            *self = *value;
        }
    }
}

impl Words for Accept {
    const WORDS: [&'static str; 3] = ["safe", "uuid", "visible"];
    const VALUES: [Self; 3] = [Self::Safe, Self::Uuid, Self::Visible];
}

impl Words for OnInvalid {
    const WORDS: [&'static str; 3] = ["replace", "reject", "keep"];
    const VALUES: [Self; 3] = [Self::Replace, Self::Reject, Self::Keep];
}

impl Words for NonUuid {
    const WORDS: [&'static str; 3] = ["derive", "verbatim", "skip"];
    const VALUES: [Self; 3] = [Self::Derive, Self::Verbatim, Self::Skip];
}

impl Words for IdFormat {
    const WORDS: [&'static str; 3] = ["uuid4", "uuid7", "hex32"];
    const VALUES: [Self; 3] = [Self::Uuid4, Self::Uuid7, Self::Hex32];
}

impl Words for Echo {
    const WORDS: [&'static str; 3] = ["overwrite", "if_absent", "never"];
    const VALUES: [Self; 3] = [Self::Overwrite, Self::IfAbsent, Self::Never];
}
