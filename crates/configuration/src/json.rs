//! JSON as it is written: numbers stay text, and a map hides no repeated key.

use std::borrow::Cow;
use std::fmt;

use hifijson::token::Lex;
use hifijson::{Error, Expect, SliceLexer, escape, str, value};

use crate::problem::Problem;

/// The deepest nesting of objects and lists that is read. The configuration needs three levels.
const DEPTH: usize = 16;

/// A JSON value. It displays on one line and shortened.
pub struct Json<'a>(value::Value<&'a str, Cow<'a, str>>);

impl<'a> Json<'a> {
    /// Parses the text.
    ///
    /// # Errors
    /// Returns where the text stops being JSON; for bytes of a protobuf message, what to do instead.
    #[inline(never)]
    pub fn parse(text: &'a [u8]) -> Result<Self, Problem> {
        let mut lexer = SliceLexer::new(text);
        let parsed = lexer.exactly_one(Lex::ws_peek, |next, lexer| {
            value::parse_bounded(DEPTH, next, lexer)
        });
        parsed.map(Self).map_err(|error| {
            // JSON has no control bytes other than white space. A protobuf `Struct` always has some,
            // and begins with a line feed.
            let is_protobuf = text.first() == Some(&b'\n')
                && text
                    .iter()
                    .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
            if is_protobuf {
                return Problem::of_whole_text(
                    "found a protobuf message instead of text; allowed: JSON text in a \
                     google.protobuf.StringValue (Envoy passes a Struct on as bytes)",
                );
            }
            let mut position = text.len().saturating_sub(lexer.as_slice().len());
            // The lexer has already taken one byte of a wrong word, and of a wrong byte in a string.
            let previous = position.checked_sub(1).and_then(|last| text.get(last));
            if match error {
                Error::Token(Expect::Value) => previous.is_some_and(u8::is_ascii_lowercase),
                Error::Str(str::Error::Control) => true,
                Error::Str(str::Error::Escape(ref error)) => matches!(
                    error,
                    escape::Error::InvalidKind(_) | escape::Error::InvalidHex(_)
                ),
                _ => false,
            } {
                position = position.saturating_sub(1);
            }
            let before = text.get(..position).unwrap_or_default();
            let lines = before.split(|&byte| byte == b'\n');
            let column = lines.clone().next_back().map_or(0, <[u8]>::len);
            Problem::of_whole_text(&format!(
                "not JSON: {} at line {}, column {}",
                escape_controls(&error.to_string()),
                lines.count(),
                column.saturating_add(1)
            ))
        })
    }

    pub fn is_null(&self) -> bool {
        matches!(self.0, value::Value::Null)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            value::Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Returns a whole number, with or without a fraction of zeros: control planes differ in how they
    /// print one. None of them prints a small number with an exponent, so that is not read.
    pub fn as_whole_number(&self) -> Option<u16> {
        let value::Value::Number((number, _)) = self.0 else {
            return None;
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_whole = fraction.bytes().all(|digit| digit == b'0');
        whole.parse().ok().filter(|_| is_whole)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.0 {
            value::Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn into_items(self) -> Result<Vec<Self>, Self> {
        match self.0 {
            value::Value::Array(items) => Ok(items.into_iter().map(Self).collect()),
            other => Err(Self(other)),
        }
    }

    pub fn into_members(self) -> Result<Vec<(Cow<'a, str>, Self)>, Self> {
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
        const MAX_CHARACTERS: usize = 80;
        let text = self.0.to_string();
        match text.char_indices().nth(MAX_CHARACTERS) {
            Some((end, _)) => {
                let start = text.get(..end).unwrap_or_default();
                write!(f, "{}…", escape_controls(start))
            }
            None => f.write_str(&escape_controls(&text)),
        }
    }
}

/// Escapes the characters that a log or a terminal would interpret.
fn escape_controls(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
            escaped.extend(char.escape_unicode());
        } else {
            escaped.push(char);
        }
    }
    escaped
}
