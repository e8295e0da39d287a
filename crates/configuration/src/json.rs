//! JSON as it is written: numbers stay text, and an object hides no repeated key.

use std::borrow::Cow;

use hifijson::token::Lex;
use hifijson::{Error, Expect, SliceLexer, escape, str, value};

use crate::problem::Problem;

/// A JSON value.
pub type Json<'a> = value::Value<&'a str, Cow<'a, str>>;

/// The deepest nesting of objects and lists that is read. The configuration needs three levels.
const DEPTH: usize = 16;

/// Parses the text.
///
/// # Errors
/// Returns where the text stops being JSON; for bytes of a protobuf message, what to do instead.
#[inline(never)]
pub fn parse(text: &[u8]) -> Result<Json<'_>, Problem> {
    let mut lexer = SliceLexer::new(text);
    let parsed = lexer.exactly_one(Lex::ws_peek, |next, lexer| {
        value::parse_bounded(DEPTH, next, lexer)
    });
    parsed.map_err(|error| {
        Problem::of_whole_text(if is_protobuf(text) {
            "found a protobuf message instead of text; allowed: JSON text in a \
             google.protobuf.StringValue (Envoy passes a Struct on as bytes)"
                .into()
        } else {
            describe(&error, text, lexer.as_slice().len())
        })
    })
}

/// Returns whether the bytes are a protobuf `Struct`: it begins with a line feed and contains control
/// bytes. JSON has none but white space.
fn is_protobuf(text: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    text.first() == Some(&b'\n') && text.iter().any(is_control)
}

/// Returns what is wrong with `text`, of which the last `rest` bytes were not read, and where.
#[inline(never)]
fn describe(error: &Error, text: &[u8], rest: usize) -> String {
    let position = text.len().saturating_sub(rest);
    let previous = position.saturating_sub(1);
    // The lexer has already taken one byte of a wrong word, and of a wrong byte in a string.
    let has_taken_it = match error {
        Error::Token(Expect::Value) => text.get(previous).is_some_and(u8::is_ascii_lowercase),
        Error::Str(str::Error::Escape(error)) => matches!(
            error,
            escape::Error::InvalidKind(_) | escape::Error::InvalidHex(_)
        ),
        Error::Str(str::Error::Control) => true,
        _ => false,
    };
    let position = if has_taken_it { previous } else { position };
    let before = text.get(..position).unwrap_or_default();
    let lines = before.split(|&byte| byte == b'\n');
    let column = lines.clone().next_back().map_or(0, <[u8]>::len);
    format!(
        "not JSON: {} at line {}, column {}",
        escape_controls(&error.to_string()),
        lines.count(),
        column.saturating_add(1)
    )
}

/// Returns the value on one line and shortened.
#[inline(never)]
pub fn shown(value: &Json<'_>) -> String {
    const MAX_CHARACTERS: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => escape_controls(text.get(..end).unwrap_or_default()) + "…",
        None => escape_controls(&text),
    }
}

/// Escapes the characters that a log or a terminal would interpret.
#[inline(never)]
pub fn escape_controls(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
            escaped.push_str(&format!("\\u{{{:x}}}", u32::from(char)));
        } else {
            escaped.push(char);
        }
    }
    escaped
}
