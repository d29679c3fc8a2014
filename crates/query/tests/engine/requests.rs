//! What a request carries beside its question: lowered limits, a label policy, a pinned snapshot; and what
//! its answer says that it depends on.

use promontory_model::{MatchOp, SnapshotId};
use promontory_promql::engine::{Answer, Caller, Dependencies, LabelPolicy, LoweredLimits, UntilRead};
use promontory_query::SqlQuery;
use promontory_testkit::stored::{Placement, StoredWorld};

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn lowered(samples_max: Option<u64>, series_max: Option<u64>) -> RequestContext {
    context().with_limits(LoweredLimits { samples_max, series_max })
}

fn policy(op: MatchOp, name: &str, value: &str) -> LabelPolicy {
    LabelPolicy { matchers: vec![Matcher::new(name, op, value).unwrap()] }
}

fn all_series() -> ListingQuery {
    ListingQuery { matcher_sets: Vec::new(), selectors: Vec::new(), range: TimeRange::ALL, limit: 0 }
}

impl House {
    fn ask(
        &self,
        request: &RequestContext,
        settings: EngineSettings,
        expr: &str,
    ) -> Result<Answer, EngineError> {
        self.runtime.block_on(self.engine(settings).range(request, &hour(expr)))
    }

    fn error(&self, request: &RequestContext, settings: EngineSettings, expr: &str) -> EngineError {
        self.ask(request, settings, expr).unwrap_err()
    }

