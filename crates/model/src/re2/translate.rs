//! Reads a pattern in Go's syntax and writes it in the syntax of the `regex` crate.
//!
//! 1. Go through the pattern from left to right, with a stack of open groups. No recursion.
//! 2. Each element becomes an *atom*: text that a repetition may follow. Flags are not written but
//!    applied to each atom, because the two syntaxes disagree on where they may stand.
//! 3. A group that closes becomes one atom of the group around it.
//!
//! What is not a letter or digit is written as `\x{..}`, so that nothing has a second meaning.
//!
//! Source: Go 1.26 `regexp/syntax/parse.go` with the flags `Perl | DotNL`; the functions follow its
//! order of checks, because the first failure is what users see.

use std::fmt::Write;

/// Most work of the classes of one pattern, in code points that are looked at. Without case, every code point of a
/// class is: 52 KB of text took minutes. What people write stays below a thousandth.
const CLASS_WORK_MAX: u64 = 4 << 20;
/// The work of a table such as `\pL`, which has up to a thousand ranges.
const TABLE_WORK: u64 = 16 << 10;
/// The work of the largest tables without case.
const TABLE_WORK_FOLDED: u64 = 160 << 10;
/// The work of nearly everything without case.
const ALL_WORK_FOLDED: u64 = char::MAX as u64;

/// Go's bound for repetitions, also for the product of nested ones.
const REPEAT_MAX: u64 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Translated {
    /// The pattern; not anchored.
    pub(super) pattern: String,
    /// The names of the groups 1, 2, ...
    pub(super) group_names: Vec<Option<String>>,
    /// What its classes cost to compile, in code points.
    pub(super) class_work: u64,
}

/// # Errors
/// Go's text: ``error parsing regexp: missing closing ): `(` ``.
pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let parser = Parser {
        whole: pattern,
        rest: pattern,
        flags: Flags { fold: false, multi_line: false, dot_newline: true, lazy: false },
        open: Vec::new(),
        branches: String::new(),
        weight: 1,
        atoms: Vec::new(),
        group_names: Vec::new(),
        class_work: 0,
    };
    parser.run().map_err(|refusal| format!("error parsing regexp: {}: `{}`", refusal.0, refusal.1))
}

/// Go's error code and the text it blames.
struct Refusal<'a>(&'static str, &'a str);

const TOO_LARGE: &str = "expression too large";
const INVALID_ESCAPE: &str = "invalid escape sequence";
const INVALID_RANGE: &str = "invalid character class range";
const INVALID_NAME: &str = "invalid named capture";
const INVALID_REPEAT_OP: &str = "invalid nested repetition operator";
const INVALID_REPEAT_SIZE: &str = "invalid repeat count";
const MISSING_BRACKET: &str = "missing closing ]";
const MISSING_PAREN: &str = "missing closing )";
const MISSING_REPEAT_ARGUMENT: &str = "missing argument to repetition operator";
const TRAILING_BACKSLASH: &str = "trailing backslash at end of expression";
const UNEXPECTED_PAREN: &str = "unexpected )";
const UNSUPPORTED: &str = "invalid or unsupported Perl syntax";

type Read<'a, T> = Result<T, Refusal<'a>>;

#[derive(Clone, Copy)]
struct Flags {
    /// Flag `i`.
    fold: bool,
    /// Flag `m`.
    multi_line: bool,
    /// Flag `s`.
    dot_newline: bool,
    /// Flag `U`.
    lazy: bool,
}

/// A piece of output that a repetition may follow.
struct Atom {
    text: String,
    /// The largest product of nested repetitions in it.
    weight: u64,
    repeated: bool,
}

/// A group that is not closed yet, with what stands before it.
struct Open {
    flags: Flags,
    head: &'static str,
    branches: String,
    weight: u64,
    atoms: Vec<Atom>,
}

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    flags: Flags,
    open: Vec<Open>,
    /// The finished branches of the current group, each with its `|`.
    branches: String,
    /// The largest weight in `branches`.
    weight: u64,
    /// The branch at work.
    atoms: Vec<Atom>,
    group_names: Vec<Option<String>>,
    class_work: u64,
}

