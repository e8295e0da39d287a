//! How each type of a configuration is read and shown.

use std::borrow::Cow;
use std::fmt::Write;

use super::json::Json;
use super::problem::{Place, Problems};
#[cfg(not(target_family = "wasm"))]
use super::schema::{self, Schema};
use crate::header_name::HeaderName;
use crate::policy::{Accept, Echo, Form, MaxLength, NonUuid, OnInvalid, Source};
use crate::trust::{Cidr, Trust};

/// A value of a configuration.
pub trait Setting: Sized {
    /// The value that `json` spells. `None`, with a problem added, if it spells none.
    fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self>;
    /// The value as JSON.
    fn show(&self, json: &mut String);
    /// What JSON spells such a value.
    #[cfg(not(target_family = "wasm"))]
    fn schema() -> Schema;
    /// The paths of the keys in it.
    fn paths(_place: &Place) -> Vec<String> {
        Vec::new()
    }
}

/// Defines a struct of settings: its keys are the names of its fields.
macro_rules! object {
    (
        $(#[doc = $doc:literal])*
        $name:ident {
            $($(#[doc = $key_doc:literal])* $key:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        struct $name {
            $($(#[doc = $key_doc])* $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
                let keys = [$(stringify!($key)),*];
                let members = $crate::config::setting::members(json, &keys, place, problems)?;
                let mut object = Self::default();
                for (key, value) in members {
                    match &*key {
                        $(stringify!($key) => {
                            if let Some(value) = Setting::read(value, &place.key(&key), problems) {
                                object.$key = value;
                            }
                        })*
                        _ => {}
                    }
                }
                Some(object)
            }

            fn show(&self, json: &mut String) {
                let mut separator = '{';
                $(
                    json.push(separator);
                    json.push_str(concat!("\"", stringify!($key), "\":"));
                    self.$key.show(json);
                    separator = ',';
                )*
                let _ = separator;
                json.push('}');
            }

            #[cfg(not(target_family = "wasm"))]
            fn schema() -> $crate::config::schema::Schema {
                let default = Self::default();
                $crate::config::schema::object(
                    concat!($($doc),*).trim(),
                    [$((
                        stringify!($key),
                        concat!($($key_doc),*).trim(),
                        $crate::config::schema::with_default(&default.$key),
                    )),*],
                )
            }

            fn paths(place: &Place) -> Vec<String> {
                let mut paths = Vec::new();
                $(
                    let key = place.key(stringify!($key));
                    paths.extend(<$type as Setting>::paths(&key));
                    paths.push(key.to_string());
                )*
                paths
            }
        }
    };
}
pub(super) use object;

/// The members of an object that have one of `keys`. Keys that begin with an underscore are for
/// others: Higress adds `_rules_` and such.
pub fn members<'j>(
    json: Json<'j>,
    keys: &[&str],
    place: &Place,
    problems: &mut Problems,
) -> Option<Vec<(Cow<'j, str>, Json<'j>)>> {
    let refuse = |other| problems.value(place, &other, "an object".into());
    let members = json.members().map_err(refuse).ok()?;
    let mut known: Vec<(Cow<'_, str>, Json<'_>)> = Vec::new();
    for (key, value) in members {
        if key.starts_with('_') {
            continue;
        }
        if !keys.contains(&&*key) {
            problems.unknown_key(place, &key, &value, keys);
        } else if known.iter().any(|(seen, _)| *seen == key) {
            problems.repeated_key(&place.key(&key));
        } else {
            known.push((key, value));
        }
    }
    Some(known)
}

/// Implements [`Setting`] for an enum of words.
macro_rules! choice {
    ($name:ident { $($variant:ident = $word:literal,)* }) => {
        impl Setting for $name {
            fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
                match json.text() {
                    $(Some($word) => return Some(Self::$variant),)*
                    _ => {}
                }
                problems.value(place, &json, one_of(&[$($word),*]));
                None
            }

            fn show(&self, json: &mut String) {
                show_text(json, match self { $(Self::$variant => $word,)* });
            }

            #[cfg(not(target_family = "wasm"))]
            fn schema() -> Schema {
                schema::one_of(&[$($word),*])
            }
        }
    };
}

choice!(Accept { Safe = "safe", Uuid = "uuid", Visible = "visible", });
choice!(OnInvalid { Replace = "replace", Reject = "reject", Keep = "keep", });
choice!(NonUuid { Derive = "derive", Verbatim = "verbatim", Skip = "skip", });
choice!(Form { Uuid4 = "uuid4", Uuid7 = "uuid7", Hex32 = "hex32", });
choice!(Echo { Overwrite = "overwrite", IfAbsent = "if_absent", Never = "never", });

/// `"a", "b" or "c"`
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match &*quoted {
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
        [] => String::new(),
    }
}

/// Only for text that needs no escape in JSON: words, header names, address ranges.
fn show_text(json: &mut String, text: &str) {
    let _ = write!(json, "\"{text}\"");
}

fn show_list<T>(json: &mut String, items: &[T], show: impl Fn(&T, &mut String)) {
    let mut separator = "";
    json.push('[');
    for item in items {
        json.push_str(separator);
        show(item, json);
        separator = ",";
    }
    json.push(']');
}

impl Setting for bool {
    fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
        let read = json.boolean();
        if read.is_none() {
            problems.value(place, &json, "true or false".into());
        }
        read
    }

    fn show(&self, json: &mut String) {
        let _ = write!(json, "{self}");
    }

    #[cfg(not(target_family = "wasm"))]
    fn schema() -> Schema {
        schema::boolean()
    }
}

