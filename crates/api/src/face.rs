//! What every HTTP face needs, whatever it serves: Prometheus' API, SQL, later OTLP, rules, a web page.
//!
//! A face is a table of routes with their handlers ([`HttpRoute`], [`Face`]); [`mount`] makes one router of
//! the faces of a process and puts around it what all share. This folder does not know: the doors
//! `Append` and `Engine`, nor any route but the home page, which another face may replace.
//!
//! In reading order: `state` (what all stand on), `route`, `paths` and `mount` (which path leads where), `home`,
//! `gate`, `layers` and `counters` (what happens around a handler), `tenant`, `body`, `form`, `params` and
//! `question` (requests), `admission`, `json`, `document` and `envelope` (answers).

mod admission;
mod body;
mod counters;
mod document;
mod envelope;
mod form;
mod gate;
mod home;
pub(crate) mod json;
mod layers;
mod mount;
mod params;
mod paths;
mod question;
mod route;
mod state;
mod tenant;

pub(crate) use admission::HeldBytes;
pub(crate) use body::{BodyError, discard_body, late, read_body};
pub use counters::Counters;
pub(crate) use counters::{WriteRefusal, add};
pub(crate) use document::separated;
pub use document::{Items, while_read};
pub use envelope::{ApiError, ErrorType, success_parts};
pub(crate) use envelope::{RETRY_AFTER_SECONDS, TRUNCATED, plain, success};
pub use form::{Form, media_type, not_utf8, read_form_body};
pub use mount::mount;
pub(crate) use params::{Time, format_rfc3339, parse_duration, parse_int};
pub use question::{check_length, request_context};
pub use route::{Door, Face, HttpRoute, Methods};
#[cfg(test)]
pub(crate) use route::{Row, Served};
pub use state::FaceState;
pub use tenant::{AskedTenants, Tenant};
