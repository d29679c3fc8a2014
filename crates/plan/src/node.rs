//! A query as a tree of vector operations over step grids.
//!
//! Every [`Node`] yields rows of (`labels`, `values`) over its own [`Grid`]. A scalar is a
//! [`ScalarArg`]: a number, one number per step known at planning, or a node of one row with the empty
//! label set. Passes rewrite this tree; the query engine turns it into operators.
//!
//! What each node means is Prometheus' semantics with one row per series: the operator of a node must
//! give, at each step, what Prometheus' evaluator gives at that time.

#![allow(missing_docs)] // What a field or a variant does not say by its name is said beside it.

use std::sync::Arc;

use promontory_model::{Labels, Matcher, TimeRange};
use promontory_promql::kernels::{
    AggregateFunction, BinaryOp, BucketFunction, Comparison, DateFunction, Extreme, RangeFunction,
    RangeWindow, SelectFunction, UnaryFunction,
};
use promontory_promql::{Grid, SortDirection};

use crate::matching::MatchSpec;
use crate::projection::LabelProjection;

/// A vector over a grid.
#[derive(Clone, Debug)]
pub struct Node {
    pub kind: NodeKind,
    pub grid: Grid,
    /// The order of rows means something; found by [`crate::passes::prune`].
    pub ordered: bool,
}

/// How a vector comes about.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// No rows.
    Empty,
    /// One row with a value at every step.
    Row {
        labels: Labels,
        values: ScalarArg,
    },
    /// The newest sample of each series at each step.
    Instant {
        scan: usize,
        /// Where the lookback windows end: offset and `@` applied.
        ends: Grid,
        /// Length of the lookback windows, milliseconds.
        lookback: i64,
        /// What is taken of the sample.
        take: Take,
        labels: LabelProjection,
    },
    /// A function of a window of samples.
    Range {
        input: RangeInput,
        function: RangeFunction,
        window: RangeWindow,
        params: Vec<ScalarArg>,
        labels: LabelProjection,
        /// Set for functions of counters: where the info about a name without `_total` points to.
        counter_place: Option<usize>,
    },
    /// A function of each sample alone.
    Map {
        input: Box<Node>,
        function: MapFunction,
        params: Vec<ScalarArg>,
        labels: LabelProjection,
    },
    /// A change of labels, values as they are.
    Relabel {
        input: Box<Node>,
        function: Relabel,
    },
    /// Rows with equal labels become one; two samples at one step are an error.
    Distinct {
        input: Box<Node>,
    },
    /// An aggregation with a fixed state per step.
    Aggregate {
        input: Box<Node>,
        function: AggregateFunction,
        by: LabelProjection,
    },
    Quantile {
        input: Box<Node>,
        param: ScalarArg,
        by: LabelProjection,
    },
    /// `topk`, `bottomk`, `limitk`, `limit_ratio`: rows are chosen and keep their labels.
    Select {
        input: Box<Node>,
        function: SelectFunction,
        /// How many, or which part.
        param: ScalarArg,
        by: LabelProjection,
    },
    CountValues {
        input: Box<Node>,
        /// The label that gets the value.
        label: String,
        by: LabelProjection,
    },
    /// `histogram_quantile` and `histogram_fraction` over classic buckets.
    Buckets {
        input: Box<Node>,
        function: BucketFunction,
        params: Vec<ScalarArg>,
        /// The byte of the query that annotations point to.
        place: usize,
    },
    /// 1 at the steps at which the input has no sample.
    Absent {
        input: Box<Node>,
        labels: Labels,
    },
    /// The value of the only sample of each step, NaN if there is none or more.
    Scalar {
        input: Box<Node>,
    },
    /// A binary operation between vectors.
    Match {
        left: Box<Node>,
        right: Box<Node>,
        spec: MatchSpec,
    },
    /// The same value at every step: the input has one.
    Broadcast {
        /// Over one step.
        input: Box<Node>,
    },
    /// Rows in order; over one step only.
    Sort {
        input: Box<Node>,
        key: SortKey,
        direction: SortDirection,
    },
    Union {
        inputs: Vec<Node>,
    },
}

/// What an instant selector takes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    Value,
    Timestamp,
}

/// Where the samples of a window come from.
#[derive(Clone, Debug)]
pub enum RangeInput {
    /// From storage: the index in [`Plan::scans`].
    Scan(usize),
    Subquery(Box<Node>),
}

