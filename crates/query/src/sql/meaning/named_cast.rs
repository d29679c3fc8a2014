//! Casts that are seen in names.
//!
//! To the library the name of a cast is that of what is cast, so that `max(value::real)` and `max(value)` are two
//! columns of one name, and the statement is refused. Until names are settled each cast stands within a function.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The name of the function; its arguments are the cast and the type as it was written.
pub const NAMED_CAST: &str = "__cast";

/// The function around a cast.
pub fn named_cast() -> ScalarUDF {
    ScalarUDF::new_from_impl(NamedCast { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NamedCast {
    signature: Signature,
}

impl ScalarUDFImpl for NamedCast {
    fn name(&self) -> &'static str {
        NAMED_CAST
    }

    /// Short, whatever is cast: the planner asks for the name of each operand of each operand.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let mut hasher = DefaultHasher::new();
        args.hash(&mut hasher);
        Ok(format!("{NAMED_CAST} #{:x}", hasher.finish()))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    /// Only where a constant is wanted before names are settled.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args[0].clone())
    }
}
