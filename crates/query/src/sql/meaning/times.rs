//! One rule for times.
//!
//! - `ts` has milliseconds, everything else microseconds; nanoseconds, which hold 1677 to 2262 only, are not offered.
//! - A comparison of two units saturates in the finer one: beyond its ends times keep their order.
//! - What computes with a time (functions, arithmetic, casts) knows the years of at most five digits
//!   and has NULL for others ([`within`]).
//! - `AT TIME ZONE` is PostgreSQL's: an instant becomes the clock of the zone, a clock becomes an instant.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, FieldRef, Float64Type, Int64Type, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TryCast, Volatility,
};
use datafusion::sql::sqlparser::ast::{DataType as SqlDataType, TimezoneInfo};

use super::bins::{Bins, Truncates};
use super::calendar::{iso_time, of_ticks, ticks, unit_of};
use super::comparable::map_value;

/// The first and the last second of the years of at most five digits.
const SECONDS_MIN: i64 = -3_217_830_796_800;
const SECONDS_MAX: i64 = 3_093_527_980_799;
/// Times of this zone are instants.
pub const UTC: &str = "UTC";
/// What compares times of two units.
pub const SATURATED: &str = "saturated";

/// `TIMESTAMP` has microseconds.
#[derive(Debug)]
pub struct SqlTimes;

impl TypePlanner for SqlTimes {
    fn plan_type_field(&self, sql_type: &SqlDataType) -> Result<Option<FieldRef>> {
        let (precision, zone) = match sql_type {
            SqlDataType::Timestamp(precision, zone) => (*precision, *zone),
            SqlDataType::Datetime(precision) => (*precision, TimezoneInfo::None),
            _ => return Ok(None),
        };
        let unit = match precision {
            Some(0) => TimeUnit::Second,
            Some(1..=3) => TimeUnit::Millisecond,
            Some(4..=6) | None => TimeUnit::Microsecond,
            // Only for the library's `generate_series`, which knows no other.
            Some(9) => TimeUnit::Nanosecond,
            Some(_) => return plan_err!("times have microseconds here: {sql_type} has more digits"),
        };
        let is_instant = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
        let data_type = DataType::Timestamp(unit, is_instant.then(|| UTC.into()));
        Ok(Some(Arc::new(arrow::datatypes::Field::new("", data_type, true))))
    }
}

/// The expression, whose type is `data_type`, for what computes with it: NULL where it is a time far away.
pub fn within(expr: Expr, data_type: &DataType) -> Expr {
    let is_constant = matches!(&expr, Expr::Literal(..));
    if is_constant || !matches!(data_type, DataType::Timestamp(..)) {
        return expr;
    }
    call(Kind::Within, expr)
}

/// A time as one of a finer unit, for comparisons.
pub fn saturated(expr: Expr, to: DataType) -> Expr {
    call(Kind::Saturated(to), expr)
}

/// A time as one of another unit or another zone: NULL where that cannot hold it.
pub fn converted(expr: Expr, to: DataType) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(expr), to))
}

/// A time as text.
pub fn as_text(expr: Expr, to: DataType) -> Expr {
    let text = call(Kind::Text, expr);
    if to == DataType::Utf8View { text } else { Expr::Cast(Cast::new(Box::new(text), to)) }
}

