//! Notation and evaluation of durations.

use super::*;

#[test]
fn durations_parse_as_in_prometheus() {
    let check = |text: &str, ms: i64| assert_eq!(parse_duration(text), Ok(ms), "{text}");
    check("0", 0);
    check("0w", 0);
    check("0s", 0);
    check("324ms", 324);
    check("3s", 3_000);
    check("5m", 300_000);
    check("1h", 3_600_000);
    check("4d", 4 * 86_400_000);
    check("4d1h", 4 * 86_400_000 + 3_600_000);
    check("14d", 14 * 86_400_000);
    check("3w2d1h", 3 * 604_800_000 + 2 * 86_400_000 + 3_600_000);
    check("10y", 10 * 365 * 86_400_000);
    check("5m10s1ms", 310_001);
}

#[test]
fn what_is_not_a_duration_says_why() {
    let check = |text: &str, why: &str| {
        assert_eq!(parse_duration(text).unwrap_err().to_string(), why, "{text}");
    };
    check("", "empty duration string");
    check("1", "not a valid duration string: \"1\"");
    check("1y1m1d", "not a valid duration string: \"1y1m1d\"");
    check("-1w", "not a valid duration string: \"-1w\"");
    check("1.5d", "unknown unit \".\" in duration \"1.5d\"");
    check("d", "not a valid duration string: \"d\"");
    check("1m1m", "not a valid duration string: \"1m1m\"");
    check("1hs", "unknown unit \"hs\" in duration \"1hs\"");
    check("294y", "duration out of range");
    check("200y10400w", "duration out of range");
    check("107675d", "duration out of range");
    check("2584200h", "duration out of range");
    check("9999999999999999999s", "duration out of range");
    check("99999999999999999999s", "not a valid duration string: \"99999999999999999999s\"");
}

#[test]
fn formatting_prefers_days_unless_weeks_and_years_come_out_even() {
    let check = |ms: i64, text: &str| assert_eq!(format_duration(ms), text);
    check(0, "0s");
    check(1, "1ms");
    check(90 * 86_400_000, "90d");
    check(14 * 86_400_000, "2w");
    check(365 * 86_400_000, "1y");
    check(366 * 86_400_000, "366d");
    check(5_400_000, "1h30m");
    check(90_061_001, "1d1h1m1s1ms");
    check(-300_000, "-5m");
    check(i64::MIN, &format!("-{}", &format_duration(i64::MAX).replace("807ms", "808ms")));
}

#[test]
fn format_and_parse_are_inverse() {
    let mut ms: i64 = 1;
    while ms < MILLIS_MAX / 7 {
        assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
        ms = ms * 7 + 13;
    }
}
