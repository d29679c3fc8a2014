//! A body on its way to a reader: its request is in flight until the last part was taken, and a reader who
//! takes nothing loses it.
//!
//! Whoever writes to a connection asks a body for its next part when there is room for it: in HTTP/1 in the
//! connection's buffer, in HTTP/2 in the windows that the peer has opened. So a body that is not asked is
//! one that nobody reads. After the time for that it is dropped, and with it all that it holds: what an
//! engine has put aside for the answer, its place among the running queries, its place here.
//!
//! A connection of HTTP/1 is closed then, because nothing else could be sent on it; of HTTP/2 only the one
//! stream is reset as soon as its peer moves, because behind one connection there may be many readers.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::Version;
use hyper::body::{Frame, SizeHint};
use promontory_model::MutexExt as _;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::counters::Closing;
use super::places::InFlight;

/// The body of an answer and its request.
pub(super) struct Answer {
    shared: Arc<Mutex<Progress>>,
    watch: Option<AbortHandle>,
}

struct Progress {
    on_its_way: Option<(Body, InFlight)>,
    /// When the body was last asked for a part.
    asked: Instant,
    /// Does the reader wait for the body?
    is_awaited: bool,
    has_stalled: bool,
}

impl Answer {
    /// Watches over `body` if there is one to read.
    pub(super) fn new(body: Body, request: InFlight, version: Version) -> Self {
        let is_empty = hyper::body::Body::is_end_stream(&body);
        let on_its_way = Some((body, request)).filter(|_| !is_empty);
        let progress = Progress { on_its_way, asked: Instant::now(), is_awaited: false, has_stalled: false };
        let shared = Arc::new(Mutex::new(progress));
        let watching = (!is_empty).then(|| tokio::spawn(watch(Arc::clone(&shared), version)));
        Self { shared, watch: watching.map(|task| task.abort_handle()) }
    }
}

/// Takes the body away from a reader who takes nothing of it.
async fn watch(shared: Arc<Mutex<Progress>>, version: Version) {
    while let Some(deadline) = deadline(&shared, version) {
        sleep_until(deadline).await;
    }
}

/// When to look again; `None` if there is nothing to wait for any more.
fn deadline(shared: &Mutex<Progress>, version: Version) -> Option<Instant> {
    let mut progress = shared.locked();
    let (_, request) = progress.on_its_way.as_ref()?;
    let patience = request.place().limits().write_stall_timeout;
    let now = Instant::now();
    if progress.is_awaited {
        return Some(now + patience);
    }
    let deadline = progress.asked + patience;
    if now < deadline {
        return Some(deadline);
    }
    progress.has_stalled = true;
    let (body, request) = progress.on_its_way.take()?;
    drop(progress);
    give_up(body, request, version);
    None
}

fn give_up(body: Body, request: InFlight, version: Version) {
    drop(body);
    let place = request.place();
    place.counters().answers_stalled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if version < Version::HTTP_2 {
        place.close(Closing::Stalled);
    }
}

impl Progress {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some((body, _)) = &mut self.on_its_way else {
            let stalled = || axum::Error::new(io::Error::other("nobody has read the answer"));
            return Poll::Ready(self.has_stalled.then(|| Err(stalled())));
        };
        let polled = hyper::body::Body::poll_frame(Pin::new(body), context);
        let is_over = match &polled {
            Poll::Ready(Some(Ok(_))) => hyper::body::Body::is_end_stream(body),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        (self.asked, self.is_awaited) = (Instant::now(), polled.is_pending());
        if is_over {
            self.on_its_way = None;
        }
        polled
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.shared.locked().poll(context)
    }

    fn is_end_stream(&self) -> bool {
        let progress = self.shared.locked();
        progress.on_its_way.is_none() && !progress.has_stalled
    }

    fn size_hint(&self) -> SizeHint {
        let progress = self.shared.locked();
        match &progress.on_its_way {
            Some((body, _)) => hyper::body::Body::size_hint(body),
            None if progress.has_stalled => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        // The watch may hold the rest of the body until it is gone.
        let rest = self.shared.locked().on_its_way.take();
        drop(rest);
    }
}
