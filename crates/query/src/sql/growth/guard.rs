//! What a session gets: known functions only, the last rule of analysis, and one that ends planning in time.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _};
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawDictionaryExpr};
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};

use super::bounded::{Bounded, guarded};
use super::lists::{AGGREGATES, GROWING_AGGREGATES, TABLES, WINDOWS, growth_of, is_plain};
use crate::context::QueryContext;
use crate::sql::meaning::{at_time_zone, exact_aggregates, named_cast, of_all_times};

/// Puts bounds before every call that can grow, and refuses what has none.
#[derive(Debug)]
pub struct Guard(pub Arc<QueryContext>);

impl AnalyzerRule for Guard {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        self.0.check()?;
        let guard = |plan: LogicalPlan| {
            let names = NamePreserver::new(&plan);
            let one = |expr: Expr| {
                let name = names.save(&expr);
                Ok(guarded(expr, &self.0)?.update_data(|expr| name.restore(expr)))
            };
            plan.map_expressions(one)?.map_data(LogicalPlan::recompute_schema)
        };
        plan.transform_up_with_subqueries(guard).data()
    }

    fn name(&self) -> &'static str {
        "promontory_guard"
    }
}

/// Refuses literals of structs, whose types double where they are put into each other.
#[derive(Debug)]
pub struct NoStructs;

impl ExprPlanner for NoStructs {
    fn plan_struct_literal(&self, _: Vec<Expr>, _: bool) -> Result<PlannerResult<Vec<Expr>>> {
        plan_err!("structs are not offered here; use columns")
    }

    fn plan_dictionary_literal(
        &self,
        _: RawDictionaryExpr,
        _: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        plan_err!("structs are not offered here; use columns")
    }
}

/// Ends planning when the statement's time is over: each round of rules comes by here.
#[derive(Debug)]
pub struct InTime(pub Arc<QueryContext>);

impl OptimizerRule for InTime {
    fn name(&self) -> &'static str {
        "promontory_in_time"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        self.0.check()?;
        Ok(Transformed::no(plan))
    }
}

/// Leaves in a session what a list names, with growing functions behind their bounds.
///
/// # Errors
/// If the registry refuses, which is a bug.
pub fn keep_known(state: &mut SessionState, context: &Arc<QueryContext>) -> Result<()> {
    let functions: Vec<Arc<ScalarUDF>> = state.scalar_functions().values().map(Arc::clone).collect();
    for function in functions {
        if let Some(ours) = of_all_times(&function) {
            state.register_udf(Arc::new(ours))?;
        } else if let Some(growth) = growth_of(function.name()) {
            let bounded = Bounded::new(function, growth, context);
            state.register_udf(Arc::new(ScalarUDF::new_from_impl(bounded)))?;
        } else if !is_plain(function.name()) {
            state.deregister_udf(function.name())?;
        }
    }
    state.register_udf(Arc::new(at_time_zone()))?;
    state.register_udf(Arc::new(named_cast()))?;
    for exact in exact_aggregates(state.aggregate_functions().values().map(Arc::clone)) {
        state.register_udaf(Arc::new(exact))?;
    }
    keep(state)
}

fn keep(state: &mut SessionState) -> Result<()> {
    let names: Vec<String> = state.higher_order_functions().keys().cloned().collect();
    for name in names {
        state.deregister_higher_order_function(&name)?;
    }
    let known = |name: &str| AGGREGATES.contains(&name) || GROWING_AGGREGATES.contains(&name);
    let unknown = state.aggregate_functions().values().map(|function| function.name().to_owned());
    let unknown: Vec<String> = unknown.filter(|name| !known(name)).collect();
    for name in unknown {
        state.deregister_udaf(&name)?;
    }
    let unknown = state.window_functions().values().map(|function| function.name().to_owned());
    let unknown: Vec<String> = unknown.filter(|name| !WINDOWS.contains(&name.as_str())).collect();
    for name in unknown {
        state.deregister_udwf(&name)?;
    }
    let unknown = state.table_functions().keys().filter(|name| !TABLES.contains(&name.as_str()));
    let unknown: Vec<String> = unknown.cloned().collect();
    for name in unknown {
        state.deregister_udtf(&name)?;
    }
    Ok(())
}
