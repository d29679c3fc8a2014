//! A cast to an integer rounds: floats to the nearest, halves to the even one; decimals' halves away from zero.

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use std::sync::Arc;

use super::comparable::map_value;

/// The nearest whole number of an expression of type `data_type`.
pub fn rounded(expr: Expr, data_type: &DataType) -> Expr {
    if data_type.is_decimal() {
        return datafusion::functions::math::round().call(vec![expr, lit(0_i32)]);
    }
    ScalarUDF::new_from_impl(Rounded { signature: Signature::any(1, Volatility::Immutable) }).call(vec![expr])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounded {
    signature: Signature,
}

impl ScalarUDFImpl for Rounded {
    fn name(&self) -> &'static str {
        "rounded"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        map_value(&args.args[0], |values| {
            let floats = cast(values, &DataType::Float64)?;
            let whole = floats.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even);
            Ok(Arc::new(whole) as ArrayRef)
        })
    }
}
