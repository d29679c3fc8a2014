//! `label_replace` and `label_join` on label sets.
//!
//! Source: `evalLabelReplace` and `evalLabelJoin`, prometheus v3.16 `promql/functions.go`, and
//! `Re2::expand` for replacement templates.

use promontory_model::labels::push_field;
use promontory_model::re2::Re2;
use promontory_model::{Labels, LabelsRef, METRIC_NAME};

use super::KernelError;

/// A checked `label_replace(v, destination, replacement, source, pattern)`.
#[derive(Clone, Debug)]
pub struct LabelReplace {
    destination: String,
    source: String,
    pattern: Re2,
    replacement: String,
}

/// A checked `label_join(v, destination, separator, sources...)`.
#[derive(Clone, Debug)]
pub struct LabelJoin {
    destination: String,
    separator: String,
    sources: Vec<String>,
}

impl LabelReplace {
    /// Checks the arguments.
    ///
    /// # Errors
    /// With Prometheus' texts: a pattern that RE2 refuses, or an invalid destination.
    pub fn new(
        destination: &str,
        replacement: &str,
        source: &str,
        pattern: &str,
    ) -> Result<Self, KernelError> {
        let invalid =
            |what: &str, text: &str| KernelError(format!("invalid {what} in label_replace(): {text}"));
        let compiled = Re2::new_anchored(pattern).map_err(|_| invalid("regular expression", pattern))?;
        if destination.is_empty() {
            return Err(invalid("destination label name", destination));
        }
        Ok(Self {
            destination: destination.to_owned(),
            source: source.to_owned(),
            pattern: compiled,
            replacement: replacement.to_owned(),
        })
    }

    /// True if the result has a metric name even where the function's result would lose it.
    #[must_use]
    pub fn sets_metric_name(&self) -> bool {
        self.destination == METRIC_NAME
    }

    /// The labels with the destination set, or `None` if the pattern does not match and they stay.
    #[must_use]
    pub fn apply(&self, labels: LabelsRef<'_>) -> Option<Labels> {
        let value = labels.get(&self.source).unwrap_or_default();
        let replacement = self.pattern.expand(&value, &self.replacement)?;
        Some(with_label(labels, &self.destination, &replacement))
    }
}

impl LabelJoin {
    /// Checks the arguments.
    ///
    /// # Errors
    /// With Prometheus' texts: an invalid source or destination.
    pub fn new<S: AsRef<str>>(
        destination: &str,
        separator: &str,
        sources: &[S],
    ) -> Result<Self, KernelError> {
        if sources.iter().any(|source| source.as_ref().is_empty()) {
            return Err(KernelError("invalid source label name in label_join(): ".to_owned()));
        }
        if destination.is_empty() {
            return Err(KernelError("invalid destination label name in label_join(): ".to_owned()));
        }
        Ok(Self {
            destination: destination.to_owned(),
            separator: separator.to_owned(),
            sources: sources.iter().map(|source| source.as_ref().to_owned()).collect(),
        })
    }

    /// True if the result has a metric name even where the function's result would lose it.
    #[must_use]
    pub fn sets_metric_name(&self) -> bool {
        self.destination == METRIC_NAME
    }

    /// The labels with the destination set to the joined values of the sources.
    #[must_use]
    pub fn apply(&self, labels: LabelsRef<'_>) -> Labels {
        let values: Vec<_> =
            self.sources.iter().map(|source| labels.get(source).unwrap_or_default()).collect();
        with_label(labels, &self.destination, &values.join(&self.separator))
    }
}

/// The labels with one of them set, or removed if `value` is empty: canonical bytes stay sorted, so
/// nothing is sorted again.
fn with_label(labels: LabelsRef<'_>, name: &str, value: &str) -> Labels {
    let mut key = Vec::with_capacity(labels.key().len() + name.len() + value.len() + 4);
    let sets_metric = name == METRIC_NAME;
    let metric = labels.metric_name();
    push_field(&mut key, if sets_metric { value } else { &metric }.as_bytes());
    let mut pending = !sets_metric && !value.is_empty();
    let is_other = |other: &[u8]| other != METRIC_NAME.as_bytes() && other != name.as_bytes();
    for (other, its_value) in labels.iter_bytes().filter(|(other, _)| is_other(other)) {
        if pending && name.as_bytes() < other.as_ref() {
            push_field(&mut key, name.as_bytes());
            push_field(&mut key, value.as_bytes());
            pending = false;
        }
        push_field(&mut key, &other);
        push_field(&mut key, &its_value);
    }
    if pending {
        push_field(&mut key, name.as_bytes());
        push_field(&mut key, value.as_bytes());
    }
    Labels::from_key_unchecked(key)
}

