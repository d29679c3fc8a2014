//! The body of a request, and whether all of it was taken.
//!
//! Who answers before a body was taken whole (it is too large, or nobody reads it) leaves the rest of it on the
//! connection. In HTTP/1 nothing else can come there, so the answer says that the connection ends with it:
//! otherwise a client sends its next request into a connection that is about to be closed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A body that tells when its end was reached.
pub(super) struct RequestBody {
    inner: Incoming,
    taken: Taken,
}

/// Whether a body was taken whole.
#[derive(Clone)]
pub(super) struct Taken(Arc<AtomicBool>);

impl Taken {
    pub(super) fn is_whole(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl RequestBody {
    pub(super) fn new(inner: Incoming) -> Self {
        let taken = Taken(Arc::new(AtomicBool::new(inner.is_end_stream())));
        Self { inner, taken }
    }

    pub(super) fn taken(&self) -> Taken {
        self.taken.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.taken.0.store(true, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
