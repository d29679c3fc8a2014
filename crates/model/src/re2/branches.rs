//! Patterns that mean a choice of simple sequences: literals, single characters and `.*` between them.
//!
//! Dashboards send thousands of host names as one pattern, escaped or not. An automaton of them takes megabytes and
//! its size is what would be refused, although the question is whether a value is in a set. So a choice is kept as
//! its branches, found by hashes of what they begin or end with:
//!
//! - a branch without wildcards by all of it;
//! - one that begins with something fixed by that, its single wildcards left out (`10.0.0.1` without escapes);
//! - one that begins with `.*` by what it ends with;
//! - one in `.*`s by what it holds, with an automaton of these texts;
//! - what is left, few, is tried.
//!
//! Words: a *sequence* is a branch with its groups; *fixed* parts match as many characters as they say.
//!
//! Of several branches that match, the first one in the order of the pattern counts, as for Perl and Go: it decides
//! what groups hold.

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Most branches of a choice.
const BRANCHES_MAX: usize = 1 << 16;
/// Most parts of all branches together.
const PARTS_MAX: usize = 1 << 19;
/// Most bytes of the texts of all branches together.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// Most `.*` in one branch: each may have to be tried at every place after the one before.
const MANY_MAX: usize = 2;
/// Most different ways to look a value up.
const KEYS_MAX: usize = 4_096;
/// Most branches that are tried one after the other.
const SCANNED_MAX: usize = 64;

/// Ranges of characters, ascending.
type Ranges = Arc<[(char, char)]>;

/// A part of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// One character of these ranges, or of all.
    One(Option<Ranges>),
    /// At least so many characters of any kind; as many as can be, or as few.
    Many {
        min: u32,
        greedy: bool,
    },
    /// A group begins.
    Open(u32),
    /// It ends.
    Close(u32),
}

pub(super) type Sequence = Vec<Part>;

/// What a pattern is a choice of.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) sequences: Vec<Sequence>,
    /// Whether of several that match the first one counts. It does not where a `.*` stands before alternatives: how
    /// much it takes is then chosen before them.
    pub(super) is_ordered: bool,
}

/// Whether a part of an expression stands at the start or the end of the value, where an anchor says
/// nothing new.
#[derive(Clone, Copy)]
pub(super) struct Edges {
    pub(super) start: bool,
    pub(super) end: bool,
}

impl Edges {
    pub(super) const BOTH: Self = Self { start: true, end: true };

    /// Of one part of a concatenation.
    pub(super) fn of(self, parts: &[Hir], index: usize) -> Self {
        let is_look = |part: &Hir| matches!(part.kind(), HirKind::Look(_));
        Self {
            start: self.start && parts[..index].iter().all(is_look),
            end: self.end && parts[index + 1..].iter().all(is_look),
        }
    }

    /// Does the anchor say nothing here?
    pub(super) fn imply(self, look: Look) -> bool {
        match look {
            Look::Start => self.start,
            Look::End => self.end,
            _ => false,
        }
    }
}

/// The sequences of a pattern that is a choice of literals, `.`, `.*` and `.+`, in one group at most, without
/// parsing it; `None` if it is anything else.
pub(super) fn read_plain(pattern: &str) -> Option<Vec<Sequence>> {
    let grouped = pattern.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    let (choice, captures) = match grouped {
        None => (pattern, false),
        Some(inner) => match inner.strip_prefix("?:") {
            Some(inner) => (inner, false),
            None => (inner, true),
        },
    };
    let mut sequences = Vec::new();
    let mut sequence = Sequence::new();
    let mut rest = choice.chars().peekable();
    let mut finish = |sequence: &mut Sequence| {
        let mut sequence = std::mem::take(sequence);
        if captures {
            sequence.insert(0, Part::Open(1));
            sequence.push(Part::Close(1));
        }
        sequences.push(sequence);
    };
    while let Some(c) = rest.next() {
        match c {
            '|' => finish(&mut sequence),
            '\\' => push_char(&mut sequence, rest.next().filter(char::is_ascii_punctuation)?),
            '.' => {
                let min = match rest.peek() {
                    Some('*') => Some(0),
                    Some('+') => Some(1),
                    _ => None,
                };
                sequence.push(min.map_or(Part::One(None), |min| Part::Many { min, greedy: true }));
                if min.is_some() {
                    rest.next();
                }
            }
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            c => push_char(&mut sequence, c),
        }
    }
    finish(&mut sequence);
    is_within_bounds(&sequences).then_some(sequences)
}

