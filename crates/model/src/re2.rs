//! Regular expressions with RE2's meaning on top of the `regex` crate's automata.
//!
//! Prometheus compiles `^(?s:pattern)$` with Go's `regexp`. The `regex` crate has the same automata
//! but another syntax, so [`translate`] reads the pattern as Go does and writes it anew:
//!
//! - `\d \w \s \b` mean ASCII, as do the classes in `[[:...:]]`;
//! - `\Q...\E`, `\C`, octal escapes, `{` that begins no repetition, `]` and `[` inside a class, and
//!   the class operators `&&`, `--`, `~~` of the `regex` crate are read as Go reads them;
//! - what Go refuses is refused, with Go's text.
//!
//! Most patterns of dashboards are a few literals, a prefix or `.*`; those are matched without an
//! automaton ([`Shape`]).
//!
//! Known differences: the Unicode tables are those of the `regex` crate, and groups nest at most 250
//! deep (Go: 1,000).
//!
//! Source: Go 1.26 `regexp/syntax/parse.go`; the shapes follow `FastRegexMatcher`, prometheus v3.16
//! `model/labels/regexp.go`.

use std::sync::{Arc, OnceLock};

use regex_automata::meta::{BuildError, Regex};

mod shape;
mod translate;

use shape::Shape;
use translate::Translated;

/// Largest compiled program in bytes; above it a pattern is refused.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Longest pattern in bytes. Dashboards send alternations of hundreds of host names, so the bound is
/// far above what people write; the program limit refuses what is costly.
pub const PATTERN_BYTES_MAX: usize = 64 << 10;

/// What a search keeps beside the program, counted for each pattern that has one: states that were met, made as
/// they are met and for each thread that searches. It is an estimate; most patterns stay far below, none goes
/// beyond the default of the crate, 2 MiB.
const SEARCH_BYTES: usize = 64 << 10;

/// A compiled pattern that matches whole values; clones share it.
#[derive(Clone, Debug)]
pub struct Re2 {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    pattern: String,
    translated: Translated,
    shape: Shape,
    regex: OnceLock<Regex>,
}

impl Re2 {
    /// Compiles `pattern`, anchored at both ends, with `.` matching newlines.
    ///
    /// # Errors
    /// The text says why RE2 refuses the pattern or which bound it exceeds.
    pub fn new_anchored(pattern: &str) -> Result<Self, String> {
        if pattern.len() > PATTERN_BYTES_MAX {
            let bytes = pattern.len();
            return Err(format!(
                "regular expression of {bytes} bytes exceeds the limit of {PATTERN_BYTES_MAX} bytes"
            ));
        }
        let translated = translate::translate(pattern)?;
        let too_deep = |_| format!("error parsing regexp: expression nests too deeply: `{pattern}`");
        let hir = regex_syntax::parse(&translated.pattern).map_err(too_deep)?;
        let shape = Shape::of(&hir);
        let compiled = OnceLock::new();
        if matches!(shape, Shape::Automaton | Shape::Prefixed(_)) {
            let _ = compiled.set(compile(&translated.pattern).map_err(|error| refusal(pattern, &error))?);
        }
        let compiled = Compiled { pattern: pattern.to_owned(), translated, shape, regex: compiled };
        Ok(Self { compiled: Arc::new(compiled) })
    }

    /// What its classes cost to compile, in code points that were looked at.
    #[must_use]
    pub fn class_work(&self) -> u64 {
        self.compiled.translated.class_work
    }

