//! The engine over samples in memory: limits, cancellation, statistics, operators; in
//! `memory` what is counted and refused, in `plans` explanations,
//! prices, exemplars and metadata, in `raw` streams of samples, in `requests` what a request carries, in
//! `store_fails` what is told of a store that fails, in `tenants` several tenants as one.

#![allow(clippy::unwrap_used)] // Helpers of tests fail by panicking, as tests do.

mod memory;
mod plans;
mod raw;
mod requests;
mod store_fails;
mod tapped;
mod tenants;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use promontory_model::samples::SampleValue;
use promontory_model::{Labels, Matcher, TenantId, Tenants, TimeRange};
use promontory_promql::engine::{
    Engine, EngineError, InstantQuery, ListingQuery, Question, RangeQuery, RequestContext, Value,
};
use promontory_promql::{ParserSettings, parse};
use promontory_query::{EngineSettings, QueryEngine};
use promontory_store::{Error as StoreError, PinnedViews, SampleSource, SnapshotWish};
use promontory_testkit::memory::MemorySource;
use tokio::runtime::Runtime;

use self::support::runtime;

struct House {
    source: Arc<MemorySource>,
    runtime: Runtime,
}

impl House {
    /// `jobs` x `instances` counters `http_requests_total` and gauges `temperature`, 15 s apart.
    fn new(jobs: usize, instances: usize, samples: usize) -> Self {
        let source = Arc::new(MemorySource::new());
        for job in 0..jobs {
            for instance in 0..instances {
                for name in ["http_requests_total", "temperature"] {
                    let labels = Labels::from_pairs([
                        ("__name__", name.to_owned()),
                        ("job", format!("job{job}")),
                        ("instance", format!("i{instance}")),
                    ]);
                    let slope = (1 + job + instance) as f64;
                    source.add(labels, (0..samples).map(|i| (i as i64 * 15_000, i as f64 * slope)));
                }
            }
        }
        let runtime = runtime();
        Self { source, runtime }
    }

    fn engine(&self, settings: EngineSettings) -> QueryEngine {
        QueryEngine::new(Arc::clone(&self.source) as _, settings, self.runtime.handle().clone()).unwrap()
    }

    fn instant(&self, settings: EngineSettings, expr: &str, time: i64) -> Result<Value, EngineError> {
        let engine = self.engine(settings);
        let query = InstantQuery { expr: expr.into(), time, lookback_delta: None };
        self.runtime.block_on(engine.instant(&context(), &query)).map(|answer| answer.value)
    }

    fn range(&self, settings: EngineSettings, expr: &str) -> Result<Value, EngineError> {
        let engine = self.engine(settings);
        self.runtime.block_on(engine.range(&context(), &hour(expr))).map(|answer| answer.value)
    }

    fn explain(&self, expr: &str) -> String {
        let engine = self.engine(EngineSettings { partitions_max: 1, ..EngineSettings::default() });
        let question = Question::Range(hour(expr));
        self.runtime.block_on(engine.explain(&context(), &question)).unwrap().physical
    }
}

fn context() -> RequestContext {
    RequestContext::new(TenantId::anonymous())
}

fn hour(expr: &str) -> RangeQuery {
    RangeQuery { expr: expr.into(), start: 300_000, end: 3_600_000, step: 60_000, lookback_delta: None }
}

fn float(value: &SampleValue) -> f64 {
    let SampleValue::Float(value) = value else { panic!("a float is expected, not {value:?}") };
    *value
}

