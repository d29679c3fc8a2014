//! What becomes of each part of an expression.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_datafusion_err, plan_err};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, Exists, InList, InSubquery, ScalarFunction, SetComparison,
    Sort, WindowFunction, WindowFunctionParams,
};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable as _, Operator, Subquery, TryCast, Volatility, lit,
};

use super::arithmetic::checked;
use super::calendar::unit_of;
use super::comparable::{comparable, comparable_columns, one_nan};
use super::named_cast::NAMED_CAST;
use super::percentile::percentile;
use super::rounded::rounded;
use super::times::{UTC, as_text, converted, saturated, within};

/// Functions that compare their arguments, or what is in them.
const COMPARING: &[&str] = &[
    "array_distinct",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_union",
    "map_extract",
];

/// Functions that choose among their arguments, and give back what was there: zeros keep their signs.
const CHOOSING: &[&str] = &["array_max", "array_min", "array_sort", "greatest", "least"];

/// Functions that compute with times, of the years that they know.
const TIMELY: &[&str] = &[
    "at_time_zone",
    "date_part",
    "to_char",
    "to_date",
    "to_local_time",
    "to_time",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_seconds",
];

/// Aggregates that put values in order, beside those that are told to be distinct.
const ORDERING: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "median",
    "percentile_cont",
];

/// The expression with our meaning, over columns of `schema`.
pub fn rewritten(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| part(expr, schema))
}

fn part(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(Transformed::yes(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let [left, right] = sides([*left, *right], schema)?;
            Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if computes(op) => {
            computed(*left, op, *right, schema)?
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let [expr, low, high] = sides([*expr, *low, *high], schema)?;
            Expr::Between(Between::new(Box::new(expr), negated, Box::new(low), Box::new(high)))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let mut all = sides_of(std::iter::once(*expr).chain(list).collect(), schema)?;
            let list = all.split_off(1);
            in_list(all.remove(0), list, negated)
        }
        Expr::Case(case) => Expr::Case(compared_case(case, schema)?),
        Expr::Cast(Cast { expr, field }) => cast(*expr, field.data_type(), false, schema)?,
        Expr::TryCast(TryCast { expr, field }) => cast(*expr, field.data_type(), true, schema)?,
        Expr::ScalarFunction(call) => function(call, schema)?,
        other => return rare(other, schema),
    }))
}

fn rare(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(Transformed::yes(match expr {
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let expr = side(*expr, schema)?;
            let subquery = of_subquery(subquery)?;
            let test = InSubquery::new(Box::new(expr.clone()), subquery.clone(), negated);
            if !negated || !is_constant(&expr) {
                return Ok(Transformed::yes(Expr::InSubquery(test)));
            }
            // The library joins on it, and a constant NULL has no partner instead of no answer.
            let is_empty = Expr::Exists(Exists::new(subquery, true));
            Expr::InSubquery(test).and(expr.is_not_null().or(is_empty))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let expr = side(*expr, schema)?;
            Expr::SetComparison(SetComparison::new(Box::new(expr), of_subquery(subquery)?, op, quantifier))
        }
        Expr::AggregateFunction(call) => Expr::AggregateFunction(aggregate(call, schema)?),
        Expr::WindowFunction(call) => {
            let WindowFunction { fun, params } = *call;
            let params = window(fun.name(), params, schema)?;
            Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
        }
        other => return Ok(Transformed::no(other)),
    }))
}

/// `IN` of constants as it is, and of what depends on the row as comparisons: of that the library takes the first
/// row's for all.
fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    let (constants, others): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(is_constant);
    if others.is_empty() {
        return Expr::InList(InList::new(Box::new(expr), constants, negated));
    }
    let mut truths: Vec<Expr> = others.into_iter().map(|other| expr.clone().eq(other)).collect();
    if !constants.is_empty() {
        truths.push(Expr::InList(InList::new(Box::new(expr), constants, false)));
    }
    let any = any_of(truths);
    if negated { Expr::Not(Box::new(any)) } else { any }
}

fn is_constant(expr: &Expr) -> bool {
    let varies = |part: &Expr| {
        Ok(match part {
            Expr::Literal(..) | Expr::Cast(_) | Expr::TryCast(_) | Expr::Negative(_) | Expr::Not(_) => false,
            Expr::BinaryExpr(_) | Expr::Case(_) | Expr::Between(_) | Expr::Like(_) => false,
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Alias(_) => false,
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            _ => true,
        })
    };
    !expr.exists(varies).unwrap_or(true)
}

/// As shallow as it can be: a list may have any length.
fn any_of(mut truths: Vec<Expr>) -> Expr {
    if truths.len() <= 1 {
        return truths.pop().unwrap_or_else(|| lit(false));
    }
    let rest = truths.split_off(truths.len() / 2);
    any_of(truths).or(any_of(rest))
}

