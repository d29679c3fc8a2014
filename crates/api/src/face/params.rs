//! Times, durations and limits as they stand in parameters.
//!
//! Times are RFC 3339 or seconds since the Unix epoch, and have nanoseconds until they are compared;
//! durations are `5m` or seconds.
//!
//! Source: prometheus v3.16 `web/api/v1/api.go` (`parseTime`, `parseDuration`, `parseLimitParam`).
//! Differences: a time that 64 bits of nanoseconds cannot hold, such as one in the year 9999, is that time, where
//! Prometheus evaluates at whatever is left of it.

use promontory_model::labels::quote;
use promontory_promql::parse_float;

use crate::face::envelope::ApiError;
use crate::face::form::Form;

const NANOS: i128 = 1_000_000_000;

/// A point in time, nanoseconds since the Unix epoch, between [`Time::MIN`] and [`Time::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    nanos: i128,
}

impl Time {
    /// Prometheus' smallest time, as it is written.
    const MIN_TEXT: &str = "-292273086-05-16T16:47:06Z";
    /// Prometheus' largest time, as it is written.
    const MAX_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";
    const BOUND_SECONDS: i64 = i64::MAX / 1_000 - 62_135_596_801;
    /// Prometheus' smallest time: the default start.
    pub(crate) const MIN: Self = Self { nanos: -(Self::BOUND_SECONDS as i128) * NANOS };
    /// Prometheus' largest time: the default end.
    pub(crate) const MAX: Self = Self { nanos: Self::BOUND_SECONDS as i128 * NANOS + NANOS - 1 };

    /// What Go on amd64 makes of NaN and the infinities.
    const NOT_FINITE: Self = Self { nanos: -9_223_372_036_854 * 1_000_000 };

    /// From milliseconds.
    pub(crate) fn from_ms(ms: i64) -> Self {
        Self::clamped(i128::from(ms) * 1_000_000)
    }

    /// Milliseconds, rounded down.
    pub(crate) fn ms(self) -> i64 {
        // Both bounds are inside i64.
        self.nanos.div_euclid(1_000_000) as i64
    }

    /// Nanoseconds from `start`, as far as Go's duration can tell: 292 years.
    pub(crate) fn since(self, start: Self) -> i64 {
        i64::try_from(self.nanos - start.nanos).unwrap_or(i64::MAX)
    }

    fn clamped(nanos: i128) -> Self {
        Self { nanos: nanos.clamp(Self::MIN.nanos, Self::MAX.nanos) }
    }

    /// Reads a time.
    ///
    /// # Errors
    /// `cannot parse "x" to a valid timestamp`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("cannot parse {} to a valid timestamp", quote(text));
        if let Some(seconds) = parse_float(text) {
            if !seconds.is_finite() {
                return Ok(Self::NOT_FINITE);
            }
            // The fraction is rounded to milliseconds, then cut to nanoseconds.
            let fraction = ((seconds - seconds.trunc()) * 1_000.0).round() / 1_000.0;
            let whole = i128::from(seconds.trunc() as i64) * NANOS;
            return Ok(Self::clamped(whole + i128::from((fraction * 1e9) as i64)));
        }
        match text {
            Self::MIN_TEXT => Ok(Self::MIN),
            Self::MAX_TEXT => Ok(Self::MAX),
            _ => parse_rfc3339(text).map(|nanos| Self { nanos }).ok_or_else(invalid),
        }
    }
}

/// A duration in nanoseconds.
///
/// # Errors
/// `cannot parse "x" to a valid duration`, and why if it is too long.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("cannot parse {} to a valid duration", quote(text));
    if let Some(seconds) = parse_float(text) {
        let nanos = seconds * 1e9;
        // As a float the largest of 64 bits is one too many; the smallest is itself.
        if nanos.is_nan() || nanos >= i64::MAX as f64 || nanos < i64::MIN as f64 {
            return Err(format!("{}. It overflows int64", invalid()));
        }
        return Ok(nanos as i64);
    }
    let ms = promontory_promql::parse_duration(text).map_err(|_| invalid())?;
    ms.checked_mul(1_000_000).ok_or_else(invalid)
}

