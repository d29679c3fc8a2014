//! Reading the body of a request, within a time and with a say over its size.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use futures_core::Stream;

/// Of a body that is not wanted, as much is read before the refusal.
const DISCARD_BYTES_MAX: usize = 64 << 20;

/// Why a body was not read whole.
pub(crate) enum BodyError<E> {
    /// It did not come in time.
    Timeout(Duration),
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
    let read = async {
        while let Some(part) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            let part = part.map_err(|error| BodyError::Broken(error.to_string()))?;
            accept(part.len(), bytes.len()).map_err(BodyError::Refused)?;
            bytes.extend_from_slice(&part);
        }
        Ok(())
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(BodyError::Timeout(timeout)),
    }
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
    let _ = tokio::time::timeout(timeout, read).await;
}
