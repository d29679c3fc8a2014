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
//! query's context. Parameters that are known are held too; others come as a column that holds the same
//! grid in every row. Two are equal if all that their result depends on is.

mod arguments;
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
use promontory_promql::kernels::{AggregateFunction, BucketFunction, GridAccumulator, Order, SelectFunction};
use promontory_promql::{AggregateKernel, Aggregation, Function, Grid, Kernel};

pub(crate) use self::arguments::{GroupCall, KnownParam, Reads};
use self::grid::GridGroups;
use self::one::{OneGroups, OneRule};
use self::rows::{Buckets, Counts, First, Quantile, RowGroups, RowState, Top};
pub(crate) use self::rows::{row_fields, rows_type};
use self::whole::OneGroup;
use crate::context::QueryContext;
use crate::table::grid_type;

/// Which aggregation, with all that its result depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AggregateKind {
    /// A state of fixed size per step.
    Grid(AggregateFunction),
    /// Rows of one label set become one row; two samples at one step are an error.
    One,
    /// The only sample of each step, NaN if there is none or more.
    Only,
    /// `quantile`
    Quantile(KnownParam),
    /// `topk`, `bottomk`: rows.
    TopK(Order, KnownParam),
    /// `limitk`: rows.
    LimitK(KnownParam),
    /// `count_values`: rows, with the value's text as key.
    CountValues,
    /// `histogram_quantile`, `histogram_fraction`
    Buckets(BucketArguments),
}

/// What buckets are asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketArguments {
    pub function: BucketFunction,
    pub params: [KnownParam; 2],
    /// Where annotations point to.
    pub place: usize,
    /// Annotations name the metric, as they do while names are removed late.
    pub named: bool,
}

impl AggregateKind {
    /// The name of its function: PromQL's own where PromQL has one. DataFusion knows SQL's `min`, `max`
    /// and `count` by name and means something else, hence the prefix.
    fn name(&self) -> String {
        let name = self.promql_name();
        if matches!(self, Self::Grid(_)) { format!("grid_{name}") } else { name.to_owned() }
    }

    fn promql_name(&self) -> &'static str {
        let of = |kernel| Aggregation::of(kernel).map_or("", |aggregation| aggregation.name);
        match self {
            Self::Grid(function) => of(AggregateKernel::Grid(*function)),
            Self::One => "one_per_step",
            Self::Only => "only",
            Self::Quantile(_) => of(AggregateKernel::Quantile),
            Self::TopK(order, _) => of(AggregateKernel::Select(SelectFunction::Top(*order))),
            Self::LimitK(_) => of(AggregateKernel::Select(SelectFunction::Limit)),
            Self::CountValues => of(AggregateKernel::CountValues),
            Self::Buckets(arguments) => {
                Function::of(Kernel::Buckets(arguments.function)).map_or("", |function| function.name)
            }
        }
    }

    pub fn reads(&self) -> Reads {
        match self {
            Self::TopK(..) | Self::LimitK(_) | Self::Buckets(_) => Reads::LabelsAndValues,
            _ => Reads::Values,
        }
    }

    /// True if it may run in two stages.
    pub fn has_stages(&self) -> bool {
        matches!(self, Self::Grid(_) | Self::One | Self::Only)
    }
}

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
    pub fn new(kind: AggregateKind, grid: Grid, context: Arc<QueryContext>) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Self { name: kind.name(), kind, grid, context, signature }
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
            AggregateKind::Quantile(q) => self.rows(Quantile::new(steps), std::slice::from_ref(q)),
            AggregateKind::TopK(order, k) => self.rows(Top::new(*order), std::slice::from_ref(k)),
            AggregateKind::LimitK(k) => self.rows(First::default(), std::slice::from_ref(k)),
            AggregateKind::CountValues => self.rows(Counts::new(steps), &[]),
            AggregateKind::Buckets(arguments) => {
                let count = if arguments.function == BucketFunction::Quantile { 1 } else { 2 };
                self.rows(Buckets::new(arguments.clone()), &arguments.params[..count])
            }
        }
    }

    fn rows(&self, state: impl RowState, params: &[KnownParam]) -> Box<dyn GroupsAccumulator> {
        let context = Arc::clone(&self.context);
        Box::new(RowGroups::new(state, self.kind.reads(), params.to_vec(), self.grid, context))
    }
}

impl fmt::Debug for PromqlAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for PromqlAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.grid == other.grid && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for PromqlAggregate {}

impl Hash for PromqlAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.grid.hash(state);
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
