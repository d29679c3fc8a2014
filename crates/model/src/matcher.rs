//! Label matchers: which series a selector means.

use std::fmt;

use crate::labels::{LabelsRef, is_legacy_label_name, quote};
use crate::re2::Re2;

/// How a matcher compares the value of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`: the value is equal.
    Equal,
    /// `!=`: the value differs.
    NotEqual,
    /// `=~`: the whole value matches the regular expression.
    Regex,
    /// `!~`: the whole value does not match it.
    NotRegex,
}

impl MatchOp {
    /// The operator as PromQL writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// One condition on one label. An absent label has the empty value.
#[derive(Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Re2>,
}

/// What is known of the values that pass a matcher, without trying them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueBounds<'a> {
    /// Exactly this value passes.
    One(&'a str),
    /// Exactly these values pass; sorted, without duplicates.
    AnyOf(&'a [String]),
    /// Every value that passes begins with this, but not each that does passes; empty if nothing is known.
    Prefix(&'a str),
}

/// Why a matcher cannot be compiled, in the words of RE2 or with the bound that it exceeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MatcherError(pub String);

impl Matcher {
    /// Compiles a matcher.
    ///
    /// # Errors
    /// If `value` is to be a regular expression and RE2 would refuse it or it is too large.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, MatcherError> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Re2::new_anchored(&value).map_err(MatcherError)?),
        };
        Ok(Self { name, op, value, regex })
    }

    /// A matcher of a regular expression that is compiled; with [`MatchOp::NotRegex`] of what does not match it.
    #[must_use]
    pub fn compiled(name: impl Into<String>, op: MatchOp, regex: Re2) -> Self {
        Self { name: name.into(), op, value: regex.pattern().to_owned(), regex: Some(regex) }
    }

    /// A matcher of one value, which needs no compiling and so cannot fail.
    #[must_use]
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// The name of the label whose value is compared.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same condition on another label.
    #[must_use]
    pub fn renamed(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self.clone() }
    }

    /// The comparison, as [`Self::new`] was given it.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The value or pattern as written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// True if a label with this value passes; an absent label has the value `""`.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let regex = || self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regex => regex(),
            MatchOp::NotRegex => !regex(),
        }
    }

    /// True if a series without the label passes.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// True if a series with these labels passes; an absent label has the value `""`.
    #[must_use]
    pub fn matches_labels(&self, labels: LabelsRef<'_>) -> bool {
        self.matches(&labels.get(&self.name).unwrap_or_default())
    }

    /// Where among ascending values those that pass can stand.
    #[must_use]
    pub fn value_bounds(&self) -> ValueBounds<'_> {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => ValueBounds::One(&self.value),
            (MatchOp::Regex, Some(regex)) => match regex.literal_set() {
                Some(values) => ValueBounds::AnyOf(values),
                None => ValueBounds::Prefix(regex.prefix()),
            },
            _ => ValueBounds::Prefix(""),
        }
    }

    /// The finite set of values that pass, if the matcher is an equality or a regular expression
    /// that is a plain alternation (`a|b|c`); sorted, without duplicates.
    #[must_use]
    pub fn set_values(&self) -> Option<Vec<String>> {
        match self.value_bounds() {
            ValueBounds::One(value) => Some(vec![value.to_owned()]),
            ValueBounds::AnyOf(values) => Some(values.to_vec()),
            ValueBounds::Prefix(_) => None,
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = quote(&self.value);
        if is_legacy_label_name(&self.name) {
            write!(f, "{}{}{value}", self.name, self.op.as_str())
        } else {
            write!(f, "{}{}{value}", quote(&self.name), self.op.as_str())
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
