//! Numbers as Go reads and writes them: label values, annotation texts and `le` bounds follow it.
//!
//! What needs no format of its own is [`promontory_model::float`].
//!
//! Source: packages `strconv` and `fmt` of Go 1.26, as used by prometheus v3.16.

use promontory_model::float;

/// `fmt.Sprintf("%g", value)`: shortest digits that round-trip, with an exponent below 1e-4 and from
/// 1e6 on... where Go decides by six digits even if the digits themselves are more.
#[must_use]
pub fn format_general(value: f64) -> String {
    float::special(value).map_or_else(|| general(value, &float::scientific(value), 6), str::to_owned)
}

/// `fmt.Sprintf("%.2g", value)`, and so on: at most `digits` significant digits.
#[must_use]
pub fn format_general_rounded(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    if let Some(text) = float::special(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let kept = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let integral = exponent.parse::<i64>().unwrap_or(0) + 1;
    // Go: a precision that exceeds the digits there are is lowered to them if they reach the point.
    let limit = if digits > kept && kept as i64 >= integral { kept } else { digits };
    general(value, &format!("{mantissa}e{exponent}"), limit as i64)
}

/// `fmt.Sprintf("%f", value)`: six decimals.
#[must_use]
pub fn format_fixed(value: f64) -> String {
    float::special(value).map_or_else(|| format!("{value:.6}"), str::to_owned)
}

/// `scientific` is `[-]d[.d*]e[-]d+`; `value` has the same digits and is printed plainly below
/// `exponent_limit`.
fn general(value: f64, scientific: &str, exponent_limit: i64) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= exponent_limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    // The digits may be fewer than those of `value`.
    scientific.parse::<f64>().map_or_else(|_| float::decimal(value), float::decimal)
}

/// `strconv.ParseFloat(text, 64)`; `None` where it returns an error, overflow included.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'+' => (false, &text[1..]),
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let lower = without_underscores(unsigned)?;
    let magnitude = match lower.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        // Go takes no sign before NaN.
        "nan" => return (unsigned.len() == text.len()).then_some(f64::NAN),
        _ => match lower.strip_prefix("0x") {
            Some(digits) => parse_hex(digits)?,
            None => parse_decimal(&lower)?,
        },
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// A literal in lower case, without the underscores that may stand between its digits and after `0x`; `None` if one
/// stands elsewhere.
fn without_underscores(text: &str) -> Option<String> {
    let mut lower = text.to_ascii_lowercase();
    if !lower.contains('_') {
        return Some(lower);
    }
    let is_hex = lower.starts_with("0x");
    // After a digit an underscore may stand, and after an underscore a digit must.
    let (mut digit_before, mut underscore_before) = (false, false);
    for (at, c) in lower.bytes().enumerate() {
        let is_digit = c.is_ascii_digit() || is_hex && (c.is_ascii_hexdigit() || at == 1);
        if (c == b'_' && !digit_before) || (underscore_before && !is_digit) {
            return None;
        }
        (digit_before, underscore_before) = (is_digit, c == b'_');
    }
    lower.retain(|c| c != '_');
    (!underscore_before).then_some(lower)
}

