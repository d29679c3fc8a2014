//! A query as a tree of vector operations over step grids.
//!
//! Every [`Node`] yields rows of (`labels`, `values`) over its own [`Grid`]. A scalar is a
//! [`ScalarArg`]: a number, one number per step known at planning, or a node of one row with the empty
//! label set. Passes rewrite this tree; the query engine turns it into operators.
//!
//! What each node means is Prometheus' semantics with one row per series: the operator of a node must
//! give, at each step, what Prometheus' evaluator gives at that time.

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
    /// How it comes about.
    pub kind: NodeKind,
    /// The evaluation times.
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
        /// Its labels.
        labels: Labels,
        /// Its values.
        values: ScalarArg,
    },
    /// The newest sample of each series at each step.
    Instant {
        /// Index of the scan.
        scan: usize,
        /// Where the lookback windows end: offset and `@` applied.
        ends: Grid,
        /// Length of the lookback window.
        lookback: i64,
        /// What is taken of the sample.
        take: Take,
        /// The labels of the result.
        labels: LabelProjection,
    },
    /// A function of a window of samples.
    Range {
        /// Where the samples come from.
        input: RangeInput,
        /// The function.
        function: RangeFunction,
        /// The windows.
        window: RangeWindow,
        /// Its scalar arguments.
        params: Vec<ScalarArg>,
        /// The labels of the result.
        labels: LabelProjection,
        /// Set for functions of counters: where the info about a name without `_total` points to.
        counter_place: Option<usize>,
    },
    /// A function of each sample alone.
    Map {
        /// The vector.
        input: Box<Node>,
        /// The function.
        function: MapFunction,
        /// Its scalar arguments.
        params: Vec<ScalarArg>,
        /// The labels of the result.
        labels: LabelProjection,
    },
    /// `label_replace`, `label_join`.
    Relabel {
        /// The vector.
        input: Box<Node>,
        /// What happens to labels.
        function: Relabel,
    },
    /// Rows with equal labels become one; two samples at one step are an error.
    Distinct {
        /// The vector.
        input: Box<Node>,
    },
    /// An aggregation with a fixed state per step.
    Aggregate {
        /// The vector.
        input: Box<Node>,
        /// The function.
        function: AggregateFunction,
        /// The labels of a group.
        by: LabelProjection,
    },
    /// `quantile`.
    Quantile {
        /// The vector.
        input: Box<Node>,
        /// The quantile.
        param: ScalarArg,
        /// The labels of a group.
        by: LabelProjection,
    },
    /// `topk` and its kin.
    Select {
        /// The vector.
        input: Box<Node>,
        /// Which.
        function: SelectFunction,
        /// How many, or which part.
        param: ScalarArg,
        /// The labels of a group.
        by: LabelProjection,
    },
    /// `count_values`.
    CountValues {
        /// The vector.
        input: Box<Node>,
        /// The label that gets the value.
        label: String,
        /// The labels of a group.
        by: LabelProjection,
    },
    /// `histogram_quantile` and `histogram_fraction` over classic buckets.
    Buckets {
        /// The buckets.
        input: Box<Node>,
        /// Which.
        function: BucketFunction,
        /// Its scalar arguments.
        params: Vec<ScalarArg>,
        /// Where annotations point to.
        place: usize,
    },
    /// 1 at the steps at which the input has no sample.
    Absent {
        /// The vector.
        input: Box<Node>,
        /// The labels of the result.
        labels: Labels,
    },
    /// The value of the only sample of each step, NaN if there is none or more.
    Scalar {
        /// The vector.
        input: Box<Node>,
    },
    /// A binary operation between vectors.
    Match {
        /// Left side.
        left: Box<Node>,
        /// Right side.
        right: Box<Node>,
        /// How they match.
        spec: MatchSpec,
    },
    /// The same value at every step: the input has one.
    Broadcast {
        /// The vector over one step.
        input: Box<Node>,
    },
    /// Rows in order; over one step only.
    Sort {
        /// The vector.
        input: Box<Node>,
        /// By what.
        key: SortKey,
        /// Which way.
        direction: SortDirection,
    },
    /// Rows of all.
    Union {
        /// The vectors.
        inputs: Vec<Node>,
    },
}

/// What an instant selector takes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Its value.
    Value,
    /// Its timestamp in seconds.
    Timestamp,
}

/// Where the samples of a window come from.
#[derive(Clone, Debug)]
pub enum RangeInput {
    /// From storage: index of the scan.
    Scan(usize),
    /// From a subquery.
    Subquery(Box<Node>),
}

/// A function of each sample alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MapFunction {
    /// A function of one value.
    Unary(UnaryFunction),
    /// A function of a time.
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

/// What happens to labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relabel {
    /// `label_replace`
    Replace {
        /// The label that is set.
        to: String,
        /// Its new value, with references to groups.
        replacement: String,
        /// The label that is looked at.
        from: String,
        /// What it must be.
        regex: String,
    },
    /// `label_join`
    Join {
        /// The label that is set.
        to: String,
        /// Between the values.
        separator: String,
        /// The labels that are joined.
        from: Vec<String>,
    },
    /// Names that are marked to go are dropped.
    DropMarkedNames,
    /// Sets one label.
    Set {
        /// The label that is set.
        to: String,
        /// Its value.
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

/// A scalar argument.
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
#[derive(Clone, Debug, PartialEq)]
pub struct ScanSpec {
    /// Conditions.
    pub matchers: Vec<Matcher>,
    /// Samples that may be needed.
    pub range: TimeRange,
}

/// A planned query.
#[derive(Debug)]
pub struct Plan {
    /// What it answers.
    pub root: PlanRoot,
    /// What it reads.
    pub scans: Vec<ScanSpec>,
}

/// What a query answers.
#[derive(Clone, Debug)]
pub enum PlanRoot {
    /// A text.
    String(String),
    /// A number per step.
    Scalar(ScalarArg),
    /// A vector per step.
    Vector(Node),
    /// The samples of a window.
    Samples {
        /// Index of the scan.
        scan: usize,
        /// The samples inside.
        range: TimeRange,
    },
    /// The points of a subquery.
    Subquery(Node),
}

impl Node {
    /// A node over a grid.
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
