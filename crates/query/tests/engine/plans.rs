//! What is said without reading a sample: explanations and prices; and what is stored beside samples.

use promontory_model::{Exemplar, MetricKind, MetricMetadata};
use promontory_promql::engine::{ExemplarQuery, Explanation, LabelPolicy, Price};
use promontory_testkit::stored::{Placement, StoredWorld};

use super::*;

impl House {
    fn explained(&self, request: &RequestContext, question: Question) -> Result<Explanation, EngineError> {
        let engine = self.engine(EngineSettings { partitions_max: 1, ..EngineSettings::default() });
        self.runtime.block_on(engine.explain(request, &question))
    }

    fn price(&self, request: &RequestContext, expr: &str) -> Price {
        let engine = self.engine(EngineSettings { memory_bytes_max: 2_000, ..EngineSettings::default() });
        self.runtime.block_on(engine.price(request, &Question::Range(hour(expr)))).unwrap()
    }
}

fn instant(expr: &str) -> Question {
    Question::Instant(InstantQuery { expr: expr.into(), time: 600_000, lookback_delta: None })
}

fn only_job0() -> RequestContext {
    context().with_label_policy(LabelPolicy { matchers: vec![Matcher::equal("job", "job0")] })
}

#[test]
fn an_explanation_shows_the_tree_and_the_operators() {
    let house = House::new(2, 2, 240);
    let logical = |question| house.explained(&context(), question).unwrap().logical;
    assert_eq!(
        logical(instant("sum by (job) (rate(http_requests_total[5m])) > 2")),
        "Map VectorScalar(Greater, Filter) labels=all, steps=1\n  \
           Aggregate Sum all, steps=1\n    \
             Range Rate labels=by (job), steps=1\n      \
               Scan {__name__=\"http_requests_total\"} from 300001 to 600000\n"
    );
    assert_eq!(logical(instant("1 + 2 * 3")), "Scalar 7\n");
    assert_eq!(logical(instant("\"text\"")), "String \"text\"\n");
    assert_eq!(logical(instant("nothing")), "Empty, steps=1\n");
    let samples = logical(instant("temperature[1m]"));
    assert!(samples.starts_with("Samples from 540001 to 600000\n  Scan {"), "{samples}");
    let range = house.explained(&context(), Question::Range(hour("temperature"))).unwrap();
    assert!(range.logical.starts_with("Instant labels=all, steps=56\n"), "{}", range.logical);
    assert!(
        range.physical.contains("SeriesScan: {__name__=\"temperature\"}, labels=all, series=4"),
        "{range:?}"
    );
    let allowed = house.explained(&only_job0(), Question::Range(hour("temperature"))).unwrap();
    assert!(allowed.physical.contains("series=2"), "{allowed:?}");
    let wrong = house.explained(&context(), instant("sum("));
    assert!(matches!(wrong, Err(EngineError::Invalid(_))), "{wrong:?}");
}

#[test]
fn a_price_counts_what_selectors_match_and_is_told_also_above_the_limits() {
    let house = House::new(2, 2, 240);
    // 4 series of 239 samples, since the first lookback begins behind the one at 0; 16 bytes per step.
    let memory_bytes = 4 * 56 * 16;
    let one = Price { series: 4, samples: 4 * 239, stored_bytes: 0, memory_bytes };
    assert_eq!(house.price(&context(), "temperature"), one);
    let price = house.price(&context(), "temperature + http_requests_total");
    assert_eq!((price.series, price.samples), (8, 8 * 239));
    assert_eq!(house.price(&only_job0(), "temperature").series, 2);
    assert_eq!(house.price(&context(), "nothing"), Price::default());
    assert_eq!(house.price(&context(), "1"), Price::default());
}

#[test]
fn bytes_are_those_of_blocks_and_come_without_a_request_for_samples() {
    let runtime = runtime();
    let bytes = |placement, tenants: &str| {
        let world = runtime.block_on(StoredWorld::new(placement)).unwrap();
        let series = |name: &str| {
            let samples = (0..1_000).map(|i| (i * 15_000, (i * 7_919 % 1_000) as f64));
            (Labels::from_pairs([("__name__", name)]), samples.collect())
        };
        let both = [series("x"), series("y")];
        for tenant in ["a", "b"].map(|tenant| TenantId::new(tenant).unwrap()) {
            runtime.block_on(world.load(&tenant, &both, placement)).unwrap();
        }
        let settings = EngineSettings::default();
        let engine = QueryEngine::new(world.source() as _, settings, runtime.handle().clone()).unwrap();
        let request = RequestContext::new(Tenants::parse(tenants).unwrap());
        let price = |expr: &str| {
            let query = InstantQuery { expr: expr.into(), time: 15_000_000, lookback_delta: None };
            runtime.block_on(engine.price(&request, &Question::Instant(query))).unwrap()
        };
        let (one, both) = (price("sum_over_time(x[1d])"), price("sum_over_time({__name__=~\"x|y\"}[1d])"));
        assert_eq!((2 * one.series, 2 * one.samples), (both.series, both.samples), "{placement:?}");
        (one.stored_bytes, both.stored_bytes)
    };
    assert_eq!(bytes(Placement::Fresh, "a"), (0, 0));
    for placement in [Placement::L1, Placement::L2] {
        let (one, both) = bytes(placement, "a");
        assert!(one > 500 && both > one && both <= 2 * one + 2, "{placement:?}: {one} {both}");
        let (federated, _) = bytes(placement, "a|b");
        assert!(federated > one && federated <= 2 * one + 2, "{placement:?}: {one} {federated}");
    }
}

