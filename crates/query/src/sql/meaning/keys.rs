//! Keys of an order become columns below whatever sorts by them.
//!
//! The library works out which orders an expression keeps, and fails the statement where it cannot:
//! `ORDER BY sqrt(value)` and `OVER (ORDER BY length(name) > 3)` do not plan. Of a column it knows enough.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortKey, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, Sort, Window};

/// Expressions that become columns.
#[derive(Default)]
struct Keys {
    exprs: Vec<Expr>,
}

impl Keys {
    /// The expression, or the column that it becomes.
    fn of(&mut self, expr: Expr) -> Expr {
        if matches!(expr, Expr::Column(_) | Expr::Literal(..)) || expr.contains_outer() {
            return expr;
        }
        let known = self.exprs.iter().position(|known| *known == expr);
        let place = known.unwrap_or_else(|| {
            self.exprs.push(expr);
            self.exprs.len() - 1
        });
        Expr::Column(Column::new_unqualified(name(place)))
    }

    fn sorted_by(&mut self, keys: Vec<SortKey>) -> Vec<SortKey> {
        keys.into_iter().map(|key| SortKey { expr: self.of(key.expr), ..key }).collect()
    }

    /// The plan with the new columns behind its own.
    fn below(self, input: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        let own = columns(input);
        let keys = self.exprs.into_iter().enumerate().map(|(place, expr)| expr.alias(name(place)));
        let plan = Projection::try_new(own.into_iter().chain(keys).collect(), Arc::clone(input))?;
        Ok(Arc::new(LogicalPlan::Projection(plan)))
    }
}

fn name(place: usize) -> String {
    format!("__key_{place}")
}

fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().iter().map(|field| Expr::Column(field.into())).collect()
}

/// Sorts by columns.
pub fn sort(sort: Sort) -> Result<LogicalPlan> {
    let mut keys = Keys::default();
    let expr = keys.sorted_by(sort.expr);
    if keys.exprs.is_empty() {
        return Ok(LogicalPlan::Sort(Sort { expr, ..sort }));
    }
    let own = columns(&sort.input);
    let sorted = LogicalPlan::Sort(Sort { expr, input: keys.below(&sort.input)?, fetch: sort.fetch });
    Ok(LogicalPlan::Projection(Projection::try_new(own, Arc::new(sorted))?))
}

/// Windows over columns.
pub fn window(window: Window) -> Result<LogicalPlan> {
    let plan = LogicalPlan::Window(window.clone());
    let (own, names) = (columns(&plan), NamePreserver::new(&plan));
    let mut keys = Keys::default();
    let exprs = window.window_expr.into_iter().map(|expr| {
        let name = names.save(&expr);
        Ok(name.restore(windowed(expr, &mut keys)?))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    if keys.exprs.is_empty() {
        return Ok(plan);
    }
    let below = Window::try_new(exprs, keys.below(&window.input)?)?;
    Ok(LogicalPlan::Projection(Projection::try_new(own, Arc::new(LogicalPlan::Window(below)))?))
}

fn windowed(expr: Expr, keys: &mut Keys) -> Result<Expr> {
    let one = |expr: Expr| {
        let Expr::WindowFunction(call) = expr else { return Ok(Transformed::no(expr)) };
        let WindowFunction { fun, mut params } = *call;
        params.partition_by = params.partition_by.into_iter().map(|expr| keys.of(expr)).collect();
        params.order_by = keys.sorted_by(params.order_by);
        Ok(Transformed::yes(Expr::WindowFunction(Box::new(WindowFunction { fun, params }))))
    };
    expr.transform_up(one).data()
}

/// Aggregates whose rows are in an order of columns.
pub fn aggregate(aggregate: Aggregate) -> Result<Aggregate> {
    let names = NamePreserver::new(&LogicalPlan::Aggregate(aggregate.clone()));
    let mut keys = Keys::default();
    let exprs = aggregate.aggr_expr.clone().into_iter().map(|expr| {
        let name = names.save(&expr);
        Ok(name.restore(ordered(expr, &mut keys)?))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    if keys.exprs.is_empty() {
        return Ok(aggregate);
    }
    Aggregate::try_new(keys.below(&aggregate.input)?, aggregate.group_expr, exprs)
}

fn ordered(expr: Expr, keys: &mut Keys) -> Result<Expr> {
    let one = |expr: Expr| {
        let Expr::AggregateFunction(call) = expr else { return Ok(Transformed::no(expr)) };
        let AggregateFunction { func, mut params } = call;
        params.order_by = keys.sorted_by(params.order_by);
        Ok(Transformed::yes(Expr::AggregateFunction(AggregateFunction { func, params })))
    };
    expr.transform_up(one).data()
}