fn compares(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom
    )
}

fn computes(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Plus | O::Minus | O::Multiply | O::Divide | O::Modulo)
}

/// An expression as one side of a comparison.
pub fn side(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let data_type = expr.get_type(schema)?;
    if let Expr::Cast(Cast { expr: inner, .. }) | Expr::TryCast(TryCast { expr: inner, .. }) = &expr {
        let from = inner.get_type(schema)?;
        let is_finer =
            unit_of(&from).ok().zip(unit_of(&data_type).ok()).is_some_and(|(from, to)| from.0 < to.0);
        if is_finer {
            return Ok(saturated((**inner).clone(), data_type));
        }
    }
    Ok(comparable(expr, &data_type))
}

fn sides<const N: usize>(exprs: [Expr; N], schema: &DFSchema) -> Result<[Expr; N]> {
    let all = sides_of(exprs.to_vec(), schema)?;
    all.try_into().map_err(|_| internal_datafusion_err!("a side of a comparison is lost"))
}

/// What is compared with each other; times of several units as microseconds.
fn sides_of(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let exprs = exprs.into_iter().map(|expr| side(expr, schema)).collect::<Result<Vec<_>>>()?;
    let types = exprs.iter().map(|expr| expr.get_type(schema)).collect::<Result<Vec<_>>>()?;
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(..));
    if types.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(exprs);
    }
    if types.iter().all(is_time) {
        let to = DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
        return Ok(exprs.into_iter().map(|expr| converted(expr, to.clone())).collect());
    }
    if types.iter().all(DataType::is_numeric) && types.iter().any(DataType::is_floating) {
        let of = |(expr, from): (Expr, &DataType)| of_type(expr, from, DataType::Float64);
        return Ok(exprs.into_iter().zip(&types).map(of).collect());
    }
    Ok(exprs)
}

fn of_subquery(subquery: Subquery) -> Result<Subquery> {
    let plan = comparable_columns(&subquery.subquery)?;
    Ok(subquery.with_plan(plan))
}

fn compared_case(case: Case, schema: &DFSchema) -> Result<Case> {
    let Some(of) = case.expr else { return Ok(case) };
    let when = |(when, then): (Box<Expr>, Box<Expr>)| Ok((Box::new(side(*when, schema)?), then));
    let when_then_expr = case.when_then_expr.into_iter().map(when).collect::<Result<_>>()?;
    Ok(Case { expr: Some(Box::new(side(*of, schema)?)), when_then_expr, else_expr: case.else_expr })
}

/// Floats compute as they always do; everything else can fail, and says where.
fn computed(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> Result<Expr> {
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    if left_type.is_floating() && right_type.is_floating() {
        return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))));
    }
    let coercer = BinaryTypeCoercer::new(&left_type, &op, &right_type);
    let (result, inputs) = (coercer.get_result_type()?, coercer.get_input_types()?);
    let left = of_type(within(left, &left_type), &left_type, inputs.0);
    let right = of_type(within(right, &right_type), &right_type, inputs.1);
    if result.is_floating() {
        return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))));
    }
    Ok(checked(left, op, right, result))
}

/// Where a part of an expression got another type from us, the other follows.
fn of_type(expr: Expr, from: &DataType, to: DataType) -> Expr {
    let is_time = matches!(to, DataType::Timestamp(..));
    if *from == to || is_time { expr } else { Expr::Cast(Cast::new(Box::new(expr), to)) }
}

fn cast(expr: Expr, to: &DataType, or_null: bool, schema: &DFSchema) -> Result<Expr> {
    let from = expr.get_type(schema)?;
    let to = match to {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        other => other.clone(),
    };
    let cast = |expr: Expr, to: DataType| {
        if or_null { converted(expr, to) } else { Expr::Cast(Cast::new(Box::new(expr), to)) }
    };
    Ok(match (&from, &to) {
        _ if from == to => expr,
        (number, DataType::Timestamp(..)) if number.is_numeric() => {
            return plan_err!(
                "a number is no time; write to_timestamp(seconds) or to_timestamp_millis(milliseconds)"
            );
        }
        (DataType::Timestamp(..), DataType::Timestamp(..)) => converted(expr, to),
        (DataType::Timestamp(..), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
            as_text(expr, to)
        }
        (DataType::Timestamp(..), DataType::Int64) => cast(expr, to),
        (DataType::Timestamp(..), _) => cast(within(expr, &from), to),
        (from, to) if to.is_integer() && (from.is_floating() || from.is_decimal()) => {
            cast(rounded(expr, from), to.clone())
        }
        _ => cast(expr, to),
    })
}