fn call(kind: Kind, expr: Expr) -> Expr {
    let function = Time { kind, signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::new_from_impl(function).call(vec![expr])
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Within,
    Saturated(DataType),
    Text,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Time {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for Time {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Within => "within",
            Kind::Saturated(_) => SATURATED,
            Kind::Text => "as_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match &self.kind {
            Kind::Within => types.first().cloned().unwrap_or(DataType::Null),
            Kind::Saturated(to) => to.clone(),
            Kind::Text => DataType::Utf8View,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        map_value(&args.args[0], |values| {
            let (per_second, zone) = unit_of(values.data_type())?;
            let ticks = ticks(values)?;
            Ok(match &self.kind {
                Kind::Within => of_ticks(only_within(&ticks, per_second), values.data_type())?,
                Kind::Saturated(to) => of_ticks(finer(&ticks, unit_of(to)?.0 / per_second), to)?,
                Kind::Text => Arc::new(arrow::array::StringViewArray::from_iter(
                    ticks.iter().map(|tick| Some(iso_time(tick?, per_second, zone.is_some()))),
                )),
            })
        })
    }
}

fn only_within(ticks: &Int64Array, per_second: i64) -> Int64Array {
    let is_near = |tick: i64| (SECONDS_MIN..=SECONDS_MAX).contains(&tick.div_euclid(per_second));
    if ticks.values().iter().all(|tick| is_near(*tick)) {
        return ticks.clone();
    }
    ticks.iter().map(|tick| tick.filter(|tick| is_near(*tick))).collect()
}

fn finer(ticks: &Int64Array, times: i64) -> Int64Array {
    ticks.unary(|tick| tick.saturating_mul(times.max(1)))
}

/// The function behind `x AT TIME ZONE 'zone'`.
pub fn at_time_zone() -> ScalarUDF {
    ScalarUDF::new_from_impl(AtTimeZone { signature: Signature::user_defined(Volatility::Immutable) })
}

/// The function that stands in for the library's, where that knows too few times.
pub fn of_all_times(library: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
    match library.name() {
        "date_bin" => Some(ScalarUDF::new_from_impl(Bins::new(Arc::clone(library)))),
        "date_trunc" => Some(ScalarUDF::new_from_impl(Truncates::default())),
        "to_timestamp" => Some(ScalarUDF::new_from_impl(ToTimestamp::default())),
        _ => None,
    }
}

/// `to_timestamp`: of a text, or of seconds since 1970.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestamp {
    signature: Signature,
}

impl Default for ToTimestamp {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &'static str {
        "to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some((first, formats)) = types.split_first() else {
            return plan_err!("to_timestamp takes a text or seconds");
        };
        let first = match first {
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
            DataType::Timestamp(..) | DataType::Date32 => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
            }
            number if number.is_integer() => DataType::Int64,
            number if number.is_numeric() => DataType::Float64,
            other => return plan_err!("to_timestamp takes a text or seconds, not {other}"),
        };
        Ok(std::iter::once(first).chain(formats.iter().map(|_| DataType::Utf8)).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result = args.return_field.data_type().clone();
        match args.args[0].data_type() {
            DataType::Utf8 if args.args.len() == 1 => map_value(&args.args[0], |texts| {
                let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
                Ok(arrow::compute::cast_with_options(texts, &result, &options)?)
            }),
            DataType::Utf8 => {
                let library = datafusion::functions::datetime::to_timestamp_micros(&args.config_options);
                library.invoke_with_args(args)
            }
            DataType::Timestamp(..) => Ok(args.args[0].clone()),
            _ => map_value(&args.args[0], |seconds| of_ticks(micros_of_seconds(seconds)?, &result)),
        }
    }
}

fn micros_of_seconds(seconds: &ArrayRef) -> Result<Int64Array> {
    if let Some(whole) = seconds.as_primitive_opt::<Int64Type>() {
        return Ok(whole.iter().map(|second| second?.checked_mul(1_000_000)).collect());
    }
    let micros = |second: f64| {
        let micros = (second * 1e6).round_ties_even();
        (micros.abs() < 9e18).then_some(micros as i64)
    };
    Ok(seconds.as_primitive::<Float64Type>().iter().map(|second| micros(second?)).collect())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AtTimeZone {
    signature: Signature,
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &'static str {
        "at_time_zone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [time, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8] = types else {
            return plan_err!("AT TIME ZONE takes a time and the name of a zone");
        };
        let time = match time {
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            DataType::Timestamp(..) => time.clone(),
            _ => DataType::Timestamp(TimeUnit::Microsecond, None),
        };
        Ok(vec![time, DataType::Utf8])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [DataType::Timestamp(unit, zone), _] = types else {
            return plan_err!("AT TIME ZONE takes a time and the name of a zone");
        };
        Ok(DataType::Timestamp(*unit, if zone.is_some() { None } else { Some(UTC.into()) }))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(zone)) = &args.args[1] else {
            return plan_err!("the zone of AT TIME ZONE must be a constant");
        };
        let result = args.return_field.data_type().clone();
        let Some(zone) = zone.as_deref() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&result)?));
        };
        let DataType::Timestamp(unit, from) = args.args[0].data_type() else {
            return plan_err!("AT TIME ZONE takes a time");
        };
        let zoned = DataType::Timestamp(unit, Some(zone.into()));
        if from.is_none() {
            // Between the hours that a zone skips there is no instant.
            return map_value(&args.args[0], |clock| {
                let options = arrow::compute::CastOptions { safe: true, ..Default::default() };
                let instants = arrow::compute::cast_with_options(clock, &zoned, &options)?;
                of_ticks(ticks(&instants)?, &result)
            });
        }
        let instants = map_value(&args.args[0], |instants| of_ticks(ticks(instants)?, &zoned))?;
        local_clock(instants, zoned, args)
    }
}

fn local_clock(instants: ColumnarValue, zoned: DataType, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let field = Arc::new(arrow::datatypes::Field::new("instant", zoned, true));
    let function = datafusion::functions::datetime::to_local_time();
    function.invoke_with_args(ScalarFunctionArgs { args: vec![instants], arg_fields: vec![field], ..args })
}
