//! The meaning of PromQL: parser, printer, function table, kernels on slices, annotations, the test
//! language, and the door [`Engine`].
//!
//! This crate does not know: Arrow, DataFusion, tokio, HTTP, where samples lie.
//!
//! In reading order; each module uses only those above it:
//! - `types`, `grid`: the types of values; the times at which an expression is evaluated.
//! - `go`: numbers as Go reads and writes them, which label values and texts follow.
//! - [`kernels`]: the arithmetic on slices. `rate` is in `kernels/range/rate.rs`.
//! - `functions`: every function and aggregation once, with its name, its signature and its kernel.
//! - [`ast`], `duration`: the syntax tree, and durations that are computed.
//! - `lexer`, `parser`: from text to a checked tree; `printer`: back to text.
//! - [`engine`]: the door for questions, and the answers.
//! - `annotations`: the warnings and infos of an answer.
//! - [`testlang`]: the scripts that Prometheus tests its engine with.

mod types;
mod grid;
mod go;

pub mod kernels;

mod functions;

pub mod ast;
mod duration;

mod lexer;
mod parser;
mod printer;

pub mod engine;
mod annotations;

pub mod testlang;

pub use annotations::{Annotation, AnnotationCollector, AnnotationSet, looks_like_counter};
pub use duration::{format_duration, parse_duration};
pub use engine::Engine;
pub use functions::{
    AGGREGATIONS, AggregateKernel, Aggregation, Arity, ClampBounds, FUNCTIONS, Function, Kernel,
    NativeFunction, Property, QueryTime, SortDirection,
};
pub use go::{format_general, parse_float};
pub use grid::{Grid, GridRow, Validity};
pub use parser::{
    ParseError, ParserSettings, parse, parse_counted, parse_metric_selector, parse_metric_selectors,
};
pub use types::ValueType;
