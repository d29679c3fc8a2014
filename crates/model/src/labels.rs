//! Label sets, kept as the canonical bytes by which every part of the system orders and compares
//! series.
//!
//! ```text
//! key   := field(metric name) ( field(label name) field(label value) )*   labels sorted by name
//! field := the bytes, each 00 written as 00 FF, then 00 01
//! ```
//!
//! Invariants:
//! - A series without a metric name has an empty first field.
//! - Labels with an empty value are not stored: to Prometheus they are absent.
//! - `memcmp` of two keys orders by metric name, then label by label (name, then value); a proper
//!   prefix sorts first, because the terminator 00 01 is below the escape 00 FF and below any other
//!   byte that a longer field could have there.
//! - Prometheus' own order (`__name__` sorted among the other names) differs; see
//!   [`LabelsRef::cmp_prometheus`].

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

const ESCAPE: u8 = 0x00;
const TERMINATOR: u8 = 0x01;
const ESCAPED_ZERO: u8 = 0xFF;

/// An owned label set in canonical bytes; a clone shares them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    key: Arc<[u8]>,
}

/// A borrowed label set: a view of canonical bytes, free to copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelsRef<'a> {
    key: &'a [u8],
}

impl Labels {
    /// True if both share the same bytes in memory: a cheap sufficient test of equality, for those who
    /// meet the same interned label set again and again.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key)
    }

    /// The label set without any label, not even a metric name.
    #[must_use]
    pub fn empty() -> Self {
        LabelsBuilder::default().build()
    }

    /// A label set from name and value pairs in any order; a later pair of the same name wins and
    /// empty values are left out.
    #[must_use]
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Takes canonical bytes that this module wrote earlier (for example read back from a block).
    ///
    /// Returns `None` if the bytes are not a whole sequence of fields, if names are not strictly
    /// ascending, or if a field is not UTF-8.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let mut fields = Fields { rest: key };
        std::str::from_utf8(&fields.next_checked()?).ok()?;
        let mut previous: Option<Vec<u8>> = None;
        while !fields.rest.is_empty() {
            let name = fields.next_checked()?;
            let value = fields.next_checked()?;
            std::str::from_utf8(&name).ok()?;
            std::str::from_utf8(&value).ok()?;
            if previous.as_deref().is_some_and(|p| p >= &*name) {
                return None;
            }
            previous = Some(name.into_owned());
        }
        Some(Self { key: key.into() })
    }

    /// Takes canonical bytes whose shape is already known to be right, without a check.
    ///
    /// Wrong bytes give wrong labels, never undefined behaviour.
    #[must_use]
    pub fn from_key_unchecked(key: impl Into<Arc<[u8]>>) -> Self {
        Self { key: key.into() }
    }

    /// The canonical bytes; they order label sets by metric name first.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The same labels, borrowed: what all look-ups work on.
    #[must_use]
    pub fn as_ref(&self) -> LabelsRef<'_> {
        LabelsRef { key: &self.key }
    }

    /// See [`LabelsRef::get`].
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.as_ref().get(name)
    }

    /// See [`LabelsRef::iter`].
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.as_ref().iter()
    }
}

impl<'a> LabelsRef<'a> {
    /// A view of canonical bytes that were written by this module.
    #[must_use]
    pub fn new(key: &'a [u8]) -> Self {
        Self { key }
    }

