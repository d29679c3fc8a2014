//! What a request takes is counted while it takes it, and ends at the limit, whatever it is.

use std::sync::Mutex;

use promontory_model::MatchOp;
use promontory_promql::engine::UntilRead;

use super::tapped::{Step, Tap, Tapped};
use super::*;

const KB: usize = 1_000;

fn limited_to(memory_bytes_max: usize) -> EngineSettings {
    EngineSettings { memory_bytes_max, partitions_max: 1, batch_values: 1_000, ..EngineSettings::default() }
}

/// The error names what was too much, the limit and the flag, and is counted.
#[track_caller]
fn check_limited<T: std::fmt::Debug>(engine: &QueryEngine, what: &str, answer: Result<T, EngineError>) {
    let error = answer.map(|_| ()).unwrap_err();
    let EngineError::Limited(text) = &error else { panic!("{error:?}") };
    let limit = engine.settings().memory_bytes_max.to_string();
    for word in [what, limit.as_str(), "--query.max-memory"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let counters = engine.counters();
    assert!(counters.refused_limit.load(Relaxed) > 0);
    let (now, peak) = (counters.memory_bytes.load(Relaxed), counters.memory_bytes_peak.load(Relaxed));
    let settings = engine.settings();
    assert!(now == 0 && peak <= 2 * settings.memory_bytes_max as u64, "{now} bytes left, {peak} at most");
}

#[test]
fn raw_samples_of_an_instant_query_are_held_against_its_memory_as_points_of_a_range_are() {
    // 40 series of 240 samples: 154 kB.
    let house = House::new(4, 5, 240);
    let query = InstantQuery { expr: "{__name__=~\".+\"}[1h]".into(), time: 3_600_000, lookback_delta: None };
    let engine = house.engine(limited_to(100 * KB));
    check_limited(&engine, "its answer", house.runtime.block_on(engine.instant(&context(), &query)));
    let points = hour("{__name__=~\".+\"}");
    let points = RangeQuery { step: 15_000, ..points };
    check_limited(&engine, "40 series", house.runtime.block_on(engine.range(&context(), &points)));

    let engine = house.engine(limited_to(300 * KB));
    let until_read = UntilRead::default();
    let reader = context().with_until_read(until_read.clone());
    let answer = house.runtime.block_on(engine.instant(&reader, &query));
    assert!(answer.is_ok(), "{answer:?}");
    drop(reader);
    let held = || engine.counters().memory_bytes.load(Relaxed);
    assert!((154_000..200_000).contains(&held()), "{} bytes until it is read", held());
    drop(until_read);
    assert_eq!(held(), 0);
}

#[test]
fn instant_vectors_and_listings_are_held_against_the_memory() {
    let house = House::new(20, 20, 1);
    let engine = house.engine(limited_to(100 * KB));
    let query = InstantQuery { expr: "{__name__=~\".+\"}".into(), time: 0, lookback_delta: None };
    check_limited(&engine, "its answer", house.runtime.block_on(engine.instant(&context(), &query)));
    let all =
        ListingQuery { matcher_sets: Vec::new(), selectors: Vec::new(), range: TimeRange::ALL, limit: 0 };
    check_limited(&engine, "its answer", house.runtime.block_on(engine.series(&context(), &all)));
    let names = house.runtime.block_on(engine.label_names(&context(), &all));
    assert_eq!(names.unwrap().items.len(), 3, "three names take little, whatever they are taken from");
}

/// `n` selectors that all select everything and are all different, in a tree that is not deep.
fn selectors(n: usize) -> String {
    let mut level: Vec<String> = (0..n).map(|i| format!("temperature{{job!=\"x{i}\"}}")).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| format!("({})", pair.join(" or "))).collect();
    }
    level.remove(0)
}

