//! Days, clocks and the numbers behind times, in the Gregorian calendar without beginning or end.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType};
use datafusion::common::{Result, plan_err};

/// The numbers behind times.
pub fn ticks(values: &ArrayRef) -> Result<Int64Array> {
    Ok(arrow::compute::cast(values, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// Times of a type whose numbers these are.
pub fn of_ticks(ticks: Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = data_type else { return plan_err!("{data_type} is no time") };
    let (_, values, nulls) = ticks.into_parts();
    Ok(match unit {
        TimeUnit::Millisecond => Arc::new(
            PrimitiveArray::<TimestampMillisecondType>::new(values, nulls).with_timezone_opt(zone.clone()),
        ),
        TimeUnit::Microsecond => Arc::new(
            PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls).with_timezone_opt(zone.clone()),
        ),
        _ => arrow::compute::cast(&(Arc::new(Int64Array::new(values, nulls)) as ArrayRef), data_type)?,
    })
}

/// Ticks of a second, and the zone.
pub fn unit_of(data_type: &DataType) -> Result<(i64, Option<&str>)> {
    let DataType::Timestamp(unit, zone) = data_type else { return plan_err!("{data_type} is no time") };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    Ok((per_second, zone.as_deref()))
}

/// `2026-11-24T08:00:00.250Z`: a time as RFC 3339 has it, `Z` only if it is an instant; years outside of 0000 to
/// 9999 have a sign and at least four digits, as ISO 8601 wants it.
#[must_use]
pub fn iso_time(ticks: i64, per_second: i64, is_instant: bool) -> String {
    let (seconds, rest) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let (date, second) = (iso_date(seconds.div_euclid(86_400)), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let nanos = rest * (1_000_000_000 / per_second);
    let fraction = match nanos {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    };
    let zulu = if is_instant { "Z" } else { "" };
    format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zulu}")
}

/// `2026-11-24`, of the days since 1970.
#[must_use]
pub fn iso_date(days: i64) -> String {
    let (year, month, day) = civil(days);
    let year = if (0..=9_999).contains(&year) { format!("{year:04}") } else { format!("{year:+05}") };
    format!("{year}-{month:02}-{day:02}")
}

/// Year, month and day of the days since 1970, in the Gregorian calendar without beginning or end.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}
