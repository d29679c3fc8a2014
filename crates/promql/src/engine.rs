//! The door `Engine`: answers in plain types, so that a face needs no Arrow.
//!
//! Words: a *listing* names series, label names or label values; *metadata* is only what targets say
//! about metrics: type, help, unit.
//!
//! In reading order: `request` (what is asked, by whom, within which bounds), `answer`, `error`, then
//! the door itself.

mod answer;
mod error;
mod request;

use promontory_model::Labels;
pub use promontory_model::append::BoxFuture;

pub use answer::{
    Annotations, Answer, CHUNK_SAMPLES_MAX, Dependencies, ExemplarAnswer, Explanation, Listing,
    MetadataByMetric, Price, Sample, SampleStream, Series, SeriesChunk, SeriesExemplars, Statistics, Value,
    WindowEpochs,
};
pub use error::EngineError;
pub use request::{
    Caller, ExemplarQuery, InstantQuery, LabelPolicy, ListingQuery, LoweredLimits, Question, RangeQuery,
    RequestContext, ResultCache, SamplesQuery, UntilRead,
};

/// The door for questions.
pub trait Engine: Send + Sync {
    /// Evaluates an expression at one time.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn instant<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a InstantQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>>;

    /// Evaluates an expression over a grid.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn range<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a RangeQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>>;

    /// The label sets of matching series, sorted in Prometheus' order.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn series<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<Labels>, EngineError>>;

    /// The label names of matching series, sorted.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn label_names<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>>;

    /// The values of one label over matching series, sorted.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn label_values<'a>(
        &'a self,
        context: &'a RequestContext,
        name: &'a str,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>>;

    /// Metadata by metric name, sorted by it; may be empty.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn metadata<'a>(
        &'a self,
        context: &'a RequestContext,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, Result<MetadataByMetric, EngineError>>;

    /// The exemplars of the series that the selectors of an expression match.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn exemplars<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ExemplarQuery,
    ) -> BoxFuture<'a, Result<ExemplarAnswer, EngineError>>;

    /// The samples of a selection as they were sent, as a stream that holds little of them at a time.
    ///
    /// The stream keeps a place among the running queries and ends at the timeout, as a query does.
    ///
    /// # Errors
    /// [`EngineError`] by kind, if nothing can be selected; the stream has an error of its own.
    fn samples<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a SamplesQuery,
    ) -> BoxFuture<'a, Result<SampleStream, EngineError>>;

    /// An expression over several lines, as Prometheus' `format_query` answers it.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn format<'a>(
        &'a self,
        context: &'a RequestContext,
        expr: &'a str,
    ) -> BoxFuture<'a, Result<String, EngineError>>;

    /// How a query would be answered now. Series are looked up, samples are not read.
    ///
    /// # Errors
    /// Those that the query would meet before its first sample.
    fn explain<'a>(
        &'a self,
        context: &'a RequestContext,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<Explanation, EngineError>>;

    /// What a query would cost now. Series are looked up, samples are not read.
    ///
    /// # Errors
    /// As [`Self::explain`]; a query that would hold too much memory has a price, if its series do not.
    fn price<'a>(
        &'a self,
        context: &'a RequestContext,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<Price, EngineError>>;
}
