//! Annotations: warnings and infos that a query collects beside its result.
//!
//! Words:
//! - *text*: what an annotation says, without its place; two with the same text are one.
//! - *position*: the byte in the query at which the expression begins that caused it.
//!
//! Invariants:
//! - Texts are Prometheus' own, to the letter.
//! - What is shown does not depend on the order in which partitions of a query added annotations.
//! - At most [`KEPT_MAX`] texts of each kind are held, and [`SHOWN_MAX`] are shown.
//!
//! Source: prometheus v3.16 `util/annotations/annotations.go`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use promontory_model::MutexExt as _;
use promontory_model::labels::quote;

use crate::engine;
use crate::go::{format_general, format_general_rounded};
use crate::kernels::ForcedMonotonicity;
use crate::kernels::rfc3339;

/// How many annotations of each kind an answer shows.
pub const SHOWN_MAX: usize = 10;

/// How many different annotations of each kind a query holds; further ones are only counted.
pub const KEPT_MAX: usize = 1024;

/// How grave an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The result may be wrong or incomplete.
    Warning,
    /// The result is right but perhaps not what was meant.
    Info,
}

/// One annotation without its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    kind: Kind,
    text: String,
    detail: Option<Forced>,
}

/// What repeated `HistogramQuantileForcedMonotonicityInfo`s add up to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Forced {
    buckets: ForcedMonotonicity,
    first_ts: i64,
    last_ts: i64,
    samples: u64,
}

impl Annotation {
    /// Something else that may make the result wrong, in the caller's own words.
    #[must_use]
    pub fn warning(text: impl AsRef<str>) -> Self {
        Self { kind: Kind::Warning, text: format!("PromQL warning: {}", text.as_ref()), detail: None }
    }

    /// Something else worth knowing, in the caller's own words.
    #[must_use]
    pub fn info(text: impl AsRef<str>) -> Self {
        Self { kind: Kind::Info, text: format!("PromQL info: {}", text.as_ref()), detail: None }
    }

    /// A quantile outside [0, 1]; the place is that of the parameter (of the range vector in
    /// `quantile_over_time`).
    #[must_use]
    pub fn invalid_quantile(q: f64) -> Self {
        Self::warning(format!("quantile value should be between 0 and 1, got {}", format_general(q)))
    }

    /// A ratio outside [-1, 1] that is capped to `to`; the place is that of the parameter.
    #[must_use]
    pub fn invalid_ratio(ratio: f64, to: f64) -> Self {
        let (ratio, to) = (format_general(ratio), format_general(to));
        Self::warning(format!("ratio value should be between -1 and 1, got {ratio}, capping to {to}"))
    }

    /// A bucket whose `le` is missing or malformed; `metric` is empty unless names are removed late.
    #[must_use]
    pub fn bad_bucket_label(metric: &str, le: &str) -> Self {
        let text = format!("bucket label \"le\" is missing or has a malformed value of {}", quote(le));
        Self::warning(for_metric(text, metric))
    }

