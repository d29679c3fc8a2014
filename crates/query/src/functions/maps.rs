//! Functions of each sample alone: from grids to grids.

use arrow::array::ArrayRef;
use datafusion::common::{Result, exec_err};
use promontory_plan::labels_of;
use promontory_promql::kernels::{
    BinaryOp, Comparison, clamp, ratio_keeps, ratio_offset, round, scalar_vector, vector_scalar,
};
use promontory_promql::{ClampBounds, FUNCTIONS, Function, Kernel};

use super::arguments::{
    Called, ChoiceCall, ConstantCall, OperatorCall, ParamsCall, Scope, SpreadCall, TimesCall, ValuesCall,
    param_at,
};
use super::{Registry, scalar_operator, values_operator};
use crate::table::{GridBuilder, Grids, grid_type, label_keys};

/// Minus the values; a [`ValuesCall`].
pub const NEGATE: &str = "negate";
/// The evaluation time in seconds where there is a value; a [`TimesCall`].
pub const EVALUATION_TIME: &str = "evaluation_time";
/// 1 where there is no value; a [`ValuesCall`].
pub const INVERT: &str = "invert";
/// The first point at every step; a [`SpreadCall`].
pub const BROADCAST: &str = "broadcast";
/// The scalar as a grid; a [`ConstantCall`].
pub const CONSTANT_GRID: &str = "constant_grid";
/// The values of the series that the ratio chooses; a [`ChoiceCall`].
pub const LIMIT_RATIO: &str = "limit_ratio";

/// PromQL's own functions are registered under their own names.
pub(super) fn add_maps(functions: &mut Registry) {
    for function in FUNCTIONS {
        add_function(functions, function);
    }
    for op in BinaryOp::ALL {
        add_operator(functions, op);
    }
    functions.add(NEGATE, grid_type(), |call: ValuesCall<Called>, scope| {
        map(&call.values, scope, |values, _| values.iter_mut().for_each(|value| *value = -*value))
    });
    functions.add(EVALUATION_TIME, grid_type(), |call: TimesCall<Called>, scope| {
        map(&call.values, scope, |values, _| {
            for (index, value) in values.iter_mut().enumerate() {
                *value = (call.grid.start + call.grid.step * index as i64) as f64 / 1000.0;
            }
        })
    });
    functions.add(INVERT, grid_type(), |call: ValuesCall<Called>, scope| {
        map(&call.values, scope, |values, valid| {
            values.fill(1.0);
            valid.iter_mut().for_each(|valid| *valid = !*valid);
        })
    });
    functions.add(BROADCAST, grid_type(), |call, scope| broadcast(&call, scope));
    functions.add(LIMIT_RATIO, grid_type(), |call, _| limit_ratio(&call));
    functions.add(CONSTANT_GRID, grid_type(), |call, scope| constant(&call, scope));
}

fn add_function(functions: &mut Registry, function: &Function) {
    let name = function.name;
    match function.kernel {
        Kernel::Unary(kernel) => functions.add(name, grid_type(), move |call: ValuesCall<Called>, scope| {
            map(&call.values, scope, |values, _| kernel.apply_all(values))
        }),
        Kernel::Date(kernel) => functions.add(name, grid_type(), move |call: ValuesCall<Called>, scope| {
            map(&call.values, scope, |values, _| kernel.apply_all(values))
        }),
        Kernel::Round => functions.add(name, grid_type(), |call: ParamsCall<Called>, scope| {
            let nearest = param_at(&call.params, 0);
            map(&call.values, scope, |values, _| round(values, nearest))
        }),
        Kernel::Clamp(ClampBounds::Both) => {
            functions.add(name, grid_type(), |call: ParamsCall<Called>, scope| {
                let (lower, upper) = (param_at(&call.params, 0), param_at(&call.params, 1));
                map(&call.values, scope, |values, valid| clamp(values, valid, lower, upper))
            });
        }
        Kernel::Extreme(extreme) => {
            functions.add(name, grid_type(), move |call: ParamsCall<Called>, scope| {
                let other = param_at(&call.params, 0);
                map(&call.values, scope, |values, _| {
                    for (step, value) in values.iter_mut().enumerate() {
                        *value = extreme.apply(*value, other.at(step));
                    }
                })
            });
        }
        _ => {}
    }
}

fn add_operator(functions: &mut Registry, op: BinaryOp) {
    let comparison = |returns_bool| if returns_bool { Comparison::Bool } else { Comparison::Filter };
    functions.add(values_operator(op), grid_type(), move |call: OperatorCall<Called>, scope| {
        let (scalar, comparison) = (call.scalar.param(), comparison(call.returns_bool));
        map(&call.values, scope, |values, valid| {
            vector_scalar(op, comparison, values, valid, scalar);
        })
    });
    functions.add(scalar_operator(op), grid_type(), move |call: OperatorCall<Called>, scope| {
        let (scalar, comparison) = (call.scalar.param(), comparison(call.returns_bool));
        map(&call.values, scope, |values, valid| {
            scalar_vector(op, comparison, scalar, values, valid);
        })
    });
}

fn broadcast(call: &SpreadCall<Called>, scope: &Scope<'_>) -> Result<ArrayRef> {
    let grids = Grids::new(call.values.as_ref())?;
    let steps = usize::try_from(call.steps).unwrap_or(0);
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
    scope.context()?.hold(points)?;
    Ok(out.finish())
}

fn limit_ratio(call: &ChoiceCall<Called>) -> Result<ArrayRef> {
    let keys = label_keys(call.labels.as_ref())?;
    let grids = Grids::new(call.values.as_ref())?;
    let ratio = call.scalar.param();
    let mut out = GridBuilder::new(grids.steps(), grids.len());
    for row in 0..grids.len() {
        let offset = ratio_offset(labels_of(keys.value(row)));
        let (values, valid) = out.row()?;
        for (step, value) in grids.row(row).iter() {
            values[step] = value;
            valid[step] = ratio_keeps(ratio.at(step), offset);
        }
    }
    Ok(out.finish())
}

fn constant(call: &ConstantCall<Called>, scope: &Scope<'_>) -> Result<ArrayRef> {
    let scalar = call.scalar.param();
    let steps = usize::try_from(call.steps).unwrap_or(0);
    let mut out = GridBuilder::new(steps, scope.rows());
    for _ in 0..scope.rows() {
        let (values, valid) = out.row()?;
        for (step, value) in values.iter_mut().enumerate() {
            *value = scalar.at(step);
        }
        valid.fill(true);
    }
    Ok(out.finish())
}

/// Applies `change` to a copy of every row.
fn map(column: &ArrayRef, scope: &Scope<'_>, change: impl Fn(&mut [f64], &mut [bool])) -> Result<ArrayRef> {
    let grids = Grids::new(column.as_ref())?;
    scope.context()?.check()?;
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
