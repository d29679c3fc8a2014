//! Rewrites of our own plan, in this order, each with a test that shows what it does:
//!
//! 1. [`prune`]: removes checks for equal label sets where they provably cannot fail (a check costs
//!    up to 40 % of a query), and reads nothing for selectors that select nothing.
//! 2. [`push_labels`]: moves what an aggregation keeps of labels down into the scan, so that whole
//!    label sets are never built.
//!
//! (Constants and `@` are folded while lowering.)

use promontory_model::Labels;
use promontory_model::labels::metric_key_range;
use promontory_promql::ast::SetOp;
use promontory_promql::kernels::RangeFunction;
use promontory_promql::looks_like_counter;

use crate::matching::MatchOperation;
use crate::node::{Node, NodeKind, PlanRoot, RangeInput, Relabel, ScalarArg};
use crate::projection::{LabelProjection, is_reserved};

/// What is known of the rows of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// No two rows have the same labels.
    pub unique: bool,
    /// What the rows say of the labels that go with the metric name.
    pub name: NameFact,
    /// The order of rows means something.
    pub ordered: bool,
}

/// What rows say of `__name__`, `__type__` and `__unit__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameFact {
    /// They may differ.
    Mixed,
    /// All rows have the same.
    Same,
    /// No row has any.
    Absent,
}

/// What a selection says of the names of its series.
///
/// Series ascend by key, so that series of one name follow each other, and of those the ones whose
/// first label sorts low come first: few series need to be looked at.
pub fn name_fact(series: &[Labels]) -> NameFact {
    let (Some(first), Some(last)) = (series.first(), series.last()) else { return NameFact::Absent };
    let name = first.as_ref().metric_name();
    // A key starts with the name and its terminator: equal names are equal prefixes.
    let (prefix, _) = metric_key_range(&name);
    if !last.key().starts_with(&prefix) {
        return NameFact::Mixed;
    }
    // Labels are sorted by name too, and nearly all names are above `_`.
    let may_have_type = |labels: &Labels| labels.key().get(prefix.len()).is_some_and(|byte| *byte <= b'_');
    let low = &series[..series.partition_point(may_have_type)];
    let has_type_or_unit =
        |labels: &Labels| labels.get("__type__").is_some() || labels.get("__unit__").is_some();
    if low.iter().any(has_type_or_unit) {
        return NameFact::Mixed;
    }
    if name.is_empty() { NameFact::Absent } else { NameFact::Same }
}

/// True if all names look like counters' names, or are absent.
pub fn all_counters(mut series: &[Labels]) -> bool {
    while let Some(first) = series.first() {
        let name = first.as_ref().metric_name();
        if !name.is_empty() && !looks_like_counter(&name) {
            return false;
        }
        let (_, after) = metric_key_range(&name);
        series = &series[series.partition_point(|labels| labels.key() < after.as_slice())..];
    }
    true
}

/// What the passes need to know of a scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanFacts {
    /// The names of its series.
    pub name: NameFact,
    /// It selects nothing.
    pub empty: bool,
}