fn function(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let name = call.func.name();
    if name == NAMED_CAST {
        let [cast, _] =
            <[Expr; 2]>::try_from(call.args).map_err(|_| internal_datafusion_err!("a cast has two sides"))?;
        return Ok(cast);
    }
    let micros = || DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    if name == "now" {
        return Ok(Expr::Cast(Cast::new(Box::new(Expr::ScalarFunction(call)), micros())));
    }
    if name == "nullif" {
        return null_if(call.args, schema);
    }
    let prepared: fn(Expr, &DataType) -> Expr = match name {
        name if CHOOSING.contains(&name) => one_nan,
        name if COMPARING.contains(&name) => comparable,
        name if TIMELY.contains(&name) => within,
        _ => return Ok(Expr::ScalarFunction(call)),
    };
    let args = call.args.into_iter().map(|arg| {
        let data_type = arg.get_type(schema)?;
        Ok(prepared(arg, &data_type))
    });
    let call = ScalarFunction { args: args.collect::<Result<_>>()?, func: call.func };
    Ok(Expr::ScalarFunction(call))
}

/// The first, as it is, unless it equals the second.
fn null_if(args: Vec<Expr>, schema: &DFSchema) -> Result<Expr> {
    let [first, second] =
        <[Expr; 2]>::try_from(args).map_err(|_| internal_datafusion_err!("nullif has two sides"))?;
    let data_type = first.get_type(schema)?;
    let [left, right] = sides([first.clone(), second], schema)?;
    let null = lit(ScalarValue::try_from(&data_type)?);
    let when = vec![(Box::new(left.eq(right)), Box::new(null))];
    Ok(Expr::Case(Case { expr: None, when_then_expr: when, else_expr: Some(Box::new(first)) }))
}

fn aggregate(call: AggregateFunction, schema: &DFSchema) -> Result<AggregateFunction> {
    let AggregateFunction { func, params } = call;
    let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = params;
    let orders = distinct || ORDERING.contains(&func.name());
    let args = if orders { sides_of_each(args, schema)? } else { args };
    let order_by = sorts(order_by, schema)?;
    let part = part_of_all(func.name(), &args, &order_by, distinct)?;
    if let Some((part, value)) = part.zip(args.first()) {
        let value = Expr::Cast(Cast::new(Box::new(value.clone()), DataType::Float64));
        let value = comparable(value, &DataType::Float64);
        let func = Arc::new(percentile(part));
        return Ok(AggregateFunction::new_udf(func, vec![value], false, filter, Vec::new(), null_treatment));
    }
    let params = AggregateFunctionParams { args, distinct, filter, order_by, null_treatment };
    Ok(AggregateFunction { func, params })
}

/// The part of all values that lies below what `median` or `percentile_cont` gives.
fn part_of_all(name: &str, args: &[Expr], order_by: &[Sort], distinct: bool) -> Result<Option<f64>> {
    let part = match (name, args) {
        _ if distinct => return Ok(None),
        ("median", _) => 0.5,
        ("percentile_cont", [_, part]) => {
            let Some(ScalarValue::Float64(Some(part))) = as_double(part) else {
                return plan_err!("the part of percentile_cont must be a constant");
            };
            part
        }
        _ => return Ok(None),
    };
    if !(0.0..=1.0).contains(&part) {
        return plan_err!("the part of percentile_cont must be between 0.0 and 1.0, not {part}");
    }
    let descends = order_by.first().is_some_and(|sort| !sort.asc);
    Ok(Some(if descends { 1.0 - part } else { part }))
}

fn as_double(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => value.cast_to(&DataType::Float64).ok(),
        Expr::Cast(cast) => as_double(&cast.expr),
        Expr::Alias(alias) => as_double(&alias.expr),
        Expr::ScalarFunction(call) if call.func.name() == "comparable" => as_double(call.args.first()?),
        _ => None,
    }
}

fn sides_of_each(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    exprs.into_iter().map(|expr| side(expr, schema)).collect()
}

/// What is sorted by.
pub fn sorts(sorts: Vec<Sort>, schema: &DFSchema) -> Result<Vec<Sort>> {
    let one = |sort: Sort| Ok(Sort { expr: side(sort.expr, schema)?, ..sort });
    sorts.into_iter().map(one).collect()
}

fn window(name: &str, params: WindowFunctionParams, schema: &DFSchema) -> Result<WindowFunctionParams> {
    let orders = params.distinct || ORDERING.contains(&name);
    let args = if orders { sides_of_each(params.args, schema)? } else { params.args };
    let partition_by = sides_of_each(params.partition_by, schema)?;
    let order_by = sorts(params.order_by, schema)?;
    Ok(WindowFunctionParams { args, partition_by, order_by, ..params })
}

/// Both sides of what joins.
pub fn pair((left, right): (Expr, Expr), of: [&DFSchema; 2]) -> Result<(Expr, Expr)> {
    let one = |expr: Expr, schema: &DFSchema| side(rewritten(expr, schema).data()?, schema);
    Ok((one(left, of[0])?, one(right, of[1])?))
}
