//! How values are written: durations and sizes as in Prometheus, counts of at least one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use promontory_promql::{format_duration, parse_duration};

/// A duration that is longer than zero, in Prometheus' notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositiveDuration(pub Duration);

impl FromStr for PositiveDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = parse_duration(text).map_err(|error| error.to_string())?;
        if ms <= 0 {
            return Err(format!("a duration must be positive, not {text}"));
        }
        Ok(Self(Duration::from_millis(ms.unsigned_abs())))
    }
}

impl fmt::Display for PositiveDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A part of the memory: bytes, or a share of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySize {
    /// A share of the memory that this process may use.
    Auto,
    /// A fixed number of bytes.
    Bytes(u64),
}

const AUTO: &str = "auto";

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == AUTO { Ok(Self::Auto) } else { bytes(text).map(Self::Bytes) }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// A whole number of at least one.
///
/// # Errors
/// If `text` is none.
pub fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("must be a whole number: {error}")),
    }
}

/// A size of at least one byte.
///
/// # Errors
/// If `text` is none.
pub fn size(text: &str) -> Result<usize, String> {
    match usize::try_from(bytes(text)?) {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(size) => Ok(size),
        Err(_) => Err(format!("{text} is too large")),
    }
}

/// A size as Prometheus writes it: a whole number, and a unit of powers of 1,024 or none for bytes.
fn bytes(text: &str) -> Result<u64, String> {
    let no_size = || format!("\"{text}\" is no size; an example is 512MB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_uppercase();
    let shift = match unit.trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(no_size()),
    };
    let number: u64 = digits.parse().map_err(|_| no_size())?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_powers_of_1024() {
        for (text, expected) in [("3", 3), ("3B", 3), ("3KB", 3 << 10), ("3MiB", 3 << 20), ("1TB", 1 << 40)] {
            assert_eq!(text.parse(), Ok(MemorySize::Bytes(expected)), "{text}");
        }
        assert_eq!("auto".parse(), Ok(MemorySize::Auto));
        for (text, expected) in [("65536", 65_536), ("2GB", 2 << 30), ("1kib", 1 << 10), ("16mb", 16 << 20)] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        assert!(size("0").is_err() && size("0MB").is_err() && size("auto").is_err());
        for wrong in ["lots", "5XB", "99999999999TB", "", "-1", "1.5MB"] {
            assert!(wrong.parse::<MemorySize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_is_shown_as_prometheus_writes_it() {
        for (text, shown) in [("90s", "1m30s"), ("2m", "2m"), ("1500ms", "1s500ms")] {
            assert_eq!(text.parse::<PositiveDuration>().unwrap().to_string(), shown);
        }
        for wrong in ["0s", "soon", "", "-1s"] {
            assert!(wrong.parse::<PositiveDuration>().is_err(), "{wrong}");
        }
    }
}
