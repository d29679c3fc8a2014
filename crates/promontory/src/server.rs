//! Accepts connections and serves a router on them, so that nobody who is slow or silent keeps others out.
//!
//! - Connections are counted, and those without a request in flight *wait*. Where all places are taken, the
//!   connection that has waited longest makes room; see [`places`].
//! - Waiting has an end: a first request's head has [`ServerLimits::header_timeout`], a kept connection
//!   [`ServerLimits::read_timeout`]; see [`connection`].
//! - An answer that nobody reads is dropped after [`ServerLimits::write_stall_timeout`]; see [`answer`].
//! - Where every place has a request in flight, a few places more answer probes, and 503 to all else.
//!
//! What hyper brings is used where it fits: HTTP/2's pings and bounds, the size of heads and buffers. Its time
//! for heads does not know a first request from a kept connection, does not run before the version of HTTP
//! is known (a silent socket keeps it waiting for ever), and does not concern HTTP/2.
//!
//! In reading order: `counters`, `places` (who is there), `answer` (a body and who reads it), `unread` (a
//! request whose body was not taken), `first_line`, `unspoken` and `parting` (a connection's bytes), `connection`.

mod answer;
mod connection;
mod counters;
mod first_line;
mod parting;
mod places;
mod unread;
mod unspoken;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use places::Places;

use connection::Acceptor;

/// Pause after an accept error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at a time, but for a few that are closed at once.
    pub connections_max: usize,
    /// Of these, connections of one peer without a request in flight.
    pub waiting_per_peer_max: usize,
    /// From a connection's begin to the end of its first request's head.
    pub header_timeout: Duration,
    /// For the body of a request, and between requests of a kept connection.
    pub read_timeout: Duration,
    /// Since a reader took something of its answer.
    pub write_stall_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            // Half of all: one peer, which may be a proxy with everyone behind it, cannot take the places
            // of all others by waiting.
            waiting_per_peer_max: 256,
            header_timeout: Duration::from_secs(10),
            // As Prometheus, whose senders keep a connection as long: who closes earlier meets their next
            // request.
            read_timeout: Duration::from_secs(300),
            write_stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Serves until `shutdown` resolves, then until the last request in flight has its answer, however long that
/// takes: who stops a process bounds it.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    places: Arc<Places>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(false);
    let acceptor = Acceptor::new(router, places, stopped);
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => acceptor.accept(stream, peer.ip()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, acceptor));
    stop.send_replace(true);
    stop.closed().await;
}

#[cfg(test)]
mod tests;
