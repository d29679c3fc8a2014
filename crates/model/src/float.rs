//! Doubles as Go writes them, which is how Prometheus writes values, bounds and label values.
//!
//! Both write the fewest digits that read back as the same double. Where two texts have as few and
//! are as near, as 1991394095901281.2 and .3 of ...281.25, Go takes the one with the even last digit;
//! so does the library used here, and the standard library does not.
//!
//! Source: Go 1.26 `strconv.FormatFloat` with precision -1.

use std::ops::Range;

/// Whole numbers below this are written without looking for the shortest digits: theirs are.
const EXACT_INTEGER_MAX: f64 = 1e15;

/// Magnitudes that the library writes without an exponent.
const WITHOUT_EXPONENT: Range<f64> = 1e-5..1e16;

/// `FormatFloat(value, 'f', -1, 64)`: never an exponent.
#[must_use]
pub fn decimal(value: f64) -> String {
    text(|out| push_decimal(out, value))
}

/// `FormatFloat(value, 'e', -1, 64)`: `d.dde+dd`, at least two digits of exponent.
#[must_use]
pub fn scientific(value: f64) -> String {
    text(|out| push_scientific(out, value))
}

/// As [`decimal`], appended to `out`.
pub fn push_decimal(out: &mut Vec<u8>, value: f64) {
    let Some(magnitude) = push_sign(out, value) else { return };
    if magnitude < EXACT_INTEGER_MAX && magnitude.trunc() == magnitude {
        push_integer(out, magnitude as u64);
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(magnitude);
    if WITHOUT_EXPONENT.contains(&magnitude) {
        out.extend_from_slice(shortest.strip_suffix(".0").unwrap_or(shortest).as_bytes());
        return;
    }
    let Digits { digits, exponent } = Digits::of(shortest);
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(&digits);
    } else {
        // Above 1e16, where the library uses exponents, the shortest digits end before the point.
        out.extend_from_slice(&digits);
        out.resize(out.len() + (exponent as usize + 1).saturating_sub(digits.len()), b'0');
    }
}

/// As [`scientific`], appended to `out`.
pub fn push_scientific(out: &mut Vec<u8>, value: f64) {
    let Some(magnitude) = push_sign(out, value) else { return };
    let mut buffer = zmij::Buffer::new();
    let Digits { digits, exponent } = Digits::of(buffer.format_finite(magnitude));
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    push_integer(out, u64::from(exponent.unsigned_abs()));
}

/// Appends what is no number, or the sign; answers the magnitude that is still to be written.
fn push_sign(out: &mut Vec<u8>, value: f64) -> Option<f64> {
    if let Some(special) = special(value) {
        out.extend_from_slice(special.as_bytes());
        return None;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    Some(value.abs())
}

/// Appends the decimal digits of an integer.
pub fn push_integer(out: &mut Vec<u8>, value: u64) {
    // The largest u64 has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(24);
    write(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The text of a value that has no digits: `NaN`, `+Inf`, `-Inf`; `None` for all others.
#[must_use]
pub fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// The shortest digits of a double: `d.ddd * 10^exponent`.
struct Digits {
    /// At least one; the first and the last are no zeros, but for the value zero.
    digits: Vec<u8>,
    exponent: i32,
}

impl Digits {
    /// Of `123.45`, `0.0012` or `1.2345e-7`, as the library writes positive doubles.
    fn of(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        let zeros = all().take_while(|digit| *digit == b'0').count();
        let mut digits: Vec<u8> = all().skip(zeros).collect();
        if digits.is_empty() {
            return Self { digits: vec![b'0'], exponent: 0 };
        }
        let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
        digits.truncate(kept);
        let exponent: i32 = exponent.parse().unwrap_or(0);
        Self { digits, exponent: exponent + whole.len() as i32 - 1 - zeros as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_go_writes_them() {
        for (value, plain, with_exponent) in CASES {
            assert_eq!(decimal(*value), *plain);
            assert_eq!(scientific(*value), *with_exponent);
            assert_eq!(decimal(-*value), format!("-{plain}"));
            assert_eq!(scientific(-*value), format!("-{with_exponent}"));
        }
        for (value, special) in [(f64::NAN, "NaN"), (f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf")] {
            assert_eq!((decimal(value), scientific(value)), (special.to_owned(), special.to_owned()));
        }
    }

    #[test]
    fn every_double_reads_back() {
        // xorshift64 over all bit patterns.
        let mut bits = 88_172_645_463_325_252_u64;
        for _ in 0..200_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            for written in [decimal(value), scientific(value)] {
                let read: f64 = written.parse().unwrap();
                assert!(read.to_bits() == bits || read.is_nan() && value.is_nan(), "{written}");
            }
        }
    }

    /// Value, `FormatFloat(value, 'f', -1, 64)`, `FormatFloat(value, 'e', -1, 64)`; made by Go 1.26.
    #[rustfmt::skip]
    const CASES: &[(f64, &str, &str)] = &[
        (0.0, "0", "0e+00"),
        (1.0, "1", "1e+00"),
        (1234.5, "1234.5", "1.2345e+03"),
        (0.1, "0.1", "1e-01"),
        (0.30000000000000004, "0.30000000000000004", "3.0000000000000004e-01"),
        (123456.789, "123456.789", "1.23456789e+05"),
        (1.435781451781e09, "1435781451.781", "1.435781451781e+09"),
        (9.999999999999999e14, "999999999999999.9", "9.999999999999999e+14"),
        (1e15, "1000000000000000", "1e+15"),
        (9.007199254740992e15, "9007199254740992", "9.007199254740992e+15"),
        (1e20, "100000000000000000000", "1e+20"),
        (1.2345678901234568e20, "123456789012345680000", "1.2345678901234568e+20"),
        (1e21, "1000000000000000000000", "1e+21"),
        (1e22, "10000000000000000000000", "1e+22"),
        (1.7976931348623157e308, "179769313486231570000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000", "1.7976931348623157e+308"),
        (5e-324, "0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000005", "5e-324"),
        (2.2250738585072014e-308, "0.000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000022250738585072014", "2.2250738585072014e-308"),
        (1e-05, "0.00001", "1e-05"),
        (1.5e-07, "0.00000015", "1.5e-07"),
        (1.234e-05, "0.00001234", "1.234e-05"),
        (1.9913940959012812e15, "1991394095901281.2", "1.9913940959012812e+15"),
        (4.503599627370498e15, "4503599627370498", "4.503599627370498e+15"),
        (2.25179981368525e15, "2251799813685250", "2.25179981368525e+15"),
        (1.125899906842625e15, "1125899906842625", "1.125899906842625e+15"),
        (1.1704057018929032e15, "1170405701892903.2", "1.1704057018929032e+15"),
        (9.539977579530712e14, "953997757953071.2", "9.539977579530712e+14"),
        (1.2345678901234567e19, "12345678901234567000", "1.2345678901234567e+19"),
        (9.5367431640625e-07, "0.00000095367431640625", "9.5367431640625e-07"),
        (1.1529215046068485e18, "1152921504606848500", "1.1529215046068485e+18"),
        (3.602879701896397e16, "36028797018963970", "3.602879701896397e+16"),
    ];
}