fn push_char(sequence: &mut Sequence, c: char) {
    match sequence.last_mut() {
        Some(Part::Text(text)) => text.push(c),
        _ => sequence.push(Part::Text(c.to_string())),
    }
}

/// The sequences of an expression, in order; `None` if it is no choice of such, or of too many.
pub(super) fn read(hir: &Hir) -> Option<Choice> {
    let mut choice = choice(hir, Edges::BOTH)?;
    choice.sequences.iter_mut().for_each(join_texts);
    Some(choice)
}

fn choice(hir: &Hir, edges: Edges) -> Option<Choice> {
    let mut is_ordered = true;
    let mut part = |hir: &Hir, edges: Edges| {
        let Choice { sequences, is_ordered: ordered } = choice(hir, edges)?;
        is_ordered &= ordered;
        Some(sequences)
    };
    let sequences = match hir.kind() {
        HirKind::Empty => vec![Sequence::new()],
        HirKind::Literal(literal) => vec![vec![Part::Text(String::from_utf8(literal.0.to_vec()).ok()?)]],
        HirKind::Class(Class::Unicode(class)) if class.ranges().is_empty() => Vec::new(),
        HirKind::Class(class) => vec![vec![Part::One(ranges(class)?)]],
        HirKind::Look(look) if edges.imply(*look) => vec![Sequence::new()],
        HirKind::Capture(capture) => {
            let mut sequences = part(&capture.sub, edges)?;
            for sequence in &mut sequences {
                sequence.insert(0, Part::Open(capture.index));
                sequence.push(Part::Close(capture.index));
            }
            sequences
        }
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max) {
            (0, Some(1)) => {
                let mut sequences = part(&repetition.sub, edges)?;
                let at = if repetition.greedy { sequences.len() } else { 0 };
                sequences.insert(at, Sequence::new());
                sequences
            }
            (min, None) if is_anything(&repetition.sub) => {
                vec![vec![Part::Many { min, greedy: repetition.greedy }]]
            }
            _ => return None,
        },
        HirKind::Concat(parts) => {
            let mut all = vec![Sequence::new()];
            let mut comes_late = false;
            for (index, hir) in parts.iter().enumerate() {
                let next = part(hir, edges.of(parts, index))?;
                comes_late |= next.len() > 1 && all.iter().flatten().any(Part::is_many);
                all = product(&all, &next)?;
            }
            is_ordered &= !comes_late;
            all
        }
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for hir in parts {
                all.extend(part(hir, edges)?);
                if all.len() > BRANCHES_MAX {
                    return None;
                }
            }
            all
        }
        HirKind::Look(_) => return None,
    };
    is_within_bounds(&sequences).then_some(Choice { sequences, is_ordered })
}

/// Each of the first with each of the second.
fn product(firsts: &[Sequence], seconds: &[Sequence]) -> Option<Vec<Sequence>> {
    let parts = |sequences: &[Sequence]| sequences.iter().map(Vec::len).sum::<usize>();
    let n_parts = parts(firsts)
        .saturating_mul(seconds.len())
        .saturating_add(parts(seconds).saturating_mul(firsts.len()));
    if firsts.len().saturating_mul(seconds.len()) > BRANCHES_MAX || n_parts > PARTS_MAX {
        return None;
    }
    let pairs = firsts.iter().flat_map(|first| seconds.iter().map(move |second| (first, second)));
    Some(pairs.map(|(first, second)| [first.as_slice(), second].concat()).collect())
}

/// Has any of them a part of one character?
pub(super) fn have_ones(sequences: &[Sequence]) -> bool {
    sequences.iter().flatten().any(|part| matches!(part, Part::One(_)))
}

