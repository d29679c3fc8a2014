//! What happens around every handler: counting, panics, CORS, readiness.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::config::CorsOrigin;
use crate::counters::Counters;
use crate::readiness::ReadyState;
use crate::respond::{ApiError, ErrorType, RETRY_AFTER_SECONDS};
use crate::routes::Api;

const STOPPING: HeaderName = HeaderName::from_static("x-prometheus-stopping");

/// Counts the request when its answer is ready, and also when it goes away before.
pub(crate) async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let preflight = request.method() == Method::OPTIONS;
    let mut counting =
        Counting { counters: api.counters.clone(), path, preflight, start: Instant::now(), code: 499 };
    let response = next.run(request).await;
    counting.code = response.status().as_u16();
    response
}

struct Counting {
    counters: Arc<Counters>,
    path: Option<MatchedPath>,
    preflight: bool,
    start: Instant,
    code: u16,
}

impl Drop for Counting {
    fn drop(&mut self) {
        let path = self.path.as_ref().map_or("unknown", MatchedPath::as_str);
        let handler = if self.preflight { "cors preflight" } else { path };
        self.counters.request(handler, self.code, self.start.elapsed());
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

/// Lets web pages of allowed origins read what the API answers, and answers their preflights. Write
/// requests do not come from web pages.
pub(crate) async fn cors(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !path.starts_with("/api/v1/") || path == "/api/v1/write" {
        return next.run(request).await;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match *request.method() {
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        allow_origin(&api.config.cors_origin, origin, response.headers_mut());
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
    let matches = |origin: &HeaderValue, pattern: &promontory_model::re2::Re2| {
        origin.to_str().is_ok_and(|origin| pattern.is_match(origin))
    };
    let value = match allowed {
        CorsOrigin::Any => HeaderValue::from_static("*"),
        CorsOrigin::Pattern(pattern) if matches(&origin, pattern) => origin,
        CorsOrigin::Pattern(_) => return,
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
}

/// Lets requests through while the process serves.
pub(crate) async fn ready(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let stopping = match api.readiness.get() {
        ReadyState::Ready => return next.run(request).await,
        ReadyState::NotReady => "false",
        ReadyState::Stopping => "true",
    };
    let headers = [(STOPPING, stopping), (header::RETRY_AFTER, RETRY_AFTER_SECONDS)];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (StatusCode::SERVICE_UNAVAILABLE, headers, "Service Unavailable").into_response()
}
