//! How the elements of two vectors find each other, and what becomes of their labels.
//!
//! Data only: the operator that matches rows by it belongs to whoever has rows.
//!
//! Source: `VectorBinop`, `resultMetric`, prometheus v3.16 `promql/engine.go`.

#![allow(missing_docs)] // What a field does not say by its name is said beside it.

use std::fmt;

use promontory_model::{LabelsBuilder, LabelsRef};
use promontory_promql::ast::{Cardinality, SetOp};
use promontory_promql::kernels::{BinaryOp, Comparison};

use crate::projection::{DROP_NAME_MARK, LabelProjection, is_reserved};

/// What is done with matching elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MatchOperation {
    /// Arithmetic or comparison of two values.
    Values(BinaryOp, Comparison),
    /// Keeping by presence on the other side.
    Set(SetOp),
}

/// How elements find each other and what becomes of their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchSpec {
    pub operation: MatchOperation,
    pub cardinality: Cardinality,
    /// True for `on`, false for `ignoring`.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Labels that the result takes from the one side.
    pub include: Vec<String>,
    /// Stands in for a missing left element (of the one side with `group_right`).
    pub fill_left: Option<f64>,
    /// Stands in for a missing right element (of the many side with `group_right`).
    pub fill_right: Option<f64>,
    /// The result has no metric name.
    pub drop_name: bool,
    /// The result's name goes at the end of the query.
    pub mark_name: bool,
}

impl MatchSpec {
    /// What of its labels decides the group of an element.
    pub fn group_labels(&self) -> LabelProjection {
        if self.on {
            LabelProjection::by(self.labels.iter().cloned())
        } else {
            LabelProjection::without(self.labels.iter().cloned())
        }
    }

    /// The labels of a result, appended to `out`.
    pub fn result_labels(&self, many: LabelsRef<'_>, one: LabelsRef<'_>, out: &mut Vec<u8>) {
        if self.mark_name {
            out.push(DROP_NAME_MARK);
        }
        let named = |name: &[u8]| self.labels.iter().any(|label| label.as_bytes() == name);
        let keep = |name: &[u8]| {
            !(self.drop_name && is_reserved(name))
                && (self.cardinality != Cardinality::OneToOne || named(name) == self.on)
        };
        if self.include.is_empty() {
            many.project_into(out, keep);
            return;
        }
        let kept = many.project(keep);
        let mut builder = LabelsBuilder::from(kept.as_ref());
        for label in &self.include {
            builder.set(label, &one.get(label).unwrap_or_default());
        }
        out.extend_from_slice(builder.build().key());
    }
}

impl fmt::Display for MatchOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Values(op, Comparison::Bool) if op.is_comparison() => write!(f, "{} bool", op.as_str()),
            Self::Values(op, _) => f.write_str(op.as_str()),
            Self::Set(op) => f.write_str(op.as_str()),
        }
    }
}

impl fmt::Display for MatchSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.on { "on" } else { "ignoring" };
        write!(f, "{} {way}({})", self.operation, self.labels.join(", "))?;
        match self.cardinality {
            Cardinality::ManyToOne => write!(f, " group_left({})", self.include.join(", ")),
            Cardinality::OneToMany => write!(f, " group_right({})", self.include.join(", ")),
            _ => Ok(()),
        }
    }
}
