//! Combines pairs of rows of one group and remembers what has matched.

use std::collections::HashMap;

use promontory_model::LabelsRef;
use promontory_promql::ast::Cardinality;
use promontory_promql::kernels::{BinaryOp, Comparison, vector_vector};

use super::matching::Matching;
use super::results::{FirstError, LABELSET, MATCHES, Results, same_labelset};
use promontory_promql::GridRow;

/// Combines pairs of rows and remembers what has matched.
pub(super) struct Pairs<'a> {
    pub(super) matching: &'a Matching<'a>,
    pub(super) op: BinaryOp,
    pub(super) comparison: Comparison,
    pub(super) swapped: bool,
    pub(super) many_per_group: Vec<u32>,
    /// Remember matches of every group, not only where two rows of the many side could meet.
    pub(super) track_all: bool,
    /// Steps that have matched, by group and (for many-to-one) result row.
    pub(super) matched: HashMap<(u32, u32), Box<[bool]>>,
    pub(super) results: Results,
    pub(super) errors: FirstError,
    pub(super) left: Vec<f64>,
    pub(super) valid: Vec<bool>,
    pub(super) other: Vec<bool>,
    pub(super) key: Vec<u8>,
}

impl Pairs<'_> {
    pub(super) fn combine(
        &mut self,
        ordinal: u32,
        many: LabelsRef<'_>,
        one: LabelsRef<'_>,
        many_row: GridRow<'_>,
        one_row: GridRow<'_>,
    ) {
        let (left, right) = if self.swapped { (one_row, many_row) } else { (many_row, one_row) };
        left.valid.expand(&mut self.valid);
        right.valid.expand(&mut self.other);
        if !self.valid.iter().zip(&self.other).any(|(left, right)| *left && *right) {
            return;
        }
        let spec = self.matching.spec;
        self.key.clear();
        spec.result_labels(many, one, &mut self.key);
        let at = self.results.row(&self.key);
        if self.track_all || self.many_per_group[ordinal as usize] > 1 {
            self.track(ordinal, at as u32);
        }
        self.left.copy_from_slice(left.values);
        vector_vector(self.op, self.comparison, &mut self.left, &mut self.valid, right.values, &self.other);
        if let Some(step) = self.results.write(at, &self.left, &self.valid) {
            self.errors.offer(step, LABELSET, same_labelset);
        }
    }

    /// Two elements of the many side that give the same result at one step.
    fn track(&mut self, ordinal: u32, result: u32) {
        let one_to_one = self.matching.spec.cardinality == Cardinality::OneToOne;
        let steps = self.matching.steps;
        let key = (ordinal, if one_to_one { 0 } else { result });
        let matched = self.matched.entry(key).or_insert_with(|| vec![false; steps].into());
        for step in 0..steps {
            if self.valid[step] && self.other[step] {
                if matched[step] {
                    self.errors.offer(step, MATCHES, || {
                        let what = if one_to_one {
                            "many-to-one matching must be explicit (group_left/group_right)"
                        } else {
                            "grouping labels must ensure unique matches"
                        };
                        format!("multiple matches for labels: {what}")
                    });
                }
                matched[step] = true;
            }
        }
    }

    pub(super) fn is_matched(&self, ordinal: u32, step: usize) -> bool {
        if self.matching.spec.cardinality == Cardinality::OneToOne {
            return self.matched.get(&(ordinal, 0)).is_some_and(|matched| matched[step]);
        }
        self.matched.iter().any(|((group, _), matched)| *group == ordinal && matched[step])
    }
}
