//! `date_bin` and `date_trunc` for all times: the library's count nanoseconds, which end in 2262.

use std::sync::{Arc, LazyLock};

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::calendar::{civil, days, of_ticks, ticks, unit_of};
use super::comparable::map_value;
use crate::error::execution;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const NANOS_PER_DAY: i128 = 86_400 * NANOS_PER_SECOND;

/// `date_bin(stride, time [, origin])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Bins {
    /// For times of day.
    library: Arc<ScalarUDF>,
    signature: Signature,
}

impl Bins {
    pub fn new(library: Arc<ScalarUDF>) -> Self {
        Self { library, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Bins {
    fn name(&self) -> &'static str {
        "date_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (Some(time), 2..=3) = (types.get(1), types.len()) else {
            return plan_err!("date_bin takes an interval, a time and perhaps an origin");
        };
        let time = match time {
            DataType::Time32(_) | DataType::Time64(_) => time.clone(),
            time => binned_type(time)?,
        };
        let origin = match &time {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            other => other.clone(),
        };
        let all = [DataType::Interval(IntervalUnit::MonthDayNano), time, origin];
        Ok(all.into_iter().take(types.len()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.get(1).cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let data_type = args.args[1].data_type();
        if !matches!(data_type, DataType::Timestamp(..)) {
            return self.library.invoke_with_args(args);
        }
        let (Some(stride), Some(origin)) = (stride(&args.args[0])?, origin(args.args.get(2))?) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&data_type)?));
        };
        binned(&args.args[1], stride, origin)
    }
}

/// The type in which times are binned.
fn binned_type(time: &DataType) -> Result<DataType> {
    Ok(match time {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Timestamp(..) => time.clone(),
        DataType::Null | DataType::Date32 | DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        other => return plan_err!("a time is wanted, not {other}"),
    })
}

fn binned(times: &ColumnarValue, stride: Stride, origin: i128) -> Result<ColumnarValue> {
    let data_type = times.data_type();
    let nanos = NANOS_PER_SECOND / i128::from(unit_of(&data_type)?.0);
    let bin = |tick: i64| i64::try_from(stride.bin(i128::from(tick) * nanos, origin).div_euclid(nanos));
    map_value(times, |times| {
        let binned: Int64Array = ticks(times)?.iter().map(|tick| bin(tick?).ok()).collect();
        of_ticks(binned, &data_type)
    })
}

/// The width of bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stride {
    Nanos(i128),
    Months(i64),
}

impl Stride {
    /// The beginning of the bin of a time, all in nanoseconds since 1970.
    fn bin(self, at: i128, origin: i128) -> i128 {
        match self {
            Self::Nanos(nanos) => origin + (at - origin).div_euclid(nanos) * nanos,
            Self::Months(months) => {
                let bins = (month_of(at) - month_of(origin)).div_euclid(months);
                let begin = plus_months(origin, bins * months);
                if begin > at { plus_months(origin, (bins - 1) * months) } else { begin }
            }
        }
    }
}

/// Months since the year 0.
fn month_of(nanos: i128) -> i64 {
    let (year, month, _) = civil(nanos.div_euclid(NANOS_PER_DAY) as i64);
    year * 12 + month - 1
}

/// The same day and clock some months later; the last day of that month if it is shorter.
fn plus_months(nanos: i128, months: i64) -> i128 {
    let (_, _, day) = civil(nanos.div_euclid(NANOS_PER_DAY) as i64);
    let month = month_of(nanos) + months;
    let first = |month: i64| days(month.div_euclid(12), month.rem_euclid(12) + 1, 1);
    let day = (first(month) + day - 1).min(first(month + 1) - 1);
    i128::from(day) * NANOS_PER_DAY + nanos.rem_euclid(NANOS_PER_DAY)
}

fn stride(value: &ColumnarValue) -> Result<Option<Stride>> {
    let ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(interval)) = value else {
        return execution("the interval of date_bin must be a constant");
    };
    let Some(IntervalMonthDayNano { months, days, nanoseconds }) = *interval else { return Ok(None) };
    let nanos = i128::from(days) * NANOS_PER_DAY + i128::from(nanoseconds);
    match (months, nanos) {
        (1.., 0) => Ok(Some(Stride::Months(i64::from(months)))),
        (0, 1..) => Ok(Some(Stride::Nanos(nanos))),
        (0, _) | (_, 0) => execution("the interval of date_bin must be longer than nothing"),
        _ => execution("the interval of date_bin has months or it has days and times, not both"),
    }
}

fn origin(value: Option<&ColumnarValue>) -> Result<Option<i128>> {
    let Some(value) = value else { return Ok(Some(0)) };
    match value {
        ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(at, _)) => {
            Ok(at.map(|at| i128::from(at) * (NANOS_PER_SECOND / 1_000_000)))
        }
        _ => execution("the origin of date_bin must be a constant"),
    }
}

/// `date_trunc(part, time)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Truncates {
    signature: Signature,
}

impl Default for Truncates {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Truncates {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn aliases(&self) -> &[String] {
        static ALIASES: LazyLock<[String; 1]> = LazyLock::new(|| ["datetrunc".to_owned()]);
        &*ALIASES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8, time] = types else {
            return plan_err!("date_trunc takes the name of a part and a time");
        };
        Ok(vec![DataType::Utf8, binned_type(time)?])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.get(1).cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(ScalarValue::Utf8(part)) = &args.args[0] else {
            return execution("the part of date_trunc must be a constant");
        };
        let Some(part) = part else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&args.args[1].data_type())?));
        };
        let (stride, origin) = part_of_time(part)?;
        binned(&args.args[1], stride, origin)
    }
}

/// The width of a part of a time, and where one begins.
fn part_of_time(part: &str) -> Result<(Stride, i128)> {
    let nanos = |nanos: i128| (Stride::Nanos(nanos), 0);
    let months = |months: i64| (Stride::Months(months), 0);
    let from_2001 = |months: i64| (Stride::Months(months), i128::from(days(2001, 1, 1)) * NANOS_PER_DAY);
    Ok(match part.to_lowercase().as_str() {
        "microsecond" => nanos(1_000),
        "millisecond" => nanos(1_000_000),
        "second" => nanos(NANOS_PER_SECOND),
        "minute" => nanos(60 * NANOS_PER_SECOND),
        "hour" => nanos(3_600 * NANOS_PER_SECOND),
        "day" => nanos(NANOS_PER_DAY),
        // 1970 began on a Thursday.
        "week" => (Stride::Nanos(7 * NANOS_PER_DAY), 4 * NANOS_PER_DAY),
        "month" => months(1),
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => from_2001(1_200),
        "millennium" => from_2001(12_000),
        _ => return execution(format!("{part} is no part of a time that date_trunc knows")),
    })
}