fn is_within_bounds(sequences: &[Sequence]) -> bool {
    let text = |part: &Part| part.text().map_or(0, str::len);
    sequences.len() <= BRANCHES_MAX
        && sequences.iter().map(Vec::len).sum::<usize>() <= PARTS_MAX
        && sequences.iter().flatten().map(text).sum::<usize>() <= TEXT_BYTES_MAX
        && sequences.iter().all(|sequence| sequence.iter().filter(|part| part.is_many()).count() <= MANY_MAX)
}

fn join_texts(sequence: &mut Sequence) {
    sequence.dedup_by(|next, part| match (part, next) {
        (Part::Text(text), Part::Text(next)) => {
            text.push_str(next);
            true
        }
        _ => false,
    });
}

fn ranges(class: &Class) -> Option<Option<Ranges>> {
    let Class::Unicode(class) = class else { return None };
    let ranges = class.ranges().iter().map(|range| (range.start(), range.end()));
    Some((!is_all(class.ranges())).then(|| ranges.collect()))
}

fn is_all(ranges: &[regex_syntax::hir::ClassUnicodeRange]) -> bool {
    matches!(ranges, [range] if range.start() == '\0' && range.end() == char::MAX)
}

fn is_anything(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Class(Class::Unicode(class)) if is_all(class.ranges()))
}

/// A choice, with what finds its branches.
#[derive(Debug)]
pub(super) struct Branches {
    sequences: Vec<Sequence>,
    prefix: String,
    /// Branches without wildcards, by all of them.
    exact: HashMap<String, u32>,
    heads: Vec<Fixed>,
    tails: Vec<Fixed>,
    /// Branches whose fixed parts have wildcards of one character, which may have several bytes.
    wild: Vec<u32>,
    contained: Option<Contained>,
    scanned: Vec<u32>,
    bytes: usize,
}

/// Branches that begin, or end, with fixed parts of one form.
#[derive(Debug)]
struct Fixed {
    /// Their bytes, where wildcards have one byte.
    n_bytes: usize,
    /// Where the wildcards are, ascending.
    wild: Vec<usize>,
    /// Nothing else may follow.
    is_whole: bool,
    /// Branches by the bytes that are no wildcards, ascending.
    branches: HashMap<Vec<u8>, Vec<u32>>,
}

/// Branches in `.*`s, by a text of theirs.
#[derive(Debug)]
struct Contained {
    texts: AhoCorasick,
    /// The branch of each text.
    branches: Vec<u32>,
}

/// What the fixed parts at one end of a branch say.
#[derive(Debug, Default)]
struct Key {
    n_bytes: usize,
    wild: Vec<usize>,
    text: Vec<u8>,
}

/// What every sequence begins with.
fn common_prefix(sequences: &[Sequence]) -> String {
    let prefix = |sequence: &Sequence| {
        let parts = sequence.iter().filter(|part| !part.is_group());
        parts.map_while(Part::text).collect::<String>()
    };
    let same = |same: String, next: String| super::common_prefix(&same, &next).to_owned();
    sequences.iter().map(prefix).reduce(same).unwrap_or_default()
}

/// Where the groups of a match begin and end; group 0 is all of it.
pub(super) type Groups = Vec<Option<(usize, usize)>>;