impl<'a> Parser<'a> {
    fn run(mut self) -> Read<'a, Translated> {
        // Where the repetition just before began: a second one must not follow it.
        let mut last_repeat = None;
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeat = None;
            match c {
                '(' if before.starts_with("(?") => self.group_with_flags()?,
                '(' => {
                    self.skip(1);
                    self.group_names.push(None);
                    self.open_group("(");
                }
                ')' => self.close_group()?,
                '|' => {
                    self.skip(1);
                    self.finish_branch();
                    self.branches.push('|');
                }
                '^' => self.element(1, if self.flags.multi_line { "(?m:^)" } else { r"\A" }),
                '$' => self.element(1, if self.flags.multi_line { "(?m:$)" } else { r"\z" }),
                '.' => self.element(1, if self.flags.dot_newline { "(?s:.)" } else { r"[^\n]" }),
                '[' => self.class()?,
                '*' => repeat = Some((1, 0, None)),
                '+' => repeat = Some((1, 1, None)),
                '?' => repeat = Some((1, 0, Some(1))),
                '{' => match counted_repeat(before) {
                    Some(counted) => repeat = Some(self.checked_repeat(counted)?),
                    None => self.literal_at(1, c),
                },
                '\\' => self.escape()?,
                c => self.literal_at(c.len_utf8(), c),
            }
            if let Some((length, min, max)) = repeat {
                self.repeat(length, min, max, last_repeat)?;
            }
            last_repeat = repeat.map(|_| before);
        }
        if !self.open.is_empty() {
            return Err(Refusal(MISSING_PAREN, self.whole));
        }
        self.finish_branch();
        Ok(Translated { pattern: self.branches, group_names: self.group_names, class_work: self.class_work })
    }

    /// Counts the work of a class: so much, and so much more without case.
    fn work(&mut self, with_case: u64, folded: u64) -> Read<'a, ()> {
        self.class_work += with_case + if self.flags.fold { folded } else { 0 };
        if self.class_work > CLASS_WORK_MAX { Err(Refusal(TOO_LARGE, self.whole)) } else { Ok(()) }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    /// What has been read since `from`.
    fn since(&self, from: &'a str) -> &'a str {
        &from[..from.len() - self.rest.len()]
    }

    fn push(&mut self, text: impl Into<String>) {
        self.atoms.push(Atom { text: text.into(), weight: 1, repeated: false });
    }

    fn element(&mut self, bytes: usize, text: &str) {
        self.skip(bytes);
        self.push(text);
    }

    fn literal_at(&mut self, bytes: usize, c: char) {
        self.skip(bytes);
        self.literal(c as u32);
    }

    fn literal(&mut self, c: u32) {
        let mut text = String::new();
        push_char(&mut text, c);
        if text.is_empty() {
            // A surrogate, which no text holds.
            text.push_str(super::NEVER);
        }
        self.push_folded(text);
    }

    fn push_folded(&mut self, text: String) {
        let text = if self.flags.fold { format!("(?i:{text})") } else { text };
        self.push(text);
    }

    // Groups.

    fn open_group(&mut self, head: &'static str) {
        self.open.push(Open {
            flags: self.flags,
            head,
            branches: std::mem::take(&mut self.branches),
            weight: std::mem::replace(&mut self.weight, 1),
            atoms: std::mem::take(&mut self.atoms),
        });
    }

    fn finish_branch(&mut self) {
        for atom in self.atoms.drain(..) {
            self.branches.push_str(&atom.text);
            self.weight = self.weight.max(atom.weight);
        }
    }

    fn close_group(&mut self) -> Read<'a, ()> {
        self.finish_branch();
        let Some(open) = self.open.pop() else {
            return Err(Refusal(UNEXPECTED_PAREN, self.whole));
        };
        self.skip(1);
        let inner = std::mem::replace(&mut self.branches, open.branches);
        let weight = std::mem::replace(&mut self.weight, open.weight);
        self.flags = open.flags;
        self.atoms = open.atoms;
        self.atoms.push(Atom { text: format!("{}{inner})", open.head), weight, repeated: false });
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)` or `(?flags:`.
    fn group_with_flags(&mut self) -> Read<'a, ()> {
        let before = self.rest;
        let named = [("(?P<", 5), ("(?<", 4)]
            .into_iter()
            .find(|(head, bytes_min)| before.starts_with(head) && before.len() >= *bytes_min);
        if let Some((head, _)) = named {
            return self.named_group(head.len());
        }
        self.skip(2);
        let mut flags = self.flags;
        let (mut on, mut seen) = (true, false);
        while let Some(c) = self.rest.chars().next() {
            self.skip(c.len_utf8());
            match c {
                'i' => flags.fold = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_newline = on,
                'U' => flags.lazy = on,
                '-' if on => {
                    on = false;
                    seen = false;
                    continue;
                }
                ':' | ')' if on || seen => {
                    if c == ':' {
                        self.open_group("(?:");
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            seen = true;
        }
        Err(Refusal(UNSUPPORTED, self.since(before)))
    }

    fn named_group(&mut self, head: usize) -> Read<'a, ()> {
        let before = self.rest;
        let end = before.find('>').ok_or(Refusal(INVALID_NAME, before))?;
        // `(?P<` may end behind its own `<`, but not before it.
        let name = &before[head..end];
        if name.is_empty() || !name.bytes().all(|c| c == b'_' || c.is_ascii_alphanumeric()) {
            return Err(Refusal(INVALID_NAME, &before[..=end]));
        }
        self.skip(end + 1);
        self.group_names.push(Some(name.to_owned()));
        self.open_group("(");
        Ok(())
    }

    // Repetitions.

    fn checked_repeat(&self, counted: Counted) -> Read<'a, (usize, u64, Option<u64>)> {
        let Counted { bytes, min, max } = counted;
        let too_many = |count: Option<u64>| count.is_none_or(|count| count > REPEAT_MAX);
        let max = match max {
            Most::Unbounded => None,
            Most::Count(count) if too_many(count) || count < min => {
                return Err(Refusal(INVALID_REPEAT_SIZE, &self.rest[..bytes]));
            }
            Most::Count(count) => count,
        };
        match min.filter(|min| *min <= REPEAT_MAX) {
            Some(min) => Ok((bytes, min, max)),
            None => Err(Refusal(INVALID_REPEAT_SIZE, &self.rest[..bytes])),
        }
    }

    fn repeat(&mut self, bytes: usize, min: u64, max: Option<u64>, last: Option<&'a str>) -> Read<'a, ()> {
        let before = self.rest;
        let counted = before.starts_with('{');
        self.skip(bytes);
        let mut lazy = self.flags.lazy;
        if self.rest.starts_with('?') {
            self.skip(1);
            lazy = !lazy;
        }
        if let Some(last) = last {
            return Err(Refusal(INVALID_REPEAT_OP, self.since(last)));
        }
        let written = self.since(before);
        let Some(atom) = self.atoms.last_mut() else {
            return Err(Refusal(MISSING_REPEAT_ARGUMENT, written));
        };
        if atom.repeated {
            atom.text = format!("(?:{})", atom.text);
        }
        if counted {
            let times = match max {
                // Never repeated, so nothing below it counts.
                Some(0) => 0,
                Some(max) => max,
                None => min.max(1),
            };
            atom.weight = atom.weight.saturating_mul(times).max(1);
            let checked = min >= 2 || max.is_some_and(|max| max >= 2);
            if checked && atom.weight > REPEAT_MAX {
                return Err(Refusal(INVALID_REPEAT_SIZE, written));
            }
        }
        atom.repeated = true;
        let operator = if counted { &before[..bytes] } else { &before[..1] };
        atom.text.push_str(operator);
        if lazy {
            atom.text.push('?');
        }
        Ok(())
    }

    // Escapes.

    fn escape(&mut self) -> Read<'a, ()> {
        match self.rest.as_bytes().get(1) {
            Some(b'A') => self.element(2, r"\A"),
            Some(b'z') => self.element(2, r"\z"),
            Some(b'b') => self.element(2, r"(?-u:\b)"),
            Some(b'B') => self.element(2, r"(?-u:\B)"),
            Some(b'C') => return Err(Refusal(INVALID_ESCAPE, &self.rest[..2])),
            Some(b'Q') => {
                let quoted = &self.rest[2..];
                let (quoted, behind) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                self.rest = behind;
                quoted.chars().for_each(|c| self.literal(c as u32));
            }
            // Case changes nothing for digits and spaces, and two letters for words.
            Some(b'D' | b'S' | b'W') if self.flags.fold => {
                let class = match self.rest.as_bytes()[1] {
                    b'D' => r"[^0-9]",
                    b'S' => r"[^\t\n\x0C\r\x20]",
                    _ => r"[^0-9A-Za-z_\x{17F}\x{212A}]",
                };
                self.element(2, class);
            }
            _ => {
                if let Some(item) = self.class_escape()? {
                    self.push_folded(format!("[{item}]"));
                } else {
                    let c = self.escaped_char()?;
                    self.literal(c);
                }
            }
        }
        Ok(())
    }

    /// `\d`, `\pL` and their like, as an item of a class.
    fn class_escape(&mut self) -> Read<'a, Option<String>> {
        if let [b'\\', b'D' | b'S' | b'W', ..] = self.rest.as_bytes() {
            self.work(0, ALL_WORK_FOLDED)?;
        }
        let item = match self.rest.as_bytes() {
            [b'\\', b'p' | b'P', ..] => return self.unicode_class().map(Some),
            [b'\\', b'd', ..] => "0-9",
            [b'\\', b'D', ..] => "[^0-9]",
            [b'\\', b's', ..] => r"\t\n\x0C\r\x20",
            [b'\\', b'S', ..] => r"[^\t\n\x0C\r\x20]",
            [b'\\', b'w', ..] => "0-9A-Za-z_",
            [b'\\', b'W', ..] => "[^0-9A-Za-z_]",
            _ => return Ok(None),
        };
        self.skip(2);
        Ok(Some(item.to_owned()))
    }

    fn unicode_class(&mut self) -> Read<'a, String> {
        self.work(TABLE_WORK, TABLE_WORK_FOLDED)?;
        let before = self.rest;
        let mut negated = before.starts_with(r"\P");
        self.skip(2);
        let mut name = match self.rest.chars().next() {
            Some('{') => {
                let end = before.find('}').ok_or(Refusal(INVALID_RANGE, before))?;
                self.rest = &before[end + 1..];
                &before[3..end]
            }
            first => {
                self.skip(first.map_or(0, char::len_utf8));
                &before[2..before.len() - self.rest.len()]
            }
        };
        if let Some(rest) = name.strip_prefix('^') {
            negated = !negated;
            name = rest;
        }
        if negated {
            self.work(0, ALL_WORK_FOLDED)?;
        }
        let table = unicode_table(name).ok_or(Refusal(INVALID_RANGE, self.since(before)))?;
        Ok(format!(r"\{}{{{table}}}", if negated { 'P' } else { 'p' }))
    }

    /// `\n`, `\x{41}`, `\.` and their like.
    fn escaped_char(&mut self) -> Read<'a, u32> {
        let before = self.rest;
        self.skip(1);
        let Some(c) = self.rest.chars().next() else {
            return Err(Refusal(TRAILING_BACKSLASH, ""));
        };
        self.skip(c.len_utf8());
        let followed_by_octal = self.rest.starts_with(|c: char| c.is_digit(8));
        let value = match c {
            // One digit alone would be a backreference.
            '1'..='7' if !followed_by_octal => None,
            '0'..='7' => Some(self.octal(c)),
            'x' => self.hexadecimal(),
            'a' => Some(0x07),
            'f' => Some(0x0C),
            'n' => Some(0x0A),
            'r' => Some(0x0D),
            't' => Some(0x09),
            'v' => Some(0x0B),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c as u32),
            _ => None,
        };
        value.ok_or_else(|| Refusal(INVALID_ESCAPE, self.since(before)))
    }

    fn octal(&mut self, first: char) -> u32 {
        let mut value = first.to_digit(8).unwrap_or_default();
        for _ in 1..3 {
            let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            value = value * 8 + digit;
            self.skip(1);
        }
        value
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let mut digit = || {
            let c = self.rest.chars().next()?;
            self.rest = &self.rest[c.len_utf8()..];
            Some(c)
        };
        match digit()? {
            '{' => {
                let (mut value, mut digits) = (0_u32, 0);
                loop {
                    match digit()? {
                        '}' if digits > 0 => return Some(value),
                        c => value = value * 16 + c.to_digit(16)?,
                    }
                    if value > char::MAX as u32 {
                        return None;
                    }
                    digits += 1;
                }
            }
            first => {
                let second = digit();
                Some(first.to_digit(16)? * 16 + second?.to_digit(16)?)
            }
        }
    }

    // Classes.

    fn class(&mut self) -> Read<'a, ()> {
        let whole = self.rest;
        self.skip(1);
        let negated = self.rest.starts_with('^');
        if negated {
            self.skip(1);
        }
        let mut items = String::new();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            self.class_item(whole, &mut items)?;
        }
        self.skip(1);
        let text = match (negated, items.is_empty()) {
            (false, false) => format!("[{items}]"),
            (true, false) => format!("[^{items}]"),
            // Surrogates only.
            (false, true) => super::NEVER.to_owned(),
            (true, true) => r"[\s\S]".to_owned(),
        };
        self.push_folded(text);
        Ok(())
    }

    fn class_item(&mut self, whole: &'a str, items: &mut String) -> Read<'a, ()> {
        if self.rest.starts_with("[:")
            && let Some(end) = self.rest[2..].find(":]")
        {
            return self.posix_class(end + 4, items);
        }
        if let Some(item) = self.class_escape()? {
            items.push_str(&item);
            return Ok(());
        }
        let before = self.rest;
        let low = self.class_char(whole)?;
        let ranges = self.rest.len() >= 2 && self.rest.starts_with('-') && !self.rest.starts_with("-]");
        let mut high = low;
        if ranges {
            self.skip(1);
            high = self.class_char(whole)?;
            if high < low {
                return Err(Refusal(INVALID_RANGE, self.since(before)));
            }
        }
        self.work(0, u64::from(high - low))?;
        push_range(items, low, high);
        Ok(())
    }

    fn posix_class(&mut self, bytes: usize, items: &mut String) -> Read<'a, ()> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        let written = &self.rest[..bytes];
        let name = &written[2..bytes - 2];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(Refusal(INVALID_RANGE, written));
        }
        if name.starts_with('^') {
            self.work(0, ALL_WORK_FOLDED)?;
        }
        items.push_str(written);
        self.skip(bytes);
        Ok(())
    }

    fn class_char(&mut self, whole: &'a str) -> Read<'a, u32> {
        match self.rest.chars().next() {
            None => Err(Refusal(MISSING_BRACKET, whole)),
            Some('\\') => self.escaped_char(),
            Some(c) => {
                self.skip(c.len_utf8());
                Ok(c as u32)
            }
        }
    }
}

/// Writes a range of code points; surrogates are left out.
fn push_range(items: &mut String, low: u32, high: u32) {
    const SURROGATES: std::ops::RangeInclusive<u32> = 0xD800..=0xDFFF;
    let low = if SURROGATES.contains(&low) { 0xE000 } else { low };
    let high = if SURROGATES.contains(&high) { 0xD7FF } else { high };
    if low > high {
        return;
    }
    push_char(items, low);
    if low < high {
        items.push('-');
        push_char(items, high);
    }
}

fn push_char(text: &mut String, c: u32) {
    match char::from_u32(c) {
        Some(c) if c.is_ascii_alphanumeric() => text.push(c),
        Some(_) => {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{{{c:X}}}");
        }
        None => {}
    }
}

/// `{min,max}`; a count of `None` is too large to be read.
struct Counted {
    bytes: usize,
    min: Option<u64>,
    max: Most,
}

enum Most {
    Unbounded,
    Count(Option<u64>),
}

/// A counted repetition at the start of `text`; without the right form a brace is a brace.
fn counted_repeat(text: &str) -> Option<Counted> {
    let (min, rest) = count(text.strip_prefix('{')?)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Most::Count(min), rest),
        Some(rest) if rest.starts_with('}') => (Most::Unbounded, rest),
        Some(rest) => {
            let (max, rest) = count(rest)?;
            (Most::Count(max), rest)
        }
    };
    let rest = rest.strip_prefix('}')?;
    Some(Counted { bytes: text.len() - rest.len(), min, max })
}

/// Digits without leading zeros.
fn count(text: &str) -> Option<(Option<u64>, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().ok(), rest))
}

/// The table of a general category or script, ignoring case, spaces, hyphens and underscores.
fn unicode_table(name: &str) -> Option<String> {
    let name: String =
        name.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    // The `regex` crate would drop a leading "is".
    if name.is_empty() || name.starts_with("is") || !name.bytes().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    ["gc", "sc"]
        .into_iter()
        .map(|kind| format!("{kind}={name}"))
        .find(|table| regex_syntax::parse(&format!(r"\p{{{table}}}")).is_ok())
}
