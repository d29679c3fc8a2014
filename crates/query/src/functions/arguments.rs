//! How the arguments of a scalar function are laid out: each kind of call is one struct, which the
//! planner writes as expressions and the function reads as values.
//!
//! A [`Side`] says what stands for a column and for a scalar parameter: expressions where the call is
//! planned ([`Planned`]), arrays and numbers where it runs ([`Called`]). An [`Argument`] says how many
//! positions a field takes and what is in them; nobody else counts positions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use promontory_promql::Grid;
use promontory_promql::kernels::{Param, RangeWindow};

use crate::context::{QueryContext, QueryExtension};
use crate::table::Grids;

pub(crate) type ExprRef = Arc<dyn PhysicalExpr>;

pub(crate) trait Side {
    type Column;
    /// For a scalar parameter, which is a literal or a column with the same grid in every row.
    type Param;
}

pub(crate) struct Planned;

impl Side for Planned {
    type Column = ExprRef;
    type Param = ExprRef;
}

pub(crate) struct Called;

impl Side for Called {
    type Column = ArrayRef;
    type Param = ParamArg;
}

pub(crate) trait Argument {
    /// What it is on each side.
    type Of<S: Side>;
    fn write(value: Self::Of<Planned>, out: &mut Vec<ExprRef>);
    fn read(from: &mut Reader<'_>) -> Result<Self::Of<Called>>;
}

/// A call as the planner writes it.
pub(crate) trait Write {
    /// Its arguments in order.
    fn write(self) -> Vec<ExprRef>;
}

/// A call as the function reads it.
pub(crate) trait Read: Sized {
    /// From its arguments in order.
    fn read(from: &mut Reader<'_>) -> Result<Self>;
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $argument:ident),+ })+) => {$(
        $(#[$doc])*
        pub(crate) struct $name<S: Side> {
            $(pub(crate) $field: <$argument as Argument>::Of<S>,)+
        }

        impl Write for $name<Planned> {
            fn write(self) -> Vec<ExprRef> {
                let mut out = Vec::new();
                $(<$argument as Argument>::write(self.$field, &mut out);)+
                out
            }
        }

        impl Read for $name<Called> {
            fn read(from: &mut Reader<'_>) -> Result<Self> {
                Ok(Self { $($field: <$argument as Argument>::read(from)?),+ })
            }
        }
    )+};
}

calls! {
    /// A function of windows over raw samples.
    RangeCall { ts: Column, samples: Column, window: Window, params: Params }
    /// The newest sample of each lookback window.
    LookupCall { ts: Column, samples: Column, ends: Steps, lookback: Int }
    /// Of nothing but values.
    ValuesCall { values: Column }
    /// Of values and scalars.
    ParamsCall { values: Column, params: Params }
    /// Of values and the evaluation times.
    TimesCall { values: Column, grid: Steps }
    /// Of values, spread over so many steps.
    SpreadCall { values: Column, steps: Int }
    /// An operator between values and a scalar; `returns_bool` as the modifier `bool`.
    OperatorCall { values: Column, scalar: Scalar, returns_bool: Flag }
    /// A scalar as a grid of so many steps.
    ConstantCall { scalar: Scalar, steps: Int }
    /// Values chosen by labels and a scalar.
    ChoiceCall { labels: Column, values: Column, scalar: Scalar }
    /// Values with a note on labels, at a place of the query's text.
    NoteCall { labels: Column, values: Column, place: Int }
    /// Of nothing but labels.
    LabelsCall { labels: Column }
    /// Of labels, by names.
    NamesCall { labels: Column, names: Texts }
    /// `label_replace`
    ReplaceCall { labels: Column, to: Text, replacement: Text, from: Text, regex: Text }
    /// `label_join`
    JoinCall { labels: Column, to: Text, separator: Text, from: Texts }
    /// One label set to a text.
    SetCall { labels: Column, to: Text, value: Text }
    /// One label set to the bytes of each row.
    SetFromCall { labels: Column, to: Text, values: Column }
}

/// A scalar parameter of a running call.
pub(crate) enum ParamArg {
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

/// The scalar parameter at `index`; NaN if the call has none there.
pub(super) fn param_at(params: &[ParamArg], index: usize) -> Param<'_> {
    params.get(index).map_or(Param::Constant(f64::NAN), ParamArg::param)
}

/// What a running call gets beside its arguments.
pub(crate) struct Scope<'a> {
    args: &'a ScalarFunctionArgs,
}

impl<'a> Scope<'a> {
    pub(super) fn new(args: &'a ScalarFunctionArgs) -> Self {
        Self { args }
    }

    pub(super) fn rows(&self) -> usize {
        self.args.number_rows
    }

    pub(super) fn context(&self) -> Result<&Arc<QueryContext>> {
        QueryExtension::of(&self.args.config_options)
    }
}

/// Takes arguments one after the other.
pub(crate) struct Reader<'a> {
    args: &'a ScalarFunctionArgs,
    next: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(args: &'a ScalarFunctionArgs) -> Self {
        Self { args, next: 0 }
    }

    fn next(&mut self) -> Result<&'a ColumnarValue> {
        let index = self.next;
        self.next += 1;
        let found = self.args.args.get(index);
        found.ok_or_else(|| DataFusionError::Internal(format!("argument {index} is missing")))
    }

    fn is_empty(&self) -> bool {
        self.next >= self.args.args.len()
    }

    fn unexpected<T>(&self, wanted: &str, value: &ColumnarValue) -> Result<T> {
        internal_err!("argument {} is no {wanted} but {value:?}", self.next - 1)
    }
}