/// Nanoseconds as Go writes a duration: `-1h0m0.5s`, `-1.5ms`, `0s`.
pub(crate) fn go_duration(nanos: i64) -> String {
    const MINUTE: u64 = 60_000_000_000;
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let (minutes, rest) = (size / MINUTE, size % MINUTE);
    let text = match size {
        0 => "0s".to_owned(),
        1..=999 => format!("{size}ns"),
        1_000..=999_999 => in_units(size, 1_000, "µs"),
        1_000_000..=999_999_999 => in_units(size, 1_000_000, "ms"),
        _ => in_units(rest, 1_000_000_000, "s"),
    };
    match minutes {
        0 => format!("{sign}{text}"),
        1..=59 => format!("{sign}{minutes}m{text}"),
        _ => format!("{sign}{}h{}m{text}", minutes / 60, minutes % 60),
    }
}

fn in_units(nanos: u64, unit: u64, name: &str) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!(".{:0digits$}", nanos % unit);
    format!("{}{}{name}", nanos / unit, fraction.trim_end_matches('0').trim_end_matches('.'))
}

impl Form {
    /// `limit`; 0: none.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        let text = self.first("limit");
        if text.is_empty() {
            return Ok(0);
        }
        let limit = parse_int(text).map_err(|error| ApiError::parameter("limit", error))?;
        usize::try_from(limit).map_err(|_| ApiError::parameter("limit", "limit must be non-negative"))
    }

    /// A time that must be given.
    pub(crate) fn time(&self, name: &str) -> Result<Time, ApiError> {
        Time::parse(self.first(name)).map_err(|error| ApiError::parameter(name, error))
    }

    /// A time that may be left out.
    pub(crate) fn time_or(&self, name: &str, default: Time) -> Result<Time, ApiError> {
        let text = self.first(name);
        if text.is_empty() {
            return Ok(default);
        }
        let named = |error| ApiError::parameter(name, format!("invalid time value for '{name}': {error}"));
        Time::parse(text).map_err(named)
    }

    /// A duration in nanoseconds that may be left out.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let text = self.first(name);
        let given = Some(text).filter(|text| !text.is_empty());
        given.map(parse_duration).transpose().map_err(|error| ApiError::parameter(name, error))
    }
}

/// Go's `strconv.Atoi`, with its errors.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = if matches!(error.kind(), PosOverflow | NegOverflow) {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!("strconv.Atoi: parsing {}: {why}", quote(text))
    })
}

/// `2006-01-02T15:04:05`, a fraction of any length, `Z` or `+01:00`.
fn parse_rfc3339(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':');
    let inside = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !marks || !inside {
        return None;
    }
    let (nanos, at) = parse_fraction(bytes, 19)?;
    let offset = match (bytes.get(at)?, bytes.len() - at) {
        (b'Z', 1) => 0,
        (sign @ (b'+' | b'-'), 6) if is(at + 3, b':') => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 24 || minutes > 60 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * NANOS + nanos)
}

/// The nanoseconds of a fraction that may stand at `at`, and where it ends.
fn parse_fraction(bytes: &[u8], at: usize) -> Option<(i128, usize)> {
    if !matches!(bytes.get(at), Some(b'.' | b',')) {
        return Some((0, at));
    }
    let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit());
    let (mut nanos, mut unit, mut n_digits) = (0, NANOS / 10, 0);
    for digit in digits {
        nanos += i128::from(digit - b'0') * unit;
        unit /= 10;
        n_digits += 1;
    }
    (n_digits > 0).then_some((nanos, at + 1 + n_digits))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Milliseconds as RFC 3339 in UTC, without trailing zeros in the fraction, as Go writes a time.
