//! PromQL's functions as scalar functions of DataFusion, registered by name.
//!
//! A function takes columns (`labels`, `ts`, `values`) and parameters; parameters are literals, or
//! columns that a cross join brought beside every row (then the first row has them all). Its result
//! depends on nothing else, so that a plan means the same in any process. Kernels of
//! [`promontory_promql::kernels`] do the arithmetic; this file only moves rows.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BinaryBuilder, Float64Builder, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use promontory_model::{LabelsBuilder, LabelsRef, METRIC_NAME};
use promontory_plan::{DROP_NAME_MARK, LabelProjection, labels_of, split_mark};
use promontory_promql::annotations::{Annotation, looks_like_counter};
use promontory_promql::grid::Grid;
use promontory_promql::kernels::binary::{self, BinaryOp, Comparison};
use promontory_promql::kernels::labels::{LabelJoin, LabelReplace};
use promontory_promql::kernels::range::RangeParams;
use promontory_promql::kernels::{
    DateFunction, KernelError, Param, RangeFunction, RangeWindow, Scratch, UnaryFunction, eval_range,
    instant, math, select,
};

use crate::context::QueryExtension;
use crate::error::QueryError;
use crate::table::{
    GridBuilder, Grids, Timestamps, grid_type, label_key, label_keys, labels_array, list_offsets,
    natural_key, samples_column, timestamps_column, timestamps_type,
};

/// A function by name; two of one name are equal.
pub struct PromqlFunction {
    name: String,
    returns: DataType,
    signature: Signature,
    body: Body,
}

type Body = Box<dyn Fn(&Arguments<'_>) -> Result<ArrayRef> + Send + Sync>;

/// The function registered under `name`.
///
/// # Errors
/// If there is none, which is a bug of the planner.
pub fn scalar_function(name: &str) -> Result<Arc<ScalarUDF>> {
    FUNCTIONS
        .get(name)
        .cloned()
        .ok_or_else(|| DataFusionError::Internal(format!("no function {name} is registered")))
}

/// All functions, to be registered in every process that runs parts of plans.
pub fn all_scalar_functions() -> impl Iterator<Item = &'static Arc<ScalarUDF>> {
    FUNCTIONS.values()
}

static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions = Registry(HashMap::new());
    add_windows(&mut functions);
    add_maps(&mut functions);
    add_labels(&mut functions);
    add_sort_keys(&mut functions);
    functions.0
});

struct Registry(HashMap<String, Arc<ScalarUDF>>);

impl Registry {
    fn add(
        &mut self,
        name: impl Into<String>,
        returns: DataType,
        body: impl Fn(&Arguments<'_>) -> Result<ArrayRef> + Send + Sync + 'static,
    ) {
        let name = name.into();
        let signature = Signature::variadic_any(Volatility::Immutable);
        let function = PromqlFunction { name: name.clone(), returns, signature, body: Box::new(body) };
        self.0.insert(name, Arc::new(ScalarUDF::new_from_impl(function)));
    }
}

impl fmt::Debug for PromqlFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for PromqlFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PromqlFunction {}

impl Hash for PromqlFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for PromqlFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array((self.body)(&Arguments { args: &args })?))
    }
}

/// Arguments of one call.
struct Arguments<'a> {
    args: &'a ScalarFunctionArgs,
}

/// A scalar argument: a literal number, a literal grid, or a column with the same grid in each row.
enum ParamArg {
    Constant(f64),
    Grid(Grids),
}

impl ParamArg {
    fn param(&self) -> Param<'_> {
        match self {
            Self::Constant(value) => Param::Constant(*value),
            Self::Grid(grids) if grids.is_empty() => Param::Constant(f64::NAN),
            Self::Grid(grids) => Param::PerStep(grids.row(0).values),
        }
    }
}

