//! Prometheus' HTTP faces over the doors [`Append`] and [`Engine`].
//!
//! This crate does not know: where samples lie, how a query is planned, Arrow, which roles run. It
//! turns requests into calls of the two doors and their answers into what Prometheus 3.16 would say:
//! the same paths, parameters, texts, status codes and JSON, byte for byte where clients look.
//!
//! In reading order: `callers`, `config` and `readiness` (what the binary hands in), `face` (what this and every
//! other HTTP face needs, and how faces are mounted together), `state` (the doors), `routes` (the table:
//! which path leads where), `query`, `listing`, `cardinality`, `status`, `absent` and `write` (the handlers).
//!
//! Invariants:
//! - The tenant is settled here, once, as a checked [`promontory_model::TenantId`].
//! - No handler blocks: large bodies are decoded on the blocking pool, large answers are written in
//!   parts between which other requests run.
//! - Every buffer has a bound: bodies, forms, query texts, and all write requests together.
//! - A request that goes away drops its future, and with it the query.
//!
//! Source: prometheus v3.16 `web/api/v1/api.go`, `web/web.go`, `storage/remote/write_handler.go`.

mod callers;
mod config;
mod readiness;

mod face;
mod state;

mod absent;
mod cardinality;
mod listing;
mod query;
mod routes;
mod status;
mod write;

pub use callers::{AllowedHosts, CorsOrigin, HOSTS_FLAG, ORIGIN_FLAG};
pub use config::{ApiSettings, BuildInfo, LIMIT_FLAGS, RuntimeInfo};
pub use face::{
    ApiError, AskedTenants, Counters, Door, ErrorType, Face, FaceState, Form, HttpRoute, Items, Methods,
    Tenant, check_length, media_type, mount, not_utf8, read_form_body, request_context, success_parts,
    while_read,
};
pub use readiness::{Readiness, ReadyState};
pub use routes::routes;
pub use state::ApiState;

#[cfg(test)]
mod tests;
