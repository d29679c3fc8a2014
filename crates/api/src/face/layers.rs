//! What happens around every handler: counting, panics, CORS, readiness.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::callers::CorsOrigin;
use crate::face::counters::{Counters, HandlerCounters, PREFLIGHT, UNKNOWN};
use crate::face::envelope::{ApiError, ErrorType, RETRY_AFTER_SECONDS};
use crate::face::route::{Callers, Row};
use crate::face::state::FaceState;
use crate::readiness::ReadyState;

const STOPPING: HeaderName = HeaderName::from_static("x-prometheus-stopping");

/// The counters of each route, found once when the router is made.
#[derive(Clone)]
pub(crate) struct Counted {
    by_path: Arc<HashMap<&'static str, Arc<HandlerCounters>>>,
    preflight: Arc<HandlerCounters>,
    unknown: Arc<HandlerCounters>,
}

impl Counted {
    pub(crate) fn new(counters: &Counters, rows: &[Row]) -> Self {
        let by_path = rows.iter().map(|row| (row.path, counters.handler(row.path))).collect();
        let (preflight, unknown) = (counters.handler(PREFLIGHT), counters.handler(UNKNOWN));
        Self { by_path: Arc::new(by_path), preflight, unknown }
    }

    fn of(&self, request: &Request) -> Arc<HandlerCounters> {
        if request.method() == Method::OPTIONS {
            return Arc::clone(&self.preflight);
        }
        let path = request.extensions().get::<MatchedPath>();
        let found = path.and_then(|path| self.by_path.get(path.as_str()));
        Arc::clone(found.unwrap_or(&self.unknown))
    }
}

/// Counts the request when its answer is ready, and also when it goes away before.
pub(crate) async fn count(State(counted): State<Counted>, request: Request, next: Next) -> Response {
    let mut counting = Counting { counters: counted.of(&request), start: Instant::now(), code: 499 };
    let response = next.run(request).await;
    counting.code = response.status().as_u16();
    response
}

struct Counting {
    counters: Arc<HandlerCounters>,
    start: Instant,
    code: u16,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.counters.request(self.code, self.start.elapsed());
    }
}

/// The answer to a request whose handler panicked.
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    tracing::error!(panic = text, "a handler panicked");
    // What a panic says may hold data of others.
    ApiError::new(ErrorType::Internal, "unexpected error in the request handler").into_response()
}

/// Which origins may read what, found once when the router is made.
#[derive(Clone)]
pub(crate) struct Cors {
    state: Arc<FaceState>,
    closed: Arc<[&'static str]>,
}

impl Cors {
    pub(crate) fn new(state: Arc<FaceState>, rows: &[Row]) -> Self {
        let closed = rows.iter().filter(|row| row.callers == Callers::Programs).map(|row| row.path);
        Self { state, closed: closed.collect() }
    }

    fn is_closed(&self, request: &Request) -> bool {
        let path = request.extensions().get::<MatchedPath>();
        path.is_some_and(|path| self.closed.contains(&path.as_str()))
    }
}

/// Lets web pages of allowed origins read what the API answers, and answers their preflights, also
/// those of paths that do not exist.
pub(crate) async fn cors(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/v1/") {
        return next.run(request).await;
    }
    let origin = request.headers().get(header::ORIGIN).filter(|_| !cors.is_closed(&request)).cloned();
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        allow_origin(&cors.state.config.cors_origin, origin, response.headers_mut());
    }
    response
}

/// Source: prometheus v3.16 `util/httputil/cors.go`.
fn allow_origin(allowed: &CorsOrigin, origin: HeaderValue, headers: &mut HeaderMap) {
    let always = [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let value = match allowed {
        CorsOrigin::Any => HeaderValue::from_static("*"),
        named if origin.to_str().is_ok_and(|origin| named.names(origin)) => origin,
        _ => return,
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
}

/// Lets requests through while the process serves.
pub(crate) async fn ready(State(state): State<Arc<FaceState>>, request: Request, next: Next) -> Response {
    let stopping = match state.readiness.get() {
        ReadyState::Ready => return next.run(request).await,
        ReadyState::NotReady => "false",
        ReadyState::Stopping => "true",
    };
    let headers = [(STOPPING, stopping), (header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (StatusCode::SERVICE_UNAVAILABLE, headers, "Service Unavailable").into_response()
}
