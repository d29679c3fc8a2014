//! Numbers and texts as Go reads them.
//!
//! Source: Go's `strconv.ParseInt`, `strconv.ParseFloat`, and prometheus v3.16
//! `util/strutil/quote.go`.

use promontory_model::labels::quote;

use super::{Parsed, Parser};
use crate::ast::{Number, Span};
use crate::duration::parse_duration;
use crate::lexer::{Token, TokenKind};

impl Parser<'_> {
    pub(super) fn number(&mut self) -> Parsed<(Number, Span)> {
        let token = self.peek()?;
        let word = self.word(token);
        let number = match token.kind {
            TokenKind::Number => match parse_number(word) {
                Ok(value) => Number { value, is_duration: false },
                Err(why) => return self.error(token.span, format!("error parsing number: {why}")),
            },
            TokenKind::Duration => match parse_duration(word) {
                Ok(ms) => Number { value: ms as f64 / 1000.0, is_duration: true },
                Err(why) => return self.error(token.span, why.to_string()),
            },
            _ => return Err(self.unexpected(token)),
        };
        self.bump()?;
        Ok((number, token.span))
    }

    pub(super) fn string(&self, token: Token) -> Parsed<String> {
        let word = self.word(token);
        unquote(word)
            .or_else(|why| self.error(token.span, format!("error unquoting string {}: {why}", quote(word))))
    }
}

/// The value of a number token: an integer in any of Go's bases, else a float.
///
/// # Errors
/// The text of Go's `strconv`.
pub fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(value) = parse_integer(text) {
        return Ok(value as f64);
    }
    let refuse = |why| Err(format!("strconv.ParseFloat: parsing \"{text}\": {why}"));
    let named = text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_alphabetic());
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    match digits.parse::<f64>() {
        Ok(value) if value.is_nan() => Ok(f64::NAN),
        Ok(value) if value.is_infinite() && !named => refuse("value out of range"),
        Ok(value) if underscores_separate_digits(text) => Ok(value),
        _ => refuse("invalid syntax"),
    }
}

/// An integer that 64 bits with a sign hold; a leading zero means octal.
fn parse_integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    let rest = digits.strip_prefix('0');
    let (digits, base) = match rest.map(|rest| rest.as_bytes()) {
        Some([b'x' | b'X', ..]) => (&digits[2..], 16),
        Some([b'o' | b'O', ..]) => (&digits[2..], 8),
        Some([b'b' | b'B', ..]) => (&digits[2..], 2),
        Some([_, ..]) => (&digits[1..], 8),
        _ => (digits.as_str(), 10),
    };
    // `from_str_radix` would take a sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(digits, base).ok()
}

/// True if every underscore stands between digits or between a base prefix and a digit.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let prefixed = matches!(bytes, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
    let is_digit = |index: usize| {
        let digit = |c: &u8| c.is_ascii_digit() || (prefixed && c.is_ascii_hexdigit());
        bytes.get(index).is_some_and(digit)
    };
    bytes.iter().enumerate().filter(|(_, c)| **c == b'_').all(|(index, _)| {
        let before = (prefixed && index == 2) || index.checked_sub(1).is_some_and(is_digit);
        before && is_digit(index + 1)
    })
}

/// The text inside a quoted token: backquotes keep everything, other quotes know Go's escapes.
///
/// Escapes may spell bytes that are not UTF-8; those become U+FFFD, as in Prometheus' JSON.
///
/// # Errors
/// `invalid syntax`, which the lexer makes impossible for its tokens.
pub fn unquote(text: &str) -> Result<String, &'static str> {
    const INVALID: &str = "invalid syntax";
    let mut chars = text.chars();
    let quotes = chars.next().filter(|c| matches!(c, '"' | '\'' | '`')).ok_or(INVALID)?;
    if text.len() < 2 || chars.next_back() != Some(quotes) {
        return Err(INVALID);
    }
    let inner = chars.as_str();
    if quotes == '`' {
        return if inner.contains('`') { Err(INVALID) } else { Ok(inner.to_owned()) };
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' => return Err(INVALID),
            c if c == quotes => return Err(INVALID),
            '\\' => unescape(&mut chars, quotes, &mut bytes).ok_or(INVALID)?,
            c => push_char(&mut bytes, c),
        }
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn unescape(chars: &mut std::str::Chars<'_>, quotes: char, bytes: &mut Vec<u8>) -> Option<()> {
    let c = chars.next()?;
    let byte = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        'x' => u8::try_from(digits(chars, 2, 16, 0)?).ok()?,
        '0'..='7' => u8::try_from(digits(chars, 2, 8, c.to_digit(8)?)?).ok()?,
        'u' | 'U' => {
            let count = if c == 'u' { 4 } else { 8 };
            push_char(bytes, char::from_u32(digits(chars, count, 16, 0)?)?);
            return Some(());
        }
        c if c == quotes => c as u8,
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn digits(chars: &mut std::str::Chars<'_>, count: usize, base: u32, first: u32) -> Option<u32> {
    (0..count).try_fold(first, |value, _| value.checked_mul(base)?.checked_add(chars.next()?.to_digit(base)?))
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
