//! PromQL's aggregations as aggregate functions of DataFusion: a grid of states per group.
//!
//! Two families:
//! - [`grid`] and [`one`] hold a state of fixed size per group and step, and run in two stages where the
//!   input has several partitions.
//! - [`rows`] must hold rows (quantile, topk, count_values, buckets). Their state is a list of rows
//!   (`key`, `values`), so that it can be shipped and merged as well; within a process they run in one
//!   stage.
//!
//! [`whole`] makes one group of all input, for those that want a row even of nothing.
//!
//! `AccumulatorArgs` carries no configuration, so each query makes its own functions, which hold the
//! query's context; two of one name are equal. Parameters that are known are held too; others come as
//! a column that holds the same grid in every row.

mod grid;
mod one;
mod rows;
mod whole;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use promontory_plan::BucketFunction;
use promontory_promql::grid::Grid;
use promontory_promql::kernels::select::Order;
use promontory_promql::kernels::{AggregateFunction, GridAccumulator};

use self::grid::GridGroups;
use self::one::{OneGroups, OneRule};
use self::rows::{Buckets, Counts, First, Quantile, RowGroups, Top};
pub(crate) use self::rows::{row_fields, rows_type};
use self::whole::OneGroup;
use crate::context::QueryContext;
use crate::table::grid_type;

/// Which aggregation.
#[derive(Clone, Debug)]
pub enum AggregateKind {
    /// `(values)`: a state of fixed size per step.
    Grid(AggregateFunction),
    /// `(values)`: rows of one label set become one row; two samples at one step are an error.
    One,
    /// `(values)`: the only sample of each step, NaN if there is none or more.
    Only,
    /// `(values[, q])`
    Quantile(KnownParam),
    /// `(labels, values[, k])`: rows.
    TopK(Order, KnownParam),
    /// `(labels, values[, k])`: rows.
    LimitK(KnownParam),
    /// `(values)`: rows, with the value's text as key.
    CountValues,
    /// `(labels, values[, first, second])`
    Buckets(BucketArguments),
}

/// What buckets are asked.
#[derive(Clone, Debug)]
pub struct BucketArguments {
    /// Which function.
    pub function: BucketFunction,
    /// Its scalar arguments.
    pub params: [KnownParam; 2],
    /// Where annotations point to.
    pub place: usize,
    /// Annotations name the metric, as they do while names are removed late.
    pub named: bool,
}

/// A parameter that is known at planning, or `None` if a column brings it.
pub type KnownParam = Option<Arc<[f64]>>;

/// One aggregation of one query.
pub struct PromqlAggregate {
    name: String,
    kind: AggregateKind,
    grid: Grid,
    context: Arc<QueryContext>,
    signature: Signature,
}

impl PromqlAggregate {
    /// An aggregation over vectors of `grid`.
    pub fn new(name: impl Into<String>, kind: AggregateKind, grid: Grid, context: Arc<QueryContext>) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Self { name: name.into(), kind, grid, context, signature }
    }

    /// True if it may run in two stages.
    pub fn has_stages(kind: &AggregateKind) -> bool {
        matches!(kind, AggregateKind::Grid(_) | AggregateKind::One | AggregateKind::Only)
    }

    fn groups(&self) -> Box<dyn GroupsAccumulator> {
        let steps = self.grid.steps;
        let context = Arc::clone(&self.context);
        match &self.kind {
            AggregateKind::Grid(function) => {
                Box::new(GridGroups { state: GridAccumulator::new(*function, steps), context })
            }
            AggregateKind::One => Box::new(OneGroups::new(OneRule::Merge, steps, context)),
            AggregateKind::Only => Box::new(OneGroups::new(OneRule::Only, steps, context)),
            AggregateKind::Quantile(q) => {
                Box::new(RowGroups::new(Quantile::new(steps), [q.clone(), None], 1, self.grid, context))
            }
            AggregateKind::TopK(order, k) => {
                Box::new(RowGroups::new(Top::new(*order), [k.clone(), None], 1, self.grid, context))
            }
            AggregateKind::LimitK(k) => {
                Box::new(RowGroups::new(First::default(), [k.clone(), None], 1, self.grid, context))
            }
            AggregateKind::CountValues => {
                Box::new(RowGroups::new(Counts::new(steps), [None, None], 0, self.grid, context))
            }
            AggregateKind::Buckets(arguments) => {
                let count = if arguments.function == BucketFunction::Quantile { 1 } else { 2 };
                let params = arguments.params.clone();
                Box::new(RowGroups::new(Buckets::new(arguments.clone()), params, count, self.grid, context))
            }
        }
    }
}

impl fmt::Debug for PromqlAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for PromqlAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for PromqlAggregate {}

impl Hash for PromqlAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for PromqlAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            AggregateKind::TopK(..) | AggregateKind::LimitK(_) | AggregateKind::CountValues => rows_type(),
            _ => grid_type(),
        })
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup { groups: Mutex::new(self.groups()) }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let lanes = match &self.kind {
            AggregateKind::Grid(function) => function.lanes().len().max(1),
            AggregateKind::One | AggregateKind::Only => 2,
            _ => return Ok(vec![Arc::new(Field::new(format!("{}[rows]", args.name), rows_type(), false))]),
        };
        let field = |lane| Arc::new(Field::new(format!("{}[{lane}]", args.name), grid_type(), false));
        Ok((0..lanes).map(field).collect())
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(self.groups())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn emitted(emit_to: EmitTo, groups: usize) -> usize {
    match emit_to {
        EmitTo::All => groups,
        EmitTo::First(count) => count.min(groups),
    }
}

/// What the input says as state, row by row: feeds each row to a group of its own.
fn as_state(mut groups: impl GroupsAccumulator, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let rows = values.first().map_or(0, |array| array.len());
    let indices: Vec<usize> = (0..rows).collect();
    groups.update_batch(values, &indices, None, rows)?;
    groups.state(EmitTo::All)
}

#[cfg(test)]
mod tests;