    /// `rate` or `increase` of a metric whose name does not look like a counter's.
    #[must_use]
    pub fn possible_non_counter(metric: &str) -> Self {
        Self::info(format!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
            quote(metric)
        ))
    }

    /// Buckets of a histogram whose counts did not ascend at `ts`.
    #[must_use]
    pub fn forced_monotonicity(metric: &str, ts: i64, buckets: ForcedMonotonicity) -> Self {
        let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let detail = Forced { buckets, first_ts: ts, last_ts: ts, samples: 1 };
        Self { detail: Some(detail), ..Self::info(for_metric(text.to_owned(), metric)) }
    }

    /// `sort` in a range query.
    #[must_use]
    pub fn sort_in_range_query() -> Self {
        Self::warning("sort is ineffective for range queries since results are always ordered by labels")
    }

    /// Floats and histograms in one range.
    #[must_use]
    pub fn mixed_floats_histograms(metric: &str) -> Self {
        Self::warning(format!("encountered a mix of histograms and floats for metric name {}", quote(metric)))
    }

    /// Floats and histograms in one aggregation.
    #[must_use]
    pub fn mixed_floats_histograms_aggregation() -> Self {
        Self::warning("encountered a mix of histograms and floats for aggregation")
    }

    /// Classic and native histograms with the same labels.
    #[must_use]
    pub fn mixed_classic_native(metric: &str) -> Self {
        let text = "vector contains a mix of classic and native histograms".to_owned();
        Self::warning(for_metric(text, metric))
    }

    /// Sample types that an operator cannot combine, such as `"float"` and `"histogram"`.
    #[must_use]
    pub fn incompatible_types(left: &str, operator: &str, right: &str) -> Self {
        Self::info(format!(
            "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
            quote(operator)
        ))
    }

    /// An aggregation that ignores histograms met one.
    #[must_use]
    pub fn histogram_ignored_in_aggregation(aggregation: &str) -> Self {
        Self::info(format!("ignored histogram in {aggregation} aggregation"))
    }

    /// A range function that ignores histograms met some beside floats.
    #[must_use]
    pub fn histogram_ignored_in_mixed_range(metric: &str) -> Self {
        Self::info(format!(
            "ignored histograms in a range containing both floats and histograms for metric name {}",
            quote(metric)
        ))
    }

    /// Whether it is shown among the warnings or the infos.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its text without its place.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// `rate` and `increase` say so for each metric whose name does not end like a counter's.
#[must_use]
pub fn looks_like_counter(metric: &str) -> bool {
    ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix))
}

fn for_metric(mut text: String, metric: &str) -> String {
    if !metric.is_empty() {
        let _ = write!(text, " for metric name {}", quote(metric));
    }
    text
}

/// A set of annotations with their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnnotationSet {
    warnings: Kept,
    infos: Kept,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    by_text: BTreeMap<String, Place>,
    /// Additions that found no room; may count one text several times.
    omitted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    position: usize,
    detail: Option<Forced>,
}

impl AnnotationSet {
    /// Adds one annotation at `position`.
    pub fn add(&mut self, annotation: Annotation, position: usize) {
        let place = Place { position, detail: annotation.detail };
        self.kept_mut(annotation.kind).add(annotation.text, place);
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: Self) {
        for (mine, theirs) in [(&mut self.warnings, other.warnings), (&mut self.infos, other.infos)] {
            for (text, place) in theirs.by_text {
                mine.add(text, place);
            }
            mine.omitted += theirs.omitted;
        }
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.warnings.by_text.is_empty() && self.infos.by_text.is_empty()
    }

    /// What an answer shows: sorted, each with its place in `query`, at most [`SHOWN_MAX`] of a kind
    /// and then how many more there are.
    #[must_use]
    pub fn render(&self, query: &str) -> engine::Annotations {
        engine::Annotations {
            warnings: self.warnings.render(query, "warning"),
            infos: self.infos.render(query, "info"),
        }
    }

    fn kept_mut(&mut self, kind: Kind) -> &mut Kept {
        match kind {
            Kind::Warning => &mut self.warnings,
            Kind::Info => &mut self.infos,
        }
    }
}

impl Kept {
    fn add(&mut self, text: String, new: Place) {
        if let Some(old) = self.by_text.get_mut(&text) {
            *old = old.merge(new);
        } else if self.by_text.len() < KEPT_MAX {
            self.by_text.insert(text, new);
        } else {
            self.omitted += 1;
        }
    }

    fn render(&self, query: &str, kind: &str) -> Vec<String> {
        let shown = self.by_text.iter().take(SHOWN_MAX);
        let mut lines: Vec<String> = shown.map(|(text, place)| place.render(text, query)).collect();
        let more = (self.by_text.len() - lines.len()) as u64 + self.omitted;
        if more > 0 {
            lines.push(format!("{more} more {kind} annotations omitted"));
        }
        lines
    }
}