/// Removes what provably does nothing; answers what is known of the vector.
pub fn prune(node: &mut Node, scans: &[ScanFacts]) -> Facts {
    let sorted = |unique, name| Facts { unique, name, ordered: false };
    let facts = match &mut node.kind {
        NodeKind::Empty => sorted(true, NameFact::Absent),
        NodeKind::Row { values, labels } => {
            prune_arg(values, scans);
            let name =
                if labels.as_ref().metric_name().is_empty() { NameFact::Absent } else { NameFact::Same };
            sorted(true, name)
        }
        NodeKind::Instant { scan, labels, .. } => {
            let scan = scans[*scan];
            if scan.empty {
                node.kind = NodeKind::Empty;
                return sorted(true, NameFact::Absent);
            }
            project(sorted(true, scan.name), labels)
        }
        NodeKind::Range { input, params, labels, function, .. } => {
            params.iter_mut().for_each(|param| prune_arg(param, scans));
            let below = match input {
                RangeInput::Scan(scan) => {
                    // A parameter outside its domain fails the query even without series.
                    if scans[*scan].empty && *function != RangeFunction::DoubleExponentialSmoothing {
                        node.kind = NodeKind::Empty;
                        return sorted(true, NameFact::Absent);
                    }
                    sorted(true, scans[*scan].name)
                }
                RangeInput::Subquery(input) => Facts { ordered: false, ..prune(input, scans) },
            };
            project(below, labels)
        }
        NodeKind::Map { input, params, labels, .. } => {
            let below = prune(input, scans);
            params.iter_mut().for_each(|param| prune_arg(param, scans));
            project(below, labels)
        }
        NodeKind::Relabel { input, function } => {
            let below = prune(input, scans);
            let name = match function {
                Relabel::Replace { to, .. } | Relabel::Join { to, .. } | Relabel::Set { to, .. }
                    if touches_reserved(to) =>
                {
                    NameFact::Mixed
                }
                Relabel::DropMarkedNames => NameFact::Mixed,
                _ => below.name,
            };
            let unique =
                matches!(function, Relabel::DropMarkedNames) && below.unique && below.name != NameFact::Mixed;
            Facts { unique, name, ..below }
        }
        NodeKind::Distinct { input } => {
            let below = prune(input, scans);
            if below.unique {
                let input = std::mem::replace(input.as_mut(), Node::new(NodeKind::Empty, node.grid));
                *node = input;
                return below;
            }
            Facts { unique: true, ..below }
        }
        NodeKind::Aggregate { input, by, .. }
        | NodeKind::Quantile { input, by, .. }
        | NodeKind::CountValues { input, by, .. } => {
            let below = prune(input, scans);
            let name = match by {
                LabelProjection::By(keep) if !keep.iter().any(|label| touches_reserved(label)) => {
                    NameFact::Absent
                }
                _ => below.name,
            };
            sorted(true, name)
        }
        NodeKind::Select { input, param, .. } => {
            let below = prune(input, scans);
            prune_arg(param, scans);
            Facts { ordered: true, ..below }
        }
        NodeKind::Buckets { input, params, .. } => {
            let below = prune(input, scans);
            params.iter_mut().for_each(|param| prune_arg(param, scans));
            sorted(true, below.name)
        }
        NodeKind::Absent { input, .. } | NodeKind::Scalar { input } => {
            prune(input, scans);
            sorted(true, NameFact::Absent)
        }
        NodeKind::Match { left, right, spec } => {
            let (left, right) = (prune(left, scans), prune(right, scans));
            let from_one = spec.include.iter().any(|label| touches_reserved(label));
            let name = match spec.operation {
                _ if spec.drop_name && !from_one => NameFact::Absent,
                MatchOperation::Set(SetOp::And | SetOp::Unless) => left.name,
                MatchOperation::Set(SetOp::Or)
                    if left.name == NameFact::Absent && right.name == NameFact::Absent =>
                {
                    NameFact::Absent
                }
                MatchOperation::Set(SetOp::Or) => NameFact::Mixed,
                MatchOperation::Values(..)
                    if from_one || spec.fill_left.is_some() || spec.fill_right.is_some() =>
                {
                    NameFact::Mixed
                }
                MatchOperation::Values(..) => left.name.min(right.name),
            };
            sorted(true, name)
        }
        NodeKind::Broadcast { input } => prune(input, scans),
        NodeKind::Sort { input, .. } => Facts { ordered: true, ..prune(input, scans) },
        NodeKind::Union { inputs } => {
            inputs.iter_mut().for_each(|input| {
                prune(input, scans);
            });
            sorted(false, NameFact::Mixed)
        }
    };
    node.ordered = facts.ordered;
    facts
}

/// True if a change of this label makes the argument about names invalid.
fn touches_reserved(label: &str) -> bool {
    is_reserved(label.as_bytes())
}

fn prune_arg(arg: &mut ScalarArg, scans: &[ScanFacts]) {
    if let ScalarArg::Node(node) = arg {
        prune(node, scans);
    }
}

