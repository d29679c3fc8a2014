//! A store that fails, in words that are not for clients, at any step and by any way to the engine.

use futures::StreamExt as _;
use promontory_promql::engine::{ExemplarQuery, SamplesQuery};
use promontory_query::SqlQuery;

use super::tapped::{Step, Tap, Tapped};
use super::*;

/// Parts of what a store said.
const SECRETS: [&str; 3] = ["AKIDOFOURS", "our-bucket", "StringToSign"];

fn denied() -> StoreError {
    StoreError::Unavailable {
        action: "read blocks/x".into(),
        source: object_store::Error::PermissionDenied {
            path: "our-bucket/blocks/x".into(),
            source: "403: AKIDOFOURS, StringToSign".into(),
        },
    }
}

/// Fails at this step, and where it is asked for exemplars or metadata.
#[derive(Clone, Debug)]
struct FailsAt(Step);

impl Tap for FailsAt {
    fn before(&self, step: Step) -> Result<(), StoreError> {
        let fails = step == self.0 || matches!(step, Step::Exemplars | Step::Metadata);
        if fails { Err(denied()) } else { Ok(()) }
    }
}

#[track_caller]
fn check<T>(what: &str, answer: Result<T, EngineError>) {
    let error = answer.err().unwrap_or_else(|| panic!("{what}: no error"));
    assert!(matches!(error, EngineError::Unavailable(_)), "{what}: {error:?}");
    let text = error.to_string();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what}: {text}");
    }
    let expected = "cannot read blocks/x: the store refuses: access denied; the log names it as incident ";
    assert!(text.contains(expected), "{what}: {text}");
}

async fn first_error(engine: &QueryEngine, query: &SamplesQuery) -> Result<(), EngineError> {
    let mut stream = engine.samples(&context(), query).await?;
    while let Some(chunk) = stream.next().await {
        chunk?;
    }
    Ok(())
}

#[test]
fn no_way_to_the_engine_tells_what_the_store_said() {
    let house = House::new(1, 2, 10);
    let temperature = || vec![vec![Matcher::equal("__name__", "temperature")]];
    for step in [Step::Snapshot, Step::Select, Step::Read] {
        let inner: Arc<dyn SampleSource> = Arc::clone(&house.source) as _;
        let source = Arc::new(Tapped { tap: FailsAt(step), inner });
        let runtime = house.runtime.handle().clone();
        let engine = QueryEngine::new(source, EngineSettings::default(), runtime).unwrap();
        house.runtime.block_on(async {
            let context = context();
            let what = |way: &str| format!("{way} at {step:?}");
            for expr in ["temperature", "topk(1, temperature) + on (instance) temperature", "temperature[1m]"]
            {
                let query = InstantQuery { expr: expr.into(), time: 60_000, lookback_delta: None };
                check(&what(expr), engine.instant(&context, &query).await);
            }
            check(&what("range"), engine.range(&context, &hour("sum(rate(temperature[5m]))")).await);
            for text in [
                "SELECT * FROM samples WHERE name = 'temperature'",
                "SELECT count(*) FROM samples a JOIN samples b ON a.name = b.name",
            ] {
                let query = SqlQuery { text: text.into(), rows_max: 1_000 };
                check(&what(text), engine.sql(&context, &query).await);
            }
            let samples = SamplesQuery { matcher_sets: temperature(), range: TimeRange::ALL };
            check(&what("samples"), first_error(&engine, &samples).await);
            let exemplars = ExemplarQuery { expr: "temperature".into(), range: TimeRange::ALL };
            check(&what("exemplars"), engine.exemplars(&context, &exemplars).await);
            check(&what("metadata"), engine.metadata(&context, None).await);
            if step != Step::Read {
                let listing = ListingQuery {
                    matcher_sets: temperature(),
                    selectors: Vec::new(),
                    range: TimeRange::ALL,
                    limit: 0,
                };
                check(&what("series"), engine.series(&context, &listing).await);
                check(&what("labels"), engine.label_names(&context, &listing).await);
                check(&what("values"), engine.label_values(&context, "job", &listing).await);
                check(
                    &what("explain"),
                    engine.explain(&context, &Question::Range(hour("temperature"))).await,
                );
            }
        });
    }
}