    /// The canonical bytes, with the lifetime of what they were borrowed from.
    #[must_use]
    pub fn key(self) -> &'a [u8] {
        self.key
    }

    /// The same labels with a copy of the bytes.
    #[must_use]
    pub fn to_labels(self) -> Labels {
        Labels { key: self.key.into() }
    }

    /// The metric name; empty if there is none.
    #[must_use]
    pub fn metric_name(self) -> Cow<'a, str> {
        lossy(Fields { rest: self.key }.next().unwrap_or_default())
    }

    /// The pairs in block order: `__name__` first if present, then the others by name.
    pub fn iter(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.iter_bytes().map(|(name, value)| (lossy(name), lossy(value)))
    }

    /// As [`Self::iter`], without the UTF-8 check.
    pub fn iter_bytes(self) -> impl Iterator<Item = (Cow<'a, [u8]>, Cow<'a, [u8]>)> {
        let mut fields = Fields { rest: self.key };
        let metric = fields.next().filter(|name| !name.is_empty());
        let first = metric.map(|value| (Cow::Borrowed(METRIC_NAME.as_bytes()), value));
        first.into_iter().chain(std::iter::from_fn(move || {
            let name = fields.next()?;
            Some((name, fields.next()?))
        }))
    }

    /// The pairs sorted by name as Prometheus shows them (`Foo` before `__name__` before `bar`).
    #[must_use]
    pub fn sorted_pairs(self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        let mut pairs: Vec<_> = self.iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    }

    /// The value of one label; `None` if it is absent.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.get_bytes(name.as_bytes()).map(lossy)
    }

    /// As [`Self::get`], without the UTF-8 check.
    #[must_use]
    pub fn get_bytes(self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        self.iter_bytes().find(|(n, _)| n.as_ref() == name).map(|(_, value)| value)
    }

    /// True if there is no label, not even a metric name.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter_bytes().next().is_none()
    }

    /// Appends to `out` the canonical bytes of the labels that `keep` wants; order and escaping are
    /// kept, so the result is canonical without sorting.
    pub fn project_into(self, out: &mut Vec<u8>, mut keep: impl FnMut(&[u8]) -> bool) {
        let mut fields = RawFields { rest: self.key };
        let metric = fields.next().unwrap_or(&[ESCAPE, TERMINATOR]);
        if metric.len() > 2 && keep(METRIC_NAME.as_bytes()) {
            out.extend_from_slice(metric);
        } else {
            out.extend_from_slice(&[ESCAPE, TERMINATOR]);
        }
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            if keep(&unescape(&name[..name.len() - 2])) {
                out.extend_from_slice(name);
                out.extend_from_slice(value);
            }
        }
    }

    /// The labels whose names pass `keep`.
    #[must_use]
    pub fn project(self, keep: impl FnMut(&[u8]) -> bool) -> Labels {
        let mut out = Vec::with_capacity(self.key.len());
        self.project_into(&mut out, keep);
        Labels { key: out.into() }
    }

    /// The labels without `__name__`.
    #[must_use]
    pub fn without_metric_name(self) -> Labels {
        self.project(|name| name != METRIC_NAME.as_bytes())
    }

    /// Prometheus' order of label sets: pairs sorted by name with `__name__` among them, compared
    /// name, then value, pair by pair; a prefix sorts first.
    ///
    /// Source: `labels.Compare`, prometheus v3.16 `model/labels/labels_common.go`.
    #[must_use]
    pub fn cmp_prometheus(self, other: LabelsRef<'_>) -> Ordering {
        self.sorted_pairs().cmp(&other.sorted_pairs())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_ref(), f)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_ref(), f)
    }
}

impl fmt::Debug for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As Prometheus prints a metric: `name{a="b", c="d"}`, `{a="b"}` or `{}`.
///
/// Source: `Labels.String` and `Metric.String`, prometheus v3.16 `model/labels`; names that are not
/// legacy-valid are quoted.
impl fmt::Display for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric_name();
        let plain_metric = is_legacy_metric_name(&metric);
        let mut parts = Vec::new();
        if !metric.is_empty() && !plain_metric {
            parts.push(quote(&metric));
        }
        for (name, value) in self.iter().filter(|(name, _)| name != METRIC_NAME) {
            let shown = if is_legacy_label_name(&name) { name.into_owned() } else { quote(&name) };
            parts.push(format!("{shown}={}", quote(&value)));
        }
        if plain_metric {
            f.write_str(&metric)?;
            if parts.is_empty() {
                return Ok(());
            }
        }
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// True for names that need no quotes as a metric: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_identifier(name, |c| c == b':')
}

/// True for names that need no quotes as a label: `[a-zA-Z_][a-zA-Z0-9_]*`.
#[must_use]
pub fn is_legacy_label_name(name: &str) -> bool {
    is_identifier(name, |_| false)
}

fn is_identifier(name: &str, extra: impl Fn(u8) -> bool) -> bool {
    let ok = |c: u8| c.is_ascii_alphabetic() || c == b'_' || extra(c);
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|c| ok(*c)) && bytes.iter().all(|c| ok(*c) || c.is_ascii_digit())
}