impl Arguments<'_> {
    fn rows(&self) -> usize {
        self.args.number_rows
    }

    fn get(&self, index: usize) -> Result<&ColumnarValue> {
        self.args
            .args
            .get(index)
            .ok_or_else(|| DataFusionError::Internal(format!("argument {index} is missing")))
    }

    fn array(&self, index: usize) -> Result<ArrayRef> {
        self.get(index)?.to_array(self.rows())
    }

    fn grids(&self, index: usize) -> Result<Grids> {
        Grids::new(self.array(index)?.as_ref())
    }

    fn int(&self, index: usize) -> Result<i64> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(value))) => Ok(*value),
            other => internal_err!("argument {index} is no integer literal but {other:?}"),
        }
    }

    fn bool(&self, index: usize) -> Result<bool> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(value))) => Ok(*value),
            other => internal_err!("argument {index} is no boolean literal but {other:?}"),
        }
    }

    fn text(&self, index: usize) -> Result<&str> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(value))) => Ok(value),
            other => internal_err!("argument {index} is no text literal but {other:?}"),
        }
    }

    fn texts(&self, index: usize) -> Result<Vec<String>> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::List(list)) => {
                let texts = list.value(0);
                let texts = texts.as_any().downcast_ref::<StringArray>();
                let Some(texts) = texts else { return internal_err!("argument {index} is no list of texts") };
                Ok(texts.iter().flatten().map(str::to_owned).collect())
            }
            other => internal_err!("argument {index} is no list literal but {other:?}"),
        }
    }

    fn grid(&self, from: usize) -> Result<Grid> {
        let steps = usize::try_from(self.int(from + 2)?).unwrap_or(0);
        Ok(Grid { start: self.int(from)?, step: self.int(from + 1)?, steps })
    }

    /// A scalar argument; NaN if the function has none at this place.
    fn param(&self, index: usize) -> Result<ParamArg> {
        match self.args.args.get(index) {
            None => Ok(ParamArg::Constant(f64::NAN)),
            Some(ColumnarValue::Scalar(ScalarValue::Float64(value))) => {
                Ok(ParamArg::Constant(value.unwrap_or(f64::NAN)))
            }
            Some(ColumnarValue::Scalar(ScalarValue::List(list))) => {
                Ok(ParamArg::Grid(Grids::new(list.as_ref())?))
            }
            Some(ColumnarValue::Array(array)) => Ok(ParamArg::Grid(Grids::new(array.as_ref())?)),
            Some(other) => internal_err!("argument {index} is no scalar but {other:?}"),
        }
    }

    fn context(&self) -> Result<&Arc<crate::context::QueryContext>> {
        QueryExtension::of(&self.args.config_options)
    }
}

fn kernel_error(error: KernelError) -> DataFusionError {
    QueryError::Execution(error.0).into()
}

// ------------------------------------------------------------------------------------ windows

/// `name(ts, values, ends start, step, steps, eval start, step, steps, range, first, second)`.
fn add_windows(functions: &mut Registry) {
    for function in RangeFunction::all() {
        functions.add(function.name(), grid_type(), move |args| range(function, args));
    }
    functions.add(LOOKUP, grid_type(), |args| lookup(args, instant::lookup));
    functions.add(LOOKUP_TIMESTAMP, grid_type(), |args| lookup(args, instant::lookup_timestamp));
    functions.add(GRID_TS, timestamps_type(), grid_ts);
    functions.add(GRID_SAMPLES, grid_type(), grid_samples);
    functions.add(NOTE_COUNTER, grid_type(), note_counter);
}

/// `lookup(ts, values, start, step, steps, lookback)`: the newest value.
pub const LOOKUP: &str = "lookup";
/// As [`LOOKUP`], the timestamp in seconds.
pub const LOOKUP_TIMESTAMP: &str = "lookup_timestamp";
/// `grid_ts(values, start, step)`: the times of a grid that have a value.
pub const GRID_TS: &str = "grid_ts";
/// `grid_samples(values)`: the values of a grid, without the gaps.
pub const GRID_SAMPLES: &str = "grid_samples";
/// `note_counter(labels, values, place)`: the values, with an info for names unlike a counter's.
pub const NOTE_COUNTER: &str = "note_counter";

