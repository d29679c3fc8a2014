//! Selectors and subqueries: what is read, and where the windows end.

use promontory_model::{Labels, LabelsBuilder, MatchOp, TimeRange};
use promontory_promql::Grid;
use promontory_promql::ast::{At, DurationSpec, RangeExtension, Subquery, VectorSelector};
use promontory_promql::kernels::{RangeWindow, subquery_grid};

use super::{Lowered, Lowering, bug, unsupported};
use crate::error::PlanError;
use crate::node::{Node, NodeKind, ScanSpec, Take};
use crate::projection::{LabelProjection, is_reserved};

impl Lowering<'_> {
    pub(super) fn instant(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
        take: Take,
        labels: LabelProjection,
    ) -> Lowered<Node> {
        no_extension(selector)?;
        let offset = fixed(&selector.offset)?;
        let ends = match self.at(selector.at) {
            Some(time) => Grid { start: time, step: 0, steps: grid.steps },
            None => grid,
        }
        .shifted(offset.saturating_neg());
        let lookback = self.settings.lookback;
        let scan = self.scan(selector, ends.covered(lookback));
        Ok(Node::new(NodeKind::Instant { scan, ends, lookback, take, labels }, grid))
    }

    pub(super) fn window(&self, selector: &VectorSelector, range: i64, grid: Grid) -> Lowered<RangeWindow> {
        let offset = fixed(&selector.offset)?;
        Ok(match self.at(selector.at) {
            Some(time) => RangeWindow::fixed(grid, range, time.saturating_sub(offset)),
            None => RangeWindow::new(grid, range, offset),
        })
    }

    /// The inner vector on the subquery's grid, and the windows over it.
    pub(super) fn subquery(&mut self, subquery: &Subquery, grid: Grid) -> Lowered<(Node, RangeWindow)> {
        let range = fixed(&subquery.range)?;
        let offset = fixed(&subquery.offset)?;
        let step = match &subquery.step {
            Some(step) => fixed(step)?,
            None => self.settings.subquery_step,
        };
        let at = self.at(subquery.at);
        let outer = at.map_or(grid, Grid::instant);
        let inner = subquery_grid(outer, range, offset, step);
        if inner.steps as u64 > self.settings.samples_max {
            let text = "query processing would load too many samples into memory in query execution";
            return Err(PlanError::Limited(text.into()));
        }
        let window = match at {
            Some(time) => RangeWindow::fixed(grid, range, time.saturating_sub(offset)),
            None => RangeWindow::new(grid, range, offset),
        };
        let node = if inner.is_empty() {
            Node::new(NodeKind::Empty, inner)
        } else {
            self.vector(&subquery.expr, inner)?
        };
        Ok((node, window))
    }

    pub(super) fn scan(&mut self, selector: &VectorSelector, range: TimeRange) -> usize {
        let mut matchers = selector.matchers.clone();
        matchers.sort_by(|a, b| {
            (a.name(), a.op().as_str(), a.value()).cmp(&(b.name(), b.op().as_str(), b.value()))
        });
        let next = self.scans.len();
        let number = *self.known.entry(ScanSpec { matchers, range }).or_insert(next);
        if number == next {
            self.scans.push(ScanSpec { matchers: selector.matchers.clone(), range });
        }
        number
    }

    fn at(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Timestamp(time) => time,
            At::Start => self.settings.start,
            At::End => self.settings.end,
        })
    }
}

pub(super) fn no_extension(selector: &VectorSelector) -> Lowered<()> {
    match selector.extension {
        RangeExtension::None => Ok(()),
        RangeExtension::Anchored => unsupported("the modifier anchored"),
        RangeExtension::Smoothed => unsupported("the modifier smoothed"),
    }
}

/// Source: `createLabelsForAbsentFunction`, prometheus v3.16 `promql/functions.go`.
pub(super) fn labels_of_absence(selector: &VectorSelector) -> Labels {
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| !is_reserved(matcher.name().as_bytes())) {
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            builder.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            builder.remove(matcher.name());
        }
    }
    builder.build()
}

pub(super) fn fixed(duration: &DurationSpec) -> Lowered<i64> {
    duration.fixed_ms().map_or_else(|| bug("a duration was not resolved"), Ok)
}
