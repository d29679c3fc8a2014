//! The faces against doors that are made up: which request reaches a door as what, and which answer
//! becomes which bytes.

mod connection;
mod faces;
mod listing;
mod query;
mod routes;
mod write;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use promontory_model::append::{AppendError, Appended, BoxFuture, Urgency};
use promontory_model::samples::{SampleValue, Samples};
use promontory_model::{Append, Batch, Clock, Exemplar, Floats, Labels, MetricMetadata, TenantId};
use promontory_promql::Engine;
use promontory_promql::engine::{
    Annotations, Answer, Dependencies, EngineError, ExemplarAnswer, ExemplarQuery, Explanation, InstantQuery,
    Listing, ListingQuery, Price, Question, RangeQuery, RequestContext, Sample, SampleStream, SamplesQuery,
    Series, SeriesExemplars, Statistics, Value,
};
use tower::ServiceExt as _;

use crate::{ApiSettings, ApiState, Counters, Face, FaceState, Readiness, ReadyState, mount};

/// 2026-11-23T01:02:03.456Z
const NOW_MS: i64 = 1_795_395_723_456;

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
}

/// Answers what it was told to, and remembers what it was asked.
struct FakeEngine {
    answer: Mutex<Result<Answer, EngineError>>,
    labels: Mutex<Listing<Labels>>,
    strings: Mutex<Listing<String>>,
    metadata: Mutex<Vec<(String, Vec<MetricMetadata>)>>,
    exemplars: Mutex<ExemplarAnswer>,
    asked: Mutex<Vec<String>>,
    /// Kept by every answer until it was read.
    place: Arc<()>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self {
            answer: Mutex::new(Ok(answer(Value::Vector(Vec::new())))),
            labels: Mutex::new(listing(Vec::new())),
            strings: Mutex::new(listing(Vec::new())),
            metadata: Mutex::default(),
            exemplars: Mutex::default(),
            asked: Mutex::default(),
            place: Arc::default(),
        }
    }
}

impl FakeEngine {
    fn ask(&self, context: &RequestContext, what: String) {
        let timeout = context.timeout.map(|timeout| format!(" timeout {timeout:?}")).unwrap_or_default();
        self.asked.lock().unwrap().push(format!("{}: {what}{timeout}", context.tenants));
        let until_read = context.until_read.as_ref().expect("every face reads its answers to their end");
        until_read.keep(Arc::clone(&self.place));
    }
}

impl Engine for FakeEngine {
    fn instant<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a InstantQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>> {
        let lookback = query.lookback_delta.map(|delta| format!(" lookback {delta:?}")).unwrap_or_default();
        self.ask(context, format!("{} @ {}{lookback}", query.expr, query.time));
        assert_ne!(query.expr, "panic", "what a panic says");
        Box::pin(async move {
            if query.expr == "pending" {
                std::future::pending::<()>().await;
            }
            self.answer.lock().unwrap().clone()
        })
    }

    fn range<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a RangeQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>> {
        let lookback = query.lookback_delta.map(|delta| format!(" lookback {delta:?}")).unwrap_or_default();
        let RangeQuery { expr, start, end, step, .. } = query;
        self.ask(context, format!("{expr} @ {start}..{end}/{step}{lookback}"));
        Box::pin(async move { self.answer.lock().unwrap().clone() })
    }

    fn series<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<Labels>, EngineError>> {
        Box::pin(async move {
            let (query, _) = query.clone().parsed()?;
            self.ask(context, format!("series {}", asked_listing(&query)));
            Ok(self.labels.lock().unwrap().clone())
        })
    }

    fn label_names<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>> {
        Box::pin(async move {
            let (query, _) = query.clone().parsed()?;
            self.ask(context, format!("names {}", asked_listing(&query)));
            Ok(self.strings.lock().unwrap().clone())
        })
    }

    fn label_values<'a>(
        &'a self,
        context: &'a RequestContext,
        name: &'a str,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>> {
        Box::pin(async move {
            let (query, _) = query.clone().parsed()?;
            self.ask(context, format!("values of {name} {}", asked_listing(&query)));
            Ok(self.strings.lock().unwrap().clone())
        })
    }

    fn metadata<'a>(
        &'a self,
        context: &'a RequestContext,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<(String, Vec<MetricMetadata>)>, EngineError>> {
        self.ask(context, format!("metadata {metric:?}"));
        Box::pin(async move { Ok(self.metadata.lock().unwrap().clone()) })
    }

    fn exemplars<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ExemplarQuery,
    ) -> BoxFuture<'a, Result<ExemplarAnswer, EngineError>> {
        let ExemplarQuery { expr, range } = query;
        self.ask(context, format!("exemplars of {expr} {}..{}", range.start, range.end));
        Box::pin(async move {
            self.answer.lock().unwrap().clone()?;
            Ok(self.exemplars.lock().unwrap().clone())
        })
    }

    fn samples<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a SamplesQuery,
    ) -> BoxFuture<'a, Result<SampleStream, EngineError>> {
        Box::pin(async { Err(EngineError::Bug("no face asks for raw samples".into())) })
    }

    fn format<'a>(
        &'a self,
        _: &'a RequestContext,
        expr: &'a str,
    ) -> BoxFuture<'a, Result<String, EngineError>> {
        Box::pin(async move { Ok(promontory_promql::parse(expr, &Default::default())?.pretty()) })
    }

    fn explain<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a Question,
    ) -> BoxFuture<'a, Result<Explanation, EngineError>> {
        Box::pin(async { Ok(Explanation::default()) })
    }

    fn price<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a Question,
    ) -> BoxFuture<'a, Result<Price, EngineError>> {
        Box::pin(async { Ok(Price::default()) })
    }
}