#[cfg(test)]
mod tests {
    use promontory_model::LabelsBuilder;

    use super::*;

    fn replace(
        destination: &str,
        replacement: &str,
        source: &str,
        pattern: &str,
        labels: &[(&str, &str)],
    ) -> String {
        let labels = Labels::from_pairs(labels.iter().copied());
        let function = LabelReplace::new(destination, replacement, source, pattern).unwrap();
        function.apply(labels.as_ref()).unwrap_or(labels).to_string()
    }

    #[test]
    fn replacements_expand_groups_as_go_does() {
        let labels = [("__name__", "m"), ("src", "source-value-10")];
        for (replacement, pattern, expected) in [
            ("value-$1", "source-value-(.*)", "value-10"),
            ("value-${1}x", "source-value-(.*)", "value-10x"),
            ("value-$1x", "source-value-(.*)", "value-"),
            ("$name-$2", "(?P<name>[a-z]+)-(.*)", "source-value-10"),
            ("$$1", "(.*)", "$1"),
            ("a$", "(.*)", "a$"),
            ("a${1", "(.*)", "a${1"),
            ("a$-", "(.*)", "a$-"),
            ("$01", "(.*)", ""),
            ("$0", "source.*", "source-value-10"),
            ("$9", "(.*)", ""),
            ("new", "value-10", ""),
        ] {
            let got = replace("dst", replacement, "src", pattern, &labels);
            let dst = if expected.is_empty() { String::new() } else { format!("dst=\"{expected}\", ") };
            assert_eq!(got, format!("m{{{dst}src=\"source-value-10\"}}"), "{replacement} {pattern}");
        }
    }

    #[test]
    fn an_empty_result_removes_the_label_and_a_missing_source_is_empty() {
        assert_eq!(replace("a", "", "a", ".*", &[("__name__", "m"), ("a", "x")]), "m");
        assert_eq!(replace("a", "y", "none", "", &[("__name__", "m")]), "m{a=\"y\"}");
        assert_eq!(replace("__name__", "n", "a", "(.+)", &[("__name__", "m"), ("a", "x")]), "n{a=\"x\"}");
        assert_eq!(replace("a", "n", "b", "x.y", &[("b", "x\ny")]), "{a=\"n\", b=\"x\\ny\"}");
    }

    #[test]
    fn setting_a_label_keeps_the_bytes_canonical() {
        let pairs = [("__name__", "m"), ("Z", "1"), ("b", "x\0y"), ("d", "2")];
        for labels in
            [Labels::from_pairs(pairs), Labels::from_pairs(pairs[1..].iter().copied()), Labels::empty()]
        {
            for name in ["A", "Z", "__name__", "a", "b", "b\0", "c", "d", "e"] {
                for value in ["", "v", "\0"] {
                    let mut builder = LabelsBuilder::from(labels.as_ref());
                    let expected = builder.set(name, value).build();
                    assert_eq!(with_label(labels.as_ref(), name, value), expected, "{labels} {name:?}");
                }
            }
        }
    }

    #[test]
    fn arguments_are_refused_with_prometheus_texts() {
        let error = |d, p| LabelReplace::new(d, "", "s", p).map(|_| ()).unwrap_err().0;
        assert_eq!(error("d", "("), "invalid regular expression in label_replace(): (");
        assert_eq!(error("", "x"), "invalid destination label name in label_replace(): ");
        let error = LabelJoin::new("d", "", &["a", ""]).map(|_| ()).unwrap_err().0;
        assert_eq!(error, "invalid source label name in label_join(): ");
        let error = LabelJoin::new("", "", &["a"]).map(|_| ()).unwrap_err().0;
        assert_eq!(error, "invalid destination label name in label_join(): ");
    }

    #[test]
    fn join_keeps_separators_of_missing_sources() {
        let labels = Labels::from_pairs([("__name__", "m"), ("a", "1"), ("c", "3")]);
        let joined = |separator, sources: &[&str]| {
            LabelJoin::new("d", separator, sources).unwrap().apply(labels.as_ref()).to_string()
        };
        assert_eq!(joined("-", &["a", "b", "c"]), "m{a=\"1\", c=\"3\", d=\"1--3\"}");
        assert_eq!(joined("", &["b"]), "m{a=\"1\", c=\"3\"}");
        assert_eq!(joined("x", &[]), "m{a=\"1\", c=\"3\"}");
    }
}
