//! `label_replace` and `label_join` on label sets.
//!
//! Source: `evalLabelReplace` and `evalLabelJoin`, prometheus v3.14 `promql/functions.go`, and
//! `regexp.Regexp.Expand` of Go 1.25 for replacement templates.

use promontory_model::re2::Re2;
use promontory_model::{Labels, LabelsBuilder, LabelsRef, METRIC_NAME};

use super::KernelError;

/// A checked `label_replace(v, destination, replacement, source, pattern)`.
#[derive(Clone, Debug)]
pub struct LabelReplace {
    destination: String,
    source: String,
    pattern: Re2,
    template: Vec<Part>,
}

/// A checked `label_join(v, destination, separator, sources...)`.
#[derive(Clone, Debug)]
pub struct LabelJoin {
    destination: String,
    separator: String,
    sources: Vec<String>,
}

/// A piece of a replacement template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
    Named(String),
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
            template: parse_template(replacement),
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
        let captures = self.pattern.regex().captures(&value)?;
        let mut replacement = String::new();
        for part in &self.template {
            match part {
                Part::Text(text) => replacement.push_str(text),
                Part::Group(index) => replacement.push_str(captures.get(*index).map_or("", |m| m.as_str())),
                Part::Named(name) => replacement.push_str(captures.name(name).map_or("", |m| m.as_str())),
            }
        }
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

fn with_label(labels: LabelsRef<'_>, name: &str, value: &str) -> Labels {
    LabelsBuilder::from(labels).set(name, value).build()
}

/// `$1`, `$name`, `${name}` and `$$`; a dollar that begins none of them stands for itself.
fn parse_template(template: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            rest = after;
        } else if let Some((part, after)) = parse_reference(rest) {
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(part);
            rest = after;
        } else {
            text.push('$');
        }
    }
    text.push_str(rest);
    parts.push(Part::Text(text));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    parts
}

/// What follows a dollar: a name as long as possible, in braces or not.
fn parse_reference(text: &str) -> Option<(Part, &str)> {
    let (body, in_braces) = text.strip_prefix('{').map_or((text, false), |body| (body, true));
    let end = body.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(body.len());
    let (name, mut rest) = body.split_at(end);
    if name.is_empty() {
        return None;
    }
    if in_braces {
        rest = rest.strip_prefix('}')?;
    }
    let is_number = name.bytes().all(|c| c.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    // Go stops counting at a hundred million; no pattern has as many groups.
    let part = match name.parse::<usize>() {
        Ok(index) if is_number && name.len() <= 9 => Part::Group(index),
        _ => Part::Named(name.to_owned()),
    };
    Some((part, rest))
}

#[cfg(test)]
mod tests {
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
