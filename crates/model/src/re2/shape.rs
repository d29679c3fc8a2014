//! What a pattern means where that can be said without an automaton.

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

use super::branches::{Branches, Edges, Part, Sequence};

/// Most values of a set of literals that a pattern does not name one by one, such as `[0-9][0-9]`.
const PRODUCT_MAX: usize = 4_096;

/// Most values of a set of literals.
const LITERALS_MAX: usize = 1 << 16;

/// Most bytes of a set of literals, all values together.
const LITERAL_BYTES_MAX: usize = 4 << 20;

/// The meaning of a whole, anchored pattern.
#[derive(Debug)]
pub(super) enum Shape {
    /// Exactly these values, sorted.
    Literals(Vec<String>),
    /// `before`, then at least `min` bytes of anything, then `after`. `min` above 0 is exact only
    /// with one side empty or `min` at most 1, which is all that [`Shape::of_sequences`] makes.
    Around { before: String, min: usize, after: String },
    /// `.*part.*`
    Contains(String),
    /// A choice of simple sequences.
    Branches(Branches),
    /// Begins with this; the rest is for the automaton.
    Prefixed(String),
    /// Nothing is known but by running the automaton.
    Automaton,
}

impl Shape {
    /// Of a pattern that is a choice of `sequences`, if it is.
    pub(super) fn of(hir: &Hir, sequences: Option<Vec<Sequence>>) -> Self {
        if let Some(values) = literals(hir).filter(|values| !values.is_empty()) {
            return Self::Literals(values);
        }
        sequences.and_then(Self::of_sequences).unwrap_or_else(|| Self::searched(hir))
    }

    /// Of a choice of sequences; `None` if it is for an automaton all the same.
    pub(super) fn of_sequences(sequences: Vec<Sequence>) -> Option<Self> {
        if let Some(values) = texts(&sequences).filter(|values| !values.is_empty()) {
            return Some(Self::Literals(values));
        }
        if let [one] = sequences.as_slice()
            && let Some(shape) = around(one)
        {
            return Some(shape);
        }
        Branches::new(sequences).map(Self::Branches)
    }

    fn searched(hir: &Hir) -> Self {
        let mut prefix = String::new();
        for part in concatenation(hir) {
            match literal(part) {
                Some(text) => prefix.push_str(text),
                None if is_start(part) && prefix.is_empty() => {}
                None => break,
            }
        }
        if prefix.is_empty() { Self::Automaton } else { Self::Prefixed(prefix) }
    }

    /// Is it for an automaton to say what matches?
    pub(super) fn is_searched(&self) -> bool {
        matches!(self, Self::Prefixed(_) | Self::Automaton)
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Literals(values) => values.iter().map(|value| size_of::<String>() + value.len()).sum(),
            Self::Around { before, after, .. } => before.len() + after.len(),
            Self::Contains(text) | Self::Prefixed(text) => text.len(),
            Self::Branches(branches) => branches.memory_bytes(),
            Self::Automaton => 0,
        }
    }
}

/// The finite set that `hir` means, sorted.
fn literals(hir: &Hir) -> Option<Vec<String>> {
    finite(hir, Edges::BOTH).map(sorted)
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort_unstable();
    values.dedup();
    values
}

/// The values of sequences that have nothing but texts.
fn texts(sequences: &[Sequence]) -> Option<Vec<String>> {
    let text = |sequence: &Sequence| {
        let parts = sequence.iter().filter(|part| !part.is_group());
        parts.map(Part::text).collect::<Option<String>>()
    };
    sequences.iter().map(text).collect::<Option<Vec<String>>>().map(sorted)
}

fn finite(hir: &Hir, edges: Edges) -> Option<Vec<String>> {
    let values = match hir.kind() {
        HirKind::Empty => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8(literal.0.to_vec()).ok()?],
        HirKind::Class(Class::Unicode(class)) => members(class)?,
        HirKind::Look(look) if edges.imply(*look) => vec![String::new()],
        HirKind::Capture(capture) => finite(&capture.sub, edges)?,
        HirKind::Repetition(repetition) if repetition.max == Some(1) && repetition.min == 0 => {
            let mut values = finite(&repetition.sub, edges)?;
            values.push(String::new());
            values
        }
        HirKind::Concat(parts) => {
            let mut values = vec![String::new()];
            for (index, part) in parts.iter().enumerate() {
                values = product(&values, &finite(part, edges.of(parts, index))?)?;
            }
            values
        }
        HirKind::Alternation(parts) => {
            let mut values = Vec::new();
            for part in parts {
                values.extend(finite(part, edges)?);
                if values.len() > LITERALS_MAX {
                    return None;
                }
            }
            values
        }
        _ => return None,
    };
    is_within_bounds(&values).then_some(values)
}

fn members(class: &ClassUnicode) -> Option<Vec<String>> {
    let mut values = Vec::new();
    for range in class.iter() {
        for c in range.start()..=range.end() {
            values.push(c.to_string());
            if values.len() > PRODUCT_MAX {
                return None;
            }
        }
    }
    Some(values)
}

fn product(firsts: &[String], seconds: &[String]) -> Option<Vec<String>> {
    let pairs = firsts.len().saturating_mul(seconds.len());
    if pairs > PRODUCT_MAX && firsts.len() > 1 && seconds.len() > 1 {
        return None;
    }
    let values: Vec<String> = firsts
        .iter()
        .flat_map(|first| seconds.iter().map(move |second| format!("{first}{second}")))
        .collect();
    is_within_bounds(&values).then_some(values)
}

fn is_within_bounds(values: &[String]) -> bool {
    values.len() <= LITERALS_MAX && values.iter().map(String::len).sum::<usize>() <= LITERAL_BYTES_MAX
}

/// `lit.*`, `.*lit`, `lit.*lit`, `.*lit.*`, `.+` and their like.
fn around(sequence: &Sequence) -> Option<Shape> {
    let parts: Vec<&Part> = sequence.iter().filter(|part| !part.is_group()).collect();
    let around = |before: &str, min: u32, after: &str| {
        let (before, after) = (before.to_owned(), after.to_owned());
        // One character has at least one byte, so that 0 and 1 may be compared with lengths in bytes.
        (min <= 1).then_some(Shape::Around { before, min: min as usize, after })
    };
    match parts.as_slice() {
        [Part::Many { min, .. }] => around("", *min, ""),
        [Part::Text(before), Part::Many { min, .. }] => around(before, *min, ""),
        [Part::Many { min, .. }, Part::Text(after)] => around("", *min, after),
        [Part::Text(before), Part::Many { min, .. }, Part::Text(after)] => around(before, *min, after),
        [Part::Many { min: 0, .. }, Part::Text(text), Part::Many { min: 0, .. }] => {
            Some(Shape::Contains(text.clone()))
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
    matches!(hir.kind(), HirKind::Look(regex_syntax::hir::Look::Start))
}
