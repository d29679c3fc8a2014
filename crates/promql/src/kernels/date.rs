//! Date functions: seconds since the Unix epoch in, a part of the UTC date out.
//!
//! Source: `dateWrapper`, prometheus v3.16 `promql/functions.go`, and Go's `time.Unix(...).UTC()`
//! on amd64: the conversion to an integer truncates, and what does not fit is the smallest integer.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is the PromQL function of its name.
pub enum DateFunction {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

impl DateFunction {
    /// All values in place; without an argument PromQL applies it to the evaluation time in seconds.
    pub fn apply_all(self, values: &mut [f64]) {
        for value in values {
            *value = self.apply(*value);
        }
    }

    /// As [`Self::apply_all`], of one time.
    #[must_use]
    pub fn apply(self, seconds: f64) -> f64 {
        let date = Date::from_unix(truncate(seconds));
        let part = match self {
            Self::Minute => date.second_of_day / 60 % 60,
            Self::Hour => date.second_of_day / 3600,
            Self::DayOfWeek => date.weekday,
            Self::DayOfMonth => date.day,
            Self::DayOfYear => date.day_of_year(),
            Self::DaysInMonth => days_in_month(date.year, date.month),
            Self::Month => date.month,
            Self::Year => return date.year as f64,
        };
        part as f64
    }
}

/// A time in seconds as annotations show it: `2006-01-02T15:04:05Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let Date { year, month, day, second_of_day, .. } = Date::from_unix(seconds);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// As the processor's conversion does it: everything that does not fit gives the smallest integer.
fn truncate(seconds: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&seconds) {
        seconds as i64
    } else {
        i64::MIN
    }
}

/// A date in the proleptic Gregorian calendar.
struct Date {
    year: i64,
    /// 1 to 12.
    month: i64,
    /// 1 to 31.
    day: i64,
    /// 0 is Sunday.
    weekday: i64,
    second_of_day: i64,
}

const SECONDS_PER_DAY: u64 = 86_400;
const DAYS_PER_400_YEARS: u64 = 146_097;

/// Go counts days from the first of March of minus this year, so that its unsigned seconds never
/// underflow for dates near us; dates beyond wrap around, which is visible as `year(NaN)`.
const ABSOLUTE_YEARS: i64 = 292_277_022_400;
/// From that day to 1970-01-01.
const UNIX_TO_ABSOLUTE_DAYS: u64 = (ABSOLUTE_YEARS as u64 / 400) * DAYS_PER_400_YEARS + 719_468;

impl Date {
    fn from_unix(seconds: i64) -> Self {
        let absolute = (seconds as u64).wrapping_add(UNIX_TO_ABSOLUTE_DAYS.wrapping_mul(SECONDS_PER_DAY));
        let days = absolute / SECONDS_PER_DAY;
        // Years begin in March here: the leap day is the last one.
        let era = days / DAYS_PER_400_YEARS;
        let day_of_era = days % DAYS_PER_400_YEARS;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = (era * 400 + year_of_era) as i64 - ABSOLUTE_YEARS + i64::from(month <= 2);
        Self {
            year,
            month: month as i64,
            day: day as i64,
            // The first of March of every 400th year is a Wednesday.
            weekday: ((days + 3) % 7) as i64,
            second_of_day: (absolute % SECONDS_PER_DAY) as i64,
        }
    }

    fn day_of_year(&self) -> i64 {
        (1..self.month).map(|month| days_in_month(self.year, month)).sum::<i64>() + self.day
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_known_dates() {
        use DateFunction as D;
        // 2024-02-29 23:59:59 is a Thursday; 1969-12-31 23:59:00 a Wednesday; 2000-12-31 a Sunday.
        for (seconds, expected) in [
            (1_709_251_199.0, [59.0, 23.0, 4.0, 29.0, 60.0, 29.0, 2.0, 2024.0]),
            (1_709_251_199.9, [59.0, 23.0, 4.0, 29.0, 60.0, 29.0, 2.0, 2024.0]),
            (0.0, [0.0, 0.0, 4.0, 1.0, 1.0, 31.0, 1.0, 1970.0]),
            (-0.9, [0.0, 0.0, 4.0, 1.0, 1.0, 31.0, 1.0, 1970.0]),
            (-60.0, [59.0, 23.0, 3.0, 31.0, 365.0, 31.0, 12.0, 1969.0]),
            (978_220_800.0, [0.0, 0.0, 0.0, 31.0, 366.0, 31.0, 12.0, 2000.0]),
            (-2_203_977_600.0, [0.0, 0.0, 3.0, 28.0, 59.0, 28.0, 2.0, 1900.0]),
        ] {
            let functions = [
                D::Minute,
                D::Hour,
                D::DayOfWeek,
                D::DayOfMonth,
                D::DayOfYear,
                D::DaysInMonth,
                D::Month,
                D::Year,
            ];
            assert_eq!(functions.map(|f| f.apply(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn what_is_no_time_wraps_around_as_go_does() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30] {
            assert_eq!(DateFunction::Year.apply(seconds), 292_277_026_596.0, "{seconds}");
        }
    }
}
