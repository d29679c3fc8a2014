//! What the operation does with both sides, once they are read.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use datafusion::common::Result;
use promontory_model::LabelsRef;
use promontory_plan::{MatchOperation, MatchSpec};
use promontory_promql::ast::{Cardinality, SetOp};
use promontory_promql::kernels::{BinaryOp, Comparison};
use promontory_promql::{GridRow, Validity};

use super::pairs::Pairs;
use super::results::{FirstError, LABELSET, ONE_SIDE, Results, same_labelset};
use super::side::{Ordinals, Side, union_into};
use crate::context::QueryContext;

pub(super) struct Matching<'a> {
    pub(super) spec: &'a MatchSpec,
    pub(super) steps: usize,
    left: Side,
    right: Side,
    groups: usize,
    context: &'a QueryContext,
}

impl<'a> Matching<'a> {
    pub(super) fn new(
        spec: &'a MatchSpec,
        steps: usize,
        mut left: Side,
        mut right: Side,
        context: &'a QueryContext,
    ) -> Self {
        let mut groups = Ordinals::default();
        let projection = spec.group_labels();
        left.number(&projection, &mut groups);
        right.number(&projection, &mut groups);
        Self { spec, steps, left, right, groups: groups.len(), context }
    }

    pub(super) fn run(self, rows_per_batch: usize) -> Result<Vec<RecordBatch>> {
        let results = match self.spec.operation {
            MatchOperation::Values(op, comparison) => self.values(op, comparison)?,
            MatchOperation::Set(SetOp::And) => self.keep_left(true)?,
            MatchOperation::Set(SetOp::Unless) => self.keep_left(false)?,
            MatchOperation::Set(SetOp::Or) => self.union()?,
        };
        results.into_batches(rows_per_batch)
    }

    /// Per group, the steps at which `side` has an element of it; `None` where it never has.
    fn presence(&self, side: &Side) -> Vec<Option<Box<[bool]>>> {
        let mut presence: Vec<Option<Box<[bool]>>> = vec![None; self.groups];
        for (index, ordinal) in side.ordinals.iter().enumerate() {
            let present = presence[*ordinal as usize].get_or_insert_with(|| vec![false; self.steps].into());
            union_into(present, side.row(index));
        }
        presence
    }

    fn keep_left(&self, if_present: bool) -> Result<Results> {
        let presence = self.presence(&self.right);
        let mut results = Results::new(self.steps);
        let mut valid = vec![false; self.steps];
        for index in 0..self.left.rows.len() {
            self.check_at(index)?;
            let row = self.left.row(index);
            let present = presence[self.left.ordinals[index] as usize].as_deref();
            for (step, valid) in valid.iter_mut().enumerate() {
                *valid = row.valid.get(step) && present.is_some_and(|present| present[step]) == if_present;
            }
            let at = results.row(self.left.key(index));
            results.write(at, row.values, &valid);
        }
        Ok(results)
    }

    fn union(&self) -> Result<Results> {
        let presence = self.presence(&self.left);
        let mut results = Results::new(self.steps);
        let mut errors = FirstError::default();
        let mut valid = vec![false; self.steps];
        for index in 0..self.left.rows.len() {
            self.check_at(index)?;
            let row = self.left.row(index);
            row.valid.expand(&mut valid);
            let at = results.row(self.left.key(index));
            results.write(at, row.values, &valid);
        }
        for index in 0..self.right.rows.len() {
            self.check_at(index)?;
            let row = self.right.row(index);
            let present = presence[self.right.ordinals[index] as usize].as_deref();
            for (step, valid) in valid.iter_mut().enumerate() {
                *valid = row.valid.get(step) && !present.is_some_and(|present| present[step]);
            }
            let at = results.row(self.right.key(index));
            if let Some(step) = results.write(at, row.values, &valid) {
                errors.offer(step, LABELSET, same_labelset);
            }
        }
        errors.raise()?;
        Ok(results)
    }

