//! The SQL faces: `/api/v1/sql` over HTTP with JSON.
//!
//! This crate does not know: how a statement is planned or run (that is `promontory_query`), where
//! samples lie, how a tenant is named in a request (that is `promontory_api`, whose envelope, errors
//! and limits this face shares).
//!
//! In reading order: `http` (requests), `json` (answers).

mod http;
mod json;

pub use http::{SqlSettings, SqlState, routes};