impl Setting for MaxLength {
    fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
        let read = json.whole().and_then(Self::new);
        if read.is_none() {
            let (least, most) = (Self::RANGE.start(), Self::RANGE.end());
            let allowed = format!("a whole number from {least} to {most}");
            problems.value(place, &json, allowed);
        }
        read
    }

    fn show(&self, json: &mut String) {
        let _ = write!(json, "{}", self.get());
    }

    #[cfg(not(target_family = "wasm"))]
    fn schema() -> Schema {
        schema::whole_number(Self::RANGE)
    }
}

const HEADER_NAME: &str = "the name of a header (letters, digits and hyphens; none with a colon, none of HTTP's own such as host)";

impl Setting for HeaderName {
    fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
        let read = json.text().and_then(Self::new);
        if read.is_none() {
            problems.value(place, &json, HEADER_NAME.into());
        }
        read
    }

    fn show(&self, json: &mut String) {
        show_text(json, self.as_str());
    }

    #[cfg(not(target_family = "wasm"))]
    fn schema() -> Schema {
        schema::header_name()
    }
}

impl Setting for Option<HeaderName> {
    fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
        if json.is_null() {
            return Some(None);
        }
        let read = json.text().and_then(HeaderName::new);
        if read.is_none() {
            problems.value(place, &json, format!("null or {HEADER_NAME}"));
            return None;
        }
        Some(read)
    }

    fn show(&self, json: &mut String) {
        match self {
            None => json.push_str("null"),
            Some(name) => name.show(json),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn schema() -> Schema {
        schema::any_of([schema::null(), HeaderName::schema()])
    }
}

impl Setting for Vec<Source> {
    fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
        let allowed = "a list of header names and \"aws\"";
        let refuse = |other| problems.value(place, &other, allowed.into());
        let items = json.items().map_err(refuse).ok()?;
        let mut sources = Self::new();
        for (index, item) in items.into_iter().enumerate() {
            let source = match item.text() {
                // In any case, as all names of headers.
                Some(name) if name.eq_ignore_ascii_case("aws") => Some(Source::Aws),
                Some(name) => HeaderName::new(name).map(Source::of),
                None => None,
            };
            if source.is_none() {
                let allowed = format!("\"aws\" or {HEADER_NAME}");
                problems.value(&place.item(index), &item, allowed);
            }
            // What stands for a bad item keeps the places of those behind it.
            sources.push(source.unwrap_or(Source::Aws));
        }
        // With a problem in it the list is not used, but compared with other keys for more problems.
        Some(sources)
    }

    fn show(&self, json: &mut String) {
        show_list(json, self, |source, json| {
            show_text(json, source.header().unwrap_or("aws"));
        });
    }

    #[cfg(not(target_family = "wasm"))]
    fn schema() -> Schema {
        schema::list_of(HeaderName::schema())
    }
}

impl Setting for Trust {
    fn read(json: Json<'_>, place: &Place, problems: &mut Problems) -> Option<Self> {
        match json.text() {
            Some("all") => return Some(Self::All),
            Some("none") => return Some(Self::None),
            _ => {}
        }
        let allowed = "\"all\", \"none\" or a list of address ranges such as \"10.0.0.0/8\"";
        let refuse = |other| problems.value(place, &other, allowed.into());
        let items = json.items().map_err(refuse).ok()?;
        let mut ranges = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let range = item.text().and_then(Cidr::parse);
            if range.is_none() {
                let allowed = "an IPv4 or IPv6 address, or a range such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
                problems.value(&place.item(index), &item, allowed.into());
            }
            ranges.extend(range);
        }
        Some(if ranges.is_empty() {
            Self::None
        } else {
            Self::Only(ranges)
        })
    }

    fn show(&self, json: &mut String) {
        match self {
            Self::All => show_text(json, "all"),
            Self::None => show_text(json, "none"),
            Self::Only(ranges) => show_list(json, ranges, |range, json| {
                show_text(json, &range.to_string());
            }),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn schema() -> Schema {
        schema::any_of([
            schema::one_of(&["all", "none"]),
            schema::list_of(schema::address_range()),
        ])
    }
}