fn range(function: RangeFunction, args: &Arguments<'_>) -> Result<ArrayRef> {
    let ts = Timestamps::new(args.array(0)?.as_ref())?;
    let samples = args.grids(1)?;
    let window = RangeWindow { ends: args.grid(2)?, eval: args.grid(5)?, range: args.int(8)? };
    let (first, second) = (args.param(9)?, args.param(10)?);
    let params = RangeParams { first: first.param(), second: second.param() };
    let context = args.context()?;
    context.check()?;
    let mut out = GridBuilder::new(window.ends.steps, samples.len());
    let mut scratch = Scratch::default();
    let (mut points, mut queryable) = (0, 0);
    for row in 0..samples.len() {
        let (values, valid) = out.row()?;
        let (ts, samples) = (ts.row(row), samples.row(row).values);
        if ts.is_empty() {
            continue;
        }
        let found = eval_range(function, &params, ts, samples, &window, &mut scratch, values, valid);
        points += found.map_err(kernel_error)?;
        queryable += scratch.samples_in_windows();
    }
    context.count_queryable(queryable);
    context.hold(points as u64)?;
    Ok(out.finish())
}

type Lookup = fn(&[i64], &[f64], &Grid, i64, &mut [f64], &mut [bool]) -> usize;

fn lookup(args: &Arguments<'_>, kernel: Lookup) -> Result<ArrayRef> {
    let ts = Timestamps::new(args.array(0)?.as_ref())?;
    let samples = args.grids(1)?;
    let (grid, lookback) = (args.grid(2)?, args.int(5)?);
    let context = args.context()?;
    context.check()?;
    let mut out = GridBuilder::new(grid.steps, samples.len());
    let mut points = 0;
    for row in 0..samples.len() {
        let (values, valid) = out.row()?;
        points += kernel(ts.row(row), samples.row(row).values, &grid, lookback, values, valid) as u64;
    }
    context.count_queryable(points);
    context.hold(points)?;
    Ok(out.finish())
}

fn grid_ts(args: &Arguments<'_>) -> Result<ArrayRef> {
    let grids = args.grids(0)?;
    let (start, step) = (args.int(1)?, args.int(2)?);
    let (mut offsets, mut ts) = (vec![0], Vec::new());
    for row in 0..grids.len() {
        ts.extend(grids.row(row).iter().map(|(index, _)| start + step * index as i64));
        offsets.push(ts.len());
    }
    timestamps_column(list_offsets(&offsets)?, ts)
}

fn grid_samples(args: &Arguments<'_>) -> Result<ArrayRef> {
    let grids = args.grids(0)?;
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in 0..grids.len() {
        values.extend(grids.row(row).iter().map(|(_, value)| value));
        offsets.push(values.len());
    }
    samples_column(list_offsets(&offsets)?, values)
}

fn note_counter(args: &Arguments<'_>) -> Result<ArrayRef> {
    let labels = args.array(0)?;
    let keys = label_keys(labels.as_ref())?;
    let values = args.array(1)?;
    let grids = Grids::new(values.as_ref())?;
    let place = usize::try_from(args.int(2)?).unwrap_or(0);
    let context = args.context()?;
    let mut noted = String::new();
    for row in 0..grids.len() {
        let name = labels_of(keys.value(row)).metric_name();
        if name.is_empty() || name == noted || looks_like_counter(&name) || !grids.row(row).has_any() {
            continue;
        }
        context.annotations().add(Annotation::possible_non_counter(&name), place);
        noted = name.into_owned();
    }
    Ok(values)
}

// --------------------------------------------------------------------------- sample by sample

/// `negate(values)`
pub const NEGATE: &str = "negate";
/// `round(values, nearest)`
pub const ROUND: &str = "round";
/// `clamp(values, lower, upper)`
pub const CLAMP: &str = "clamp";
/// `evaluation_time(values, start, step)`: the evaluation time in seconds where there is a value.
pub const EVALUATION_TIME: &str = "evaluation_time";
/// `invert(values)`: 1 where there is no value.
pub const INVERT: &str = "invert";
/// `broadcast(values, steps)`: the first point at every step.
pub const BROADCAST: &str = "broadcast";
/// `constant_grid(param, steps)`: the parameter as a grid.
pub const CONSTANT_GRID: &str = "constant_grid";
/// `max_of(values, param)`
pub const MAX_OF: &str = "max_of";
/// `min_of(values, param)`
pub const MIN_OF: &str = "min_of";

