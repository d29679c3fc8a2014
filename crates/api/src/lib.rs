//! Prometheus' HTTP faces over the doors [`Append`] and [`Engine`].
//!
//! This crate does not know: where samples lie, how a query is planned, Arrow, which roles run. It
//! turns requests into calls of the two doors and their answers into what Prometheus 3.16 would say:
//! the same paths, parameters, texts, status codes and JSON, byte for byte where clients look.
//!
//! In reading order: [`config`] and [`readiness`] (what the binary hands in), [`counters`] (what it
//! exports), `routes` (which path leads where), `form` and `params` (requests), `json`, `document`
//! and `respond` (responses), `query`, `metadata`, `status` and `write` (the handlers), `tenant`,
//! `admission` and `middleware`. What other faces of the same API share with these is exported: the
//! tenant, the envelope, errors and parameters.
//!
//! Invariants:
//! - The tenant is settled here, once, as a checked [`promontory_model::TenantId`].
//! - No handler blocks: large bodies are decoded on the blocking pool, large answers are written in
//!   parts between which other requests run.
//! - Every buffer has a bound: bodies, forms, query texts, and all write requests together.
//! - A request that goes away drops its future, and with it the query.
//!
//! Source: prometheus v3.16 `web/api/v1/api.go`, `web/web.go`, `storage/remote/write_handler.go`.

pub mod config;
pub mod counters;
pub mod readiness;

mod admission;
mod document;
mod form;
mod json;
mod metadata;
mod middleware;
mod params;
mod query;
mod respond;
mod routes;
mod status;
mod tenant;
mod write;

use std::sync::Arc;

use promontory_model::{Append, Clock};
use promontory_promql::Engine;

pub use config::{ApiConfig, BuildInfo, CorsOrigin, RuntimeInfo};
pub use counters::Counters;
pub use document::Items;
pub use form::{Form, media_type, not_utf8, read_form_body};
pub use query::{check_length, request_context};
pub use readiness::{Readiness, ReadyState};
pub use respond::{ApiError, ErrorType, success_parts};
pub use routes::router;
pub use tenant::Tenant;

/// What the faces stand on.
#[derive(Clone)]
pub struct ApiState {
    /// The door for samples; `None` in a role that takes none.
    pub append: Option<Arc<dyn Append>>,
    /// The door for questions; `None` in a role that answers none.
    pub engine: Option<Arc<dyn Engine>>,
    /// Limits and texts.
    pub config: ApiConfig,
    /// What happened; the binary exports it.
    pub counters: Arc<Counters>,
    /// Whether requests are served yet, or still.
    pub readiness: Readiness,
    /// The default evaluation time of an instant query.
    pub clock: Arc<dyn Clock>,
}

#[cfg(test)]
mod tests;