    fn values(&self, op: BinaryOp, comparison: Comparison) -> Result<Results> {
        let swapped = self.spec.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&self.right, &self.left) } else { (&self.left, &self.right) };
        let (fill_left, fill_right) = (self.spec.fill_left, self.spec.fill_right);
        let (fill_many, fill_one) = if swapped { (fill_right, fill_left) } else { (fill_left, fill_right) };
        let mut errors = FirstError::default();
        let one_rows = one.rows_by_group(self.groups);
        self.check_one_side(one, &one_rows, swapped, &mut errors);
        // With an error at one step only an earlier one can still matter. Duplicates of a large group would
        // otherwise be paired each with each before the query fails.
        let horizon = errors.step().unwrap_or(self.steps);
        let too_late = |row: GridRow<'_>| row.iter().next().is_none_or(|(step, _)| step >= horizon);

        let mut pairs = Pairs {
            matching: self,
            op,
            comparison,
            swapped,
            many_per_group: count_by_group(&many.ordinals, self.groups),
            track_all: fill_many.is_some(),
            matched: HashMap::new(),
            results: Results::new(self.steps),
            errors,
            left: vec![0.0; self.steps],
            valid: vec![false; self.steps],
            other: vec![false; self.steps],
            key: Vec::new(),
        };
        let projection = self.spec.group_labels();
        for index in 0..many.rows.len() {
            self.check_at(index)?;
            if horizon < self.steps && too_late(many.row(index)) {
                continue;
            }
            let ordinal = many.ordinals[index];
            let partners = &one_rows[ordinal as usize];
            for partner in partners {
                let partner = *partner as usize;
                pairs.combine(
                    ordinal,
                    many.labels(index),
                    one.labels(partner),
                    many.row(index),
                    one.row(partner),
                );
            }
            if let Some(fill) = fill_one {
                let unmatched = self.without_partner(many.row(index), one, partners);
                let filled = vec![fill; self.steps];
                let mut labels = Vec::new();
                projection.apply(many.labels(index).key(), &mut labels);
                let other = GridRow { values: &filled[..], valid: Validity::Bools(&unmatched) };
                pairs.combine(ordinal, many.labels(index), LabelsRef::new(&labels), many.row(index), other);
            }
        }
        if let Some(fill) = fill_many {
            for index in 0..one.rows.len() {
                self.check_at(index)?;
                let ordinal = one.ordinals[index];
                let row = one.row(index);
                let unmatched: Vec<bool> = (0..self.steps)
                    .map(|step| row.valid.get(step) && !pairs.is_matched(ordinal, step))
                    .collect();
                let filled = vec![fill; self.steps];
                let mut labels = Vec::new();
                projection.apply(one.labels(index).key(), &mut labels);
                let other = GridRow { values: &filled[..], valid: Validity::Bools(&unmatched) };
                pairs.combine(ordinal, LabelsRef::new(&labels), one.labels(index), other, row);
            }
        }
        pairs.errors.raise()?;
        Ok(pairs.results)
    }

    fn without_partner(&self, row: GridRow<'_>, one: &Side, partners: &[u32]) -> Vec<bool> {
        let mut unmatched = vec![false; self.steps];
        row.valid.expand(&mut unmatched);
        for partner in partners {
            let partner = one.row(*partner as usize);
            for (step, unmatched) in unmatched.iter_mut().enumerate() {
                *unmatched &= !partner.valid.get(step);
            }
        }
        unmatched
    }

    /// Two elements of one group on the one side, at a step where the operation takes place at all.
    fn check_one_side(&self, one: &Side, one_rows: &[Vec<u32>], swapped: bool, errors: &mut FirstError) {
        if one_rows.iter().all(|rows| rows.len() < 2) {
            return;
        }
        let left = self.left.steps_with_any(self.steps);
        let right = self.right.steps_with_any(self.steps);
        let fills = self.spec.fill_left.is_some() || self.spec.fill_right.is_some();
        let active = |step: usize| if fills { left[step] || right[step] } else { left[step] && right[step] };
        for rows in one_rows.iter().filter(|rows| rows.len() > 1) {
            let mut owner: Vec<Option<u32>> = vec![None; self.steps];
            for row in rows {
                for (step, _) in one.row(*row as usize).iter().filter(|(step, _)| active(*step)) {
                    match owner[step] {
                        None => owner[step] = Some(*row),
                        Some(first) => errors.offer(step, ONE_SIDE, || {
                            self.duplicate_text(
                                one.labels(first as usize),
                                one.labels(*row as usize),
                                swapped,
                            )
                        }),
                    }
                }
            }
        }
    }

    fn duplicate_text(&self, first: LabelsRef<'_>, second: LabelsRef<'_>, swapped: bool) -> String {
        let mut group = Vec::new();
        self.spec.group_labels().apply(second.key(), &mut group);
        let group = show_labels(LabelsRef::new(&group));
        let side = if swapped { "left" } else { "right" };
        let (mut first, mut second) = (show_labels(first), show_labels(second));
        if first > second {
            std::mem::swap(&mut first, &mut second);
        }
        format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
             [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        )
    }

    fn check_at(&self, index: usize) -> Result<()> {
        if index.is_multiple_of(ROWS_PER_CHECK) { self.context.check() } else { Ok(()) }
    }
}

/// Rows that are handled between two looks at the query's end.
const ROWS_PER_CHECK: usize = 256;

fn count_by_group(ordinals: &[u32], groups: usize) -> Vec<u32> {
    let mut counts = vec![0; groups];
    for ordinal in ordinals {
        counts[*ordinal as usize] += 1;
    }
    counts
}

/// A label set as Go's `labels.Labels.String` writes it: `{__name__="a", b="c"}`.
fn show_labels(labels: LabelsRef<'_>) -> String {
    use promontory_model::labels::{is_legacy_label_name, quote};
    let pairs: Vec<String> = labels
        .sorted_pairs()
        .iter()
        .map(|(name, value)| {
            let name = if is_legacy_label_name(name) { name.to_string() } else { quote(name) };
            format!("{name}={}", quote(value))
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}