    fn series_of(&self, request: &RequestContext, expr: &str) -> Vec<String> {
        match self.ask(request, EngineSettings::default(), expr).unwrap().value {
            Value::Matrix(series) => series.iter().map(|series| series.labels.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_lowers_limits_and_never_raises_them() {
    let house = House::new(2, 2, 240);
    let too_many = "query processing would load too many samples into memory in query execution";
    let too_many = EngineError::Limited(too_many.into());
    let defaults = EngineSettings::default;
    assert_eq!(house.error(&lowered(Some(100), None), defaults(), "temperature"), too_many);
    let tight = EngineSettings { samples_max: 100, ..defaults() };
    assert_eq!(house.error(&lowered(Some(u64::MAX), None), tight, "temperature"), too_many);
    // A grid of a subquery alone counts too.
    let subquery = "max_over_time(vector(1)[1h:1s])";
    assert_eq!(house.error(&lowered(Some(100), None), defaults(), subquery), too_many);

    assert!(house.ask(&lowered(None, Some(4)), defaults(), "temperature").is_ok());
    let error = house.error(&lowered(None, Some(3)), defaults(), "temperature");
    assert!(
        matches!(&error, EngineError::Limited(text) if text.contains("selects 4 series, at most 3")),
        "{error}"
    );
    let error = house.error(&lowered(None, Some(7)), defaults(), "temperature + http_requests_total");
    assert!(matches!(&error, EngineError::Limited(text) if text.contains("selects 8 series")), "{error}");
    let engine = house.engine(defaults());
    let listed = house.runtime.block_on(engine.series(&lowered(None, Some(7)), &all_series()));
    assert!(matches!(listed, Err(EngineError::Limited(_))), "{listed:?}");
}

#[test]
fn what_a_label_policy_hides_no_expression_brings_back() {
    let house = House::new(2, 2, 240);
    let request = context().with_label_policy(policy(MatchOp::Equal, "job", "job0"));
    for (expr, seen) in [
        ("temperature", 2),
        ("temperature{job=\"job1\"}", 0),
        ("temperature{job=~\".+\"}", 2),
        ("temperature{job!=\"job0\"} or temperature", 2),
        ("temperature{job=\"job0\"} or temperature{job=\"job1\"}", 2),
        ("{__name__!=\"\"}", 4),
        ("{__name__=~\".+\", job!=\"\"}", 4),
        ("sum by (job) (temperature)", 1),
        ("count_values by (job) (\"v\", temperature)", 0),
        ("label_replace(temperature{job=\"job1\"}, \"job\", \"job0\", \"\", \"\")", 0),
        ("max_over_time(temperature[10m:1m])", 2),
        ("absent(temperature{job=\"job1\"})", 1),
    ] {
        let all = house.series_of(&request, expr);
        let foreign = all.iter().filter(|labels| labels.contains("job1")).count();
        if expr.starts_with("count_values") {
            assert_eq!(foreign, 0, "{expr}: {all:?}");
        } else if expr.starts_with("absent") {
            assert_eq!(all, ["{job=\"job1\"}"], "{expr}");
        } else {
            assert_eq!((all.len(), foreign), (seen, 0), "{expr}: {all:?}");
        }
    }
    let engine = house.engine(EngineSettings::default());
    house.runtime.block_on(async {
        let series = engine.series(&request, &all_series()).await.unwrap();
        assert_eq!(series.items.len(), 4);
        let hidden = ListingQuery { matcher_sets: vec![vec![Matcher::equal("job", "job1")]], ..all_series() };
        assert_eq!(engine.series(&request, &hidden).await.unwrap().items, []);
        assert_eq!(engine.label_names(&request, &hidden).await.unwrap().items, [""; 0]);
        let jobs = engine.label_values(&request, "job", &all_series()).await.unwrap();
        assert_eq!(jobs.items, ["job0"]);
    });
    let nobody = context().with_label_policy(policy(MatchOp::Equal, "job", "none"));
    assert_eq!(house.series_of(&nobody, "temperature or http_requests_total"), [""; 0]);
}

#[test]
fn who_asks_and_whether_a_cache_may_answer_change_no_result() {
    let house = House::new(1, 1, 240);
    let rule = context().with_caller(Caller::RuleGroup("g".into())).without_cache();
    assert_eq!(house.series_of(&rule, "temperature"), house.series_of(&context(), "temperature"));
}

fn count_at(
    engine: &QueryEngine,
    runtime: &Runtime,
    request: &RequestContext,
) -> Result<(f64, Answer), EngineError> {
    let query = InstantQuery { expr: "count(up) or vector(0)".into(), time: 60_000, lookback_delta: None };
    let answer = runtime.block_on(engine.instant(request, &query))?;
    match &answer.value {
        Value::Vector(samples) => Ok((float(&samples[0].value), answer)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pinned_snapshot_answers_the_same_while_samples_come() {
    for placement in [Placement::Fresh, Placement::Followed, Placement::L1] {
        let runtime = runtime();
        let world = runtime.block_on(StoredWorld::new(placement)).unwrap();
        let engine =
            QueryEngine::new(world.source() as _, EngineSettings::default(), runtime.handle().clone())
                .unwrap();
        let load = |job: &str, placement| {
            let series = (Labels::from_pairs([("__name__", "up"), ("job", job)]), vec![(60_000, 1.0)]);
            runtime.block_on(world.load(&TenantId::anonymous(), &[series], placement)).unwrap();
        };
        load("a", placement);
        let (count, answer) = count_at(&engine, &runtime, &context()).unwrap();
        assert_eq!(count, 1.0);
        let id = answer.dependencies.snapshot;
        let pinned = context().with_pinned(id.clone()).with_positions(id.tails.clone());
        // A segment more, then a catalog version more.
        for (job, more, now) in [("b", Placement::Fresh, 2.0), ("c", Placement::L1, 3.0)] {
            load(job, more);
            let (count, answer) = count_at(&engine, &runtime, &context()).unwrap();
            assert_eq!(count, now, "{placement:?} {job}");
            assert_ne!(answer.dependencies.snapshot, id);
            let (count, answer) = count_at(&engine, &runtime, &pinned).unwrap();
            assert_eq!((count, answer.dependencies.snapshot), (1.0, id.clone()), "{placement:?} {job}");
        }
        let gone = context().with_pinned(SnapshotId { version: id.version + 100, tails: Vec::new() });
        let error = count_at(&engine, &runtime, &gone).unwrap_err();
        assert!(matches!(&error, EngineError::Unavailable(text) if text.contains("is gone")), "{error}");
    }
}

fn dependencies(house: &House, expr: &str, time: i64) -> Dependencies {
    let query = InstantQuery { expr: expr.into(), time, lookback_delta: None };
    let engine = house.engine(EngineSettings::default());
    house.runtime.block_on(engine.instant(&context(), &query)).unwrap().dependencies
}

#[test]
fn an_answer_names_every_window_that_it_looked_at() {
    let house = House::new(1, 1, 240);
    let hours = |expr: &str, time: i64| {
        let found = dependencies(&house, expr, time).epochs;
        assert!(found.iter().all(|run| run.tenant == TenantId::anonymous() && run.epoch == 0));
        let runs = found.iter().map(|run| (run.windows.start / HOUR_MS, (run.windows.end + 1) / HOUR_MS));
        runs.collect::<Vec<_>>()
    };
    assert_eq!(hours("vector(1)", 9 * HOUR_MS), []);
    assert_eq!(hours("temperature", 9 * HOUR_MS), [(8, 10)]);
    // The lookback reaches into the window before.
    assert_eq!(hours("temperature", 8 * HOUR_MS), [(6, 10)]);
    assert_eq!(hours("temperature offset 4h + temperature", 9 * HOUR_MS), [(4, 6), (8, 10)]);
    assert_eq!(hours("nothing or temperature offset 2h", 9 * HOUR_MS), [(6, 10)]);
    assert_eq!(hours("rate(temperature[3h])", 9 * HOUR_MS), [(6, 10)]);
    assert_eq!(hours("max_over_time(temperature[3h:1m] offset 1d)", 33 * HOUR_MS), [(4, 10)]);
    assert_eq!(hours("temperature @ 0", 9 * HOUR_MS), [(-2, 2)]);
    // 240 samples, 15 s apart, from 0.
    assert_eq!(dependencies(&house, "temperature", HOUR_MS).mutable_from, 239 * 15_000 + 1);
    assert_eq!(dependencies(&house, "1", HOUR_MS).mutable_from, i64::MAX);
}

#[test]
fn what_is_in_blocks_only_changes_by_late_samples_only() {
    let samples: Vec<(i64, f64)> = (0..90).map(|i| (i * 60_000, 1.0)).collect();
    // Of the mixed one, the last third lies in the tail, with samples of the second third again.
    for (placement, edge) in
        [(Placement::Fresh, 0), (Placement::L1, 89 * 60_000 + 1), (Placement::Mixed, 30 * 60_000)]
    {
        let runtime = runtime();
        let world = runtime.block_on(StoredWorld::new(placement)).unwrap();
        let series = [(Labels::from_pairs([("__name__", "up")]), samples.clone())];
        runtime.block_on(world.load(&TenantId::anonymous(), &series, placement)).unwrap();
        let engine =
            QueryEngine::new(world.source() as _, EngineSettings::default(), runtime.handle().clone())
                .unwrap();
        let (_, answer) = count_at(&engine, &runtime, &context()).unwrap();
        assert_eq!(answer.dependencies.mutable_from, edge, "{placement:?}");
        let other = RequestContext::new(TenantId::new("other").unwrap());
        let (_, answer) = count_at(&engine, &runtime, &other).unwrap();
        assert_eq!(answer.dependencies.mutable_from, i64::MIN, "{placement:?}");
    }
}

#[test]
fn a_place_is_held_until_the_answer_was_read() {
    let house = House::new(2, 2, 240);
    let engine = house.engine(EngineSettings { concurrency_max: 1, ..EngineSettings::default() });
    let running = || engine.counters().running.load(Relaxed);
    let query = InstantQuery { expr: "temperature".into(), time: 60_000, lookback_delta: None };
    let sql = SqlQuery { text: "SELECT * FROM samples".into(), rows_max: 1_000_000 };
    let hasty = context().with_timeout(Duration::from_millis(50));
    house.runtime.block_on(async {
        for way in ["PromQL", "SQL", "series"] {
            let until_read = UntilRead::default();
            let request = context().with_until_read(until_read.clone());
            match way {
                "PromQL" => drop(engine.instant(&request, &query).await.unwrap()),
                "SQL" => drop(engine.sql(&request, &sql).await.unwrap()),
                _ => drop(engine.series(&request, &all_series()).await.unwrap()),
            }
            drop(request);
            assert_eq!(running(), 1, "{way}");
            let waited = engine.instant(&hasty, &query).await;
            let text = "query timed out in query queue".to_owned();
            assert_eq!(waited.map(drop), Err(EngineError::TimedOut(text)), "{way}");
            drop(until_read);
            assert_eq!(running(), 0, "{way}");
            assert!(engine.instant(&hasty, &query).await.is_ok(), "{way}");
        }
        // Of an error nothing is read.
        let request = context().with_until_read(UntilRead::default());
        let wrong = InstantQuery { expr: "temperature + on () temperature".into(), ..query };
        assert!(engine.instant(&request, &wrong).await.is_err());
        assert_eq!(running(), 0);
    });
}