fn project(below: Facts, labels: &LabelProjection) -> Facts {
    match labels {
        LabelProjection::DropName => {
            Facts { unique: below.unique && below.name != NameFact::Mixed, name: NameFact::Absent, ..below }
        }
        LabelProjection::All | LabelProjection::MarkName => below,
        LabelProjection::By(_) | LabelProjection::Without(_) => Facts { unique: false, ..below },
    }
}

/// Moves projections of labels down to the scan.
pub fn push_labels(node: &mut Node) {
    if let NodeKind::Aggregate { input, by, .. } | NodeKind::Quantile { input, by, .. } = &mut node.kind
        && push_into(input, by)
    {
        *by = LabelProjection::All;
    }
    node.for_each_child_mut(&mut push_labels);
}

/// Lets `node` yield only what `by` keeps; true if it does.
fn push_into(node: &mut Node, by: &LabelProjection) -> bool {
    let labels = match &mut node.kind {
        NodeKind::Instant { labels, .. } => labels,
        // The names are still needed to tell counters from others.
        NodeKind::Range { labels, counter_place: None, input: RangeInput::Scan(_), .. } => labels,
        NodeKind::Map { input, labels, .. } => {
            return match labels.then(by) {
                Some(both) if push_into(input, &both) => {
                    *labels = LabelProjection::All;
                    true
                }
                Some(both) => {
                    *labels = both;
                    true
                }
                None => false,
            };
        }
        _ => return false,
    };
    match labels.then(by) {
        Some(both) => {
            *labels = both;
            true
        }
        None => false,
    }
}

/// Drops the info about counters where all names are known to look like counters'.
pub fn prune_counter_notes(node: &mut Node, all_counters: &[bool]) {
    if let NodeKind::Range { input: RangeInput::Scan(scan), counter_place, .. } = &mut node.kind
        && all_counters[*scan]
    {
        *counter_place = None;
    }
    node.for_each_child_mut(&mut |child| prune_counter_notes(child, all_counters));
}

/// Applies `pass` to every vector of a query.
pub fn for_each_vector(root: &mut PlanRoot, pass: &mut dyn FnMut(&mut Node)) {
    match root {
        PlanRoot::Vector(node) | PlanRoot::Subquery(node) => pass(node),
        PlanRoot::Scalar(ScalarArg::Node(node)) => pass(node),
        PlanRoot::Scalar(_) | PlanRoot::String(_) | PlanRoot::Samples { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(sets: &[&[(&str, &str)]]) -> NameFact {
        let mut series: Vec<Labels> =
            sets.iter().map(|set| Labels::from_pairs(set.iter().copied())).collect();
        series.sort();
        name_fact(&series)
    }

    #[test]
    fn names_are_the_same_only_without_type_and_unit() {
        assert_eq!(fact(&[]), NameFact::Absent);
        assert_eq!(fact(&[&[("a", "1")], &[("a", "2")]]), NameFact::Absent);
        assert_eq!(fact(&[&[("__name__", "x")], &[("__name__", "x"), ("a", "2")]]), NameFact::Same);
        assert_eq!(fact(&[&[("__name__", "x")], &[("__name__", "x"), ("Zone", "2")]]), NameFact::Same);
        assert_eq!(fact(&[&[("__name__", "x")], &[("__name__", "xy")]]), NameFact::Mixed);
        assert_eq!(fact(&[&[("__name__", "x")], &[("a", "1")]]), NameFact::Mixed);
        assert_eq!(fact(&[&[("__name__", "x"), ("Zone", "2"), ("__unit__", "s")]]), NameFact::Mixed);
    }

    #[test]
    fn one_name_unlike_a_counter_is_enough() {
        let series = |names: &[&str]| -> Vec<Labels> {
            names.iter().map(|name| Labels::from_pairs([("__name__", *name)])).collect()
        };
        assert!(all_counters(&series(&["a_bucket", "a_total", "b_count"])));
        assert!(!all_counters(&series(&["a_total", "b", "c_total"])));
    }
}