fn parse_decimal(text: &str) -> Option<f64> {
    if !text.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'+' | b'-')) {
        return None;
    }
    // A second sign would be taken by the library's parser.
    if text.starts_with(['+', '-']) {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The part of a hexadecimal literal after `0x`, in lower case: digits, point, and the exponent that
/// Go demands.
fn parse_hex(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let digits_of_exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits_of_exponent.is_empty() || !digits_of_exponent.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let exponent: i64 =
        exponent.parse().unwrap_or(if exponent.starts_with('-') { -100_000 } else { 100_000 });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut bits: u64 = 0;
    let mut scale: i64 = 0;
    for (index, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = u64::from((digit as char).to_digit(16)?);
        let in_fraction = index >= whole.len();
        if bits >> 59 == 0 {
            bits = bits << 4 | digit;
            scale -= if in_fraction { 4 } else { 0 };
        } else {
            // A sticky bit keeps the rounding right.
            bits |= u64::from(digit != 0);
            scale += if in_fraction { 0 } else { 4 };
        }
    }
    scale_by_power_of_two(bits, scale.saturating_add(exponent.clamp(-100_000, 100_000)))
}

/// `bits * 2^exponent`, rounded once; `None` if it overflows.
fn scale_by_power_of_two(bits: u64, exponent: i64) -> Option<f64> {
    if bits == 0 {
        return Some(0.0);
    }
    // Normalise to 64 bits, then round to the precision that the result has.
    let shift = i64::from(bits.leading_zeros());
    let (bits, exponent) = (bits << shift, exponent - shift);
    let top = exponent + 63;
    let precision = if top >= -1022 { 53 } else { 53 - (-1022 - top) };
    if precision < 0 {
        return Some(0.0);
    }
    let dropped = 64 - precision;
    let (kept, half, rest) = if dropped == 64 {
        (0, 1u128 << 63, u128::from(bits))
    } else {
        (bits >> dropped, 1u128 << (dropped - 1), u128::from(bits) & ((1u128 << dropped) - 1))
    };
    let kept = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
    if top > 1023 {
        return None;
    }
    // Both factors and their product are representable, so nothing is rounded again.
    let value = kept as f64 * power_of_two(exponent + dropped);
    value.is_finite().then_some(value)
}

/// 2^`exponent` for exponents from -1074 to 1023.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(if exponent >= -1022 { ((exponent + 1023) as u64) << 52 } else { 1 << (exponent + 1074) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_format_switches_to_exponents_where_go_does() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (100_000.0, "100000"),
            (123_456.0, "123456"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456.789, "123456.789"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-0.000_012_5, "-1.25e-05"),
            (1e100, "1e+100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(format_general(value), expected);
        }
    }

    #[test]
    fn rounded_general_format_drops_trailing_zeros() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (10.0, "10"),
            (12.0, "12"),
            (99.6, "1e+02"),
            (100.0, "1e+02"),
            (123.0, "1.2e+02"),
            (0.5, "0.5"),
            (0.000_123_4, "0.00012"),
            (0.000_012_34, "1.2e-05"),
            (2.55, "2.5"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(format_general_rounded(value, 2), expected, "{value}");
        }
    }

    #[test]
    fn fixed_format_has_six_decimals() {
        assert_eq!(format_fixed(1.5), "1.500000");
    }

    #[test]
    fn floats_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-0", Some(-0.0)),
            ("inf", Some(f64::INFINITY)),
            ("+Inf", Some(f64::INFINITY)),
            ("-iNfInItY", Some(f64::NEG_INFINITY)),
            ("0x1p-2", Some(0.25)),
            ("0X1.8P1", Some(3.0)),
            ("0x1p-1074", Some(5e-324)),
            ("0x.8p-1074", Some(0.0)),
            ("0x1.8p-1074", Some(1e-323)),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1.fffffffffffffp1023", Some(f64::MAX)),
            ("0x1p1024", None),
            ("0x1", None),
            ("1e400", None),
            ("1e-400", Some(0.0)),
            ("", None),
            ("+", None),
            ("--1", None),
            ("+-1", None),
            ("1_000", Some(1_000.0)),
            ("-1_0.2_5e1_0", Some(-10.25e10)),
            ("0x_1_0p0", Some(16.0)),
            ("0x1_p0", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("1_.5", None),
            ("1._5", None),
            ("1e_5", None),
            ("1_e5", None),
            ("in_f", None),
            ("+_1", None),
            (" 1", None),
            ("+nan", None),
            ("infin", None),
            ("e5", None),
            (".", None),
        ] {
            assert_eq!(parse_float(text).map(f64::to_bits), expected.map(f64::to_bits), "{text:?}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }
}
