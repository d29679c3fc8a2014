//! `||` of texts as a function, so that it can stand behind a bound. `concat` is another: it passes nulls over.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};

/// The operator, with its types and its nulls.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TextConcat {
    signature: Signature,
}

impl Default for TextConcat {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TextConcat {
    fn name(&self) -> &'static str {
        "||"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = args else { return internal_err!("|| has two sides, not {}", args.len()) };
        Ok(format!("{} || {}", left.schema_name(), right.schema_name()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = types else { return internal_err!("|| has two sides, not {}", types.len()) };
        BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_result_type()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else { return internal_err!("|| has two sides, not {}", types.len()) };
        let (left, right) = BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        let mut sides: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        for value in &args.args {
            match value {
                ColumnarValue::Scalar(value) => sides.push(Arc::new(Literal::new(value.clone()))),
                ColumnarValue::Array(values) => {
                    sides.push(Arc::new(Column::new("side", columns.len())));
                    fields.push(Field::new("side", values.data_type().clone(), true));
                    columns.push(Arc::clone(values));
                }
            }
        }
        let [left, right] = &sides[..] else { return internal_err!("|| has two sides, not {}", sides.len()) };
        let constant = columns.is_empty();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(args.number_rows.max(1)));
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let both = BinaryExpr::new(Arc::clone(left), Operator::StringConcat, Arc::clone(right));
        match both.evaluate(&batch)? {
            ColumnarValue::Array(values) if constant => {
                Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&values, 0)?))
            }
            found => Ok(found),
        }
    }
}
