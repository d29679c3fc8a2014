//! Aggregates that know the order of floats, do not wrap, and slide without losing anything.
//!
//! Each is the library's aggregate over other values: `min` and `max` of floats over their keys, whole numbers that
//! order as the floats do; `sum` of integers over decimals of 38 digits, which become integers again, or an error, at
//! the end.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature,
};

use super::recipe::{Given, Recipe};
use super::sliding::Sliding;

/// The aggregates that stand in for the library's of the same name.
pub const EXACT: &[&str] = &[
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "covar",
    "covar_pop",
    "max",
    "min",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// The library's aggregates of these names, made exact.
pub fn exact_aggregates(library: impl Iterator<Item = Arc<AggregateUDF>>) -> Vec<AggregateUDF> {
    let known = library.filter(|aggregate| EXACT.contains(&aggregate.name()));
    known.map(|inner| AggregateUDF::new_from_impl(Exact { inner })).collect()
}

#[derive(Debug)]
struct Exact {
    inner: Arc<AggregateUDF>,
}

impl Exact {
    fn given(&self, argument: Option<&FieldRef>) -> Given {
        let Some(argument) = argument else { return Given::Values };
        match self.inner.name() {
            "min" | "max" if argument.data_type().is_floating() => Given::Keys,
            "sum" if argument.data_type().is_integer() => Given::Decimals,
            _ => Given::Values,
        }
    }

    fn recipe(&self, args: &AccumulatorArgs<'_>) -> Recipe {
        let given = self.given(args.expr_fields.first());
        let field = |field: &FieldRef| given.field(field);
        Recipe {
            inner: Arc::clone(&self.inner),
            return_field: given.field(&args.return_field),
            result: args.return_field.data_type().clone(),
            schema: args.schema.clone(),
            name: args.name.to_owned(),
            is_distinct: args.is_distinct,
            is_reversed: args.is_reversed,
            exprs: args.exprs.to_vec(),
            expr_fields: args.expr_fields.iter().map(field).collect(),
            given,
        }
    }
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Exact {}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    /// None of them minds the order of its rows.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        // The library knows this of its own floats; ours are not what it thinks.
        let _ = data_type;
        SetMonotonicity::NotMonotonic
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let given = self.given(args.input_fields.first());
        let fields: Vec<FieldRef> = args.input_fields.iter().map(|field| given.field(field)).collect();
        let return_field = given.field(&args.return_field);
        self.inner.state_fields(StateFieldsArgs { input_fields: &fields, return_field, ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let recipe = self.recipe(&args);
        let inner = recipe.make()?;
        Ok(Mapped::around(recipe, inner))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let recipe = self.recipe(&args);
        // Of keys the library's own is exact, and of what is distinct the state is not small.
        let inner = if recipe.given == Given::Keys || recipe.is_distinct {
            recipe.inner.create_sliding_accumulator(recipe.args())?
        } else {
            Box::new(Sliding::new(self.recipe(&args))?)
        };
        Ok(Mapped::around(recipe, inner))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(self.recipe(&args).args())
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        let recipe = self.recipe(&args);
        let inner = self.inner.create_groups_accumulator(recipe.args())?;
        if recipe.given == Given::Values {
            return Ok(inner);
        }
        Ok(Box::new(MappedGroups { given: recipe.given, result: recipe.result, name: recipe.name, inner }))
    }
}

/// The library's aggregate over other values.
#[derive(Debug)]
struct Mapped {
    given: Given,
    result: DataType,
    name: String,
    inner: Box<dyn Accumulator>,
}

impl Mapped {
    fn around(recipe: Recipe, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        if recipe.given == Given::Values {
            return inner;
        }
        Box::new(Self { given: recipe.given, result: recipe.result, name: recipe.name, inner })
    }
}

impl Accumulator for Mapped {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&self.given.columns(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&self.given.columns(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = self.inner.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&self.given.result(found, &self.result, &self.name)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}

/// The same for groups.
struct MappedGroups {
    given: Given,
    result: DataType,
    name: String,
    inner: Box<dyn GroupsAccumulator>,
}

impl GroupsAccumulator for MappedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        n_groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(&self.given.columns(values)?, groups, filter, n_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let found = self.inner.evaluate(emit_to)?;
        self.given.result(found, &self.result, &self.name)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], n_groups: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, n_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&self.given.columns(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
