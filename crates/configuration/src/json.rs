//! JSON as it is written: a value is a piece of the text, and an object hides no repeated key.

use std::borrow::Cow;

use hifijson::str::LexAlloc;
use hifijson::token::Lex;
use hifijson::{Error, Expect, SliceLexer, escape, num, str};

use crate::problem::Problem;

/// The text of a JSON value.
#[derive(Clone, Copy)]
pub struct Json<'a>(&'a [u8]);

/// An item of a list, or a member of an object with its name.
pub type Part<'a> = (Cow<'a, str>, Json<'a>);

/// The deepest nesting of objects and lists that is read. The configuration needs three levels.
const DEPTH: usize = 16;

impl<'a> Json<'a> {
    /// Returns the text of the value as it is written.
    pub fn as_written(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }

    /// Returns what a string stands for; an empty one for every other value.
    pub fn string(self) -> Cow<'a, str> {
        match self.0 {
            [b'"', string @ ..] => SliceLexer::new(string).str_string().unwrap_or_default(),
            _ => Cow::default(),
        }
    }

    /// Returns the items of a list.
    pub fn items(self) -> Option<Vec<Part<'a>>> {
        self.0.starts_with(b"[").then(|| self.parts())
    }

    /// Returns the members of an object, in order.
    pub fn members(self) -> Option<Vec<Part<'a>>> {
        self.0.starts_with(b"{").then(|| self.parts())
    }

    fn parts(self) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        // The text is valid, and is read to its end.
        _ = read(&mut SliceLexer::new(self.0), DEPTH, &mut |part| {
            parts.push(part)
        });
        parts
    }
}

/// Reads one value, in which objects and lists are nested at most `depth` deep, and calls `visit` with
/// each of its parts.
#[inline(never)]
fn read<'a>(
    lexer: &mut SliceLexer<'a>,
    depth: usize,
    visit: &mut dyn FnMut(Part<'a>),
) -> Result<Json<'a>, Error> {
    let first = lexer.ws_peek().ok_or(Expect::Value)?;
    let text = lexer.as_slice();
    match first {
        b'a'..=b'z' => _ = lexer.null_or_bool().ok_or(Expect::Value)?,
        b'-' | b'0'..=b'9' => _ = num::Lex::num_ignore(lexer).validate()?,
        b'"' => _ = lexer.discarded().str_string()?,
        b'[' | b'{' => {
            let depth = depth.checked_sub(1).ok_or(Error::Depth)?;
            let end = if first == b'[' { b']' } else { b'}' };
            lexer.discarded().seq(end, Lex::ws_peek, |_, lexer| {
                let mut name = Cow::default();
                if first == b'{' {
                    lexer.expect(Lex::ws_peek, b'"').ok_or(Expect::String)?;
                    name = lexer.str_string()?;
                    lexer.expect(Lex::ws_peek, b':').ok_or(Expect::Colon)?;
                }
                visit((name, read(lexer, depth, &mut |_| ())?));
                Ok::<_, Error>(())
            })?;
        }
        _ => return Err(Expect::Value.into()),
    }
    let length = text.len().saturating_sub(lexer.as_slice().len());
    Ok(Json(text.get(..length).unwrap_or_default()))
}

/// Parses the text.
///
/// # Errors
/// Returns where the text stops being JSON; for bytes of a protobuf message, what to do instead.
pub fn parse(text: &[u8]) -> Result<Json<'_>, Problem> {
    let mut lexer = SliceLexer::new(text);
    let parsed = match read(&mut lexer, DEPTH, &mut |_| ()) {
        Ok(_) if lexer.ws_peek().is_some() => Err(Expect::Eof.into()),
        parsed => parsed,
    };
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
    let (mut line, mut column) = (1_usize, 1_usize);
    for byte in text.get(..position).unwrap_or_default() {
        if *byte == b'\n' {
            line = line.saturating_add(1);
            column = 0;
        }
        column = column.saturating_add(1);
    }
    let error = escape_controls(&error.to_string());
    format!("not JSON: {error} at line {line}, column {column}")
}

/// Returns the value as it is written, but on one line and shortened.
pub fn shown(value: Json<'_>) -> String {
    const MAX_CHARACTERS: usize = 80;
    // Strings contain no line breaks, so only space between values is left out.
    let is_shown = |char: &char| !matches!(char, '\n' | '\r' | '\t');
    let mut shown = String::new();
    for (index, char) in value.as_written().chars().filter(is_shown).enumerate() {
        if index == MAX_CHARACTERS {
            shown.push('…');
            break;
        }
        push_escaped(&mut shown, char);
    }
    shown
}

/// Escapes the characters that a log or a terminal would interpret.
pub fn escape_controls(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        push_escaped(&mut escaped, char);
    }
    escaped
}

fn push_escaped(text: &mut String, char: char) {
    if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
        text.push_str(&format!("\\u{{{:x}}}", u32::from(char)));
    } else {
        text.push(char);
    }
}
