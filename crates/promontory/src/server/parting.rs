//! A connection as the HTTP library sees it: begun by a [`FirstLine`] that it can read, with a text where it refuses
//! ([`unspoken`]), and ended so that a client that still writes gets the last answer.
//!
//! Who answers before a body was taken whole, and closes the connection, leaves bytes unread. The kernel answers
//! those, and all that come later, with a reset, and a client that meets one throws away what it has not read
//! yet: our answer. So the writing half is closed first, and what the client goes on to send is read and thrown
//! away until it ends its half as well, within [`PARTING_TIMEOUT`] (RFC 9112, section 9.6).
//!
//! A connection that is at rest, all of it taken and answered, is closed at once.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::first_line::{FirstLine, Given, TooLong};
use super::unspoken;

/// How long a client may go on sending once its connection is closed for writing. Long enough for the largest
/// body that is taken over a link of 50 Mbit/s; its place goes to others whenever they need one.
pub(super) const PARTING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are thrown away at a time.
const DISCARD_BYTES: usize = 16 << 10;
/// Bytes of a first line that are read at a time.
const LINE_PART_BYTES: usize = 4 << 10;

/// Whether all that was read belongs to requests that were taken whole, and whether the end has begun.
#[derive(Clone, Default)]
pub(super) struct Rest {
    is_now: Arc<AtomicBool>,
    is_parting: Arc<AtomicBool>,
}

/// A connection that parts properly when it is shut down.
pub(super) struct Parting {
    stream: TcpStream,
    rest: Rest,
    first_line: FirstLine,
    /// What is to be written before all else, and how much of it was.
    instead: (Vec<u8>, usize),
    /// Until when the client may go on sending, once the writing half is closed.
    until: Option<Pin<Box<Sleep>>>,
}

impl Rest {
    /// A request was taken whole.
    pub(super) fn begins(&self) {
        self.is_now.store(true, Relaxed);
    }

    fn ends(&self) {
        self.is_now.store(false, Relaxed);
    }

    /// Is the last answer written, and what still comes thrown away?
    pub(super) fn is_parting(&self) -> bool {
        self.is_parting.load(Relaxed)
    }

    fn is_now(&self) -> bool {
        self.is_now.load(Relaxed)
    }
}

impl Parting {
    pub(super) fn new(stream: TcpStream, rest: Rest, too_long: TooLong) -> Self {
        Self { stream, rest, first_line: FirstLine::new(too_long), instead: Default::default(), until: None }
    }

    /// Reads more of the first line.
    fn read_line(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); LINE_PART_BYTES];
        let mut bytes = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes))?;
        self.first_line.take(bytes.filled());
        Poll::Ready(Ok(()))
    }

    /// Writes what stands in the place of an answer.
    fn write_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (bytes, written) = &mut self.instead;
        while *written < bytes.len() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(context, &bytes[*written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += n;
        }
        Poll::Ready(Ok(()))
    }

    /// Throws away what comes, until nothing more can or the time is over.
    fn discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); DISCARD_BYTES];
        loop {
            if let Some(until) = &mut self.until
                && until.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(());
            }
            let mut bytes = ReadBuf::uninit(&mut space);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes));
            if read.is_err() || bytes.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl AsyncRead for Parting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.first_line.given() {
                Given::Later => ready!(self.read_line(context))?,
                Given::Bytes(given) => {
                    let n = given.len().min(bytes.remaining());
                    bytes.put_slice(&given[..n]);
                    self.first_line.gave(n);
                    self.rest.ends();
                    return Poll::Ready(Ok(()));
                }
                Given::Rest => break,
                // The answer is on its way, and with it the end.
                Given::Nothing => return Poll::Pending,
            }
        }
        let before = bytes.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, bytes);
        if bytes.filled().len() > before {
            self.rest.ends();
        }
        polled
    }
}

impl AsyncWrite for Parting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_instead(context))?;
        if let Some(spoken) = unspoken::spoken(bytes) {
            self.instead = (spoken, 0);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = parts.iter().filter(|part| !part.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next()) {
            return self.poll_write(context, only);
        }
        ready!(self.write_instead(context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_instead(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_instead(context))?;
        if self.until.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            if self.rest.is_now() {
                return Poll::Ready(Ok(()));
            }
            self.rest.is_parting.store(true, Relaxed);
            self.until = Some(Box::pin(sleep(PARTING_TIMEOUT)));
        }
        self.discard(context).map(Ok)
    }
}
