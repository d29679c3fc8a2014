//! Samples as they were sent, streamed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use promontory_model::{SampleLists, stale_nan};
use promontory_promql::engine::{CHUNK_SAMPLES_MAX, LabelPolicy, SampleStream, SamplesQuery, SeriesChunk};
use promontory_testkit::stored::{Placement, StoredSeries, StoredWorld};

use super::tapped::{Tap, Tapped};
use super::*;

const HOUR_MS: i64 = 3_600_000;

fn equal(name: &str, value: &str) -> Vec<Matcher> {
    vec![Matcher::equal(name, value)]
}

fn query(matcher_sets: &[Vec<Matcher>]) -> SamplesQuery {
    SamplesQuery { matcher_sets: matcher_sets.to_vec(), range: TimeRange::ALL }
}

async fn collect(mut stream: SampleStream) -> Result<Vec<SeriesChunk>, EngineError> {
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(chunk?);
    }
    Ok(chunks)
}

/// The series in the order of the stream, with all their samples; chunks are checked on the way.
fn joined(chunks: &[SeriesChunk]) -> Vec<(String, Vec<(i64, u64)>)> {
    let mut series: Vec<(String, Vec<(i64, u64)>)> = Vec::new();
    for chunk in chunks {
        assert!((1..=CHUNK_SAMPLES_MAX).contains(&chunk.samples.len()));
        let labels = chunk.labels.to_string();
        if series.last().is_none_or(|(last, _)| *last != labels) {
            series.push((labels, Vec::new()));
        }
        let samples = chunk.samples.floats.iter().map(|(ts, value)| (ts, value.to_bits()));
        series.last_mut().unwrap().1.extend(samples);
    }
    for (labels, samples) in &series {
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{labels}");
    }
    series
}

fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples.iter().map(|(ts, value)| (*ts, value.to_bits())).collect()
}

/// Three days of one series, seconds of another, and one that ends; capital letters sort before `__name__`.
fn data() -> Vec<StoredSeries> {
    let long = (0..3 * 1_440).map(|i| (i * 60_000, i as f64)).collect();
    let mut ended: Vec<(i64, f64)> = (0..30).map(|i| (i * 1_000, 0.5)).collect();
    ended.push((30_000, stale_nan()));
    vec![
        (Labels::from_pairs([("__name__", "a"), ("job", "long")]), long),
        (Labels::from_pairs([("__name__", "a"), ("job", "ended")]), ended),
        (Labels::from_pairs([("__name__", "b"), ("Zone", "z")]), vec![(5, 5.0), (50 * HOUR_MS, 6.0)]),
    ]
}

#[test]
fn raw_samples_are_what_was_sent_wherever_they_lie() {
    let runtime = runtime();
    let labels = [r#"b{Zone="z"}"#, r#"a{job="ended"}"#, r#"a{job="long"}"#];
    let data = data();
    let expected = [bits(&data[2].1), bits(&data[1].1), bits(&data[0].1)];
    for placement in [Placement::Fresh, Placement::Followed, Placement::L1, Placement::L2, Placement::Mixed] {
        let world = runtime.block_on(StoredWorld::new(placement)).unwrap();
        runtime.block_on(world.load(&TenantId::anonymous(), &data, placement)).unwrap();
        for batch_values in [1, 100, 64 << 10] {
            let settings = EngineSettings { batch_values, ..EngineSettings::default() };
            let engine = QueryEngine::new(world.source() as _, settings, runtime.handle().clone()).unwrap();
            let ask = |request: RequestContext, query: SamplesQuery| {
                let stream = runtime.block_on(engine.samples(&request, &query)).unwrap();
                joined(&runtime.block_on(collect(stream)).unwrap())
            };
            // Each series once, though two sets match it.
            let sets = [equal("__name__", "a"), equal("Zone", "z"), equal("job", "long")];
            let all = ask(context(), query(&sets));
            let expected = labels.iter().map(|labels| (*labels).to_owned()).zip(expected.clone());
            assert_eq!(all, expected.collect::<Vec<_>>(), "{placement:?} {batch_values}");
            assert_eq!(ask(context(), query(&[])), []);
            assert_eq!(ask(context(), query(&[equal("job", "none")])), []);
            let range = TimeRange::new(30_000, 2 * HOUR_MS);
            let some = ask(context(), SamplesQuery { range, ..query(&sets) });
            let counts: Vec<usize> = some.iter().map(|(_, samples)| samples.len()).collect();
            assert_eq!(counts, [1, 120], "{placement:?} {batch_values}");
            let only = LabelPolicy { matchers: equal("job", "ended") };
            let some = ask(context().with_label_policy(only), query(&sets));
            assert_eq!(some, [(labels[1].to_owned(), bits(&data[1].1))]);
        }
    }
}

#[test]
fn raw_samples_of_several_tenants_carry_them() {
    let source = Arc::new(MemorySource::new());
    let up = Labels::from_pairs([("__name__", "up")]);
    for (tenant, value) in [("a", 1.0), ("b", 2.0)] {
        source.add_of(&TenantId::new(tenant).unwrap(), up.clone(), [(1, value), (2, value)]);
    }
    let runtime = runtime();
    let engine = QueryEngine::new(source, EngineSettings::default(), runtime.handle().clone()).unwrap();
    let ask = |sets: &[Vec<Matcher>]| {
        let request = RequestContext::new(Tenants::parse("a|b").unwrap());
        let stream = runtime.block_on(engine.samples(&request, &query(sets))).unwrap();
        joined(&runtime.block_on(collect(stream)).unwrap())
    };
    let of =
        |tenant: &str, value| (format!("up{{__tenant_id__=\"{tenant}\"}}"), bits(&[(1, value), (2, value)]));
    assert_eq!(ask(&[equal("__name__", "up")]), [of("a", 1.0), of("b", 2.0)]);
    assert_eq!(ask(&[equal("__tenant_id__", "b")]), [of("b", 2.0)]);
}

/// Counts what is read.
#[derive(Clone, Debug, Default)]
struct Reads {
    reads: Arc<AtomicUsize>,
    largest: Arc<AtomicUsize>,
}

impl Tap for Reads {
    fn read(&self, read: &SampleLists) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.largest.fetch_max(read.samples(), Ordering::Relaxed);
    }
}

