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
//! Most patterns of dashboards are literals, few or thousands, a prefix or `.*`; those are matched without an
//! automaton ([`Shape`]), and what their groups hold is found without one ([`Branches`]).
//!
//! Known differences: the Unicode tables are those of the `regex` crate, and groups nest at most 250
//! deep (Go: 1,000).
//!
//! Source: Go 1.26 `regexp/syntax/parse.go`; the shapes follow `FastRegexMatcher`, prometheus v3.16
//! `model/labels/regexp.go`.

use std::sync::{Arc, OnceLock};

use regex_automata::meta::{BuildError, Regex};

mod branches;
mod shape;
mod translate;

use branches::Branches;
use shape::Shape;

/// Largest compiled program in bytes; above it a pattern is refused. Only what needs an automaton has a program.
const PROGRAM_BYTES_MAX: usize = 4 << 20;

/// Longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Longest pattern that is not a plain choice of literals, `.` and `.*`: reading it takes some hundred bytes of memory
/// for each of its own, and some hundred nanoseconds.
const COMPLEX_BYTES_MAX: usize = 256 << 10;

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
    /// The names of the groups 1, 2, ...
    group_names: Vec<Option<String>>,
    class_work: u64,
    shape: Shape,
    /// What finds the groups, made when they are first asked for.
    finder: OnceLock<Finder>,
}

/// What says which part of a value the groups hold.
#[derive(Debug)]
enum Finder {
    Branches(Box<Branches>),
    Automaton(Regex),
}

/// The groups' places in a value that matches.
type Groups = branches::Groups;

impl Re2 {
    /// Compiles `pattern`, anchored at both ends, with `.` matching newlines.
    ///
    /// # Errors
    /// The text says why RE2 refuses the pattern or which bound it exceeds.
    pub fn new_anchored(pattern: &str) -> Result<Self, String> {
        check_length(pattern, PATTERN_BYTES_MAX)?;
        let plain = branches::read_plain(pattern);
        let n_groups =
            plain.iter().flatten().flatten().filter(|part| matches!(part, branches::Part::Open(_)));
        let n_groups = usize::from(n_groups.count() > 0);
        if let Some(shape) = plain.and_then(Shape::of_sequences) {
            let (pattern, group_names, finder) = (pattern.to_owned(), vec![None; n_groups], OnceLock::new());
            let compiled = Compiled { pattern, group_names, class_work: 0, shape, finder };
            return Ok(Self { compiled: Arc::new(compiled) });
        }
        check_length(pattern, COMPLEX_BYTES_MAX)?;
        let translated = translate::translate(pattern)?;
        let too_deep = |_| format!("error parsing regexp: expression nests too deeply: `{pattern}`");
        let hir = regex_syntax::parse(&translated.pattern).map_err(too_deep)?;
        let choice = branches::read(&hir);
        let shape = Shape::of(&hir, choice.as_ref().map(|choice| choice.sequences.clone()));
        let finder = OnceLock::new();
        if let Some(found) = finder_beside(&shape, choice, &translated) {
            let found = found.map_err(|error| refusal(pattern, &error))?;
            let _ = finder.set(found);
        }
        let translate::Translated { group_names, class_work, .. } = translated;
        let compiled = Compiled { pattern: pattern.to_owned(), group_names, class_work, shape, finder };
        Ok(Self { compiled: Arc::new(compiled) })
    }

    /// What its classes cost to compile, in code points that were looked at.
    #[must_use]
    pub fn class_work(&self) -> u64 {
        self.compiled.class_work
    }

    /// Bytes that it takes, those of a search included; clones take none.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let Compiled { pattern, shape, finder, .. } = &*self.compiled;
        let finder = match finder.get() {
            None => 0,
            Some(Finder::Branches(branches)) => branches.memory_bytes(),
            Some(Finder::Automaton(regex)) => regex.memory_usage() + SEARCH_BYTES,
        };
        size_of::<Compiled>() + pattern.len() + shape.memory_bytes() + finder
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
            Shape::Branches(branches) => branches.is_match(value),
            Shape::Prefixed(prefix) => value.starts_with(prefix.as_str()) && self.searches(value),
            Shape::Automaton => self.searches(value),
        }
    }

    fn searches(&self, value: &str) -> bool {
        match self.finder() {
            Finder::Branches(branches) => branches.is_match(value),
            Finder::Automaton(regex) => regex.is_match(value),
        }
    }

    /// The groups of a value that matches. They have the numbers of the pattern but no names; see
    /// [`Self::expand`].
    fn groups(&self, value: &str) -> Option<Groups> {
        if let (Shape::Branches(branches), None) = (&self.compiled.shape, self.compiled.finder.get()) {
            return branches.groups(value);
        }
        let regex = match self.finder() {
            Finder::Branches(branches) => return branches.groups(value),
            Finder::Automaton(regex) => regex,
        };
        let mut captures = regex.create_captures();
        regex.captures(value, &mut captures);
        let group = |index| captures.get_group(index).map(|group| (group.start, group.end));
        captures.is_match().then(|| (0..captures.group_len()).map(group).collect())
    }

    /// An automaton was made when the pattern was compiled, if it needs one.
    fn finder(&self) -> &Finder {
        self.compiled.finder.get_or_init(|| {
            let pattern = &self.compiled.pattern;
            let again = || {
                let hir = regex_syntax::parse(&translate::translate(pattern).ok()?.pattern).ok()?;
                branches::read(&hir).map(|choice| choice.sequences)
            };
            let branches = branches::read_plain(pattern).or_else(again).and_then(Branches::new);
            branches
                .map_or_else(|| Finder::Automaton(never()), |branches| Finder::Branches(Box::new(branches)))
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
            Shape::Branches(branches) => branches.prefix(),
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
        let groups = self.groups(value)?;
        let group =
            |index: usize| groups.get(index).copied().flatten().map(|(start, end)| &value[start..end]);
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
        let names = self.compiled.group_names.iter().enumerate();
        names.filter(move |(_, group)| group.as_deref() == Some(name)).map(|(index, _)| index + 1)
    }
}

/// Matches nothing.
const NEVER: &str = r"[^\s\S]";

/// What must be made beside the shape, if anything: an automaton that says what matches, or whatever finds groups and
/// could not be made later.
fn finder_beside(
    shape: &Shape,
    choice: Option<branches::Choice>,
    translated: &translate::Translated,
) -> Option<Result<Finder, Box<BuildError>>> {
    let automaton = || compile(&translated.pattern).map(Finder::Automaton);
    let Some(choice) = choice.filter(|_| !shape.is_searched()) else { return Some(automaton()) };
    if !choice.is_ordered && !translated.group_names.is_empty() {
        return Some(automaton());
    }
    // Sequences of texts and `.*` can be made into branches at any time.
    if matches!(shape, Shape::Branches(_)) || !branches::have_ones(&choice.sequences) {
        return None;
    }
    Some(
        Branches::new(choice.sequences)
            .map_or_else(automaton, |branches| Ok(Finder::Branches(Box::new(branches)))),
    )
}

fn never() -> Regex {
    compile(NEVER).expect("a constant pattern compiles")
}

fn check_length(pattern: &str, bytes_max: usize) -> Result<(), String> {
    let bytes = pattern.len();
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(format!("regular expression of {bytes} bytes exceeds the limit of {bytes_max} bytes"))
}

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