/// `limit_ratio(labels, values, ratio)`: the values of the series that the ratio chooses.
pub const LIMIT_RATIO: &str = "limit_ratio";

/// The name of `vector op scalar`.
pub fn vector_scalar_name(op: BinaryOp) -> String {
    format!("vector_{op:?}_scalar")
}

/// The name of `scalar op vector`.
pub fn scalar_vector_name(op: BinaryOp) -> String {
    format!("scalar_{op:?}_vector")
}

/// The name of a function of one value.
pub fn unary_name(function: UnaryFunction) -> String {
    format!("{function:?}")
}

/// The name of a function of a time.
pub fn date_name(function: DateFunction) -> String {
    format!("Date{function:?}")
}

const UNARY: &[&str] = &[
    "abs", "ceil", "floor", "sqrt", "exp", "ln", "log2", "log10", "sgn", "deg", "rad", "sin", "cos", "tan",
    "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
];
const DATES: &[&str] =
    &["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"];
const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<="];

fn add_maps(functions: &mut Registry) {
    for function in UNARY.iter().filter_map(|name| UnaryFunction::parse(name)) {
        functions.add(unary_name(function), grid_type(), move |args| {
            map(args, |values, _| function.apply_all(values))
        });
    }
    for function in DATES.iter().filter_map(|name| DateFunction::parse(name)) {
        functions.add(date_name(function), grid_type(), move |args| {
            map(args, |values, _| function.apply_all(values))
        });
    }
    for op in OPERATORS.iter().filter_map(|token| BinaryOp::parse(token)) {
        functions.add(vector_scalar_name(op), grid_type(), move |args| {
            let (scalar, comparison) = (args.param(1)?, comparison(args.bool(2)?));
            map(args, |values, valid| binary::vector_scalar(op, comparison, values, valid, scalar.param()))
        });
        functions.add(scalar_vector_name(op), grid_type(), move |args| {
            let (scalar, comparison) = (args.param(1)?, comparison(args.bool(2)?));
            map(args, |values, valid| binary::scalar_vector(op, comparison, scalar.param(), values, valid))
        });
    }
    functions
        .add(NEGATE, grid_type(), |args| map(args, |values, _| values.iter_mut().for_each(|v| *v = -*v)));
    functions.add(ROUND, grid_type(), |args| {
        let nearest = args.param(1)?;
        map(args, |values, _| math::round(values, nearest.param()))
    });
    functions.add(CLAMP, grid_type(), |args| {
        let (lower, upper) = (args.param(1)?, args.param(2)?);
        map(args, |values, valid| math::clamp(values, valid, lower.param(), upper.param()))
    });
    for (name, apply) in [(MAX_OF, math::max as fn(f64, f64) -> f64), (MIN_OF, math::min)] {
        functions.add(name, grid_type(), move |args| {
            let other = args.param(1)?;
            map(args, |values, _| {
                for (step, value) in values.iter_mut().enumerate() {
                    *value = apply(*value, other.param().at(step));
                }
            })
        });
    }
    functions.add(EVALUATION_TIME, grid_type(), |args| {
        let (start, step) = (args.int(1)?, args.int(2)?);
        map(args, |values, _| {
            for (index, value) in values.iter_mut().enumerate() {
                *value = (start + step * index as i64) as f64 / 1000.0;
            }
        })
    });
    functions.add(INVERT, grid_type(), |args| {
        map(args, |values, valid| {
            values.fill(1.0);
            valid.iter_mut().for_each(|valid| *valid = !*valid);
        })
    });
    functions.add(BROADCAST, grid_type(), |args| {
        let grids = args.grids(0)?;
        let steps = usize::try_from(args.int(1)?).unwrap_or(0);
        let mut out = GridBuilder::new(steps, grids.len());
        let mut points = 0;
        for row in 0..grids.len() {
            let first = grids.row(row).iter().find(|(index, _)| *index == 0);
            let (values, valid) = out.row()?;
            if let Some((_, value)) = first {
                values.fill(value);
                valid.fill(true);
                points += steps.saturating_sub(1) as u64;
            }
        }
        args.context()?.hold(points)?;
        Ok(out.finish())
    });
    functions.add(LIMIT_RATIO, grid_type(), |args| {
        let labels = args.array(0)?;
        let keys = label_keys(labels.as_ref())?;
        let (grids, ratio) = (args.grids(1)?, args.param(2)?);
        let mut out = GridBuilder::new(grids.steps(), grids.len());
        for row in 0..grids.len() {
            let offset = select::ratio_offset(labels_of(keys.value(row)));
            let (values, valid) = out.row()?;
            for (step, value) in grids.row(row).iter() {
                values[step] = value;
                valid[step] = select::ratio_keeps(ratio.param().at(step), offset);
            }
        }
        Ok(out.finish())
    });
    functions.add(CONSTANT_GRID, grid_type(), |args| {
        let param = args.param(0)?;
        let steps = usize::try_from(args.int(1)?).unwrap_or(0);
        let mut out = GridBuilder::new(steps, args.rows());
        for _ in 0..args.rows() {
            let (values, valid) = out.row()?;
            for (step, value) in values.iter_mut().enumerate() {
                *value = param.param().at(step);
            }
            valid.fill(true);
        }
        Ok(out.finish())
    });
}

