//! The meaning of PromQL: parser, printer, types, function table, kernels on slices, annotations,
//! the test language, and the door [`Engine`].
//!
//! This crate does not know: Arrow, DataFusion, tokio, HTTP, where samples lie.

pub mod annotations;
pub mod ast;
pub mod duration;
pub mod engine;
pub mod functions;
pub mod grid;
pub mod kernels;
pub mod lexer;
pub mod parser;
pub mod printer;
pub mod testlang;
pub mod types;

pub use engine::Engine;
