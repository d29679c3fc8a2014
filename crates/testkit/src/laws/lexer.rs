//! Rust source as tokens: as much of the language as the laws on source text need.
//!
//! Comments and white space are left out. A token is a word (name, keyword or number), a lifetime,
//! a literal (string or character, of any prefix), or one character of punctuation. Text that is not
//! Rust still ends in tokens; what they are is then unspecified.

/// A piece of source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lexeme<'a> {
    /// As it is written; a literal with its quotes.
    pub text: &'a str,
    /// The line on which it begins, from 1.
    pub line: usize,
}

/// All tokens of `text`, in order.
#[must_use]
pub fn tokens(text: &str) -> Vec<Lexeme<'_>> {
    let mut cursor = Cursor { rest: text, line: 1 };
    std::iter::from_fn(|| cursor.token()).collect()
}

/// True for a name, a keyword or a number.
#[must_use]
pub fn is_word(text: &str) -> bool {
    text.starts_with(continues_word)
}

struct Cursor<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn token(&mut self) -> Option<Lexeme<'a>> {
        while let Some(len) = blank_len(self.rest) {
            self.take(len);
        }
        let line = self.line;
        let len = token_len(self.rest)?;
        Some(Lexeme { text: self.take(len), line })
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }
}

/// Bytes of white space or of one comment at the head of `text`.
fn blank_len(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment_len(text));
    }
    let len = text.len() - text.trim_start().len();
    (len > 0).then_some(len)
}

/// Block comments nest.
fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let step = &text.as_bytes()[at..];
        match step {
            [b'/', b'*', ..] => depth += 1,
            [b'*', b'/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn token_len(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if let Some(len) = string_len(text).or_else(|| quote_len(text)) {
        return Some(len);
    }
    // `r#type` is a name and not the keyword.
    let raw = text.strip_prefix("r#").filter(|rest| is_word(rest)).map_or(0, |_| 2);
    let word = word_len(&text[raw..]);
    Some(if word > 0 { raw + word } else { first.len_utf8() })
}

fn word_len(text: &str) -> usize {
    text.find(|c| !continues_word(c)).unwrap_or(text.len())
}

fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A string with or without prefix, raw or not.
fn string_len(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| text.starts_with(prefix))?;
    let body = &text[prefix.len()..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    let quoted = body[hashes..].strip_prefix('"')?;
    let opened = prefix.len() + hashes + 1;
    if prefix.ends_with('r') {
        let close = format!("\"{}", "#".repeat(hashes));
        return Some(opened + quoted.find(&close).map_or(quoted.len(), |at| at + close.len()));
    }
    (hashes == 0).then(|| opened + escaped_len(quoted, '"'))
}

/// A character, a byte, or a lifetime.
fn quote_len(text: &str) -> Option<usize> {
    let prefix = usize::from(text.starts_with("b'"));
    let body = text[prefix..].strip_prefix('\'')?;
    let mut chars = body.chars();
    let first = chars.next()?;
    if first == '\\' || chars.next() == Some('\'') {
        return Some(prefix + 1 + escaped_len(body, '\''));
    }
    Some(1 + word_len(body))
}

/// Bytes up to and with the first `close` that no backslash precedes.
fn escaped_len(text: &str, close: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == close && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests;