fn shown(value: &Value) -> Vec<String> {
    match value {
        Value::Vector(samples) => {
            samples.iter().map(|sample| format!("{} {}", sample.labels, float(&sample.value))).collect()
        }
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn an_instant_vector_is_sorted_by_labels() {
    let house = House::new(2, 2, 10);
    let value = house.instant(EngineSettings::default(), "sum by (job) (temperature)", 60_000).unwrap();
    assert_eq!(shown(&value), [r#"{job="job0"} 12"#, r#"{job="job1"} 20"#]);
}

#[test]
fn every_partitioning_and_batch_size_gives_the_same() {
    let house = House::new(5, 7, 240);
    for expr in [
        "sum by (job) (rate(http_requests_total[5m]))",
        "topk(3, temperature)",
        "quantile by (instance) (0.3, temperature)",
        "temperature / ignoring (x) temperature",
        "count_values by (job) (\"v\", temperature > 100)",
        "max_over_time(rate(http_requests_total[2m])[10m:1m])",
        "stddev(temperature) + scalar(max(temperature))",
        "absent(temperature{job=\"none\"})",
    ] {
        let reference = house.range(EngineSettings { partitions_max: 1, ..EngineSettings::default() }, expr);
        for (partitions_max, batch_values) in [(1, 1), (2, 300), (4, 64), (3, 1_000)] {
            let settings = EngineSettings { partitions_max, batch_values, ..EngineSettings::default() };
            let value = house.range(settings, expr);
            assert!(close(&reference, &value), "{expr}: {reference:?} {value:?}");
        }
    }
}

fn close(a: &Result<Value, EngineError>, b: &Result<Value, EngineError>) -> bool {
    let (Ok(Value::Matrix(a)), Ok(Value::Matrix(b))) = (a, b) else { return false };
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.labels == b.labels
                && a.samples.floats.ts() == b.samples.floats.ts()
                && a.samples
                    .floats
                    .values()
                    .iter()
                    .zip(b.samples.floats.values())
                    .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * a.abs())
        })
}

#[test]
fn a_query_over_its_time_is_a_timeout() {
    let house = House::new(2, 2, 240);
    let settings = EngineSettings { timeout: Duration::ZERO, ..EngineSettings::default() };
    let error = house.range(settings, "rate(http_requests_total[5m])").unwrap_err();
    assert_eq!(error, EngineError::TimedOut("query timed out in expression evaluation".into()));
}

#[test]
fn a_query_over_its_samples_is_refused() {
    let house = House::new(2, 2, 240);
    let settings = EngineSettings { samples_max: 100, ..EngineSettings::default() };
    let error = house.range(settings, "temperature").unwrap_err();
    let text = "query processing would load too many samples into memory in query execution";
    assert_eq!(error, EngineError::Limited(text.into()));
}

#[test]
fn a_query_over_its_memory_is_refused_with_the_numbers() {
    let house = House::new(4, 4, 240);
    let settings = EngineSettings { memory_bytes_max: 10_000, ..EngineSettings::default() };
    let error = house.range(settings, "temperature").unwrap_err();
    // 16 series x 56 steps x 16 bytes.
    assert!(
        matches!(&error, EngineError::Limited(text) if text.contains("14336 bytes") && text.contains("10000")),
        "{error}"
    );
}

#[test]
fn a_grid_that_is_too_fine_is_refused_before_anything_is_read() {
    let house = House::new(1, 1, 1);
    let engine = house.engine(EngineSettings::default());
    let year = RangeQuery { end: 365 * 86_400_000, step: 1, ..hour("temperature") };
    let error = house.runtime.block_on(engine.range(&context(), &year)).unwrap_err();
    assert!(
        matches!(error, EngineError::Invalid(text) if text.starts_with("exceeded maximum resolution of 11,000"))
    );
}

/// A source that never answers.
#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl SampleSource for Silent {
    async fn snapshot(&self, _: &Tenants, _: SnapshotWish<'_>) -> Result<PinnedViews, StoreError> {
        std::future::pending().await
    }
}

#[test]
fn a_full_queue_refuses_and_a_long_wait_times_out() {
    let runtime = runtime();
    let settings = EngineSettings { concurrency_max: 1, queue_max: 1, ..EngineSettings::default() };
    let engine = QueryEngine::new(Arc::new(Silent), settings, runtime.handle().clone()).unwrap();
    let patient = context().with_timeout(Duration::from_millis(400));
    let hasty = context().with_timeout(Duration::from_millis(100));
    let query = InstantQuery { expr: "temperature".into(), time: 0, lookback_delta: None };
    let counters = engine.counters();
    let queue = || (counters.running.load(Relaxed), counters.waiting.load(Relaxed));
    let (running, waiting, refused, between) = runtime.block_on(async {
        tokio::join!(
            engine.instant(&patient, &query),
            async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                engine.instant(&hasty, &query).await
            },
            async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                engine.instant(&hasty, &query).await
            },
            async {
                tokio::time::sleep(Duration::from_millis(75)).await;
                queue()
            }
        )
    });
    assert_eq!((between, queue()), ((1, 1), (0, 0)));
    let refusals = [&counters.refused_queue_full, &counters.refused_queue_timeout, &counters.refused_limit];
    assert_eq!(refusals.map(|counter| counter.load(Relaxed)), [1, 1, 0]);
    assert_eq!(counters.durations.queue.observed().count(), 1, "of those that got a place");
    assert_eq!(running, Err(EngineError::TimedOut("query timed out in expression evaluation".into())));
    assert_eq!(waiting, Err(EngineError::TimedOut("query timed out in query queue".into())));
    assert!(matches!(refused, Err(EngineError::Unavailable(_))), "{refused:?}");
}

