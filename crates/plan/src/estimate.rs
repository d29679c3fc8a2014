//! What a query will certainly hold in memory, found before it runs.
//!
//! Only rows that come straight from scans are counted, because the rows of an aggregation are not
//! known: the estimate is a lower bound, and a query that passes it may still reach the limit of its
//! memory pool.

use crate::error::PlanError;
use crate::node::{Node, NodeKind, PlanRoot, RangeInput, ScalarArg};

/// Bytes of a point in a column: the value and its validity.
const COLUMN_POINT: u64 = 9;
/// Bytes of a point in an answer.
const ANSWER_POINT: u64 = 16;

/// The largest part of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Rows that the root certainly has.
    pub rows: u64,
    /// Bytes held by operators that keep whole inputs, and by the answer.
    pub bytes: u64,
}

/// Estimates a query whose scans select this many series.
pub fn estimate(root: &PlanRoot, series: &[u64]) -> Estimate {
    match root {
        PlanRoot::Vector(node) | PlanRoot::Subquery(node) => {
            let mut bytes = 0;
            let rows = rows_of(node, series, &mut bytes);
            Estimate { rows, bytes: bytes + rows * node.grid.steps as u64 * ANSWER_POINT }
        }
        PlanRoot::Scalar(ScalarArg::Node(node)) => {
            let mut bytes = 0;
            rows_of(node, series, &mut bytes);
            Estimate { rows: 1, bytes }
        }
        PlanRoot::Scalar(_) | PlanRoot::String(_) | PlanRoot::Samples { .. } => Estimate::default(),
    }
}

/// Refuses a query that would certainly hold more than `bytes_max`.
///
/// # Errors
/// `Limited` with the numbers.
pub fn admit(estimate: Estimate, bytes_max: usize) -> Result<(), PlanError> {
    if estimate.bytes <= bytes_max as u64 {
        return Ok(());
    }
    Err(PlanError::Limited(format!(
        "query would hold at least {} bytes of memory for {} series, more than the {bytes_max} that a query may \
         use; narrow the selectors, shorten the range, raise the step, or raise --query.max-memory",
        estimate.bytes, estimate.rows
    )))
}

fn rows_of(node: &Node, series: &[u64], held: &mut u64) -> u64 {
    let steps = node.grid.steps as u64;
    let keep = |rows: u64, held: &mut u64| {
        *held = held.saturating_add(rows.saturating_mul(steps).saturating_mul(COLUMN_POINT));
        rows
    };
    match &node.kind {
        NodeKind::Empty => 0,
        NodeKind::Row { .. } => 1,
        NodeKind::Instant { scan, .. } => series[*scan],
        NodeKind::Range { input: RangeInput::Scan(scan), .. } => series[*scan],
        NodeKind::Range { input: RangeInput::Subquery(input), .. } => rows_of(input, series, held),
        NodeKind::Map { input, .. } | NodeKind::Relabel { input, .. } | NodeKind::Broadcast { input } => {
            rows_of(input, series, held)
        }
        NodeKind::Distinct { input } | NodeKind::Sort { input, .. } => {
            let rows = rows_of(input, series, held);
            keep(rows, held)
        }
        NodeKind::Quantile { input, .. } | NodeKind::Buckets { input, .. } => {
            let rows = rows_of(input, series, held);
            keep(rows, held);
            0
        }
        NodeKind::Aggregate { input, .. }
        | NodeKind::Select { input, .. }
        | NodeKind::CountValues { input, .. }
        | NodeKind::Absent { input, .. }
        | NodeKind::Scalar { input } => {
            rows_of(input, series, held);
            0
        }
        NodeKind::Match { left, right, .. } => {
            let rows = rows_of(left, series, held) + rows_of(right, series, held);
            keep(rows, held);
            0
        }
        NodeKind::Union { inputs } => inputs.iter().map(|input| rows_of(input, series, held)).sum(),
    }
}
