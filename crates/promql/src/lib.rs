//! The meaning of PromQL: parser, printer, types, function table, kernels on slices, annotations,
//! the test language, and the door [`Engine`].
//!
//! This crate does not know: Arrow, DataFusion, tokio, HTTP, where samples lie.

pub mod engine;

pub use engine::Engine;