    /// Bytes that it takes, those of a search included; clones take none.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let Compiled { pattern, translated, shape, regex } = &*self.compiled;
        let program = regex.get().map_or(0, |regex| regex.memory_usage() + SEARCH_BYTES);
        size_of::<Compiled>() + pattern.len() + translated.pattern.len() + shape.memory_bytes() + program
    }

    /// The pattern as it was written, without the anchors.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.compiled.pattern
    }

    /// True if the whole of `value` matches, not only a part of it.
    #[must_use]
    pub fn is_match(&self, value: &str) -> bool {
        match &self.compiled.shape {
            Shape::Literals(values) => values.binary_search_by(|probe| probe.as_str().cmp(value)).is_ok(),
            Shape::Around { before, min, after } => {
                value.len() >= before.len() + min + after.len()
                    && value.starts_with(before.as_str())
                    && value.ends_with(after.as_str())
            }
            Shape::Contains(part) => value.contains(part.as_str()),
            Shape::Prefixed(prefix) => value.starts_with(prefix.as_str()) && self.regex().is_match(value),
            Shape::Automaton => self.regex().is_match(value),
        }
    }

    /// The compiled expression. Its groups have the numbers of the pattern but no names; see
    /// [`Self::expand`].
    fn regex(&self) -> &Regex {
        self.compiled.regex.get_or_init(|| {
            compile(&self.compiled.translated.pattern)
                .or_else(|_| compile(NEVER))
                .expect("a constant pattern compiles")
        })
    }

    /// The values of a pattern that means a finite set, such as `a|b`, `(a|b)`, `host[12]`; sorted,
    /// without duplicates. `None` if there are too many or infinitely many.
    #[must_use]
    pub fn literal_set(&self) -> Option<&[String]> {
        match &self.compiled.shape {
            Shape::Literals(values) => Some(values),
            _ => None,
        }
    }

    /// What every match begins with; empty if that is unknown.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match &self.compiled.shape {
            Shape::Around { before, .. } => before,
            Shape::Prefixed(prefix) => prefix,
            Shape::Literals(values) => match values.as_slice() {
                [] => "",
                [first, .., last] => common_prefix(first, last),
                [only] => only,
            },
            Shape::Contains(_) | Shape::Automaton => "",
        }
    }

    /// `template` with `$1`, `${1}`, `$name`, `${name}` replaced by what the groups matched in
    /// `value`, as Go's `Regexp.ExpandString`; `None` if the value does not match. Groups that are
    /// unknown or did not take part are empty; `$$` is a dollar sign.
    #[must_use]
    pub fn expand(&self, value: &str, template: &str) -> Option<String> {
        let mut captures = self.regex().create_captures();
        self.regex().captures(value, &mut captures);
        if !captures.is_match() {
            return None;
        }
        let group = |index: usize| captures.get_group(index).map(|group| &value[group.start..group.end]);
        let mut out = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((text, behind)) = rest.split_once('$') {
            out.push_str(text);
            rest = behind;
            if let Some(behind) = rest.strip_prefix('$') {
                out.push('$');
                rest = behind;
            } else if let Some((name, behind)) = reference(rest) {
                rest = behind;
                let found = match group_number(name) {
                    Some(number) => group(number),
                    None => self.named_groups(name).find_map(group),
                };
                out.push_str(found.unwrap_or_default());
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// The numbers of the groups of this name: Go allows several.
    fn named_groups<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let names = self.compiled.translated.group_names.iter().enumerate();
        names.filter(move |(_, group)| group.as_deref() == Some(name)).map(|(index, _)| index + 1)
    }
}

/// Matches nothing.
const NEVER: &str = r"[^\s\S]";

fn compile(translated: &str) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config().nfa_size_limit(Some(PROGRAM_BYTES_MAX));
    Ok(Regex::builder().configure(config).build(&format!(r"\A(?:{translated})\z"))?)
}

fn refusal(pattern: &str, error: &BuildError) -> String {
    let why = match error.size_limit() {
        Some(_) => "expression too large",
        None => "expression nests too deeply",
    };
    format!("error parsing regexp: {why}: `{pattern}`")
}

/// A pattern that matches `text` and nothing else.
#[must_use]
pub fn escape(text: &str) -> String {
    regex_syntax::escape(text)
}

/// What two sorted values, and so all between them, begin with.
fn common_prefix<'a>(first: &'a str, last: &str) -> &'a str {
    let same = first.chars().zip(last.chars()).take_while(|(a, b)| a == b);
    &first[..same.map(|(c, _)| c.len_utf8()).sum()]
}

/// Splits a group's name, with or without braces, off the text behind a dollar sign.
fn reference(text: &str) -> Option<(&str, &str)> {
    let is_word = |c: char| c == '_' || c.is_alphabetic() || c.is_numeric();
    let (braced, text) = match text.strip_prefix('{') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    if braced { Some((name, behind.strip_prefix('}')?)) } else { Some((name, behind)) }
}

/// A name of digits is a number, unless it has a leading zero or is too large for Go.
fn group_number(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|c| c.is_ascii_digit()) && !(name.len() > 1 && name.starts_with('0'));
    if plain { name.parse().ok().filter(|number| *number < 1_000_000_000) } else { None }
}

#[cfg(test)]
mod tests;
