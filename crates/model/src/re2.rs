//! Regular expressions with RE2's meaning on top of the `regex` crate.

use regex::{Regex, RegexBuilder};

/// Largest compiled program in bytes; above it a pattern is refused.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// A compiled pattern that matches whole values.
#[derive(Clone, Debug)]
pub struct Re2 {
    regex: Regex,
    pattern: String,
}

impl Re2 {
    /// Compiles `pattern`, anchored at both ends, with `.` matching newlines.
    ///
    /// # Errors
    /// The text says why RE2 refuses the pattern or which bound it exceeds.
    pub fn new_anchored(pattern: &str) -> Result<Self, String> {
        let regex = RegexBuilder::new(&format!("^(?s:{pattern})$"))
            .size_limit(PROGRAM_BYTES_MAX)
            .build()
            .map_err(|error| format!("error parsing regexp: {error}"))?;
        Ok(Self { regex, pattern: pattern.to_owned() })
    }

    /// True if the whole value matches.
    #[must_use]
    pub fn is_match(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// The compiled expression, for captures in `label_replace`.
    #[must_use]
    pub fn regex(&self) -> &Regex {
        &self.regex
    }

    /// The values of a plain alternation of literals; `None` for anything else.
    #[must_use]
    pub fn literal_set(&self) -> Option<Vec<String>> {
        let plain = |c: char| !r"\.+*?()[]{}^$".contains(c);
        if !self.pattern.chars().all(plain) {
            return None;
        }
        let mut values: Vec<String> = self.pattern.split('|').map(str::to_owned).collect();
        values.sort();
        values.dedup();
        Some(values)
    }
}