impl Branches {
    /// `None` if too many of them would have to be tried.
    pub(super) fn new(sequences: Vec<Sequence>) -> Option<Self> {
        let (mut exact, mut heads, mut tails) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (mut wild, mut contained, mut scanned) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for (branch, sequence) in (0..).zip(&sequences) {
            let parts: Vec<&Part> = sequence.iter().filter(|part| !part.is_group()).collect();
            let many = |part: &&Part| part.is_many();
            let (first, last) = (parts.iter().position(many), parts.iter().rposition(many));
            let head = Key::of(&parts[..first.unwrap_or(parts.len())]);
            let tail = Key::of(&parts[last.map_or(parts.len(), |last| last + 1)..]);
            bytes +=
                sequence.iter().map(Part::bytes).sum::<usize>() + 2 * (head.text.len() + tail.text.len());
            if first.is_none() && head.wild.is_empty() {
                let text = String::from_utf8(head.text).ok()?;
                exact.entry(text).or_insert(branch);
                continue;
            }
            let (keys, key, is_whole) = match first {
                None => (&mut heads, head, true),
                Some(_) if !head.text.is_empty() => (&mut heads, head, false),
                Some(_) if !tail.text.is_empty() => (&mut tails, tail, false),
                Some(_) => {
                    match parts.iter().find_map(|part| part.text()) {
                        Some(text) => contained.push((text.to_owned(), branch)),
                        None => scanned.push(branch),
                    }
                    continue;
                }
            };
            if !key.wild.is_empty() {
                wild.push(branch);
            }
            let form = (key.n_bytes, key.wild, is_whole);
            let branches: &mut HashMap<Vec<u8>, Vec<u32>> = keys.entry(form).or_default();
            branches.entry(key.text).or_default().push(branch);
        }
        if contained.len() + scanned.len() <= SCANNED_MAX {
            scanned.extend(contained.drain(..).map(|(_, branch)| branch));
            scanned.sort_unstable();
        }
        if scanned.len() > SCANNED_MAX || heads.len() + tails.len() > KEYS_MAX {
            return None;
        }
        let fixed = |((n_bytes, wild, is_whole), branches)| Fixed { n_bytes, wild, is_whole, branches };
        let (heads, tails) = (heads.into_iter().map(fixed).collect(), tails.into_iter().map(fixed).collect());
        let contained = if contained.is_empty() { None } else { Some(Contained::new(contained)?) };
        bytes += contained.as_ref().map_or(0, |contained| contained.texts.memory_usage());
        let prefix = common_prefix(&sequences);
        Some(Self { sequences, prefix, exact, heads, tails, wild, contained, scanned, bytes })
    }

    /// Bytes that it takes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        /// Of a branch in its table.
        const ENTRY_BYTES: usize = 80;
        self.bytes + self.sequences.len() * (size_of::<Sequence>() + ENTRY_BYTES)
    }

    /// What every match begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        self.exact.contains_key(value) || self.first(value, true).is_some()
    }

    /// The groups of the branch that counts.
    pub(super) fn groups(&self, value: &str) -> Option<Groups> {
        let by_text = self.exact.get(value).copied();
        let other = self.first(value, false);
        let branch = by_text.into_iter().chain(other).min()?;
        let mut groups = vec![Some((0, value.len()))];
        is_match(&self.sequences[branch as usize], value, 0, &mut groups).then_some(groups)
    }

    /// The first branch with wildcards that matches, or any of them.
    fn first(&self, value: &str, is_any_enough: bool) -> Option<u32> {
        let mut search = Search { sequences: &self.sequences, value, is_any_enough, found: None };
        let is_ascii = value.is_ascii();
        let mut scratch = Vec::new();
        let heads = self.heads.iter().map(|head| (head, false));
        for (fixed, at_end) in heads.chain(self.tails.iter().map(|tail| (tail, true))) {
            if (is_ascii || fixed.wild.is_empty())
                && let Some(branches) = fixed.find(value, at_end, &mut scratch)
                && search.is_over_after(branches)
            {
                return search.found;
            }
        }
        if !is_ascii && search.is_over_after(&self.wild) {
            return search.found;
        }
        if let Some(contained) = &self.contained {
            for text in contained.texts.find_overlapping_iter(value) {
                if search.is_over_after(&[contained.branches[text.pattern().as_usize()]]) {
                    return search.found;
                }
            }
        }
        search.is_over_after(&self.scanned);
        search.found
    }
}

/// How far the search for a branch has come.
struct Search<'a> {
    sequences: &'a [Sequence],
    value: &'a str,
    is_any_enough: bool,
    found: Option<u32>,
}

