//! JSON as it was written: numbers as text, members in order, repeated keys not hidden by a map.

use std::borrow::Cow;
use std::fmt;

use hifijson::token::Lex;
use hifijson::{Error, Expect, SliceLexer, escape, str, value};

use super::problem::Problem;

/// Objects and lists in each other, at the most. The configuration has three.
const DEPTH: usize = 16;

/// A value. Displays on one line and not at length.
pub struct Json<'a>(value::Value<&'a str, Cow<'a, str>>);

impl<'a> Json<'a> {
    /// # Errors
    /// Where the text stops being JSON; for bytes of a protobuf message, what to do instead.
    pub fn parse(text: &'a [u8]) -> Result<Self, Problem> {
        let mut lexer = SliceLexer::new(text);
        let parsed = lexer.exactly_one(Lex::ws_peek, |next, lexer| {
            value::parse_bounded(DEPTH, next, lexer)
        });
        parsed.map(Self).map_err(|error| {
            // No JSON has a control byte besides white space; every protobuf `Struct` has, and
            // begins with a line feed.
            let is_binary = text.first() == Some(&b'\n')
                && text
                    .iter()
                    .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
            if is_binary {
                return Problem::of_text(
                    "found bytes of a protobuf message; allowed: JSON text, as a \
                     google.protobuf.StringValue (a Struct reaches the filter as such bytes)"
                        .into(),
                );
            }
            let mut read = text.len().saturating_sub(lexer.as_slice().len());
            // Of a bad word, and of a bad byte in a string, the lexer has taken one byte already.
            let taken = read.checked_sub(1).and_then(|last| text.get(last));
            if match error {
                Error::Token(Expect::Value) => taken.is_some_and(u8::is_ascii_lowercase),
                Error::Str(str::Error::Control) => true,
                Error::Str(str::Error::Escape(ref bad)) => {
                    matches!(
                        bad,
                        escape::Error::InvalidKind(_) | escape::Error::InvalidHex(_)
                    )
                }
                _ => false,
            } {
                read = read.saturating_sub(1);
            }
            let before = text.get(..read).unwrap_or_default();
            let line = before.split(|&byte| byte == b'\n');
            let column = line.clone().next_back().map_or(0, <[u8]>::len);
            Problem::of_text(format!(
                "no JSON: {} at line {}, column {}",
                harmless(&error.to_string()),
                line.count(),
                column.saturating_add(1)
            ))
        })
    }

    pub fn is_null(&self) -> bool {
        matches!(self.0, value::Value::Null)
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.0 {
            value::Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A whole number, with or without a fraction of zeros: control planes print as they like. None
    /// prints a small number with an exponent, which is not read.
    pub fn whole(&self) -> Option<u16> {
        let value::Value::Number((number, _)) = self.0 else {
            return None;
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_whole = fraction.bytes().all(|digit| digit == b'0');
        whole.parse().ok().filter(|_| is_whole)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.0 {
            value::Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn items(self) -> Result<Vec<Self>, Self> {
        match self.0 {
            value::Value::Array(items) => Ok(items.into_iter().map(Self).collect()),
            other => Err(Self(other)),
        }
    }

    pub fn members(self) -> Result<Vec<(Cow<'a, str>, Self)>, Self> {
        match self.0 {
            value::Value::Object(members) => Ok(members
                .into_iter()
                .map(|(key, value)| (key, Self(value)))
                .collect()),
            other => Err(Self(other)),
        }
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 80;
        let text = self.0.to_string();
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => write!(f, "{}…", harmless(text.get(..end).unwrap_or_default())),
            None => f.write_str(&harmless(&text)),
        }
    }
}

/// With an escape for each character that a log or a terminal would obey.
fn harmless(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}
