//! What an operator makes of values, outside of a plan.

use std::sync::Arc;

use arrow::array::{Array as _, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

/// What an operator makes of its two sides, of as many rows as they have; it fails where integers would wrap.
///
/// # Errors
/// Those of the operator.
pub fn evaluated(op: Operator, values: &[ColumnarValue]) -> Result<ColumnarValue> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let mut sides: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    for value in values {
        match value {
            ColumnarValue::Scalar(value) => sides.push(Arc::new(Literal::new(value.clone()))),
            ColumnarValue::Array(values) => {
                sides.push(Arc::new(Column::new("side", columns.len())));
                fields.push(Field::new("side", values.data_type().clone(), true));
                columns.push(Arc::clone(values));
            }
        }
    }
    let [left, right] = &sides[..] else { return internal_err!("{op} has two sides, not {}", sides.len()) };
    let constant = columns.is_empty();
    let rows = columns.first().map_or(1, |column| column.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
    let both = BinaryExpr::new(Arc::clone(left), op, Arc::clone(right)).with_fail_on_overflow(true);
    match both.evaluate(&batch)? {
        ColumnarValue::Array(values) if constant => {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
        }
        found => Ok(found),
    }
}