/// A string as Go's `strconv.Quote` writes it: double quotes, escapes for control characters,
/// quotes and backslashes; other printable Unicode as it is.
#[must_use]
pub fn quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{07}' => out.push_str("\\a"),
            '\u{08}' => out.push_str("\\b"),
            '\u{0c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Collects pairs in any order and makes canonical [`Labels`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets one label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.remove(name);
        if !value.is_empty() {
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Adds a pair without looking for an earlier one of the same name: [`Self::duplicate`] finds
    /// it later, which a decoder of untrusted input needs.
    pub fn push(&mut self, name: &str, value: &str) -> &mut Self {
        self.pairs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes every pair of this name, if there is one.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// The pairs in the order in which they came.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// A name that was pushed twice, if there is one.
    #[must_use]
    pub fn duplicate(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }

    /// Forgets all pairs and keeps the memory.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// The canonical label set. Of a name pushed twice the first in order of values stays.
    #[must_use]
    pub fn build(&self) -> Labels {
        let mut pairs: Vec<(&str, &str)> = self
            .pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        pairs.sort_unstable();
        pairs.dedup_by(|b, a| a.0 == b.0);
        let size: usize = pairs.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut key = Vec::with_capacity(size + 2);
        let metric = pairs.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value);
        push_field(&mut key, metric.as_bytes());
        for (name, value) in pairs.iter().filter(|(name, _)| *name != METRIC_NAME) {
            push_field(&mut key, name.as_bytes());
            push_field(&mut key, value.as_bytes());
        }
        Labels { key: key.into() }
    }
}

impl From<LabelsRef<'_>> for LabelsBuilder {
    fn from(labels: LabelsRef<'_>) -> Self {
        let pairs = labels.iter().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        Self { pairs }
    }
}

/// Appends one field with its escapes and its terminator.
pub fn push_field(out: &mut Vec<u8>, field: &[u8]) {
    for part in field.split_inclusive(|byte| *byte == ESCAPE) {
        out.extend_from_slice(part);
        if part.last() == Some(&ESCAPE) {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend_from_slice(&[ESCAPE, TERMINATOR]);
}

/// The smallest key that is above every key of the metric `name`, for range pruning.
#[must_use]
pub fn metric_key_range(name: &str) -> (Vec<u8>, Vec<u8>) {
    let mut first = Vec::with_capacity(name.len() + 2);
    push_field(&mut first, name.as_bytes());
    let mut after = first.clone();
    // 00 01 is the terminator; 00 02 is above every continuation of it and below the escape 00 FF.
    if let Some(last) = after.last_mut() {
        *last = TERMINATOR + 1;
    }
    (first, after)
}

fn lossy(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&ESCAPE) {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        out.push(*byte);
        if *byte == ESCAPE {
            bytes.next();
        }
    }
    Cow::Owned(out)
}

/// Raw fields with their escapes and terminators.
struct RawFields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RawFields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut from = 0;
        loop {
            let zero = from + self.rest.get(from..)?.iter().position(|byte| *byte == ESCAPE)?;
            if *self.rest.get(zero + 1)? == TERMINATOR {
                let (field, rest) = self.rest.split_at(zero + 2);
                self.rest = rest;
                return Some(field);
            }
            from = zero + 2;
        }
    }
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// As `next`, and `None` also for an escape that this module never writes.
    fn next_checked(&mut self) -> Option<Cow<'a, [u8]>> {
        let mut raw = RawFields { rest: self.rest };
        let field = raw.next()?;
        self.rest = raw.rest;
        let body = &field[..field.len() - 2];
        let mut at = 0;
        while let Some(zero) = body[at..].iter().position(|byte| *byte == ESCAPE) {
            if body.get(at + zero + 1) != Some(&ESCAPED_ZERO) {
                return None;
            }
            at += zero + 2;
        }
        Some(unescape(body))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        let mut raw = RawFields { rest: self.rest };
        let field = raw.next()?;
        self.rest = raw.rest;
        Some(unescape(&field[..field.len() - 2]))
    }
}

#[cfg(test)]
mod tests;
