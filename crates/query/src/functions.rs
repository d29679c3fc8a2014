//! PromQL's functions as scalar functions of DataFusion, registered by name.
//!
//! A function takes columns (`labels`, `ts`, `values`) and parameters; parameters are literals, or
//! columns that a cross join brought beside every row (then the first row has them all). Its result
//! depends on nothing else, so that a plan means the same in any process. Kernels of
//! [`promontory_promql::kernels`] do the arithmetic; this file only moves rows.

mod arguments;
mod windows;
mod maps;
mod labels;
mod sort_keys;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use promontory_promql::kernels::{BinaryOp, KernelError};
use promontory_promql::{Function, Kernel};

pub(crate) use self::arguments::{
    ChoiceCall, ConstantCall, ExprRef, JoinCall, LabelsCall, LookupCall, NamesCall, NoteCall, OperatorCall,
    ParamsCall, RangeCall, ReplaceCall, SetCall, SetFromCall, SpreadCall, TimesCall, ValuesCall, Write,
    literal,
};
use self::arguments::{Read, Reader, Scope};
pub(crate) use self::labels::{
    DROP_NAME, FINISH_NAME, LABEL_SET, LABEL_SET_FROM, LABELS_BY, LABELS_WITHOUT, MARK_NAME,
};
pub(crate) use self::maps::{BROADCAST, CONSTANT_GRID, EVALUATION_TIME, INVERT, LIMIT_RATIO, NEGATE};
pub(crate) use self::sort_keys::{LABEL_KEY, NATURAL_KEY, VALUE_KEY};
pub(crate) use self::windows::{GRID_SAMPLES, GRID_TS, LOOKUP, LOOKUP_TIMESTAMP, NOTE_COUNTER};
use crate::error::QueryError;

/// A function by name. Two of one name are equal, because all that its result depends on are arguments.
pub struct PromqlFunction {
    name: String,
    returns: DataType,
    signature: Signature,
    body: Body,
}

type Body = Box<dyn Fn(&ScalarFunctionArgs) -> Result<ArrayRef> + Send + Sync>;

/// The function registered under `name`.
///
/// # Errors
/// If there is none, which is a bug of the planner.
pub fn scalar_function(name: &str) -> Result<Arc<ScalarUDF>> {
    FUNCTIONS
        .get(name)
        .cloned()
        .ok_or_else(|| DataFusionError::Internal(format!("no function {name} is registered")))
}

/// The name under which the function that `kernel` computes is registered: PromQL's own.
///
/// # Errors
/// If none is, which is a bug of the planner.
pub fn name_of(kernel: Kernel) -> Result<&'static str> {
    match Function::of(kernel) {
        Some(function) => Ok(function.name),
        None => internal_err!("no function of PromQL is computed by {kernel:?}"),
    }
}

/// The name of `values op scalar`.
pub fn values_operator(op: BinaryOp) -> Cow<'static, str> {
    format!("values {} scalar", op.as_str()).into()
}

/// The name of `scalar op values`.
pub fn scalar_operator(op: BinaryOp) -> Cow<'static, str> {
    format!("scalar {} values", op.as_str()).into()
}

static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut functions = Registry(HashMap::new());
    windows::add_windows(&mut functions);
    maps::add_maps(&mut functions);
    labels::add_labels(&mut functions);
    sort_keys::add_sort_keys(&mut functions);
    functions.0
});

struct Registry(HashMap<String, Arc<ScalarUDF>>);

impl Registry {
    fn add<C: Read>(
        &mut self,
        name: impl Into<String>,
        returns: DataType,
        body: impl Fn(C, &Scope<'_>) -> Result<ArrayRef> + Send + Sync + 'static,
    ) {
        let name = name.into();
        let signature = Signature::variadic_any(Volatility::Immutable);
        let body: Body = Box::new(move |args| body(C::read(&mut Reader::new(args))?, &Scope::new(args)));
        let function = PromqlFunction { name: name.clone(), returns, signature, body };
        self.0.insert(name, Arc::new(ScalarUDF::new_from_impl(function)));
    }
}

impl fmt::Debug for PromqlFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for PromqlFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for PromqlFunction {}

impl Hash for PromqlFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for PromqlFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array((self.body)(&args)?))
    }
}

/// The error that fails a query for an argument outside its domain.
fn kernel_error(error: KernelError) -> DataFusionError {
    QueryError::Execution(error.0).into()
}

#[cfg(test)]
mod tests;
