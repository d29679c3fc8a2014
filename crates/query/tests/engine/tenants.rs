//! Several tenants as one, over memory and over what is stored.

use promontory_model::MatchOp;
use promontory_promql::engine::LabelPolicy;
use promontory_testkit::stored::{Placement, StoredSeries, StoredWorld};

use super::*;

/// An engine over the data of some tenants.
struct Town {
    engine: QueryEngine,
    runtime: Runtime,
    _world: Option<StoredWorld>,
}

fn series(value: f64, labels: &[(&str, &str)]) -> StoredSeries {
    (Labels::from_pairs(labels.iter().copied()), vec![(0, value), (15_000, value), (30_000, value)])
}

/// `a` and `b` share a series, `b` has one that names a tenant itself, `c` has nothing. Capital letters sort
/// before `__tenant_id__`, so that series of one tenant change their order when they get that label.
fn data() -> Vec<(TenantId, Vec<StoredSeries>)> {
    let tenant = |name| TenantId::new(name).unwrap();
    let up = ("__name__", "up");
    let of_a = vec![series(1.0, &[up]), series(2.0, &[up, ("Zone", "z")]), series(3.0, &[up, ("job", "x")])];
    let of_b = vec![
        series(10.0, &[up, ("job", "x")]),
        series(20.0, &[up, ("__tenant_id__", "own")]),
        series(30.0, &[("__name__", "load")]),
    ];
    vec![(tenant("a"), of_a), (tenant("b"), of_b)]
}

fn towns() -> Vec<Town> {
    let town = |source: Arc<dyn SampleSource>, runtime: Runtime, world| {
        let settings = EngineSettings { partitions_max: 2, batch_values: 1, ..EngineSettings::default() };
        let engine = QueryEngine::new(source, settings, runtime.handle().clone()).unwrap();
        Town { engine, runtime, _world: world }
    };
    let memory = Arc::new(MemorySource::new());
    for (tenant, series) in data() {
        for (labels, samples) in series {
            memory.add_of(&tenant, labels, samples);
        }
    }
    let mut towns = vec![town(memory as _, runtime(), None)];
    for placement in [Placement::Fresh, Placement::L1, Placement::Mixed] {
        let runtime = runtime();
        let world = runtime.block_on(StoredWorld::new(placement)).unwrap();
        for (tenant, series) in data() {
            runtime.block_on(world.load(&tenant, &series, placement)).unwrap();
        }
        towns.push(town(world.source() as _, runtime, Some(world)));
    }
    towns
}

fn of(tenants: &str) -> RequestContext {
    RequestContext::new(Tenants::parse(tenants).unwrap())
}

impl Town {
    fn ask(&self, request: &RequestContext, expr: &str) -> Vec<String> {
        let query = InstantQuery { expr: expr.into(), time: 30_000, lookback_delta: None };
        shown(&self.runtime.block_on(self.engine.instant(request, &query)).unwrap().value)
    }

    fn values(&self, request: &RequestContext, name: &str, matchers: &[Vec<Matcher>]) -> Vec<String> {
        let query = listing(matchers);
        self.runtime
            .block_on(self.engine.label_values(request, name, &query))
            .map(|listing| listing.items)
            .unwrap()
    }
}

fn listing(matcher_sets: &[Vec<Matcher>]) -> ListingQuery {
    ListingQuery {
        matcher_sets: matcher_sets.to_vec(),
        selectors: Vec::new(),
        range: TimeRange::ALL,
        limit: 0,
    }
}

const ALL: [&str; 5] = [
    r#"up{Zone="z", __tenant_id__="a"} 2"#,
    r#"up{__tenant_id__="a"} 1"#,
    r#"up{__tenant_id__="a", job="x"} 3"#,
    r#"up{__tenant_id__="b", job="x"} 10"#,
    r#"up{__tenant_id__="b", original___tenant_id__="own"} 20"#,
];