#[test]
fn a_dropped_query_gives_its_place_back() {
    let house = House::new(20, 50, 1_000);
    let engine = house.engine(EngineSettings { concurrency_max: 1, ..EngineSettings::default() });
    let context = context();
    house.runtime.block_on(async {
        let slow = hour("quantile by (job) (0.5, quantile_over_time(0.5, temperature[1h]))");
        let dropped = tokio::time::timeout(Duration::from_millis(5), engine.range(&context, &slow)).await;
        assert!(dropped.is_err());
        let query = InstantQuery { expr: "vector(1)".into(), time: 0, lookback_delta: None };
        let next = tokio::time::timeout(Duration::from_secs(2), engine.instant(&context, &query)).await;
        assert!(next.is_ok_and(|answer| answer.is_ok()));
    });
}

#[test]
fn statistics_count_samples_read_and_samples_in_windows() {
    let house = House::new(1, 1, 10);
    let engine = house.engine(EngineSettings::default());
    let query =
        InstantQuery { expr: "sum_over_time(temperature[1m])".into(), time: 120_000, lookback_delta: None };
    let answer = house.runtime.block_on(engine.instant(&context(), &query)).unwrap();
    // Left-open: 75 s, 90 s, 105 s, 120 s.
    assert_eq!(answer.statistics.samples_read, 4);
    assert_eq!(answer.statistics.series_touched, 1);
    assert_eq!(answer.statistics.total_queryable_samples, 4);
    let counters = engine.counters();
    assert_eq!(counters.samples.load(Relaxed), 4);
    for slice in [&counters.durations.queue, &counters.durations.prepare, &counters.durations.eval] {
        assert_eq!(slice.observed().count(), 1);
    }
    assert_eq!(counters.durations.sort.observed().count(), 1);
    let few = house.engine(EngineSettings { samples_max: 3, ..EngineSettings::default() });
    let query = InstantQuery { expr: "temperature[1m]".into(), ..query };
    assert!(matches!(house.runtime.block_on(few.instant(&context(), &query)), Err(EngineError::Limited(_))));
    assert_eq!(few.counters().refused_limit.load(Relaxed), 1);
    assert!(answer.statistics.exec_total_seconds > 0.0);
}

#[test]
fn listings_are_sorted_and_say_when_they_are_cut() {
    let house = House::new(2, 1, 1);
    let engine = house.engine(EngineSettings::default());
    let query = |matchers: Vec<Matcher>, limit| ListingQuery {
        matcher_sets: if matchers.is_empty() { Vec::new() } else { vec![matchers] },
        selectors: Vec::new(),
        range: TimeRange::ALL,
        limit,
    };
    house.runtime.block_on(async {
        let context = context();
        let names = engine.label_names(&context, &query(Vec::new(), 0)).await.unwrap();
        assert_eq!(names.items, ["__name__", "instance", "job"]);
        let jobs = engine.label_values(&context, "job", &query(Vec::new(), 1)).await.unwrap();
        assert_eq!((jobs.items, jobs.truncated), (vec!["job0".to_owned()], true));
        let matchers = vec![Matcher::equal("__name__", "temperature")];
        let series = engine.series(&context, &query(matchers, 2)).await.unwrap();
        assert!(!series.truncated);
        let shown: Vec<String> = series.items.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [r#"temperature{instance="i0", job="job0"}"#, r#"temperature{instance="i0", job="job1"}"#]
        );
    });
}

/// Names of the operators of a plan, outermost first.
fn operators(plan: &str) -> Vec<&str> {
    plan.lines().filter_map(|line| line.trim_start().split(':').next()).collect()
}

#[test]
fn a_check_for_equal_labels_is_left_out_where_names_are_the_same() {
    let house = House::new(2, 2, 240);
    let one_name = house.explain("rate(http_requests_total[5m])");
    assert_eq!(operators(&one_name), ["ProjectionExec", "SeriesScan"], "{one_name}");
    let many_names = house.explain("rate({job=\"job0\"}[5m])");
    assert_eq!(operators(&many_names), ["AggregateExec", "ProjectionExec", "SeriesScan"], "{many_names}");
    assert!(many_names.contains("one_per_step"), "{many_names}");
}