///
/// Source: as [`days_from_civil`].
pub(crate) fn format_rfc3339(ms: i64) -> String {
    let (days, ms_of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, fraction) = (ms_of_day / 1_000, ms_of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:03}") };
    let fraction = fraction.trim_end_matches('0');
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(text: &str) -> Result<i64, String> {
        Time::parse(text).map(Time::ms)
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, expected) in [
            (0, "0s"),
            (-1, "-1ns"),
            (-1_500, "-1.5µs"),
            (-1_500_000, "-1.5ms"),
            (-1_500_000_000, "-1.5s"),
            (-5_000_000_000, "-5s"),
            (-90_000_000_000, "-1m30s"),
            (-3_600_000_000_000, "-1h0m0s"),
            (-3_723_500_000_000, "-1h2m3.5s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(go_duration(nanos), expected);
        }
    }

    #[test]
    fn times_are_seconds_or_rfc3339() {
        for (text, expected) in [
            ("0", 0),
            ("123", 123_000),
            ("123.123", 123_123),
            ("1543578564.705", 1_543_578_564_705),
            ("-1.5", -1_500),
            ("1e3", 1_000_000),
            ("1_000", 1_000_000),
            ("0x1p4", 16_000),
            ("NaN", -9_223_372_036_854),
            ("-inf", -9_223_372_036_854),
            ("1.", 1_000),
            ("+4", 4_000),
            ("0.0004", 0),
            ("0.0005", 1),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("2015-06-03T13:21:58,555Z", 1_433_337_718_555),
            ("2015-06-03T12:51:58-00:30", 1_433_337_718_000),
            ("1970-01-01T00:00:00.0009999Z", 0),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ] {
            assert_eq!(ms(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_prometheus_text() {
        for text in [
            "",
            "abc",
            "30s",
            "1e400",
            "0x10",
            "1__000",
            "2015-06-03",
            "2015-06-03T13:21:58",
            "2015-06-03T13:21:60Z",
            "2015-02-29T00:00:00Z",
            "2015-13-01T00:00:00Z",
            "2015-06-03t13:21:58Z",
            "2015-06-03T13:21:58.Z",
            "2015-06-03T13:21:58Z ",
            "2015-06-03T13:21:58+0100",
            "2015-06-03T24:00:00Z",
            "５",
        ] {
            assert_eq!(ms(text), Err(format!("cannot parse {} to a valid timestamp", quote(text))), "{text}");
        }
    }

    #[test]
    fn the_bounds_of_prometheus_are_taken_and_what_lies_beyond_is_clamped() {
        assert_eq!(Time::parse("-292273086-05-16T16:47:06Z"), Ok(Time::MIN));
        assert_eq!(Time::parse("292277025-08-18T07:12:54.999999999Z"), Ok(Time::MAX));
        assert_eq!(Time::parse("1e300"), Ok(Time::MAX));
        assert_eq!(Time::parse("-1e300"), Ok(Time::MIN));
        assert_eq!(Time::MIN.ms(), -9_223_309_901_257_974_000);
        assert_eq!(Time::MAX.ms(), 9_223_309_901_257_974_999);
        assert_eq!(Time::MAX.since(Time::MIN), i64::MAX);
    }

    #[test]
    fn every_millisecond_written_as_float_seconds_comes_back() {
        for milli in 0..1_000 {
            assert_eq!(ms(&format!("1543578564.{milli:03}")), Ok(1_543_578_564_000 + milli));
        }
    }

    #[test]
    fn durations_are_units_or_seconds() {
        for (text, expected) in [
            ("123", 123_000_000_000),
            ("123.333", 123_333_000_000),
            ("15s", 15_000_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("0", 0),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for text in ["", "abc", "2015-06-03T13:21:58.555Z", "-5m", "5m1h", "1e400"] {
            assert_eq!(
                parse_duration(text),
                Err(format!("cannot parse {} to a valid duration", quote(text)))
            );
        }
        for text in ["148966367200.372", "-148966367200.372", "inf", "nan"] {
            let expected = format!("cannot parse \"{text}\" to a valid duration. It overflows int64");
            assert_eq!(parse_duration(text), Err(expected));
        }
    }

    #[test]
    fn integers_fail_as_in_go() {
        assert_eq!(parse_int("+5"), Ok(5));
        assert_eq!(parse_int("x"), Err("strconv.Atoi: parsing \"x\": invalid syntax".to_owned()));
        assert_eq!(
            parse_int("99999999999999999999"),
            Err("strconv.Atoi: parsing \"99999999999999999999\": value out of range".to_owned())
        );
    }

    proptest! {
        #[test]
        fn a_written_time_reads_back(ms in -62_135_596_800_000_i64..253_402_300_799_999) {
            prop_assert_eq!(Time::parse(&format_rfc3339(ms)).map(Time::ms), Ok(ms));
        }

        #[test]
        fn arbitrary_texts_never_panic(text in ".{0,40}") {
            let _ = Time::parse(&text);
            let _ = parse_duration(&text);
        }
    }
}
