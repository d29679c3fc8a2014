//! `+`, `-`, `*`, `/`, `%` that fail where the library wraps, and say where.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::error::QueryError;
use crate::sql::operators::evaluated;
use crate::sql::types::sql_type;

/// The operation as a function that never wraps; `result` is its type.
pub fn checked(left: Expr, op: Operator, right: Expr, result: DataType) -> Expr {
    let place = format!("{} {op} {}", shown(&left), shown(&right));
    let mut hasher = DefaultHasher::new();
    (identity(&left), op, identity(&right)).hash(&mut hasher);
    let signature = Signature::any(2, Volatility::Immutable);
    let function = Arithmetic { op, result, place, identity: hasher.finish(), signature };
    ScalarUDF::new_from_impl(function).call(vec![left, right])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    op: Operator,
    result: DataType,
    /// The operation as it was written, for errors.
    place: String,
    /// Tells operations apart that are shown as the same.
    identity: u64,
    signature: Signature,
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "+",
            Operator::Minus => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            _ => "%",
        }
    }

    /// Short, whatever stands within: the planner asks for the name of each operand of each operand.
    fn schema_name(&self, _: &[Expr]) -> Result<String> {
        Ok(format!("{} #{:x}", self.place, self.identity))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        evaluated(self.op, &args.args).map_err(|error| self.explained(error))
    }
}

impl Arithmetic {
    fn explained(&self, error: DataFusionError) -> DataFusionError {
        let text = match error.find_root() {
            DataFusionError::ArrowError(inner, _) => match &**inner {
                ArrowError::DivideByZero => format!("division by zero in {}", self.place),
                ArrowError::ArithmeticOverflow(_) => {
                    format!("{} is out of the range of {}", self.place, sql_type(&self.result))
                }
                ArrowError::ComputeError(text) => format!("{text} in {}", self.place),
                _ => return error,
            },
            _ => return error,
        };
        QueryError::Execution(text).into()
    }
}

fn identity(expr: &Expr) -> u64 {
    if let Expr::ScalarFunction(call) = expr
        && let Some(inner) = call.func.inner().downcast_ref::<Arithmetic>()
    {
        return inner.identity;
    }
    let mut hasher = DefaultHasher::new();
    expr.hash(&mut hasher);
    hasher.finish()
}

/// Longest text of an operation in an error.
const SHOWN_BYTES_MAX: usize = 100;

/// An operand as a person would write it.
fn shown(expr: &Expr) -> String {
    let text = match expr {
        Expr::Column(column) => column.name.clone(),
        Expr::Literal(ScalarValue::Null, _) => "NULL".to_owned(),
        Expr::Literal(value, _) => value.to_string(),
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Cast(cast) => shown(&cast.expr),
        Expr::Negative(inner) => format!("-{}", shown(inner)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            format!("({} {op} {})", shown(left), shown(right))
        }
        Expr::ScalarFunction(call) => match call.func.inner().downcast_ref::<Arithmetic>() {
            Some(inner) => format!("({})", inner.place),
            None => format!("{}(...)", call.func.name()),
        },
        _ => "(...)".to_owned(),
    };
    if text.len() > SHOWN_BYTES_MAX { "(...)".to_owned() } else { text }
}