#[test]
fn series_of_several_tenants_carry_their_tenant() {
    for town in towns() {
        assert_eq!(town.ask(&of("a|b"), "up"), ALL);
        assert_eq!(town.ask(&of("b|a|c"), "up"), ALL);
        assert_eq!(town.ask(&of("a|c"), "up"), ALL[..3]);
        assert_eq!(
            town.ask(&of("a|b"), "sum by (__tenant_id__) (up)"),
            [r#"{__tenant_id__="a"} 6"#, r#"{__tenant_id__="b"} 30"#]
        );
        assert_eq!(town.ask(&of("a|b"), "sum(max_over_time({__name__=~\".+\"}[1m]))"), ["{} 66"]);
    }
}

#[test]
fn matchers_on_the_tenant_choose_and_those_on_the_original_reach_the_series() {
    for town in towns() {
        for (selector, found) in [
            (r#"up{__tenant_id__="a"}"#, &ALL[..3]),
            (r#"up{__tenant_id__=~"b|x"}"#, &ALL[3..]),
            (r#"up{__tenant_id__!="a", job=""}"#, &ALL[4..]),
            (r#"up{__tenant_id__="own"}"#, &[]),
            (r#"up{__tenant_id__="a", __tenant_id__="b"}"#, &[]),
            (r#"up{original___tenant_id__="own"}"#, &ALL[4..]),
            (r#"up{original___tenant_id__="", __tenant_id__="b"}"#, &ALL[3..4]),
            (r#"up{__tenant_id__="a"} or up{__tenant_id__="b"}"#, &ALL[..]),
        ] {
            assert_eq!(town.ask(&of("a|b"), selector), found, "{selector}");
        }
    }
}

#[test]
fn one_tenant_is_not_labelled_and_its_matchers_are_ordinary() {
    for town in towns() {
        for one in ["b", "b|b"] {
            assert_eq!(town.ask(&of(one), r#"up{__tenant_id__="own"}"#), [r#"up{__tenant_id__="own"} 20"#]);
            assert_eq!(town.ask(&of(one), r#"up{__tenant_id__="b"}"#), [""; 0]);
            assert_eq!(town.ask(&of(one), "count(up)"), ["{} 2"]);
            assert_eq!(town.values(&of(one), "__tenant_id__", &[]), ["own"]);
        }
    }
}

#[test]
fn listings_of_several_tenants_show_the_tenants() {
    let matcher = |name: &str, value: &str| vec![Matcher::equal(name, value)];
    for town in towns() {
        let both = of("a|b");
        let series =
            town.runtime.block_on(town.engine.series(&both, &listing(&[matcher("job", "x")]))).unwrap();
        let shown: Vec<String> = series.items.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [r#"up{__tenant_id__="a", job="x"}"#, r#"up{__tenant_id__="b", job="x"}"#]);
        let names = |request: &RequestContext, sets: &[Vec<Matcher>]| {
            town.runtime.block_on(town.engine.label_names(request, &listing(sets))).unwrap().items
        };
        let all = ["Zone", "__name__", "__tenant_id__", "job", "original___tenant_id__"];
        assert_eq!(names(&both, &[]), all);
        assert_eq!(names(&both, &[matcher("__name__", "none")]), ["__tenant_id__"]);

        assert_eq!(town.values(&both, "__tenant_id__", &[]), ["a", "b"]);
        assert_eq!(town.values(&of("c|a|d"), "__tenant_id__", &[]), ["a", "c", "d"]);
        assert_eq!(town.values(&both, "__tenant_id__", &[matcher("__tenant_id__", "b")]), ["b"]);
        assert_eq!(town.values(&both, "original___tenant_id__", &[]), ["own"]);
        assert_eq!(town.values(&both, "__name__", &[matcher("__tenant_id__", "b")]), ["load", "up"]);
    }
}

#[test]
fn a_policy_may_speak_of_tenants() {
    let matchers = vec![Matcher::new("__tenant_id__", MatchOp::NotEqual, "a").unwrap()];
    for town in towns() {
        let request = of("a|b").with_label_policy(LabelPolicy { matchers: matchers.clone() });
        assert_eq!(town.ask(&request, r#"up or up{__tenant_id__="a"}"#), ALL[3..]);
        assert_eq!(town.values(&request, "__tenant_id__", &[]), ["b"]);
    }
}

#[test]
fn an_answer_depends_on_the_tenants_that_were_meant() {
    for town in towns() {
        let tenants = |expr: &str| {
            let query = InstantQuery { expr: expr.into(), time: 30_000, lookback_delta: None };
            let answer = town.runtime.block_on(town.engine.instant(&of("a|b|c"), &query)).unwrap();
            // A tenant has a run for each epoch of its windows.
            let runs = answer.dependencies.epochs;
            let mut tenants: Vec<String> = runs.iter().map(|run| run.tenant.to_string()).collect();
            tenants.dedup();
            tenants
        };
        assert_eq!(tenants("up"), ["a", "b", "c"]);
        assert_eq!(tenants(r#"up{__tenant_id__=~"b|c"}"#), ["b", "c"]);
        assert_eq!(tenants("vector(1)"), [""; 0]);
    }
}

#[test]
fn series_that_would_become_equal_are_an_error() {
    let memory = Arc::new(MemorySource::new());
    for value in ["x", "y"] {
        let labels = [("__name__", "up"), ("__tenant_id__", "own"), ("original___tenant_id__", value)];
        memory.add(Labels::from_pairs(labels), [(0, 1.0)]);
    }
    let runtime = runtime();
    let engine = QueryEngine::new(memory, EngineSettings::default(), runtime.handle().clone()).unwrap();
    let query = InstantQuery { expr: "up".into(), time: 0, lookback_delta: None };
    let error = runtime.block_on(engine.instant(&of("a|b"), &query)).unwrap_err();
    assert!(matches!(&error, EngineError::Limited(text) if text.contains("ask them one by one")), "{error}");
}