pub(crate) struct Column;

impl Argument for Column {
    type Of<S: Side> = S::Column;

    fn write(value: ExprRef, out: &mut Vec<ExprRef>) {
        out.push(value);
    }

    fn read(from: &mut Reader<'_>) -> Result<ArrayRef> {
        let rows = from.args.number_rows;
        from.next()?.to_array(rows)
    }
}

pub(crate) struct Scalar;

impl Argument for Scalar {
    type Of<S: Side> = S::Param;

    fn write(value: ExprRef, out: &mut Vec<ExprRef>) {
        out.push(value);
    }

    fn read(from: &mut Reader<'_>) -> Result<ParamArg> {
        match from.next()? {
            ColumnarValue::Scalar(ScalarValue::Float64(value)) => {
                Ok(ParamArg::Constant(value.unwrap_or(f64::NAN)))
            }
            ColumnarValue::Scalar(ScalarValue::List(list)) => Ok(ParamArg::Grid(Grids::new(list.as_ref())?)),
            ColumnarValue::Array(array) => Ok(ParamArg::Grid(Grids::new(array.as_ref())?)),
            other => from.unexpected("scalar", other),
        }
    }
}

/// All scalar parameters up to the last argument.
pub(crate) struct Params;

impl Argument for Params {
    type Of<S: Side> = Vec<S::Param>;

    fn write(values: Vec<ExprRef>, out: &mut Vec<ExprRef>) {
        out.extend(values);
    }

    fn read(from: &mut Reader<'_>) -> Result<Vec<ParamArg>> {
        let mut params = Vec::new();
        while !from.is_empty() {
            params.push(Scalar::read(from)?);
        }
        Ok(params)
    }
}

pub(crate) struct Int;

impl Argument for Int {
    type Of<S: Side> = i64;

    fn write(value: i64, out: &mut Vec<ExprRef>) {
        out.push(literal(ScalarValue::Int64(Some(value))));
    }

    fn read(from: &mut Reader<'_>) -> Result<i64> {
        match from.next()? {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(value))) => Ok(*value),
            other => from.unexpected("integer literal", other),
        }
    }
}

pub(crate) struct Flag;

impl Argument for Flag {
    type Of<S: Side> = bool;

    fn write(value: bool, out: &mut Vec<ExprRef>) {
        out.push(literal(ScalarValue::Boolean(Some(value))));
    }

    fn read(from: &mut Reader<'_>) -> Result<bool> {
        match from.next()? {
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(value))) => Ok(*value),
            other => from.unexpected("boolean literal", other),
        }
    }
}

pub(crate) struct Text;

impl Argument for Text {
    type Of<S: Side> = String;

    fn write(value: String, out: &mut Vec<ExprRef>) {
        out.push(literal(ScalarValue::Utf8(Some(value))));
    }

    fn read(from: &mut Reader<'_>) -> Result<String> {
        match from.next()? {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(value))) => Ok(value.clone()),
            other => from.unexpected("text literal", other),
        }
    }
}

pub(crate) struct Texts;

impl Argument for Texts {
    type Of<S: Side> = Arc<[String]>;

    fn write(values: Arc<[String]>, out: &mut Vec<ExprRef>) {
        let values: Vec<ScalarValue> =
            values.iter().map(|value| ScalarValue::Utf8(Some(value.clone()))).collect();
        out.push(literal(ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))));
    }

    fn read(from: &mut Reader<'_>) -> Result<Arc<[String]>> {
        let value = from.next()?;
        let ColumnarValue::Scalar(ScalarValue::List(list)) = value else {
            return from.unexpected("list literal", value);
        };
        let texts = list.value(0);
        match texts.as_any().downcast_ref::<StringArray>() {
            Some(texts) => Ok(texts.iter().flatten().map(str::to_owned).collect()),
            None => from.unexpected("list of texts", value),
        }
    }
}

/// A grid: start, step, number of points.
pub(crate) struct Steps;

impl Argument for Steps {
    type Of<S: Side> = Grid;

    fn write(grid: Grid, out: &mut Vec<ExprRef>) {
        Int::write(grid.start, out);
        Int::write(grid.step, out);
        Int::write(grid.steps as i64, out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Grid> {
        let (start, step, steps) = (Int::read(from)?, Int::read(from)?, Int::read(from)?);
        Ok(Grid { start, step, steps: usize::try_from(steps).unwrap_or(0) })
    }
}

/// Windows: where they end, the evaluation times, their length.
pub(crate) struct Window;

impl Argument for Window {
    type Of<S: Side> = RangeWindow;

    fn write(window: RangeWindow, out: &mut Vec<ExprRef>) {
        Steps::write(window.ends, out);
        Steps::write(window.eval, out);
        Int::write(window.range, out);
    }

    fn read(from: &mut Reader<'_>) -> Result<RangeWindow> {
        let (ends, eval) = (Steps::read(from)?, Steps::read(from)?);
        Ok(RangeWindow { ends, eval, range: Int::read(from)? })
    }
}

pub(crate) fn literal(value: ScalarValue) -> ExprRef {
    Arc::new(Literal::new(value))
}
