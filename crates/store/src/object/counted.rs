//! Counts every request to the object store by operation and component, with bytes, errors and time.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::time::Instant;

/// The client of the bucket that asks; a label value of request counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Catalog, slots, marks.
    Metadata,
    /// Range reads of blocks.
    Reads,
    /// Uploads of blocks.
    Uploads,
}

/// A kind of request; a label value of request counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes an object; of an upload in parts only its beginning is counted.
    Put,
    /// Reads an object or one range of it.
    Get,
    /// Reads an object's size and times.
    Head,
    /// Lists a prefix; counted once, however many pages it has.
    List,
    /// Deletes one object.
    Delete,
    /// Copies an object inside the store.
    Copy,
}

impl Component {
    /// All components, in order of their counters.
    pub const ALL: [Self; 3] = [Self::Metadata, Self::Reads, Self::Uploads];

    /// The value of the label that request counters carry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["metadata", "reads", "uploads"][self as usize]
    }
}

impl Operation {
    /// All operations, in order of their counters.
    pub const ALL: [Self; 6] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete, Self::Copy];

    /// The value of the label that request counters carry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["put", "get", "head", "list", "delete", "copy"][self as usize]
    }
}

#[derive(Debug, Default)]
pub struct RequestCounter {
    /// Requests begun.
    pub requests: AtomicU64,
    /// Requests that failed; an object that is absent or already there is an answer, not a failure.
    pub errors: AtomicU64,
    /// Bytes of bodies, sent or received.
    pub bytes: AtomicU64,
    /// Microseconds until the answer's head.
    pub micros: AtomicU64,
}

/// Counters of all components and operations.
#[derive(Debug, Default)]
pub struct RequestCounters {
    counters: [[RequestCounter; 6]; 3],
}

impl RequestCounters {
    /// The counters of one component and operation; they only rise.
    #[must_use]
    pub fn of(&self, component: Component, operation: Operation) -> &RequestCounter {
        &self.counters[component as usize][operation as usize]
    }

    /// Requests begun of one operation, over all components.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> u64 {
        Component::ALL.iter().map(|c| self.of(*c, operation).requests.load(Relaxed)).sum()
    }
}

/// A store that counts what goes through it.
#[derive(Debug)]
pub struct CountedStore {
    inner: Arc<dyn ObjectStore>,
    component: Component,
    counters: Arc<RequestCounters>,
}

impl CountedStore {
    /// Counts requests to `inner` as those of `component`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, component: Component, counters: Arc<RequestCounters>) -> Self {
        Self { inner, component, counters }
    }

    async fn count<T>(
        &self,
        operation: Operation,
        request: impl Future<Output = Result<T>>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Result<T> {
        let counter = self.counters.of(self.component, operation);
        counter.requests.fetch_add(1, Relaxed);
        let begun = Instant::now();
        let answer = request.await;
        counter.micros.fetch_add(begun.elapsed().as_micros() as u64, Relaxed);
        match &answer {
            Ok(value) => counter.bytes.fetch_add(bytes(value), Relaxed),
            Err(error) => counter.errors.fetch_add(u64::from(is_failure(error)), Relaxed),
        };
        answer
    }
}

fn is_failure(error: &Error) -> bool {
    !matches!(error, Error::NotFound { .. } | Error::AlreadyExists { .. })
}

impl fmt::Display for CountedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
impl ObjectStore for CountedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let size = payload.content_length() as u64;
        self.count(Operation::Put, self.inner.put_opts(location, payload, opts), |_| size).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.count(Operation::Put, self.inner.put_multipart_opts(location, opts), |_| 0).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        let size = |result: &GetResult| {
            if operation == Operation::Head { 0 } else { result.range.end - result.range.start }
        };
        self.count(operation, self.inner.get_opts(location, options), size).await
    }

    /// Each range is one request: callers join neighbours themselves, by expected cost.
    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let range = |range: &Range<u64>| {
            let options = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
            async move { self.get_opts(location, options).await?.bytes().await }
        };
        futures::future::try_join_all(ranges.iter().map(range)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (component, counters) = (self.component, self.counters.clone());
        let deleted = self.inner.delete_stream(locations);
        let counted = deleted.inspect(move |answer| {
            let counter = counters.of(component, Operation::Delete);
            counter.requests.fetch_add(1, Relaxed);
            let failed = answer.as_ref().is_err_and(is_failure);
            counter.errors.fetch_add(u64::from(failed), Relaxed);
        });
        counted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters.of(self.component, Operation::List).requests.fetch_add(1, Relaxed);
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.counters.of(self.component, Operation::List).requests.fetch_add(1, Relaxed);
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count(Operation::List, self.inner.list_with_delimiter(prefix), |_| 0).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.count(Operation::Copy, self.inner.copy_opts(from, to, options), |()| 0).await
    }
}