fn comparison(returns_bool: bool) -> Comparison {
    if returns_bool { Comparison::Bool } else { Comparison::Filter }
}

/// Applies `change` to a copy of every row of the first argument.
fn map(args: &Arguments<'_>, change: impl Fn(&mut [f64], &mut [bool])) -> Result<ArrayRef> {
    let grids = args.grids(0)?;
    args.context()?.check()?;
    let mut out = GridBuilder::new(grids.steps(), grids.len());
    for row in 0..grids.len() {
        let row = grids.row(row);
        let (values, valid) = out.row()?;
        if row.values.len() != values.len() {
            return exec_err!("rows of {} and {} steps in one vector", row.values.len(), values.len());
        }
        values.copy_from_slice(row.values);
        row.valid.expand(valid);
        change(values, valid);
    }
    Ok(out.finish())
}

// -------------------------------------------------------------------------------------- labels

/// `labels_drop_name(labels)`
pub const DROP_NAME: &str = "labels_drop_name";
/// `labels_mark_name(labels)`
pub const MARK_NAME: &str = "labels_mark_name";
/// `labels_finish_name(labels)`: drops the names that are marked.
pub const FINISH_NAME: &str = "labels_finish_name";
/// `labels_by(labels, names)`
pub const LABELS_BY: &str = "labels_by";
/// `labels_without(labels, names)`
pub const LABELS_WITHOUT: &str = "labels_without";
/// `label_replace(labels, to, replacement, from, regex)`
pub const LABEL_REPLACE: &str = "label_replace";
/// `label_join(labels, to, separator, from)`
pub const LABEL_JOIN: &str = "label_join";
/// `label_set(labels, to, value)`; the value is a literal or a column of bytes.
pub const LABEL_SET: &str = "label_set";

