//! What a pattern means where that can be said without an automaton.

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look};

/// Most values of a set of literals.
const LITERALS_MAX: usize = 4_096;

/// Most bytes of a set of literals, all values together.
const LITERAL_BYTES_MAX: usize = 256 << 10;

/// The meaning of a whole, anchored pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Exactly these values, sorted.
    Literals(Vec<String>),
    /// `before`, then at least `min` bytes of anything, then `after`. `min` above 0 is exact only
    /// with one side empty or `min` at most 1, which is all that [`Shape::of`] makes.
    Around { before: String, min: usize, after: String },
    /// `.*part.*`
    Contains(String),
    /// Begins with this; the rest is for the automaton.
    Prefixed(String),
    /// Nothing is known but by running the automaton.
    Automaton,
}

impl Shape {
    pub(super) fn of(hir: &Hir) -> Self {
        if let Some(values) = literals(hir).filter(|values| !values.is_empty()) {
            return Self::Literals(values);
        }
        let parts = concatenation(hir);
        if let Some(shape) = around(&parts) {
            return shape;
        }
        let mut prefix = String::new();
        for part in parts {
            match literal(part) {
                Some(text) => prefix.push_str(text),
                None if is_start(part) && prefix.is_empty() => {}
                None => break,
            }
        }
        if prefix.is_empty() { Self::Automaton } else { Self::Prefixed(prefix) }
    }
}

impl Shape {
    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Literals(values) => values.iter().map(|value| size_of::<String>() + value.len()).sum(),
            Self::Around { before, after, .. } => before.len() + after.len(),
            Self::Contains(text) | Self::Prefixed(text) => text.len(),
            Self::Automaton => 0,
        }
    }
}

/// The finite set that `hir` means, sorted.
fn literals(hir: &Hir) -> Option<Vec<String>> {
    let mut values = finite(hir, Edges { start: true, end: true })?;
    values.sort_unstable();
    values.dedup();
    Some(values)
}

/// Whether a part of an expression stands at the start or the end of the value, where an anchor says
/// nothing new.
#[derive(Clone, Copy)]
struct Edges {
    start: bool,
    end: bool,
}

fn finite(hir: &Hir, edges: Edges) -> Option<Vec<String>> {
    let values = match hir.kind() {
        HirKind::Empty => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8(literal.0.to_vec()).ok()?],
        HirKind::Class(Class::Unicode(class)) => members(class)?,
        HirKind::Look(Look::Start) if edges.start => vec![String::new()],
        HirKind::Look(Look::End) if edges.end => vec![String::new()],
        HirKind::Capture(capture) => finite(&capture.sub, edges)?,
        HirKind::Repetition(repetition) if repetition.max == Some(1) && repetition.min == 0 => {
            let mut values = finite(&repetition.sub, edges)?;
            values.push(String::new());
            values
        }
        HirKind::Concat(parts) => {
            let is_look = |part: &Hir| matches!(part.kind(), HirKind::Look(_));
            let mut values = vec![String::new()];
            for (index, part) in parts.iter().enumerate() {
                let start = edges.start && parts[..index].iter().all(is_look);
                let end = edges.end && parts[index + 1..].iter().all(is_look);
                values = product(&values, &finite(part, Edges { start, end })?)?;
            }
            values
        }
        HirKind::Alternation(parts) => {
            let mut values = Vec::new();
            for part in parts {
                values.extend(finite(part, edges)?);
                if !within_bounds(&values) {
                    return None;
                }
            }
            values
        }
        _ => return None,
    };
    within_bounds(&values).then_some(values)
}

fn members(class: &ClassUnicode) -> Option<Vec<String>> {
    let mut values = Vec::new();
    for range in class.iter() {
        for c in range.start()..=range.end() {
            values.push(c.to_string());
            if values.len() > LITERALS_MAX {
                return None;
            }
        }
    }
    Some(values)
}

fn product(firsts: &[String], seconds: &[String]) -> Option<Vec<String>> {
    if firsts.len().saturating_mul(seconds.len()) > LITERALS_MAX {
        return None;
    }
    let values: Vec<String> = firsts
        .iter()
        .flat_map(|first| seconds.iter().map(move |second| format!("{first}{second}")))
        .collect();
    within_bounds(&values).then_some(values)
}

fn within_bounds(values: &[String]) -> bool {
    values.len() <= LITERALS_MAX && values.iter().map(String::len).sum::<usize>() <= LITERAL_BYTES_MAX
}

/// `lit.*`, `.*lit`, `lit.*lit`, `.*lit.*`, `.+` and their like.
fn around(parts: &[&Hir]) -> Option<Shape> {
    let mut parts = parts;
    if let [first, rest @ ..] = parts
        && is_start(first)
    {
        parts = rest;
    }
    if let [rest @ .., last] = parts
        && is_end(last)
    {
        parts = rest;
    }
    let text = |part: &Hir| literal(part).map(str::to_owned);
    match parts {
        [any] => Some(Shape::Around { before: String::new(), min: anything(any)?, after: String::new() }),
        [a, b] => match (text(a), text(b)) {
            (Some(before), None) => Some(Shape::Around { before, min: anything(b)?, after: String::new() }),
            (None, Some(after)) => Some(Shape::Around { before: String::new(), min: anything(a)?, after }),
            _ => None,
        },
        [a, b, c] => match (text(a), text(b), text(c)) {
            (Some(before), None, Some(after)) => Some(Shape::Around { before, min: anything(b)?, after }),
            (None, Some(part), None) if anything(a)? == 0 && anything(c)? == 0 => Some(Shape::Contains(part)),
            _ => None,
        },
        _ => None,
    }
}

/// Fewest characters of `.*` or `.+`. One character has at least one byte, so that 0 and 1 may be
/// compared with lengths in bytes.
fn anything(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Capture(capture) => anything(&capture.sub),
        HirKind::Repetition(repetition) if repetition.max.is_none() && repetition.min <= 1 => {
            let HirKind::Class(Class::Unicode(class)) = repetition.sub.kind() else {
                return None;
            };
            let all = matches!(class.ranges(), [range] if range.start() == '\0' && range.end() == char::MAX);
            all.then_some(repetition.min as usize)
        }
        _ => None,
    }
}

fn literal(hir: &Hir) -> Option<&str> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok(),
        HirKind::Capture(capture) => literal(&capture.sub),
        _ => None,
    }
}

fn concatenation(hir: &Hir) -> Vec<&Hir> {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().collect(),
        HirKind::Capture(capture) => concatenation(&capture.sub),
        _ => vec![hir],
    }
}

fn is_start(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Look(Look::Start))
}

fn is_end(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Look(Look::End))
}