#[test]
fn what_an_aggregation_keeps_of_labels_is_pushed_into_the_scan() {
    let house = House::new(2, 2, 240);
    let plan = house.explain("sum by (job) (rate(http_requests_total[5m]))");
    assert_eq!(operators(&plan), ["AggregateExec", "ProjectionExec", "SeriesScan"], "{plan}");
    assert!(plan.contains("labels=by (job)"), "{plan}");
    let plan = house.explain("sum without (instance) (temperature)");
    assert!(plan.contains("labels=without (__name__, __type__, __unit__, instance)"), "{plan}");
}

#[test]
fn constants_are_folded_and_fixed_times_evaluated_once() {
    let house = House::new(1, 1, 240);
    assert_eq!(house.explain("1 + 2 * 3"), "");
    let plan = house.explain("sum(temperature @ 600) * 2");
    assert!(plan.contains("broadcast(values@1, 56)"), "{plan}");
    assert!(plan.contains("lookup(ts@1, values@2, 600000, 0, 1, 300000)"), "{plan}");
}

#[test]
fn a_selector_without_series_reads_nothing() {
    let house = House::new(1, 1, 240);
    let plan = house.explain("sum(rate(nothing_total[5m]))");
    assert_eq!(operators(&plan), ["AggregateExec", "EmptyExec"], "{plan}");
}

#[test]
fn two_metrics_that_differ_only_in_their_name_cannot_both_lose_it() {
    let house = House::new(1, 1, 240);
    let text = "vector cannot contain metrics with the same labelset";
    for expr in ["rate({job=\"job0\"}[5m])", "abs({job=\"job0\"})", "-{job=\"job0\"}", "{job=\"job0\"} + 1"] {
        assert_eq!(
            house.range(EngineSettings::default(), expr),
            Err(EngineError::Unanswerable(text.into())),
            "{expr}"
        );
    }
}

#[test]
fn duplicates_in_a_match_group_are_shown_sorted() {
    let house = House::new(1, 2, 10);
    let error = house.instant(EngineSettings::default(), "vector(1) + on () temperature", 0).unwrap_err();
    let text = "found duplicate series for the match group {} on the right hand-side of the operation: \
                [{__name__=\"temperature\", instance=\"i0\", job=\"job0\"}, {__name__=\"temperature\", \
                instance=\"i1\", job=\"job0\"}];many-to-many matching not allowed: matching labels must be \
                unique on one side";
    assert_eq!(error, EngineError::Unanswerable(text.into()));
}

#[test]
fn the_deepest_expression_that_parses_fits_the_stack() {
    let house = House::new(1, 1, 10);
    for (open, close) in
        [("abs(", ")"), ("-(", ")"), ("sum(", ")"), ("label_join(", ", \"x\", \"\", \"job\")")]
    {
        let nested = |depth: usize| format!("{}temperature{}", open.repeat(depth), close.repeat(depth));
        let deepest = (1..300).rev().find(|depth| parse(&nested(*depth), &ParserSettings::default()).is_ok());
        let answer = house.range(EngineSettings::default(), &nested(deepest.unwrap()));
        assert!(answer.is_ok(), "{open} {deepest:?}: {answer:?}");
    }
}

#[test]
fn a_long_chain_of_operators_is_answered_as_its_terms_say() {
    let house = House::new(1, 1, 10);
    let n = 1_000;
    let value_of = |text: &str| house.instant(EngineSettings::default(), text, 60_000);
    let temperature = value_of("temperature").unwrap();
    for operator in [" or ", " and ", " + 0 * ", " - 0 * ", " or on (instance) "] {
        let terms: Vec<&str> = vec!["temperature"; n];
        let answer = value_of(&terms.join(operator));
        let expected = if operator.contains("0 *") { None } else { Some(&temperature) };
        match (answer, expected) {
            (Ok(answer), Some(expected)) => assert_eq!(&answer, expected, "{operator}"),
            (answer, _) => assert!(answer.is_ok(), "{operator}: {answer:?}"),
        }
    }
    let refused = value_of(&vec!["temperature"; 2_000].join(" or "));
    let Err(EngineError::Invalid(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("more than 1024 operators on one path"), "{why}");
}
