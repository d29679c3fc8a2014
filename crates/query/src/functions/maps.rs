//! Functions of each sample alone: from grids to grids.

use arrow::array::ArrayRef;
use datafusion::common::{Result, exec_err};
use promontory_plan::labels_of;
use promontory_promql::kernels::binary::{self, BinaryOp, Comparison};
use promontory_promql::kernels::{DateFunction, UnaryFunction, math, select};

use super::Registry;
use super::arguments::Arguments;
use crate::table::{GridBuilder, grid_type, label_keys};

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

pub(super) fn add_maps(functions: &mut Registry) {
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
