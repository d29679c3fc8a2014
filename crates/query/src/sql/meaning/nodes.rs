//! What becomes of each node of a plan.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, ExprSchemable as _, GroupingSet, Join, LogicalPlan,
    RecursiveQuery, Union,
};
use datafusion::optimizer::AnalyzerRule;

use super::comparable::comparable_columns;
use super::expressions::{pair, rewritten, side, sorts};
use super::keys;
use crate::context::QueryContext;

/// Gives a plan our meaning; it must run once, after types were settled.
#[derive(Debug)]
pub struct Meaning(pub Arc<QueryContext>);

impl AnalyzerRule for Meaning {
    fn name(&self) -> &'static str {
        "promontory_meaning"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let checked = |plan: LogicalPlan| {
            self.0.check()?;
            node(plan)
        };
        plan.transform_up_with_subqueries(checked).data()
    }
}

/// Refuses orders of maps, before types are settled: that fails on them without a word.
#[derive(Debug)]
pub struct Orders;

impl AnalyzerRule for Orders {
    fn name(&self) -> &'static str {
        "promontory_orders"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            plan.apply_expressions(|expr| expr.apply(|part| no_order_of_maps(part, &schema)))
        })?;
        Ok(plan)
    }
}

fn no_order_of_maps(expr: &Expr, schema: &DFSchema) -> Result<TreeNodeRecursion> {
    if let Expr::WindowFunction(call) = expr {
        for key in &call.params.order_by {
            if matches!(key.expr.get_type(schema), Ok(DataType::Map(..))) {
                return plan_err!("a map has no order; sort by one of its entries");
            }
        }
    }
    Ok(TreeNodeRecursion::Continue)
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let plan = if let LogicalPlan::Join(join) = plan {
        joined(join, &schema)?
    } else {
        let names = NamePreserver::new(&plan);
        let one = |expr: Expr| {
            let name = names.save(&expr);
            Ok(rewritten(expr, &schema)?.update_data(|expr| name.restore(expr)))
        };
        plan.map_expressions(one)?.data
    };
    compared(plan, &schema)?.recompute_schema().map(Transformed::yes)
}

fn joined(join: Join, both: &DFSchema) -> Result<LogicalPlan> {
    let sides = [join.left.schema().as_ref(), join.right.schema().as_ref()];
    let on = join.on.into_iter().map(|on| pair(on, sides)).collect::<Result<_>>()?;
    let filter = join.filter.map(|filter| rewritten(filter, both).data()).transpose()?;
    Ok(LogicalPlan::Join(Join { on, filter, ..join }))
}

/// What a node itself compares.
fn compared(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Aggregate(aggregate) => {
            LogicalPlan::Aggregate(keys::aggregate(grouped(aggregate, schema)?)?)
        }
        LogicalPlan::Sort(mut sort) => {
            sort.expr = sorts(sort.expr, schema)?;
            keys::sort(sort)?
        }
        LogicalPlan::Window(window) => keys::window(window)?,
        LogicalPlan::Distinct(Distinct::All(input)) => {
            LogicalPlan::Distinct(Distinct::All(comparable_columns(&input)?))
        }
        LogicalPlan::Distinct(Distinct::On(on)) => {
            LogicalPlan::Distinct(Distinct::On(distinct_on(on, schema)?))
        }
        // Its schema says what the inputs were before they could be NULL.
        LogicalPlan::Union(union) => LogicalPlan::Union(Union::try_new(union.inputs)?),
        LogicalPlan::RecursiveQuery(query) if query.is_distinct => {
            LogicalPlan::RecursiveQuery(RecursiveQuery {
                static_term: comparable_columns(&query.static_term)?,
                recursive_term: comparable_columns(&query.recursive_term)?,
                ..query
            })
        }
        other => other,
    })
}

fn grouped(aggregate: Aggregate, schema: &DFSchema) -> Result<Aggregate> {
    let group = aggregate.group_expr.into_iter().map(|expr| group_key(expr, schema));
    Aggregate::try_new(aggregate.input, group.collect::<Result<_>>()?, aggregate.aggr_expr)
}

fn group_key(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let keys =
        |exprs: Vec<Expr>| exprs.into_iter().map(|expr| group_key(expr, schema)).collect::<Result<Vec<_>>>();
    Ok(match expr {
        Expr::GroupingSet(GroupingSet::Rollup(exprs)) => Expr::GroupingSet(GroupingSet::Rollup(keys(exprs)?)),
        Expr::GroupingSet(GroupingSet::Cube(exprs)) => Expr::GroupingSet(GroupingSet::Cube(keys(exprs)?)),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            let sets = sets.into_iter().map(keys).collect::<Result<_>>()?;
            Expr::GroupingSet(GroupingSet::GroupingSets(sets))
        }
        expr => named(expr, |expr| side(expr, schema))?,
    })
}

/// Rewrites an expression that names a column of the output.
fn named(expr: Expr, rewrite: impl Fn(Expr) -> Result<Expr>) -> Result<Expr> {
    let name = NamePreserver::new_for_projection().save(&expr);
    Ok(match expr {
        Expr::Alias(alias) => name.restore(rewrite(*alias.expr)?),
        expr => name.restore(rewrite(expr)?),
    })
}

fn distinct_on(on: DistinctOn, schema: &DFSchema) -> Result<DistinctOn> {
    let on_expr = on.on_expr.into_iter().map(|expr| side(expr, schema)).collect::<Result<_>>()?;
    let sort_expr = on.sort_expr.map(|exprs| sorts(exprs, schema)).transpose()?;
    Ok(DistinctOn { on_expr, sort_expr, ..on })
}