/// A function of each sample alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MapFunction {
    Unary(UnaryFunction),
    Date(DateFunction),
    /// `-x`
    Negate,
    /// `round(x, param)`
    Round,
    /// `clamp(x, param, param)`
    Clamp,
    /// `x op param`
    VectorScalar(BinaryOp, Comparison),
    /// `param op x`
    ScalarVector(BinaryOp, Comparison),
    /// `max_of(x, param)`, `min_of(x, param)`
    Extreme(Extreme),
    /// The evaluation time in seconds, as `timestamp` gives it for what is not a selector.
    EvaluationTime,
    /// The same; only labels change.
    Identity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relabel {
    /// `label_replace`
    Replace {
        to: String,
        /// Its new value, with references to groups.
        replacement: String,
        /// The label whose whole value `regex` must match.
        from: String,
        regex: String,
    },
    /// `label_join`
    Join {
        to: String,
        separator: String,
        from: Vec<String>,
    },
    /// Drops the names that are marked to go.
    DropMarkedNames,
    Set {
        to: String,
        value: String,
    },
}

/// What rows are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// The value; NaN last.
    Value,
    /// These labels in natural order, then all labels.
    Labels(Vec<String>),
}

#[derive(Clone, Debug)]
pub enum ScalarArg {
    /// The same at every step.
    Constant(f64),
    /// One per step, known at planning.
    Steps(Arc<[f64]>),
    /// One row with the empty label set.
    Node(Box<Node>),
}

/// A selection to be made before physical planning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScanSpec {
    pub matchers: Vec<Matcher>,
    /// The times of the samples that may be needed.
    pub range: TimeRange,
}

#[derive(Debug)]
pub struct Plan {
    pub root: PlanRoot,
    pub scans: Vec<ScanSpec>,
}

#[derive(Clone, Debug)]
pub enum PlanRoot {
    String(String),
    Scalar(ScalarArg),
    Vector(Node),
    /// The raw samples of one window.
    Samples {
        scan: usize,
        range: TimeRange,
    },
    Subquery(Node),
}

impl Node {
    pub fn new(kind: NodeKind, grid: Grid) -> Self {
        Self { kind, grid, ordered: false }
    }

    /// The vectors directly below, scalar arguments included.
    pub fn for_each_child_mut(&mut self, visit: &mut dyn FnMut(&mut Node)) {
        let mut args: Vec<&mut ScalarArg> = Vec::new();
        match &mut self.kind {
            NodeKind::Empty | NodeKind::Instant { .. } => {}
            NodeKind::Row { values, .. } => args.push(values),
            NodeKind::Range { input, params, .. } => {
                if let RangeInput::Subquery(node) = input {
                    visit(node);
                }
                args.extend(params);
            }
            NodeKind::Map { input, params, .. } | NodeKind::Buckets { input, params, .. } => {
                visit(input);
                args.extend(params);
            }
            NodeKind::Quantile { input, param, .. } | NodeKind::Select { input, param, .. } => {
                visit(input);
                args.push(param);
            }
            NodeKind::Relabel { input, .. }
            | NodeKind::Distinct { input }
            | NodeKind::Aggregate { input, .. }
            | NodeKind::CountValues { input, .. }
            | NodeKind::Absent { input, .. }
            | NodeKind::Scalar { input }
            | NodeKind::Broadcast { input }
            | NodeKind::Sort { input, .. } => visit(input),
            NodeKind::Match { left, right, .. } => {
                visit(left);
                visit(right);
            }
            NodeKind::Union { inputs } => inputs.iter_mut().for_each(&mut *visit),
        }
        for arg in args {
            if let ScalarArg::Node(node) = arg {
                visit(node);
            }
        }
    }
}

impl ScalarArg {
    /// The value at one step, if it is known at planning.
    pub fn known_at(&self, step: usize) -> Option<f64> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Steps(values) => values.get(step).copied(),
            Self::Node(_) => None,
        }
    }

    /// All values, if they are known at planning.
    pub fn known(&self) -> Option<&[f64]> {
        match self {
            Self::Constant(value) => Some(std::slice::from_ref(value)),
            Self::Steps(values) => Some(values),
            Self::Node(_) => None,
        }
    }

    /// Applies `function` to every value that is known; `None` for a node.
    pub fn map_known(&self, function: impl Fn(f64) -> f64) -> Option<Self> {
        match self {
            Self::Constant(value) => Some(Self::Constant(function(*value))),
            Self::Steps(values) => Some(Self::Steps(values.iter().map(|value| function(*value)).collect())),
            Self::Node(_) => None,
        }
    }

    /// This scalar as a vector of one row with the empty label set.
    pub fn into_node(self, grid: Grid) -> Node {
        match self {
            Self::Node(node) => *node,
            values => Node::new(NodeKind::Row { labels: Labels::empty(), values }, grid),
        }
    }
}
