//! The pieces of JSON as Prometheus writes them.
//!
//! - Strings: `<`, `>` and `&` as `\u003c`, `\u003e`, `\u0026`; U+2028 and U+2029 escaped; control
//!   characters as `\n`, `\r`, `\t` or `\u00xx`.
//! - Sample values: strings in Go's shortest form, with an exponent below 1e-6 and from 1e21.
//! - Timestamps: seconds; a fraction, if there is one, has three digits.
//!
//! Source: prometheus v3.16 `util/jsonutil/marshal.go`, `web/api/v1/json_codec.go`; Go's
//! `encoding/json`.

use std::io::Write as _;

use promontory_model::LabelsRef;
use promontory_model::float::{push_decimal, push_integer, push_scientific};

/// A string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
        let width = if byte == 0xe2 && matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) {
            3
        } else {
            1
        };
        if width == 1 && !needs_escape(byte) {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        match (width, byte) {
            (3, _) => {
                let _ = write!(out, "\\u20{:02x}", bytes[at + 2] - 0x80);
            }
            (_, b'"') => out.extend_from_slice(b"\\\""),
            (_, b'\\') => out.extend_from_slice(b"\\\\"),
            (_, b'\n') => out.extend_from_slice(b"\\n"),
            (_, b'\r') => out.extend_from_slice(b"\\r"),
            (_, b'\t') => out.extend_from_slice(b"\\t"),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        at += width;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// A sample value, quoted.
pub(crate) fn value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude.is_finite() && !(1e-6..1e21).contains(&magnitude) {
        push_scientific(out, value);
    } else {
        push_decimal(out, value);
    }
    out.push(b'"');
}

/// The value of a scalar result, quoted: Prometheus never uses an exponent here.
pub(crate) fn scalar_value(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    push_decimal(out, value);
    out.push(b'"');
}

/// A JSON number; what JSON cannot say is 0.
pub(crate) fn number(out: &mut Vec<u8>, value: f64) {
    push_decimal(out, if value.is_finite() { value } else { 0.0 });
}

/// Milliseconds as seconds, the fraction with all three digits.
pub(crate) fn timestamp(out: &mut Vec<u8>, ms: i64) {
    if ms < 0 {
        out.push(b'-');
    }
    let magnitude = ms.unsigned_abs();
    push_integer(out, magnitude / 1_000);
    if !magnitude.is_multiple_of(1_000) {
        fraction(out, magnitude % 1_000, 3);
    }
}

/// Milliseconds as seconds, as a plain number: scalar and string results.
pub(crate) fn plain_timestamp(out: &mut Vec<u8>, ms: i64) {
    number(out, ms as f64 / 1_000.0);
}

/// A label set as an object, names in Prometheus' order.
pub(crate) fn labels(out: &mut Vec<u8>, labels: LabelsRef<'_>) {
    out.push(b'{');
    for (i, (name, value)) in labels.sorted_pairs().iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// An array of strings.
pub(crate) fn strings<T: AsRef<str>>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, item.as_ref());
    }
    out.push(b']');
}

/// An object of strings.
pub(crate) fn string_map<N: AsRef<str>, V: AsRef<str>>(
    out: &mut Vec<u8>,
    pairs: impl IntoIterator<Item = (N, V)>,
) {
    out.push(b'{');
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, name.as_ref());
        out.push(b':');
        string(out, value.as_ref());
    }
    out.push(b'}');
}

fn fraction(out: &mut Vec<u8>, value: u64, digits: usize) {
    out.push(b'.');
    let mut power = 10_u64.pow(digits as u32 - 1);
    for _ in 0..digits {
        out.push(b'0' + (value / power % 10) as u8);
        power = (power / 10).max(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        // From Go: strconv.AppendFloat with 'f', or 'e' below 1e-6 and from 1e21.
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.30000000000000004, "0.30000000000000004"),
            (100.0, "100"),
            (123456.789, "123456.789"),
            (0.0001, "0.0001"),
            (0.05, "0.05"),
            (1e-6, "0.000001"),
            (0.00000123, "0.00000123"),
            (9.999e-7, "9.999e-07"),
            (1e-7, "1e-07"),
            (-1.5e-10, "-1.5e-10"),
            (1e-100, "1e-100"),
            (5e-324, "5e-324"),
            (1e15, "1000000000000000"),
            (9007199254740993.0, "9007199254740992"),
            (1e20, "100000000000000000000"),
            (123456789012345678901.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (-1e21, "-1e+21"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (999999999999999.9, "999999999999999.9"),
            (2.5, "2.5"),
            (1435781451.781, "1435781451.781"),
            (0.0009765625, "0.0009765625"),
        ];
        for (float, expected) in cases {
            assert_eq!(text(|out| value(out, float)), format!("\"{expected}\""));
        }
        assert_eq!(text(|out| scalar_value(out, 1e21)), "\"1000000000000000000000\"");
        assert_eq!(text(|out| scalar_value(out, 1e-7)), "\"0.0000001\"");
    }

    proptest! {
        #[test]
        fn every_float_reads_back(bits in any::<u64>()) {
            let float = f64::from_bits(bits);
            let written = text(|out| value(out, float));
            let read: f64 = written.trim_matches('"').parse().unwrap();
            prop_assert!(read.to_bits() == bits || float.is_nan() && read.is_nan(), "{}", written);
            prop_assert!(!text(|out| scalar_value(out, float)).contains('e'));
        }

        #[test]
        fn strings_read_back(original in "\\PC*[\\x00-\\x7f\u{2028}\u{2029}<>&]*") {
            let written = text(|out| string(out, &original));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), original);
            let raw = written.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\n']);
            prop_assert!(!raw, "{}", written);
        }
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        let cases = [
            ("plain", "\"plain\""),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("<a href='x'>&", r#""\u003ca href='x'\u003e\u0026""#),
            ("\n\r\t\u{8}\u{1f}\u{7f}", "\"\\n\\r\\t\\u0008\\u001f\u{7f}\""),
            ("é\u{2028}\u{2029}…", "\"é\\u2028\\u2029…\""),
        ];
        for (original, expected) in cases {
            assert_eq!(text(|out| string(out, original)), expected);
        }
    }

    #[test]
    fn timestamps_have_three_digits_or_none() {
        let cases = [
            (0, "0"),
            (1_435_781_451_781, "1435781451.781"),
            (1_435_781_451_780, "1435781451.780"),
            (1_435_781_451_000, "1435781451"),
            (1, "0.001"),
            (-1, "-0.001"),
            (-1_500, "-1.500"),
            (i64::MIN, "-9223372036854775.808"),
            (i64::MAX, "9223372036854775.807"),
        ];
        for (ms, expected) in cases {
            assert_eq!(text(|out| timestamp(out, ms)), expected);
        }
        assert_eq!(text(|out| plain_timestamp(out, 1_435_781_451_780)), "1435781451.78");
    }
}
