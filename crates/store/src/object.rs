//! The object store as the protocol sees it: keys, requests with a bound, bytes with a checksum.
//!
//! Nothing here knows what a catalog is.

pub(crate) mod bucket;
pub(crate) mod context;
pub(crate) mod counted;
mod durable;
pub(crate) mod encoding;
pub(crate) mod first_request;
pub(crate) mod format;
pub(crate) mod keys;
pub(crate) mod requests;
pub(crate) mod self_test;
pub(crate) mod verified;
