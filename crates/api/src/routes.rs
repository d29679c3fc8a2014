//! Which path leads where.
//!
//! Outermost first, a request passes: counters, panics, compression, CORS, and for the API
//! readiness. Unknown paths answer 404 and known ones with another method 405, as Prometheus' router
//! does.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use promontory_promql::Engine;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::respond::{ApiError, ErrorType, plain};
use crate::{ApiState, metadata, middleware, query, status, write};

/// What every handler sees.
pub type Api = ApiState;

impl Api {
    pub(crate) fn engine(&self) -> Result<&Arc<dyn Engine>, ApiError> {
        let missing = "this process answers no queries: ask one that runs with --role=all or --role=querier";
        self.engine.as_ref().ok_or_else(|| ApiError::new(ErrorType::NotFound, missing))
    }
}

/// The faces. `others` are routes below `/api/v1`, under the same counters, compression, CORS and
/// readiness; the binary merges its own routes (`/metrics`) beside all.
pub fn router(api: Arc<ApiState>, others: Router) -> Router {
    let v1 = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/format_query", get(query::format).post(query::format))
        .route("/labels", get(metadata::labels).post(metadata::labels))
        .route("/label/{name}/values", get(metadata::label_values))
        .route("/series", get(metadata::series).post(metadata::series))
        .route("/metadata", get(metadata::metrics))
        .route("/status/buildinfo", get(status::build_info))
        .route("/status/runtimeinfo", get(status::runtime_info))
        .route("/status/flags", get(status::flags))
        .route("/status/config", get(status::config))
        .route("/write", post(write::remote_write))
        .merge(others.with_state(()))
        .route_layer(from_fn_with_state(api.clone(), middleware::ready));
    Router::new()
        .nest("/api/v1", v1)
        .route("/", get(status::home))
        .route("/version", get(status::version))
        .route("/-/healthy", get(status::healthy))
        .route("/-/ready", get(status::ready).route_layer(from_fn_with_state(api.clone(), middleware::ready)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(api.clone(), middleware::cors))
        // The fastest level: the network in a cluster is quicker than a better compression.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn_with_state(api.clone(), middleware::count))
        .with_state(api)
}

async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found")
}

async fn method_not_allowed() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
