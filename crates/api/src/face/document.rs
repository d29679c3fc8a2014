//! A response of any size, written part by part.
//!
//! A range query over 20,000 series is a hundred megabytes of JSON. Written in one go it would hold
//! the thread, on which acknowledgements of writes also run, for a good part of a second, and exist
//! twice in memory. So what is small is written at once, and what is larger becomes a stream that
//! writes its next part when the connection has taken the one before. What the engine keeps for the answer
//! stays kept until the last part is written.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures_core::Stream;
use promontory_promql::engine::RequestContext;

/// Bytes after which a part is handed over.
const PART_BYTES: usize = 64 << 10;

/// Appends the next few items; false when nothing was left.
pub type Items = Box<dyn FnMut(&mut Vec<u8>) -> bool + Send>;

/// Items that are written one by one, with commas between them.
pub(crate) fn separated<I>(items: I, mut write: impl FnMut(&mut Vec<u8>, I::Item) + Send + 'static) -> Items
where
    I: IntoIterator<IntoIter: Send + 'static>,
{
    let mut items = items.into_iter();
    let mut separator: &[u8] = b"";
    Box::new(move |out| {
        let Some(item) = items.next() else { return false };
        out.extend_from_slice(separator);
        separator = b",";
        write(out, item);
        true
    })
}

/// Items, and with them until they are written what the engine keeps for the answer of this request.
pub fn while_read(context: &RequestContext, mut items: Items) -> Items {
    let until_read = context.until_read.clone();
    Box::new(move |out| {
        // Moved into the items, so that it goes when they go.
        let _ = &until_read;
        items(out)
    })
}

/// `head`, then items, then `tail`.
pub(crate) struct Document {
    buffer: Vec<u8>,
    items: Option<Items>,
    tail: Vec<u8>,
}

impl Document {
    /// A document; an item may be of any size, but what one call appends should be far below a part.
    pub(crate) fn new(head: Vec<u8>, items: Items, tail: Vec<u8>) -> Self {
        Self { buffer: head, items: Some(items), tail }
    }

    /// The body of a response: whole if it is small.
    pub(crate) fn into_body(mut self) -> Body {
        match self.next_part() {
            Some(part) if self.items.is_none() => Body::from(part),
            Some(part) => {
                self.buffer = part;
                Body::from_stream(self)
            }
            None => Body::empty(),
        }
    }

    fn next_part(&mut self) -> Option<Vec<u8>> {
        let mut part = std::mem::take(&mut self.buffer);
        while let Some(items) = &mut self.items {
            if part.len() >= PART_BYTES {
                return Some(part);
            }
            part.reserve(PART_BYTES / 8);
            if !items(&mut part) {
                self.items = None;
                part.append(&mut self.tail);
            }
        }
        Some(part).filter(|part| !part.is_empty())
    }
}

impl Stream for Document {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.next_part().map(|part| Ok(Bytes::from(part))))
    }
}
