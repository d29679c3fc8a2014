//! From the syntax tree to our plan.
//!
//! Each expression is lowered for the grid on which its parent needs it:
//! - An expression that is *step-invariant* (`@` fixes all its times) is lowered for one step and
//!   broadcast, at the highest place where that holds, as Prometheus wraps it in
//!   `StepInvariantExpr`.
//! - The inside of a subquery is lowered for the subquery's own grid.
//! - Scalar expressions are computed here wherever no vector is inside.
//!
//! Lowering inserts [`NodeKind::Distinct`] wherever Prometheus checks for equal label sets; a pass
//! removes those that are provably not needed.
//!
//! Source: `PreprocessExpr` and `evaluator.eval`, prometheus v3.16 `promql/engine.go`.

mod aggregations;
mod binary;
mod calls;
mod invariant;
mod scalars;
mod selectors;

use std::collections::HashMap;

use promontory_promql::ast::{Expr, ExprKind, UnaryOp};
use promontory_promql::kernels::KernelError;
use promontory_promql::{AnnotationCollector, Grid, ValueType};

use self::invariant::is_step_invariant;
use self::selectors::{fixed, no_extension};
use crate::error::PlanError;
use crate::node::{MapFunction, Node, NodeKind, Plan, PlanRoot, Relabel, ScalarArg, ScanSpec, Take};
use crate::projection::LabelProjection;

/// What lowering needs to know about the query around the expression.
#[derive(Clone, Copy, Debug)]
pub struct QuerySettings {
    /// First evaluation time, for `@ start()`.
    pub start: i64,
    /// Last evaluation time as given, for `@ end()`.
    pub end: i64,
    /// Distance of evaluation times; 0 for instant queries.
    pub step: i64,
    /// Lookback in milliseconds.
    pub lookback: i64,
    /// Step of subqueries without one.
    pub subquery_step: i64,
    /// Most samples that the query may hold; a grid alone may not be longer.
    pub samples_max: u64,
    /// Metric names go at the end.
    pub delayed_name_removal: bool,
}

/// Lowers a resolved expression for the grid of the query.
///
/// # Errors
/// [`PlanError`] for what cannot be evaluated.
pub fn lower(
    expr: &Expr,
    grid: Grid,
    settings: QuerySettings,
    annotations: &AnnotationCollector,
) -> Result<Plan, PlanError> {
    let mut lowering = Lowering { settings, annotations, scans: Vec::new(), known: HashMap::new() };
    let root = lowering.root(expr.without_parens(), grid)?;
    Ok(Plan { root, scans: lowering.scans })
}

struct Lowering<'a> {
    settings: QuerySettings,
    annotations: &'a AnnotationCollector,
    scans: Vec<ScanSpec>,
    /// Their numbers, with their matchers in order: selectors that mean the same are looked up once.
    known: HashMap<ScanSpec, usize>,
}

type Lowered<T> = Result<T, PlanError>;

impl Lowering<'_> {
    fn root(&mut self, expr: &Expr, grid: Grid) -> Lowered<PlanRoot> {
        Ok(match expr.value_type() {
            ValueType::String => PlanRoot::String(string_of(expr)?),
            ValueType::Scalar => PlanRoot::Scalar(self.scalar(expr, grid)?),
            ValueType::Vector => {
                let node = self.vector(expr, grid)?;
                PlanRoot::Vector(self.finish_names(node))
            }
            ValueType::Matrix => match &expr.kind {
                ExprKind::Matrix(matrix) => {
                    let selector = &matrix.selector;
                    no_extension(selector)?;
                    let window = self.window(selector, fixed(&matrix.range)?, grid)?;
                    let range = window.ends.covered(window.range);
                    PlanRoot::Samples { scan: self.scan(selector, range), range }
                }
                ExprKind::Subquery(subquery) => {
                    let (node, _) = self.subquery(subquery, grid)?;
                    PlanRoot::Subquery(self.finish_names(node))
                }
                other => bug(format!("{other:?} is no range vector"))?,
            },
        })
    }

    fn vector(&mut self, expr: &Expr, grid: Grid) -> Lowered<Node> {
        let expr = expr.without_parens();
        if expr.value_type() == ValueType::Scalar {
            return Ok(self.scalar(expr, grid)?.into_node(grid));
        }
        if grid.steps > 1 && is_step_invariant(expr) {
            let node = self.vector(expr, Grid { steps: 1, ..grid })?;
            return Ok(broadcast(node, grid));
        }
        match &expr.kind {
            ExprKind::Vector(selector) => self.instant(selector, grid, Take::Value, LabelProjection::All),
            ExprKind::Call(call) => self.call(expr, call, grid),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, grid),
            ExprKind::Binary(binary) => self.binary(binary, grid),
            ExprKind::Unary(op, inner) => {
                let input = self.vector(inner, grid)?;
                Ok(match op {
                    UnaryOp::Plus => input,
                    UnaryOp::Minus => distinct(self.map(input, MapFunction::Negate, Vec::new())),
                })
            }
            other => bug(format!("{other:?} is no instant vector")),
        }
    }

    /// A function of each sample that drops the name.
    fn map(&self, input: Node, function: MapFunction, params: Vec<ScalarArg>) -> Node {
        let grid = input.grid;
        let labels = self.drop_name();
        Node::new(NodeKind::Map { input: Box::new(input), function, params, labels }, grid)
    }

    /// What functions do to the labels of their result.
    fn drop_name(&self) -> LabelProjection {
        if self.settings.delayed_name_removal { LabelProjection::MarkName } else { LabelProjection::DropName }
    }

    /// The end of late name removal: names go, and only now can label sets collide.
    fn finish_names(&self, node: Node) -> Node {
        if self.settings.delayed_name_removal { self.drop_marked(node) } else { node }
    }

    fn drop_marked(&self, node: Node) -> Node {
        let grid = node.grid;
        let input = Box::new(node);
        let map = NodeKind::Relabel { input, function: Relabel::DropMarkedNames };
        distinct(Node::new(map, grid))
    }
}

fn distinct(input: Node) -> Node {
    let grid = input.grid;
    Node::new(NodeKind::Distinct { input: Box::new(input) }, grid)
}

/// The one step of `node` at every step of `grid`.
fn broadcast(node: Node, grid: Grid) -> Node {
    match node.kind {
        NodeKind::Row { labels, values } if values.known_at(0).is_some() => {
            let values = ScalarArg::Constant(values.known_at(0).unwrap_or(f64::NAN));
            Node::new(NodeKind::Row { labels, values }, grid)
        }
        NodeKind::Empty => Node::new(NodeKind::Empty, grid),
        _ => Node::new(NodeKind::Broadcast { input: Box::new(node) }, grid),
    }
}

/// The text of a string argument.
fn string_of(expr: &Expr) -> Lowered<String> {
    match &expr.without_parens().kind {
        ExprKind::String(text) => Ok(text.clone()),
        other => bug(format!("{other:?} is no string")),
    }
}

fn invalid<T>(text: impl Into<String>) -> Lowered<T> {
    Err(PlanError::Invalid(text.into()))
}

fn unsupported<T>(what: impl Into<String>) -> Lowered<T> {
    Err(PlanError::Unsupported(what.into()))
}

fn bug<T>(what: impl Into<String>) -> Lowered<T> {
    Err(PlanError::Bug(what.into()))
}

fn kernel_error(error: KernelError) -> PlanError {
    PlanError::Invalid(error.0)
}