#[test]
fn many_selectors_are_refused_while_they_are_resolved() {
    let house = House::new(10, 20, 2);
    // 500 selectors of 200 series: 6 MB of labels.
    let engine = house.engine(limited_to(1_000 * KB));
    let query = InstantQuery { expr: selectors(500), time: 15_000, lookback_delta: None };
    let answer = house.runtime.block_on(engine.instant(&context(), &query));
    check_limited(&engine, "the series of its selectors", answer);
}

#[derive(Clone, Debug, Default)]
struct Selects(Arc<Mutex<usize>>);

impl Tap for Selects {
    fn before(&self, step: Step) -> Result<(), StoreError> {
        *self.0.lock().unwrap() += usize::from(step == Step::Select);
        Ok(())
    }
}

fn tapped(house: &House, settings: EngineSettings) -> (Selects, QueryEngine) {
    let (tap, inner) = (Selects::default(), Arc::clone(&house.source) as Arc<dyn SampleSource>);
    let source = Arc::new(Tapped { tap: tap.clone(), inner });
    (tap, QueryEngine::new(source, settings, house.runtime.handle().clone()).unwrap())
}

#[test]
fn selectors_that_mean_the_same_are_resolved_once() {
    let house = House::new(2, 2, 2);
    let (selects, engine) = tapped(&house, EngineSettings::default());
    let expr = "temperature{job=\"job0\", instance!=\"\"} or temperature{instance!=\"\", job=\"job0\"} \
                or {instance!=\"\", __name__=\"temperature\", job=\"job0\"}";
    let query = InstantQuery { expr: expr.into(), time: 0, lookback_delta: None };
    house.runtime.block_on(engine.instant(&context(), &query)).unwrap();
    assert_eq!(*selects.0.lock().unwrap(), 1);
}

#[test]
fn many_matcher_sets_are_merged_as_they_come() {
    let house = House::new(10, 20, 1);
    let matcher = |op, name: &str, value: &str| Matcher::new(name, op, value).unwrap();
    let set = |i: usize| {
        vec![matcher(MatchOp::NotEqual, "job", &format!("x{i}")), matcher(MatchOp::NotEqual, "instance", "")]
    };
    let listing = |sets: Vec<Vec<Matcher>>| ListingQuery {
        matcher_sets: sets,
        selectors: Vec::new(),
        range: TimeRange::ALL,
        limit: 0,
    };
    let (selects, engine) = tapped(&house, limited_to(250 * KB));
    // Each selection takes 25 kB: all at once were 25 MB.
    let different = listing((0..1_000).map(set).collect());
    let names = house.runtime.block_on(engine.series(&context(), &different)).unwrap();
    assert_eq!(names.items.len(), 400);
    assert_eq!(std::mem::take(&mut *selects.0.lock().unwrap()), 1_000);
    assert_eq!(engine.counters().memory_bytes.load(Relaxed), 0);
    let mut turned = set(1);
    turned.reverse();
    let equal = listing([set(1), turned].into_iter().cycle().take(1_000).collect());
    house.runtime.block_on(engine.label_values(&context(), "job", &equal)).unwrap();
    assert_eq!(*selects.0.lock().unwrap(), 1);
}

#[test]
fn all_requests_together_have_a_limit_that_says_come_back() {
    let house = House::new(4, 5, 240);
    let settings = EngineSettings { memory_total_bytes_max: 250 * KB, ..limited_to(200 * KB) };
    let engine = house.engine(settings);
    let query = InstantQuery { expr: "temperature[1h]".into(), time: 3_600_000, lookback_delta: None };
    let (first, second) = (UntilRead::default(), UntilRead::default());
    let ask = |until_read: &UntilRead| {
        let request = context().with_until_read(until_read.clone());
        house.runtime.block_on(engine.instant(&request, &query))
    };
    let unread = ["", "", ""].map(|_| UntilRead::default());
    let answers: Vec<_> = unread.iter().chain([&first, &second]).map(ask).collect();
    assert!(answers[0].is_ok(), "{:?}", answers[0]);
    let Some(Err(EngineError::Unavailable(text))) = answers.last() else { panic!("{answers:?}") };
    for word in ["250000", "--query.max-memory-total", "retry later"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(engine.counters().refused_memory_total.load(Relaxed) > 0);
    drop(unread);
    assert!(ask(&second).is_ok(), "what was read is free again");
}

/// Many expressions that are each as large as one may be.
fn costly() -> String {
    let mut level: Vec<String> = (0..20).map(|i| format!("{{a=~\"{i}\\\\pL{{20}}\"}}")).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| format!("({})", pair.join(" or "))).collect();
    }
    level.remove(0)
}

