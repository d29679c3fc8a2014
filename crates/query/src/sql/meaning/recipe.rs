//! How one of the library's aggregates is made, and what it is given.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, Schema};
use arrow::util::display::FormatOptions;
use datafusion::common::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF};
use datafusion::physical_expr::PhysicalExpr;

use super::comparable::canonical;
use crate::error::QueryError;

/// What the library is given instead of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// The values themselves.
    Values,
    /// Keys of floats.
    Keys,
    /// Decimals instead of integers.
    Decimals,
}

/// By itself a cast makes nulls of what it cannot hold.
const OR_FAIL: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

const DECIMAL: DataType = DataType::Decimal128(38, 0);

impl Given {
    pub fn data_type(&self) -> Option<DataType> {
        match self {
            Self::Values => None,
            Self::Keys => Some(DataType::Int64),
            Self::Decimals => Some(DECIMAL),
        }
    }

    pub fn field(&self, field: &FieldRef) -> FieldRef {
        match self.data_type() {
            Some(data_type) => Arc::new(Field::new(field.name(), data_type, field.is_nullable())),
            None => Arc::clone(field),
        }
    }

    pub fn columns(&self, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        values.iter().map(|values| self.column(values)).collect()
    }

    fn column(&self, values: &ArrayRef) -> Result<ArrayRef> {
        Ok(match self {
            Self::Values => Arc::clone(values),
            Self::Decimals => cast(values, &DECIMAL)?,
            Self::Keys => {
                let floats = canonical(&cast(values, &DataType::Float64)?)?;
                let keys: Int64Array =
                    floats.as_primitive::<Float64Type>().unary(|value| key(value.to_bits()));
                Arc::new(keys)
            }
        })
    }

    pub fn result(&self, found: ArrayRef, data_type: &DataType, name: &str) -> Result<ArrayRef> {
        Ok(match self {
            Self::Values => found,
            Self::Decimals => cast_with_options(&found, data_type, &OR_FAIL).map_err(|_| {
                let range = crate::sql::types::sql_type(data_type);
                QueryError::Execution(format!("{name} is out of the range of {range}"))
            })?,
            Self::Keys => {
                let keys = found.as_primitive::<Int64Type>();
                let floats: Float64Array = keys.unary(|found| f64::from_bits(key(found as u64) as u64));
                cast(&(Arc::new(floats) as ArrayRef), data_type)?
            }
        })
    }
}

/// A whole number that orders as the float of these bits; and back.
fn key(bits: u64) -> i64 {
    let bits = bits as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// How to make the library's aggregate.
#[derive(Debug)]
pub struct Recipe {
    pub inner: Arc<AggregateUDF>,
    pub given: Given,
    pub return_field: FieldRef,
    /// The type of the answer.
    pub result: DataType,
    pub schema: Schema,
    pub name: String,
    pub is_distinct: bool,
    pub is_reversed: bool,
    pub exprs: Vec<Arc<dyn PhysicalExpr>>,
    pub expr_fields: Vec<FieldRef>,
}

impl Recipe {
    pub fn args(&self) -> AccumulatorArgs<'_> {
        AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        }
    }

    pub fn make(&self) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(self.args())
    }
}