impl Place {
    /// Upstream the last place wins, because sub-expressions are evaluated from left to right;
    /// details add up at the first place.
    fn merge(self, other: Self) -> Self {
        match (self.detail, other.detail) {
            (Some(mine), Some(theirs)) => Self {
                position: self.position.min(other.position),
                detail: Some(Forced {
                    buckets: ForcedMonotonicity {
                        min_bucket: mine.buckets.min_bucket.min(theirs.buckets.min_bucket),
                        max_bucket: mine.buckets.max_bucket.max(theirs.buckets.max_bucket),
                        max_diff: mine.buckets.max_diff.max(theirs.buckets.max_diff),
                    },
                    first_ts: mine.first_ts.min(theirs.first_ts),
                    last_ts: mine.last_ts.max(theirs.last_ts),
                    samples: mine.samples + theirs.samples,
                }),
            },
            _ => Self { position: self.position.max(other.position), detail: self.detail.or(other.detail) },
        }
    }

    fn render(&self, text: &str, query: &str) -> String {
        let place = line_and_column(query, self.position);
        let Some(forced) = self.detail else {
            return format!("{text} ({place})");
        };
        format!(
            "{text}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({place})",
            format_general(forced.buckets.min_bucket),
            format_general(forced.buckets.max_bucket),
            format_general_rounded(forced.buckets.max_diff, 2),
            forced.samples,
            rfc3339(forced.first_ts / 1000),
            rfc3339(forced.last_ts / 1000),
        )
    }
}

/// Line and column of a byte of the query, both from 1; columns count bytes.
fn line_and_column(query: &str, position: usize) -> String {
    let Some(before) = query.as_bytes().get(..position) else {
        return "invalid position".to_owned();
    };
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = position + 1 - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    format!("{line}:{column}")
}

/// A handle that all parts of one query share, whatever threads they run on.
#[derive(Clone, Debug, Default)]
pub struct AnnotationCollector {
    set: Arc<Mutex<AnnotationSet>>,
}

impl AnnotationCollector {
    /// Adds one annotation at `position`.
    pub fn add(&self, annotation: Annotation, position: usize) {
        self.lock().add(annotation, position);
    }

    /// Adds all of a set: what a batch collected on its own.
    pub fn merge(&self, set: AnnotationSet) {
        if !set.is_empty() {
            self.lock().merge(set);
        }
    }

    /// A copy of what was collected so far.
    #[must_use]
    pub fn snapshot(&self) -> AnnotationSet {
        self.lock().clone()
    }

    /// See [`AnnotationSet::render`].
    #[must_use]
    pub fn render(&self, query: &str) -> engine::Annotations {
        self.lock().render(query)
    }

    fn lock(&self) -> MutexGuard<'_, AnnotationSet> {
        // Every change is complete before anything can panic, so a poisoned set is still whole.
        self.set.locked()
    }
}

/// Handles are equal if they are the same collector: functions that carry one can be compared.
impl PartialEq for AnnotationCollector {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.set, &other.set)
    }
}

impl Eq for AnnotationCollector {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(set: &AnnotationSet, query: &str) -> Vec<String> {
        let shown = set.render(query);
        [shown.warnings, shown.infos].concat()
    }

