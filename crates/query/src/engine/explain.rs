//! A plan as text for people, and its price.

use std::fmt::Write as _;

use datafusion::physical_plan::displayable;
use promontory_model::Matcher;
use promontory_plan::{Node, NodeKind, PlanRoot, RangeInput, ScalarArg, ScanSpec};
use promontory_promql::engine::{EngineError, Explanation, Price};

use super::prepare::{self, Planned};
use super::question::Query;
use crate::session::Session;

pub(super) async fn explain(session: &Session, query: &Query) -> Result<Explanation, EngineError> {
    let planned = prepare::plan(session, query).await?;
    let operators = planned.operators(session, query.grid.steps)?;
    let physical = operators.plan.map(|plan| displayable(plan.as_ref()).indent(false).to_string());
    Ok(Explanation { logical: logical(&planned), physical: physical.unwrap_or_default() })
}

pub(super) async fn price(session: &Session, query: &Query) -> Result<Price, EngineError> {
    let planned = prepare::plan(session, query).await?;
    let mut price = Price { memory_bytes: planned.estimate().bytes, ..Price::default() };
    for selection in &planned.selections {
        let all = 0..selection.series().len();
        price.series += all.len() as u64;
        price.samples += selection.samples_max(all.clone());
        price.stored_bytes += selection.stored_bytes(all);
    }
    Ok(price)
}

fn logical(planned: &Planned) -> String {
    let mut tree = Tree { scans: &planned.scans, text: String::new() };
    match planned.root.clone() {
        PlanRoot::String(text) => tree.line(0, &format!("String {text:?}")),
        PlanRoot::Scalar(ScalarArg::Node(mut node)) => tree.node(0, &mut node),
        PlanRoot::Scalar(ScalarArg::Constant(value)) => tree.line(0, &format!("Scalar {value}")),
        PlanRoot::Scalar(ScalarArg::Steps(values)) => {
            tree.line(0, &format!("Scalar over {} steps", values.len()));
        }
        PlanRoot::Vector(mut node) | PlanRoot::Subquery(mut node) => tree.node(0, &mut node),
        PlanRoot::Samples { scan, range } => {
            tree.line(0, &format!("Samples from {} to {}", range.start, range.end));
            tree.scan(1, scan);
        }
    }
    tree.text
}

/// Text that grows line by line.
struct Tree<'a> {
    scans: &'a [ScanSpec],
    text: String,
}

impl Tree<'_> {
    fn line(&mut self, depth: usize, what: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{what}", "", indent = 2 * depth);
    }

    fn scan(&mut self, depth: usize, scan: usize) {
        let Some(ScanSpec { matchers, range }) = self.scans.get(scan) else { return };
        let matchers: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        self.line(depth, &format!("Scan {{{}}} from {} to {}", matchers.join(","), range.start, range.end));
    }

    fn node(&mut self, depth: usize, node: &mut Node) {
        self.line(depth, &format!("{}, steps={}", described(&node.kind), node.grid.steps));
        if let NodeKind::Instant { scan, .. } | NodeKind::Range { input: RangeInput::Scan(scan), .. } =
            node.kind
        {
            self.scan(depth + 1, scan);
        }
        node.for_each_child_mut(&mut |child| self.node(depth + 1, child));
    }
}

/// What a node does, without what lies below it.
fn described(kind: &NodeKind) -> String {
    match kind {
        NodeKind::Empty => "Empty".into(),
        NodeKind::Row { labels, .. } => format!("Row {labels}"),
        NodeKind::Instant { labels, .. } => format!("Instant labels={labels}"),
        NodeKind::Range { function, labels, .. } => format!("Range {function:?} labels={labels}"),
        NodeKind::Map { function, labels, .. } => format!("Map {function:?} labels={labels}"),
        NodeKind::Relabel { function, .. } => format!("Relabel {function:?}"),
        NodeKind::Distinct { .. } => "Distinct".into(),
        NodeKind::Aggregate { function, by, .. } => format!("Aggregate {function:?} {by}"),
        NodeKind::Quantile { by, .. } => format!("Quantile {by}"),
        NodeKind::Select { function, by, .. } => format!("Select {function:?} {by}"),
        NodeKind::CountValues { label, by, .. } => format!("CountValues {label:?} {by}"),
        NodeKind::Buckets { function, .. } => format!("Buckets {function:?}"),
        NodeKind::Absent { labels, .. } => format!("Absent {labels}"),
        NodeKind::Scalar { .. } => "Scalar".into(),
        NodeKind::Match { spec, .. } => format!("Match {:?}", spec.operation),
        NodeKind::Broadcast { .. } => "Broadcast".into(),
        NodeKind::Sort { key, .. } => format!("Sort {key:?}"),
        NodeKind::Union { .. } => "Union".into(),
    }
}