#[test]
fn expressions_are_compiled_where_queries_run_and_within_their_memory() {
    let house = House::new(1, 1, 1);
    let engine = house.engine(limited_to(4_000 * KB));
    let query = InstantQuery { expr: costly(), time: 0, lookback_delta: None };
    let listing = ListingQuery {
        matcher_sets: Vec::new(),
        selectors: (0..20).map(|i| format!("{{a=~\"{i}\\\\pL{{20}}\"}}")).collect(),
        range: TimeRange::ALL,
        limit: 0,
    };
    let io = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // How long one thread, which serves everybody, is kept from its other work.
    let longest = io.block_on(async {
        let (mut longest, mut last) = (Duration::ZERO, std::time::Instant::now());
        let request = context();
        let asked = async {
            check_limited(&engine, "its regular expressions", engine.instant(&request, &query).await);
            check_limited(&engine, "its regular expressions", engine.series(&request, &listing).await);
            let formatted = engine.format(&request, &query.expr).await;
            check_limited(&engine, "its regular expressions", formatted);
        };
        tokio::pin!(asked);
        loop {
            tokio::select! {
                () = &mut asked => break longest.max(last.elapsed()),
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    longest = longest.max(last.elapsed());
                    last = std::time::Instant::now();
                }
            }
        }
    });
    assert!(longest < Duration::from_millis(50), "{longest:?}");
    let roomy =
        house.engine(EngineSettings { timeout: Duration::from_millis(1), ..EngineSettings::default() });
    let error = io.block_on(roomy.instant(&context(), &query)).unwrap_err();
    assert!(matches!(error, EngineError::TimedOut(_)), "{error:?}");
}

#[test]
fn expressions_that_would_take_too_long_to_compile_are_a_limit_of_their_own() {
    let house = House::new(1, 1, 1);
    let engine = house.engine(EngineSettings::default());
    let many = (0..2_000).map(|i| format!("{{a=~\"{i}.[a-z]{{500}}\"}}")).collect();
    let listing = ListingQuery { matcher_sets: Vec::new(), selectors: many, range: TimeRange::ALL, limit: 0 };
    let error = house.runtime.block_on(engine.label_names(&context(), &listing)).unwrap_err();
    let EngineError::Limited(text) = &error else { panic!("{error:?}") };
    assert!(text.contains("the regular expressions take more than 33554432 bytes"), "{text}");
    assert_eq!(engine.counters().refused_limit.load(Relaxed), 1);
}

#[test]
fn labels_that_grow_end_at_the_memory_before_they_are_made() {
    let house = House::new(1, 1, 1);
    let engine = house.engine(limited_to(4_000 * KB));
    let replace = format!("label_replace({{}}, \"job\", \"{}\", \"job\", \"(.*)\")", "$1".repeat(1_000));
    let join = format!("label_join({{}}, \"job\", \"\"{})", ", \"job\"".repeat(1_000));
    for call in [replace, join] {
        // Each call makes a thousand of one.
        let nested = |times| (0..times).fold("temperature".to_owned(), |inner, _| call.replace("{}", &inner));
        let ask = |times| {
            let query = InstantQuery { expr: nested(times), time: 0, lookback_delta: None };
            house.runtime.block_on(engine.instant(&context(), &query))
        };
        assert!(ask(1).is_ok(), "{call:.40}");
        check_limited(&engine, "the labels that it makes", ask(3));
    }
}