fn asked_listing(query: &ListingQuery) -> String {
    format!("{:?} {}..{} limit {}", query.matcher_sets, query.range.start, query.range.end, query.limit)
}

/// Takes everything, or answers what it was told to; remembers tenants and batches.
#[derive(Default)]
struct FakeAppend {
    answer: Mutex<Option<Result<Appended, AppendError>>>,
    taken: Mutex<Vec<(String, Batch)>>,
    /// While it is locked, no answer is given.
    gate: tokio::sync::Mutex<()>,
}

impl Append for FakeAppend {
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: Batch,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        assert_eq!(urgency, Urgency::Batched);
        Box::pin(async move {
            drop(self.gate.lock().await);
            let samples = batch.samples.len() as u64;
            self.taken.lock().unwrap().push((tenant.to_string(), batch));
            let answer = self.answer.lock().unwrap().clone();
            answer.unwrap_or_else(|| Ok(Appended { samples, ..Appended::default() }))
        })
    }
}

struct Faces {
    engine: Arc<FakeEngine>,
    append: Arc<FakeAppend>,
    counters: Arc<Counters>,
    readiness: Readiness,
    router: Router,
}

impl Faces {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(configure: impl FnOnce(&mut ApiSettings)) -> Self {
        Self::and_others(configure, Vec::new())
    }

    /// The same with faces of other crates behind them.
    fn and_others(configure: impl FnOnce(&mut ApiSettings), others: Vec<Face>) -> Self {
        let mut config = ApiSettings::default();
        configure(&mut config);
        let (engine, append) = (Arc::new(FakeEngine::default()), Arc::new(FakeAppend::default()));
        let (counters, readiness) = (Arc::new(Counters::default()), Readiness::new(ReadyState::Ready));
        let face = FaceState { config, counters: counters.clone(), readiness: readiness.clone() };
        let state = ApiState {
            append: Some(append.clone()),
            engine: Some(engine.clone()),
            clock: Arc::new(FixedClock),
            face: Arc::new(face),
            decoding: ApiState::decoding_places(),
        };
        let faces = std::iter::once(crate::routes(&state)).chain(others).collect();
        Self { engine, append, counters, readiness, router: mount(&state.face, faces) }
    }

    /// The same in a process whose roles have no door.
    fn without_doors(self, others: Vec<Face>) -> Self {
        let face = FaceState {
            config: ApiSettings::default(),
            counters: Arc::default(),
            readiness: self.readiness.clone(),
        };
        let state = ApiState {
            append: None,
            engine: None,
            clock: Arc::new(FixedClock),
            face: Arc::new(face),
            decoding: ApiState::decoding_places(),
        };
        let faces = std::iter::once(crate::routes(&state)).chain(others).collect();
        Self { router: mount(&state.face, faces), ..self }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, bytes: bytes.to_vec() }
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send(Request::get(uri).body(Body::empty()).unwrap()).await
    }

    async fn post_form(&self, uri: &str, form: &str) -> Reply {
        let request = Request::post(uri).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// What the engine was asked since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.engine.asked.lock().unwrap())
    }

    fn will_answer(&self, value: Value) {
        *self.engine.answer.lock().unwrap() = Ok(answer(value));
    }
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    fn is(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, text));
    }

    #[track_caller]
    fn is_error(&self, status: u16, kind: &str, text: &str) {
        let json = self.json();
        let expected = serde_json::json!({ "status": "error", "errorType": kind, "error": text });
        assert_eq!((self.status.as_u16(), json), (status, expected));
        assert_eq!(self.header("content-type"), "application/json");
    }
}

fn answer(value: Value) -> Answer {
    Answer {
        value,
        annotations: Annotations::default(),
        statistics: Statistics::default(),
        dependencies: Dependencies::default(),
    }
}

fn listing<T>(items: Vec<T>) -> Listing<T> {
    Listing { items, truncated: false, annotations: Annotations::default() }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn sample(pairs: &[(&str, &str)], ts: i64, value: f64) -> Sample {
    Sample { labels: labels(pairs), ts, value: SampleValue::Float(value) }
}

fn one_series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> Series {
    Series { labels: labels(pairs), samples: samples.iter().copied().collect::<Floats>().into() }
}