impl Search<'_> {
    /// Looks at branches, which ascend; true if no others need to be looked at.
    fn is_over_after(&mut self, branches: &[u32]) -> bool {
        let is_better = |branch: &&u32| {
            self.found.is_none_or(|found| **branch < found)
                && is_match(&self.sequences[**branch as usize], self.value, 0, &mut Vec::new())
        };
        self.found = branches.iter().find(is_better).copied().or(self.found);
        self.is_any_enough && self.found.is_some()
    }
}

impl Contained {
    fn new(texts: Vec<(String, u32)>) -> Option<Self> {
        let (texts, branches): (Vec<String>, Vec<u32>) = texts.into_iter().unzip();
        Some(Self { texts: AhoCorasick::new(texts).ok()?, branches })
    }
}

impl Fixed {
    fn find<'a>(&'a self, value: &str, at_end: bool, scratch: &mut Vec<u8>) -> Option<&'a [u32]> {
        let bytes = value.as_bytes();
        if bytes.len() < self.n_bytes || (self.is_whole && bytes.len() > self.n_bytes) {
            return None;
        }
        let bytes = if at_end { &bytes[bytes.len() - self.n_bytes..] } else { &bytes[..self.n_bytes] };
        scratch.clear();
        let mut from = 0;
        for wild in &self.wild {
            scratch.extend_from_slice(&bytes[from..*wild]);
            from = wild + 1;
        }
        scratch.extend_from_slice(&bytes[from..]);
        self.branches.get(scratch.as_slice()).map(Vec::as_slice)
    }
}

impl Key {
    /// Of parts without a [`Part::Many`].
    fn of(parts: &[&Part]) -> Self {
        let mut key = Self::default();
        for part in parts {
            match part {
                Part::Text(text) => {
                    key.text.extend_from_slice(text.as_bytes());
                    key.n_bytes += text.len();
                }
                _ => {
                    key.wild.push(key.n_bytes);
                    key.n_bytes += 1;
                }
            }
        }
        key
    }
}

impl Part {
    pub(super) fn is_group(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Close(_))
    }

    fn is_many(&self) -> bool {
        matches!(self, Self::Many { .. })
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn bytes(&self) -> usize {
        let text = self.text().map_or(0, str::len);
        let ranges = if let Self::One(Some(ranges)) = self { size_of_val::<[_]>(ranges) } else { 0 };
        size_of::<Self>() + text + ranges
    }
}

/// Does the rest of a value, from byte `at` on, match? Sets the groups of the parts.
fn is_match(parts: &[Part], value: &str, mut at: usize, groups: &mut Groups) -> bool {
    for (place, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => {
                if !value[at..].starts_with(text.as_str()) {
                    return false;
                }
                at += text.len();
            }
            Part::One(ranges) => match value[at..].chars().next() {
                Some(c) if is_in(c, ranges.as_deref()) => at += c.len_utf8(),
                _ => return false,
            },
            Part::Many { min, greedy } => {
                let (rest, end) = (&parts[place + 1..], value.len());
                let starts = value[at..].char_indices().map(|(start, _)| at + start);
                let Some(low) = starts.chain([end]).nth(*min as usize) else { return false };
                let places = value[low..].char_indices().map(|(start, _)| low + start);
                let mut matches = |at: usize| is_match(rest, value, at, groups);
                return match greedy {
                    true => matches(end) || places.rev().any(matches),
                    false => places.chain([end]).any(matches),
                };
            }
            Part::Open(group) => {
                let group = *group as usize;
                if groups.len() <= group {
                    groups.resize(group + 1, None);
                }
                groups[group] = Some((at, at));
            }
            Part::Close(group) => {
                if let Some(Some((_, end))) = groups.get_mut(*group as usize) {
                    *end = at;
                }
            }
        }
    }
    at == value.len()
}

fn is_in(c: char, ranges: Option<&[(char, char)]>) -> bool {
    let order = |range: &(char, char)| match range {
        (_, end) if *end < c => std::cmp::Ordering::Less,
        (start, _) if *start > c => std::cmp::Ordering::Greater,
        _ => std::cmp::Ordering::Equal,
    };
    ranges.is_none_or(|ranges| ranges.binary_search_by(order).is_ok())
}
