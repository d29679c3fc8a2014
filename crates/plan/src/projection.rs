//! What an operator does to label sets: nothing, drop the name, keep some, drop some.
//!
//! A projection is a value, so that the planner can move it into the scan and compose it with the one
//! above.
//!
//! A label set travels as the canonical key of [`promontory_model::Labels`]. While metric names are
//! removed late (`promql-delayed-name-removal`), a key whose name is to go at the end of the query
//! carries [`DROP_NAME_MARK`] before it.

use std::fmt;
use std::sync::Arc;

use promontory_model::{LabelsRef, METRIC_NAME};
use promontory_promql::kernels::BUCKET_LABEL;

/// Marks a key whose metric name goes at the end of the query. No key starts with it, because the first
/// field of a key is UTF-8.
pub const DROP_NAME_MARK: u8 = 0xFF;

/// The labels that go with the metric name.
///
/// Source: `schema.IsMetadataLabel`, prometheus v3.16 `schema/labels.go`.
pub const RESERVED: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// A change of label sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LabelProjection {
    /// As they are.
    All,
    /// Without the metric name and the labels that go with it.
    DropName,
    /// As they are, with the mark that the name goes at the end of the query.
    MarkName,
    /// Only these labels, sorted.
    By(Arc<[String]>),
    /// All but these labels, sorted; `__name__` is among them if it is to go.
    Without(Arc<[String]>),
}

impl LabelProjection {
    /// Only `labels`, in any order.
    pub fn by(labels: impl IntoIterator<Item = String>) -> Self {
        Self::By(sorted(labels))
    }

    /// All but these, the metric name and the labels that go with it, as `without` and `ignoring` mean it.
    pub fn without(labels: impl IntoIterator<Item = String>) -> Self {
        Self::Without(sorted(labels.into_iter().chain(RESERVED.map(str::to_owned))))
    }

    /// All but `labels`, in any order; the metric name stays unless it is one of them.
    pub fn without_exactly(labels: impl IntoIterator<Item = String>) -> Self {
        Self::Without(sorted(labels))
    }

    /// All but the label that the buckets of a classic histogram differ in.
    pub fn without_bucket() -> Self {
        Self::without_exactly([BUCKET_LABEL.to_owned()])
    }

    /// This projection, then `next`, as one; `None` if it takes two.
    pub fn then(&self, next: &Self) -> Option<Self> {
        Some(match (self, next) {
            (Self::All, next) => next.clone(),
            (first, Self::All) => first.clone(),
            (Self::DropName, Self::DropName) => Self::DropName,
            (Self::DropName, Self::By(keep)) => {
                Self::by(keep.iter().filter(|label| !RESERVED.contains(&label.as_str())).cloned())
            }
            (Self::DropName, Self::Without(drop)) => {
                Self::without_exactly(drop.iter().cloned().chain(RESERVED.map(str::to_owned)))
            }
            (Self::MarkName, Self::By(keep)) if !contains(keep, METRIC_NAME) => next.clone(),
            (Self::MarkName, Self::Without(drop)) if contains(drop, METRIC_NAME) => next.clone(),
            _ => return None,
        })
    }

    /// True if nothing is left of any label set.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::By(labels) if labels.is_empty())
    }

    /// Appends the projected key to `out`.
    ///
    /// A mark stays if a name stays that it can refer to.
    pub fn apply(&self, key: &[u8], out: &mut Vec<u8>) {
        let (marked, labels) = split_mark(key);
        match self {
            Self::All => out.extend_from_slice(key),
            Self::DropName => labels.project_into(out, |name| !is_reserved(name)),
            Self::MarkName => {
                out.push(DROP_NAME_MARK);
                out.extend_from_slice(labels.key());
            }
            Self::By(keep) => {
                if marked && contains(keep, METRIC_NAME) {
                    out.push(DROP_NAME_MARK);
                }
                labels.project_into(out, |name| keep.iter().any(|label| label.as_bytes() == name));
            }
            Self::Without(drop) => {
                if marked && !contains(drop, METRIC_NAME) {
                    out.push(DROP_NAME_MARK);
                }
                labels.project_into(out, |name| !drop.iter().any(|label| label.as_bytes() == name));
            }
        }
    }
}

/// True for labels that go with the metric name.
pub fn is_reserved(name: &[u8]) -> bool {
    RESERVED.iter().any(|label| label.as_bytes() == name)
}

/// A key as it travels: whether its name goes at the end, and the label set.
pub fn split_mark(key: &[u8]) -> (bool, LabelsRef<'_>) {
    match key.split_first() {
        Some((&DROP_NAME_MARK, rest)) => (true, LabelsRef::new(rest)),
        _ => (false, LabelsRef::new(key)),
    }
}

/// The label set of a key as it travels.
pub fn labels_of(key: &[u8]) -> LabelsRef<'_> {
    split_mark(key).1
}

fn contains(labels: &[String], wanted: &str) -> bool {
    labels.iter().any(|label| label == wanted)
}

fn sorted(labels: impl IntoIterator<Item = String>) -> Arc<[String]> {
    let mut labels: Vec<String> = labels.into_iter().collect();
    labels.sort_unstable();
    labels.dedup();
    labels.into()
}

impl fmt::Display for LabelProjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::DropName => f.write_str("drop name"),
            Self::MarkName => f.write_str("mark name"),
            Self::By(labels) => write!(f, "by ({})", labels.join(", ")),
            Self::Without(labels) => write!(f, "without ({})", labels.join(", ")),
        }
    }
}