    #[test]
    fn texts_are_those_of_prometheus() {
        let forced = ForcedMonotonicity { min_bucket: 0.5, max_bucket: f64::INFINITY, max_diff: 123.0 };
        for (annotation, expected) in [
            (
                Annotation::invalid_quantile(1.5),
                "PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:1)",
            ),
            (
                Annotation::invalid_quantile(f64::NAN),
                "PromQL warning: quantile value should be between 0 and 1, got NaN (1:1)",
            ),
            (
                Annotation::invalid_ratio(-1.1, -1.0),
                "PromQL warning: ratio value should be between -1 and 1, got -1.1, capping to -1 (1:1)",
            ),
            (
                Annotation::bad_bucket_label("", "x"),
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" (1:1)",
            ),
            (
                Annotation::bad_bucket_label("m", ""),
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" for \
                 metric name \"m\" (1:1)",
            ),
            (
                Annotation::possible_non_counter("up"),
                "PromQL info: metric might not be a counter, name does not end in \
                 _total/_sum/_count/_bucket: \"up\" (1:1)",
            ),
            (
                Annotation::forced_monotonicity("", 1_600_000_000_999, forced),
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), \
                 from buckets 0.5 to +Inf, with a max diff of 1.2e+02, over 1 samples from \
                 2020-09-13T12:26:40Z to 2020-09-13T12:26:40Z (1:1)",
            ),
            (
                Annotation::incompatible_types("float", "+", "histogram"),
                "PromQL info: incompatible sample types encountered for binary operator \"+\": float + \
                 histogram (1:1)",
            ),
        ] {
            let mut set = AnnotationSet::default();
            set.add(annotation, 0);
            assert_eq!(rendered(&set, "q"), [expected]);
        }
    }

    #[test]
    fn equal_texts_are_one_at_the_last_place() {
        let query = "rate(up[5m]) +\n  rate(up[1m])";
        for positions in [[5, 22], [22, 5]] {
            let mut set = AnnotationSet::default();
            for position in positions {
                set.add(Annotation::possible_non_counter("up"), position);
            }
            let shown = set.render(query);
            assert_eq!(shown.infos.len(), 1);
            assert!(shown.infos[0].ends_with("\"up\" (2:8)"), "{:?}", shown.infos);
        }
    }

    #[test]
    fn forced_monotonicity_adds_up_over_steps_and_parts() {
        let at = |ts, min_bucket, max_diff| {
            let forced = ForcedMonotonicity { min_bucket, max_bucket: 4.0, max_diff };
            Annotation::forced_monotonicity("m", ts, forced)
        };
        let mut left = AnnotationSet::default();
        left.add(at(60_000, 2.0, 0.25), 3);
        left.add(at(0, 1.0, 0.5), 3);
        let mut right = AnnotationSet::default();
        right.add(at(120_000, 3.0, 0.125), 3);
        left.merge(right);
        let shown = left.render("0123456");
        assert_eq!(shown.infos.len(), 1);
        assert!(
            shown.infos[0].ends_with(
                "for metric name \"m\", from buckets 1 to 4, with a max diff of 0.5, over 3 samples from \
                 1970-01-01T00:00:00Z to 1970-01-01T00:02:00Z (1:4)"
            ),
            "{:?}",
            shown.infos
        );
    }

    #[test]
    fn ten_of_a_kind_are_shown_and_the_rest_is_counted() {
        let mut set = AnnotationSet::default();
        for metric in 0..KEPT_MAX + 7 {
            set.add(Annotation::possible_non_counter(&format!("m{metric:06}")), 0);
        }
        set.add(Annotation::sort_in_range_query(), 0);
        let shown = set.render("q");
        assert_eq!(shown.warnings.len(), 1);
        assert_eq!(shown.infos.len(), SHOWN_MAX + 1);
        assert!(shown.infos.is_sorted_by(|a, b| a < b || b.ends_with("omitted")));
        assert_eq!(
            shown.infos[SHOWN_MAX],
            format!("{} more info annotations omitted", KEPT_MAX + 7 - SHOWN_MAX)
        );
    }

    #[test]
    fn a_collector_is_shared_by_its_clones() {
        let collector = AnnotationCollector::default();
        let clone = collector.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| clone.add(Annotation::invalid_quantile(2.0), 1));
            scope.spawn(|| collector.add(Annotation::invalid_quantile(3.0), 1));
        });
        assert_eq!(collector.render("ab").warnings.len(), 2);
        assert!(collector == clone && collector != AnnotationCollector::default());
    }

    #[test]
    fn positions_outside_the_query_are_named_so() {
        assert_eq!(line_and_column("ab", 2), "1:3");
        assert_eq!(line_and_column("a\nb", 2), "2:1");
        assert_eq!(line_and_column("ab", 3), "invalid position");
    }
}
