//! Constants that are copied for each row.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{InListExpr, Literal};
use datafusion::physical_plan::ExecutionPlan;

/// Bytes of copied constants that a batch should have at most.
pub const COPIED_BYTES_WISH: usize = 16 << 20;

/// Bytes of constants that a row of each operator copies at most, all operators together: where a constant is an
/// operand, some functions make a column of it.
///
/// # Errors
/// Never; the walks could.
pub fn copied_bytes(plan: &Arc<dyn ExecutionPlan>) -> Result<usize> {
    let mut bytes = 0usize;
    plan.apply(|operator| {
        operator.apply_expressions(&mut |expr| {
            bytes = bytes.saturating_add(of_expression(expr)?);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(bytes)
}

fn of_expression(expr: &Arc<dyn PhysicalExpr>) -> Result<usize> {
    let mut bytes = 0usize;
    expr.apply(|part| {
        if part.downcast_ref::<InListExpr>().is_some() {
            // Its list is a set, made once.
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Some(literal) = part.downcast_ref::<Literal>() {
            bytes = bytes.saturating_add(literal.value().size());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}
