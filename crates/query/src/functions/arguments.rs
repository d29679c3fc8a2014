//! Arguments of one call of a scalar function.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use promontory_promql::grid::Grid;
use promontory_promql::kernels::{KernelError, Param};

use crate::context::{QueryContext, QueryExtension};
use crate::error::QueryError;
use crate::table::Grids;

/// Arguments of one call.
pub(super) struct Arguments<'a> {
    pub(super) args: &'a ScalarFunctionArgs,
}

/// A scalar argument: a literal number, a literal grid, or a column with the same grid in each row.
pub(super) enum ParamArg {
    Constant(f64),
    Grid(Grids),
}

impl ParamArg {
    pub(super) fn param(&self) -> Param<'_> {
        match self {
            Self::Constant(value) => Param::Constant(*value),
            Self::Grid(grids) if grids.is_empty() => Param::Constant(f64::NAN),
            Self::Grid(grids) => Param::PerStep(grids.row(0).values),
        }
    }
}

impl Arguments<'_> {
    pub(super) fn rows(&self) -> usize {
        self.args.number_rows
    }

    pub(super) fn get(&self, index: usize) -> Result<&ColumnarValue> {
        self.args
            .args
            .get(index)
            .ok_or_else(|| DataFusionError::Internal(format!("argument {index} is missing")))
    }

    pub(super) fn array(&self, index: usize) -> Result<ArrayRef> {
        self.get(index)?.to_array(self.rows())
    }

    pub(super) fn grids(&self, index: usize) -> Result<Grids> {
        Grids::new(self.array(index)?.as_ref())
    }

    pub(super) fn int(&self, index: usize) -> Result<i64> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(value))) => Ok(*value),
            other => internal_err!("argument {index} is no integer literal but {other:?}"),
        }
    }

    pub(super) fn bool(&self, index: usize) -> Result<bool> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(value))) => Ok(*value),
            other => internal_err!("argument {index} is no boolean literal but {other:?}"),
        }
    }

    pub(super) fn text(&self, index: usize) -> Result<&str> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(value))) => Ok(value),
            other => internal_err!("argument {index} is no text literal but {other:?}"),
        }
    }

    pub(super) fn texts(&self, index: usize) -> Result<Vec<String>> {
        match self.get(index)? {
            ColumnarValue::Scalar(ScalarValue::List(list)) => {
                let texts = list.value(0);
                let texts = texts.as_any().downcast_ref::<StringArray>();
                let Some(texts) = texts else { return internal_err!("argument {index} is no list of texts") };
                Ok(texts.iter().flatten().map(str::to_owned).collect())
            }
            other => internal_err!("argument {index} is no list literal but {other:?}"),
        }
    }

    pub(super) fn grid(&self, from: usize) -> Result<Grid> {
        let steps = usize::try_from(self.int(from + 2)?).unwrap_or(0);
        Ok(Grid { start: self.int(from)?, step: self.int(from + 1)?, steps })
    }

    /// A scalar argument; NaN if the function has none at this place.
    pub(super) fn param(&self, index: usize) -> Result<ParamArg> {
        match self.args.args.get(index) {
            None => Ok(ParamArg::Constant(f64::NAN)),
            Some(ColumnarValue::Scalar(ScalarValue::Float64(value))) => {
                Ok(ParamArg::Constant(value.unwrap_or(f64::NAN)))
            }
            Some(ColumnarValue::Scalar(ScalarValue::List(list))) => {
                Ok(ParamArg::Grid(Grids::new(list.as_ref())?))
            }
            Some(ColumnarValue::Array(array)) => Ok(ParamArg::Grid(Grids::new(array.as_ref())?)),
            Some(other) => internal_err!("argument {index} is no scalar but {other:?}"),
        }
    }

    pub(super) fn context(&self) -> Result<&Arc<QueryContext>> {
        QueryExtension::of(&self.args.config_options)
    }
}

/// The error that fails the query for an argument outside its domain.
pub(super) fn kernel_error(error: KernelError) -> DataFusionError {
    QueryError::Execution(error.0).into()
}
