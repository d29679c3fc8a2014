//! Statements that grow while they are planned.
//!
//! A column that is used twice by the query around it is put in twice when the planner merges the two, and a
//! `WITH` that is named twice is planned twice: forty lines of `SELECT x + x AS x FROM` the line before are an
//! expression of 2^40 parts. Both sizes are known before any rule runs, from the tree in which parts are shared.

use std::collections::HashMap;
use std::rc::Rc;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Most parts of a statement whose expressions are put into each other. One that people write has hundreds.
const PARTS_MAX: u64 = 50_000;

/// Looks at a plan before its first rule.
///
/// # Errors
/// If it would have more than [`PARTS_MAX`] parts.
pub fn check_inlined(plan: &LogicalPlan) -> Result<()> {
    let mut measures = Measures::default();
    let measured = measures.of(plan)?;
    let parts = measured.columns.iter().fold(measured.parts, |most, parts| most.max(*parts));
    if parts > PARTS_MAX {
        return plan_err!(
            "the statement has {parts} parts once what it selects from is put into it, at most {PARTS_MAX} are accepted; \
             use columns of inner queries less often"
        );
    }
    Ok(())
}

/// What is known of a plan.
struct Measured {
    /// Parts of each output column, were all it comes from put into it.
    columns: Vec<u64>,
    /// Nodes of plan and expressions, and of the largest expression.
    parts: u64,
}

/// What is known, by node: plans that are named twice are one in memory.
#[derive(Default)]
struct Measures {
    known: HashMap<*const LogicalPlan, Rc<Measured>>,
}

impl Measures {
    fn of(&mut self, plan: &LogicalPlan) -> Result<Rc<Measured>> {
        if let Some(known) = self.known.get(&std::ptr::from_ref(plan)) {
            return Ok(Rc::clone(known));
        }
        let inputs = plan.inputs();
        let inputs =
            inputs.into_iter().map(|input| Ok((input, self.of(input)?))).collect::<Result<Vec<_>>>()?;
        let mut parts = inputs.iter().fold(1u64, |sum, (_, input)| sum.saturating_add(input.parts));
        let mut columns = Vec::new();
        for expr in plan.expressions() {
            let weight = self.weight(&expr, &inputs)?;
            parts = parts.saturating_add(weight);
            columns.push(weight);
        }
        let columns = output(plan, columns, &inputs);
        let measured = Rc::new(Measured { columns, parts });
        self.known.insert(std::ptr::from_ref(plan), Rc::clone(&measured));
        Ok(measured)
    }

    /// Parts of an expression with those of its columns.
    fn weight(&mut self, expr: &Expr, inputs: &[(&LogicalPlan, Rc<Measured>)]) -> Result<u64> {
        let mut weight = 0u64;
        expr.apply(|part| {
            let own = match part {
                Expr::Column(column) => of_column(column, inputs),
                Expr::ScalarSubquery(inner) => self.of(&inner.subquery)?.parts,
                Expr::Exists(exists) => self.of(&exists.subquery.subquery)?.parts,
                Expr::InSubquery(inner) => self.of(&inner.subquery.subquery)?.parts,
                _ => 1,
            };
            weight = weight.saturating_add(own);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(weight)
    }
}

fn of_column(column: &Column, inputs: &[(&LogicalPlan, Rc<Measured>)]) -> u64 {
    let found = |(plan, measured): &(&LogicalPlan, Rc<Measured>)| {
        let place = plan.schema().maybe_index_of_column(column)?;
        measured.columns.get(place).copied()
    };
    inputs.iter().find_map(found).unwrap_or(1).max(1)
}

/// The columns that a node gives on.
fn output(plan: &LogicalPlan, own: Vec<u64>, inputs: &[(&LogicalPlan, Rc<Measured>)]) -> Vec<u64> {
    let width = plan.schema().fields().len();
    let of_inputs: Vec<u64> = inputs.iter().flat_map(|(_, input)| input.columns.iter().copied()).collect();
    let mut columns = match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => own,
        LogicalPlan::Window(_) => of_inputs.into_iter().chain(own).collect(),
        LogicalPlan::Union(_) => vec![of_inputs.into_iter().max().unwrap_or(1)],
        _ => of_inputs,
    };
    let most = columns.iter().copied().max().unwrap_or(1);
    columns.resize(width, most);
    columns
}