fn exemplar(trace: &str, ts: i64) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value: 1.0, ts: Some(ts) }
}

#[test]
fn exemplars_are_those_of_all_selectors_within_tenants_and_policy() {
    let house = House::new(0, 0, 0);
    let tenant = |name: &str| TenantId::new(name).unwrap();
    let series = |job: &str| Labels::from_pairs([("__name__", "up"), ("job", job)]);
    for (name, job, ts) in [("a", "x", 1_000), ("a", "y", 2_000), ("b", "x", 3_000), ("b", "x", 9_000)] {
        house.source.add_exemplar_of(&tenant(name), series(job), exemplar(&format!("{name}{job}{ts}"), ts));
    }
    let engine = house.engine(EngineSettings::default());
    let ask = |request: &RequestContext, expr: &str| {
        let query = ExemplarQuery { expr: expr.into(), range: TimeRange::new(0, 5_000) };
        house.runtime.block_on(engine.exemplars(request, &query))
    };
    let shown = |request: &RequestContext, expr: &str| {
        let answer = ask(request, expr).unwrap();
        assert!(answer.selects);
        let one = |series: &promontory_promql::engine::SeriesExemplars| {
            format!("{} {}", series.labels, series.exemplars[0].labels.get("trace_id").unwrap())
        };
        answer.series.iter().map(one).collect::<Vec<_>>()
    };
    let (one, both) = (RequestContext::new(tenant("a")), RequestContext::new(Tenants::parse("a|b").unwrap()));
    assert_eq!(shown(&one, "up"), [r#"up{job="x"} ax1000"#, r#"up{job="y"} ay2000"#]);
    assert_eq!(shown(&one, r#"rate(up{job="y"}[5m]) / up{job=~"y|z"}"#), [r#"up{job="y"} ay2000"#]);
    assert_eq!(
        shown(&both, r#"up{job="x"} or nothing"#),
        [r#"up{__tenant_id__="a", job="x"} ax1000"#, r#"up{__tenant_id__="b", job="x"} bx3000"#]
    );
    assert_eq!(shown(&both, r#"up{__tenant_id__="b"}"#), [r#"up{__tenant_id__="b", job="x"} bx3000"#]);
    let policy = LabelPolicy { matchers: vec![Matcher::equal("job", "y")] };
    assert_eq!(shown(&one.with_label_policy(policy), "up or {job=\"x\"}"), [r#"up{job="y"} ay2000"#]);
    assert!(!ask(&both, "1 + 1").unwrap().selects);
    let error = ask(&both, "").unwrap_err();
    assert_eq!(
        error,
        EngineError::Invalid("unknown position: parse error: no expression found in input".into())
    );
}

#[test]
fn metadata_of_several_tenants_is_the_union() {
    let house = House::new(0, 0, 0);
    let entry =
        |help: &str| MetricMetadata { kind: MetricKind::Gauge, help: help.into(), unit: String::new() };
    for (tenant, metric, help) in
        [("a", "up", "h"), ("b", "up", "h"), ("b", "up", "other"), ("b", "load", "l")]
    {
        house.source.add_metadata_of(&TenantId::new(tenant).unwrap(), metric, entry(help));
    }
    let engine = house.engine(EngineSettings::default());
    let ask = |tenants: &str, metric: Option<&str>| {
        let request = RequestContext::new(Tenants::parse(tenants).unwrap());
        let found = house.runtime.block_on(engine.metadata(&request, metric)).unwrap();
        found.iter().map(|(name, all)| (name.clone(), all.len())).collect::<Vec<_>>()
    };
    assert_eq!(ask("a", None), [("up".to_owned(), 1)]);
    assert_eq!(ask("a|b", None), [("load".to_owned(), 1), ("up".to_owned(), 2)]);
    assert_eq!(ask("a|b", Some("load")), [("load".to_owned(), 1)]);
    assert_eq!(ask("a|b|c", Some("none")), []);
}