/// 100 series of 2,000 samples and one of 100,000: 300,000 where a request may hold 5,000.
fn watched(runtime: &Runtime) -> (QueryEngine, [Arc<AtomicUsize>; 2]) {
    let memory = MemorySource::new();
    for (name, n_series, n_samples) in [("many", 100, 2_000), ("long", 1, 100_000)] {
        for i in 0..n_series {
            let labels = [("__name__", name.to_owned()), ("i", i.to_string())];
            memory.add(Labels::from_pairs(labels), (0..n_samples).map(|i| (i * 15_000, i as f64)));
        }
    }
    let inner: Arc<dyn SampleSource> = Arc::new(memory);
    let tap = Reads::default();
    let counters = [tap.reads.clone(), tap.largest.clone()];
    let source = Tapped { tap, inner };
    let settings = EngineSettings {
        samples_max: 5_000,
        batch_values: 3_000,
        concurrency_max: 1,
        queue_max: 1,
        ..EngineSettings::default()
    };
    let engine = QueryEngine::new(Arc::new(source), settings, runtime.handle().clone()).unwrap();
    (engine, counters)
}

#[test]
fn a_selection_of_any_size_streams_within_the_limit_of_samples() {
    let runtime = runtime();
    let (engine, [reads, largest]) = watched(&runtime);
    let everything =
        query(&[vec![Matcher::new("__name__", promontory_model::MatchOp::Regex, ".+").unwrap()]]);
    let stream = runtime.block_on(engine.samples(&context(), &everything)).unwrap();
    let all = joined(&runtime.block_on(collect(stream)).unwrap());
    let counts: BTreeMap<usize, usize> = all.iter().fold(BTreeMap::new(), |mut counts, (_, samples)| {
        *counts.entry(samples.len()).or_default() += 1;
        counts
    });
    assert_eq!(counts, BTreeMap::from([(2_000, 100), (100_000, 1)]));
    assert!(largest.load(Ordering::Relaxed) <= 3_000, "{largest:?}");
    let reads = reads.load(Ordering::Relaxed);
    assert!((100..200).contains(&reads), "{reads} reads");
    // A request with less room reads less at a time.
    let lowered = promontory_promql::engine::LoweredLimits { samples_max: Some(2_000), series_max: None };
    largest.store(0, Ordering::Relaxed);
    let stream = runtime.block_on(engine.samples(&context().with_limits(lowered), &everything)).unwrap();
    assert_eq!(
        runtime.block_on(collect(stream)).unwrap().iter().map(|c| c.samples.len()).sum::<usize>(),
        300_000
    );
    assert!(largest.load(Ordering::Relaxed) <= 2_000, "{largest:?}");
}

#[test]
fn nothing_is_read_ahead_of_who_takes_and_dropping_the_stream_ends_it() {
    let runtime = runtime();
    let (engine, [reads, _]) = watched(&runtime);
    runtime.block_on(async {
        let many = query(&[equal("__name__", "many")]);
        let mut stream = engine.samples(&context(), &many).await.unwrap();
        for taken in 1..4 {
            assert!(stream.next().await.unwrap().is_ok());
            tokio::time::sleep(Duration::from_millis(30)).await;
            // One series a read: one is taken, one waits, one is about to be sent.
            let read = reads.load(Ordering::Relaxed);
            assert!(read <= taken + 2, "{read} reads for {taken} chunks");
        }
        drop(stream);
        // Its place is free again.
        let one = InstantQuery { expr: "vector(1)".into(), time: 0, lookback_delta: None };
        let next = tokio::time::timeout(Duration::from_secs(2), engine.instant(&context(), &one)).await;
        assert!(next.is_ok_and(|answer| answer.is_ok()));
        assert!(reads.load(Ordering::Relaxed) <= 6);
    });
}

#[test]
fn a_stream_that_cannot_begin_is_an_error_and_one_that_takes_too_long_ends_with_one() {
    let runtime = runtime();
    let (engine, _) = watched(&runtime);
    runtime.block_on(async {
        let many = query(&[equal("__name__", "many")]);
        let hasty = context().with_timeout(Duration::ZERO);
        let timed_out = EngineError::TimedOut("query timed out in expression evaluation".into());
        assert_eq!(engine.samples(&hasty, &many).await.err(), Some(timed_out.clone()));
        let limits = promontory_promql::engine::LoweredLimits { samples_max: None, series_max: Some(99) };
        let refused = engine.samples(&context().with_limits(limits), &many).await.err();
        assert!(matches!(refused, Some(EngineError::Limited(_))), "{refused:?}");

        let brief = context().with_timeout(Duration::from_millis(150));
        let mut stream: Pin<_> = engine.samples(&brief, &many).await.unwrap();
        assert!(stream.next().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(collect(stream).await, Err(timed_out));
    });
}
