//! Reading the body of a request, within a time and with a say over its size.
//!
//! A body has [`PATIENCE`], and more as it comes: as much as its bytes so far take at
//! [`BYTES_PER_SECOND_MIN`]. So a slow link is waited for and a trickle is not.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use futures_core::Stream;
use tokio::time::{Instant, timeout_at};

use crate::config::flag_of;

/// Of a body that is not wanted, as much is read before the refusal.
const DISCARD_BYTES_MAX: usize = 64 << 20;

/// Time for a body of which nothing comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The slowest sender that is waited for: a largest body (16 MiB) takes just below the read timeout (5m).
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// Why a body was not read whole.
pub(crate) enum BodyError<E> {
    /// It did not come in time; what did, and the longest time for all of it.
    Timeout { bytes: usize, timeout: Duration },
    /// The connection failed or the framing is wrong.
    Broken(String),
    /// `accept` refused it.
    Refused(E),
}

/// Reads a body; `accept` sees the size of each part and of what came before, and may refuse.
pub(crate) async fn read_body<E>(
    body: Body,
    timeout: Duration,
    mut accept: impl FnMut(usize, usize) -> Result<(), E>,
) -> Result<Vec<u8>, BodyError<E>> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let begun = Instant::now();
    loop {
        let deadline = begun + time_for(bytes.len(), timeout);
        let part = poll_fn(|context| Pin::new(&mut stream).poll_next(context));
        let Ok(part) = timeout_at(deadline, part).await else {
            return Err(BodyError::Timeout { bytes: bytes.len(), timeout });
        };
        let Some(part) = part else { return Ok(bytes) };
        let part = part.map_err(|error| BodyError::Broken(error.to_string()))?;
        accept(part.len(), bytes.len()).map_err(BodyError::Refused)?;
        bytes.extend_from_slice(&part);
    }
}

/// How long a body may take of which so many bytes have come.
fn time_for(bytes: usize, timeout: Duration) -> Duration {
    let earned = Duration::from_millis((bytes as u64).saturating_mul(1_000) / BYTES_PER_SECOND_MIN);
    timeout.min(PATIENCE + earned)
}

/// What the sender of a body that did not come in time is told.
pub(crate) fn late(bytes: usize, timeout: Duration) -> String {
    let (flag, patience, rate) = (flag_of("body_read_timeout"), PATIENCE.as_secs(), BYTES_PER_SECOND_MIN);
    format!(
        "{bytes} bytes of it came in time; after {patience} s at least {rate} bytes must come each second, and all \
         within {timeout:?} (limit {flag})"
    )
}

/// Reads a body that is not wanted, as far as [`DISCARD_BYTES_MAX`], and forgets it.
///
/// A client that writes its whole request before it looks for the answer would get a reset connection
/// instead of the refusal, and try again for ever.
pub(crate) async fn discard_body(body: Body, timeout: Duration) {
    let mut stream = body.into_data_stream();
    let mut bytes = 0;
    let read = async {
        while let Some(Ok(part)) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            bytes += part.len();
            if bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // Late or not, the refusal is sent.
    let _ = tokio::time::timeout(timeout.min(PATIENCE), read).await;
}