fn add_labels(functions: &mut Registry) {
    let labels = || DataType::BinaryView;
    functions.add(DROP_NAME, labels(), |args| project(args, &LabelProjection::DropName));
    functions.add(MARK_NAME, labels(), |args| project(args, &LabelProjection::MarkName));
    functions.add(FINISH_NAME, labels(), |args| {
        relabel(args, |key, out| match split_mark(key) {
            (true, labels) => LabelProjection::DropName.apply(labels.key(), out),
            (false, labels) => out.extend_from_slice(labels.key()),
        })
    });
    functions.add(LABELS_BY, labels(), |args| project(args, &LabelProjection::By(args.texts(1)?.into())));
    functions.add(LABELS_WITHOUT, labels(), |args| {
        project(args, &LabelProjection::Without(args.texts(1)?.into()))
    });
    functions.add(LABEL_REPLACE, labels(), |args| {
        let replace = LabelReplace::new(args.text(1)?, args.text(2)?, args.text(3)?, args.text(4)?);
        let replace = replace.map_err(kernel_error)?;
        relabel(args, |key, out| {
            let (marked, labels) = split_mark(key);
            match replace.apply(labels) {
                None => out.extend_from_slice(key),
                Some(changed) => push_marked(marked && !replace.sets_metric_name(), changed.as_ref(), out),
            }
        })
    });
    functions.add(LABEL_JOIN, labels(), |args| {
        let join = LabelJoin::new(args.text(1)?, args.text(2)?, &args.texts(3)?).map_err(kernel_error)?;
        relabel(args, |key, out| {
            let (marked, labels) = split_mark(key);
            push_marked(marked && !join.sets_metric_name(), join.apply(labels).as_ref(), out);
        })
    });
    functions.add(LABEL_SET, labels(), |args| {
        let to = args.text(1)?;
        let column = match args.get(2)? {
            ColumnarValue::Array(array) => Some(array),
            ColumnarValue::Scalar(_) => None,
        };
        let keys = column.map(|column| label_keys(column.as_ref())).transpose()?;
        let mut row = 0;
        let mut failed = None;
        let labels = relabel(args, |key, out| {
            let (marked, labels) = split_mark(key);
            let mut builder = LabelsBuilder::from(labels);
            match keys {
                Some(keys) => builder.set(to, &String::from_utf8_lossy(keys.value(row))),
                None => match args.text(2) {
                    Ok(value) => builder.set(to, value),
                    Err(error) => {
                        failed = Some(error);
                        &mut builder
                    }
                },
            };
            row += 1;
            push_marked(marked && to != METRIC_NAME, builder.build().as_ref(), out);
        });
        failed.map_or(labels, Err)
    });
}

fn push_marked(marked: bool, labels: LabelsRef<'_>, out: &mut Vec<u8>) {
    if marked {
        out.push(DROP_NAME_MARK);
    }
    out.extend_from_slice(labels.key());
}

fn project(args: &Arguments<'_>, projection: &LabelProjection) -> Result<ArrayRef> {
    relabel(args, |key, out| projection.apply(key, out))
}

fn relabel(args: &Arguments<'_>, mut change: impl FnMut(&[u8], &mut Vec<u8>)) -> Result<ArrayRef> {
    let labels = args.array(0)?;
    let keys = label_keys(labels.as_ref())?;
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(keys.len());
    for key in keys.iter() {
        change(key.unwrap_or_default(), &mut bytes);
        ends.push(bytes.len());
    }
    let mut from = 0;
    Ok(labels_array(ends.iter().map(|end| &bytes[std::mem::replace(&mut from, *end)..*end])))
}

// ------------------------------------------------------------------------------------ sort keys

/// `value_key(values)`: the first point; null for NaN and for no point, so that both sort last.
pub const VALUE_KEY: &str = "value_key";
/// `label_key(labels)`: bytes that sort as Prometheus sorts label sets.
pub const LABEL_KEY: &str = "label_key";
/// `natural_key(labels, names)`: bytes that sort as `sort_by_label` does.
pub const NATURAL_KEY: &str = "natural_key";

fn add_sort_keys(functions: &mut Registry) {
    functions.add(VALUE_KEY, DataType::Float64, |args| {
        let grids = args.grids(0)?;
        let mut keys = Float64Builder::with_capacity(grids.len());
        for row in 0..grids.len() {
            let first = grids.row(row).iter().find(|(index, _)| *index == 0);
            keys.append_option(first.map(|(_, value)| value).filter(|value| !value.is_nan()));
        }
        Ok(Arc::new(keys.finish()))
    });
    functions.add(LABEL_KEY, DataType::Binary, |args| sort_keys(args, label_key));
    functions.add(NATURAL_KEY, DataType::Binary, |args| {
        let names = args.texts(1)?;
        sort_keys(args, |labels, out| natural_key(labels, &names, out))
    });
}

fn sort_keys(args: &Arguments<'_>, key: impl Fn(LabelsRef<'_>, &mut Vec<u8>)) -> Result<ArrayRef> {
    let labels = args.array(0)?;
    let mut builder = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for row in label_keys(labels.as_ref())?.iter() {
        bytes.clear();
        key(labels_of(row.unwrap_or_default()), &mut bytes);
        builder.append_value(&bytes);
    }
    Ok(Arc::new(builder.finish()))
}
