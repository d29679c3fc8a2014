//! What has no bound, and so is refused.

use arrow::datatypes::{DataType, Fields};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator, WindowFunctionDefinition};

use super::super::meaning::INTERNAL;
use super::lists::{AGGREGATES, GROWING_AGGREGATES, WINDOWS, growth_of, is_plain};

/// Widest value of a type that has one width.
const WIDTH_MAX: usize = 1 << 10;

/// Looks at one node of an expression.
///
/// # Errors
/// If what it makes has no bound.
pub fn check(expr: &Expr) -> Result<()> {
    match expr {
        Expr::ScalarFunction(call) => check_scalar(call.func.name()),
        Expr::AggregateFunction(call) => check_aggregate(call.func.name()),
        Expr::WindowFunction(call) => check_window(&call.fun),
        Expr::HigherOrderFunction(call) => not_offered(call.func.name()),
        Expr::BinaryExpr(BinaryExpr { op, right, .. }) if is_regex(*op) => check_pattern(right),
        Expr::SimilarTo(like) => check_pattern(&like.pattern),
        Expr::Cast(cast) => check_width(cast.field.data_type()),
        Expr::TryCast(cast) => check_width(cast.field.data_type()),
        _ => Ok(()),
    }
}

fn not_offered(name: &str) -> Result<()> {
    plan_err!("the function {name} is not offered here: what it makes has no bound")
}

fn check_scalar(name: &str) -> Result<()> {
    let known = is_plain(name)
        || growth_of(name).is_some()
        || name == "||"
        || INTERNAL.contains(&name)
        || name == "at_time_zone";
    if known { Ok(()) } else { not_offered(name) }
}

fn check_aggregate(name: &str) -> Result<()> {
    let known = AGGREGATES.contains(&name) || GROWING_AGGREGATES.contains(&name);
    if known { Ok(()) } else { not_offered(name) }
}

fn check_window(function: &WindowFunctionDefinition) -> Result<()> {
    let name = function.name();
    match function {
        WindowFunctionDefinition::AggregateUDF(_) if GROWING_AGGREGATES.contains(&name) => {
            plan_err!("{name} cannot be used with OVER: each row would have a list of its own; use GROUP BY")
        }
        WindowFunctionDefinition::AggregateUDF(_) => check_aggregate(name),
        WindowFunctionDefinition::WindowUDF(_) if WINDOWS.contains(&name) => Ok(()),
        WindowFunctionDefinition::WindowUDF(_) => not_offered(name),
    }
}

fn is_regex(operator: Operator) -> bool {
    use Operator as O;
    matches!(operator, O::RegexMatch | O::RegexIMatch | O::RegexNotMatch | O::RegexNotIMatch)
}

/// Each regular expression of a column would be compiled and kept.
fn check_pattern(pattern: &Expr) -> Result<()> {
    let varies = pattern.exists(|part| {
        Ok(matches!(
            part,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarSubquery(_)
                | Expr::LambdaVariable(_)
        ))
    })?;
    if varies {
        return plan_err!("a regular expression must be a constant: each of a column's would be compiled");
    }
    Ok(())
}

fn check_width(data_type: &DataType) -> Result<()> {
    let width = width(data_type);
    if width > WIDTH_MAX {
        return plan_err!("values of {data_type} have {width} bytes each, at most {WIDTH_MAX} are allowed");
    }
    Ok(())
}

/// Bytes of a value, whatever it is.
fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(0),
        DataType::FixedSizeList(element, length) => {
            let length = usize::try_from(*length).unwrap_or(0);
            width(element.data_type()).max(1).saturating_mul(length)
        }
        DataType::List(element) | DataType::LargeList(element) => width(element.data_type()),
        DataType::Map(element, _) => width(element.data_type()),
        DataType::Struct(fields) => {
            fields.iter().map(|field| width(field.data_type())).fold(0, usize::saturating_add)
        }
        other => other.primitive_width().unwrap_or(0),
    }
}

/// Most parts of a type: lists of maps of lists have ten.
const TYPE_PARTS_MAX: usize = 256;

/// Looks at the type that a function makes of others: types double where they are put into each other.
///
/// # Errors
/// If it has too many parts.
pub fn check_type(data_type: &DataType) -> Result<()> {
    if type_parts(data_type) > TYPE_PARTS_MAX {
        return plan_err!("a type of the statement has more than {TYPE_PARTS_MAX} parts");
    }
    Ok(())
}

fn type_parts(data_type: &DataType) -> usize {
    let of_fields = |fields: &Fields| fields.iter().map(|field| type_parts(field.data_type())).sum::<usize>();
    1 + match data_type {
        DataType::List(element) | DataType::LargeList(element) | DataType::Map(element, _) => {
            type_parts(element.data_type())
        }
        DataType::Struct(fields) => of_fields(fields),
        _ => 0,
    }
}
