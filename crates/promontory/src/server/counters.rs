//! What the server counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection is closed by the server; each is a label value of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// No whole head of a first request came in time.
    HeaderTimeout,
    /// No further request came in time.
    IdleTimeout,
    /// It has waited longest when another came and all places were taken.
    Displaced,
    /// It has waited longest of a peer with too many.
    PeerLimit,
    /// Nobody reads its answer.
    Stalled,
    /// It came when every place had a request in flight, and wanted something else than a probe's answer.
    Full,
}

impl Closing {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 6] =
        [Self::HeaderTimeout, Self::IdleTimeout, Self::Displaced, Self::PeerLimit, Self::Stalled, Self::Full];

    /// The label value of the counter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeaderTimeout => "header_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Displaced => "displaced",
            Self::PeerLimit => "peer_limit",
            Self::Stalled => "stalled",
            Self::Full => "full",
        }
    }
}

/// Counters of connections; they only rise.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    closed: [AtomicU64; Closing::ALL.len()],
    /// Connections that had a place.
    pub accepted: AtomicU64,
    /// Answers that were dropped because nobody read them; one of HTTP/2 leaves its connection open.
    pub answers_stalled: AtomicU64,
}

impl ConnectionCounters {
    /// Connections closed by the server, by reason, zeros included.
    #[must_use]
    pub fn closed(&self) -> [(Closing, u64); Closing::ALL.len()] {
        std::array::from_fn(|at| (Closing::ALL[at], self.closed[at].load(Relaxed)))
    }

    /// Counts one.
    pub(super) fn close(&self, closing: Closing) {
        if let Some(at) = Closing::ALL.iter().position(|each| *each == closing) {
            self.closed[at].fetch_add(1, Relaxed);
        }
    }
}
