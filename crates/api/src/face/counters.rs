//! What the faces count: plain atomics that the binary exports under its own names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use promontory_model::{DurationHistogram, MutexExt as _, ObservedDurations};
use tokio::time::Instant;

/// Under this name stand requests for paths that no route has, so that the number of counters does not
/// depend on what is requested.
pub(crate) const UNKNOWN: &str = "unknown";

/// Under this name stand requests with the method `OPTIONS`, whatever their path.
pub(crate) const PREFLIGHT: &str = "cors preflight";

/// The status codes that the faces answer, and 499 for a request that went away before its answer; 0
/// stands for any other.
const CODES: [u16; 18] =
    [200, 204, 301, 307, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 499, 500, 503, 0];

/// Upper bounds of the buckets of request durations, in seconds; the last bucket has none.
const DURATION_BOUNDS: [f64; 12] = [0.002, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// Between two lines of the log that say that writes are put off.
const PUT_OFF_TOLD_INTERVAL: Duration = Duration::from_secs(10);

/// Why a whole write request is refused; each is a label value of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteRefusal {
    /// No ingest in this role.
    NoIngest,
    /// A content type or message that is not taken.
    ContentType,
    /// A content encoding that is not taken.
    ContentEncoding,
    /// The body is larger than its limit.
    BodyTooLarge,
    /// The body did not come in time, or not whole.
    BodyUnread,
    /// Too many bytes of write requests are in flight.
    BytesInFlight,
    /// The snappy block or the protobuf message is malformed.
    Malformed,
    /// The decompressed size, or the number of series or samples, exceeds its limit.
    RequestTooLarge,
    /// `Append` says that the request will never be taken.
    Invalid,
    /// `Append` asks to slow down.
    Limited,
    /// `Append` asks to retry later.
    Unavailable,
}

impl WriteRefusal {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 11] = [
        Self::NoIngest,
        Self::ContentType,
        Self::ContentEncoding,
        Self::BodyTooLarge,
        Self::BodyUnread,
        Self::BytesInFlight,
        Self::Malformed,
        Self::RequestTooLarge,
        Self::Invalid,
        Self::Limited,
        Self::Unavailable,
    ];

    /// The label value of the counter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoIngest => "no_ingest",
            Self::ContentType => "content_type",
            Self::ContentEncoding => "content_encoding",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyUnread => "body_unread",
            Self::BytesInFlight => "bytes_in_flight",
            Self::Malformed => "malformed",
            Self::RequestTooLarge => "request_too_large",
            Self::Invalid => "invalid",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Everything that the faces count. Fields that are public only ever rise, but for the gauge
/// `write_bytes_in_flight`.
#[derive(Debug)]
pub struct Counters {
    /// One for each path of the mounted routes, and two more.
    handlers: Mutex<BTreeMap<&'static str, Arc<HandlerCounters>>>,
    write_refusals: [AtomicU64; WriteRefusal::ALL.len()],
    /// Bytes of write bodies as sent, of requests that were read whole.
    pub write_body_bytes: AtomicU64,
    /// The same bodies decompressed.
    pub write_decoded_bytes: AtomicU64,
    /// Series in accepted write requests, repeated ones counted again.
    pub write_series: AtomicU64,
    /// Samples that became durable.
    pub write_samples: AtomicU64,
    /// Samples that `Append` refused one by one.
    pub write_samples_refused: AtomicU64,
    /// Series that `Append` refused.
    pub write_series_refused: AtomicU64,
    /// Series that came without anything to store.
    pub write_series_empty: AtomicU64,
    /// Native histograms refused, because they are not stored.
    pub write_histograms_refused: AtomicU64,
    /// Exemplars dropped, because they are not stored.
    pub write_exemplars_refused: AtomicU64,
    /// Entries of metric metadata dropped, because they are not stored.
    pub write_metadata_refused: AtomicU64,
    /// Requests that called a process on a loopback address by a foreign name.
    pub foreign_hosts_refused: AtomicU64,
    /// Requests from foreign web pages that would have changed something.
    pub foreign_origins_refused: AtomicU64,
    /// Bytes of write requests held now: a gauge.
    pub write_bytes_in_flight: AtomicU64,
    /// When the log last said that writes are put off, and how many of them it did not name since.
    put_off_told: Mutex<Option<(Instant, u64)>>,
}

/// What one handler answered.
#[derive(Debug)]
pub(crate) struct HandlerCounters {
    codes: [AtomicU64; CODES.len()],
    durations: DurationHistogram,
}

impl Default for Counters {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            handlers: Mutex::default(),
            write_refusals: std::array::from_fn(|_| zero()),
            write_body_bytes: zero(),
            write_decoded_bytes: zero(),
            write_series: zero(),
            write_samples: zero(),
            write_samples_refused: zero(),
            write_series_refused: zero(),
            write_series_empty: zero(),
            write_histograms_refused: zero(),
            write_exemplars_refused: zero(),
            write_metadata_refused: zero(),
            foreign_hosts_refused: zero(),
            foreign_origins_refused: zero(),
            write_bytes_in_flight: zero(),
            put_off_told: Mutex::default(),
        }
    }
}

impl Counters {
    /// Requests by handler and status code, handlers in the order of their names, zeros left out; a code
    /// of 0 is one not in the list of known codes.
    #[must_use]
    pub fn requests(&self) -> Vec<(&'static str, u16, u64)> {
        let handlers = self.handlers();
        let all = handlers.iter().flat_map(|(name, handler)| {
            let counts = CODES.iter().zip(&handler.codes);
            counts.map(|(code, count)| (*name, *code, count.load(Ordering::Relaxed)))
        });
        all.filter(|(_, _, count)| *count > 0).collect()
    }

    /// Durations from a request's head to its answer's head, by handler; handlers without a request
    /// are left out.
    #[must_use]
    pub fn durations(&self) -> Vec<(&'static str, ObservedDurations)> {
        let handlers = self.handlers();
        let all = handlers.iter().map(|(name, handler)| (*name, handler.durations.observed()));
        all.filter(|(_, durations)| durations.count() > 0).collect()
    }

    /// Whole write requests refused, by reason, zeros included.
    #[must_use]
    pub fn write_refusals(&self) -> Vec<(WriteRefusal, u64)> {
        let counts = WriteRefusal::ALL.iter().zip(&self.write_refusals);
        counts.map(|(refusal, count)| (*refusal, count.load(Ordering::Relaxed))).collect()
    }

    /// The counters of a handler, which start at zero when it is first asked for: only names of routes,
    /// never what a request holds.
    pub(crate) fn handler(&self, name: &'static str) -> Arc<HandlerCounters> {
        Arc::clone(self.handlers().entry(name).or_default())
    }

    fn handlers(&self) -> MutexGuard<'_, BTreeMap<&'static str, Arc<HandlerCounters>>> {
        self.handlers.locked()
    }

    /// Whether the log is to say that a write is put off, and how many it did not name since it last did.
    pub(crate) fn tell_put_off(&self) -> Option<u64> {
        let (mut told, now) = (self.put_off_told.locked(), Instant::now());
        match &mut *told {
            Some((at, untold)) if now < *at + PUT_OFF_TOLD_INTERVAL => {
                *untold += 1;
                None
            }
            told => {
                let untold = told.map_or(0, |(_, untold)| untold);
                *told = Some((now, 0));
                Some(untold)
            }
        }
    }

    /// Counts one write request that was refused as a whole.
    pub(crate) fn write_refused(&self, refusal: WriteRefusal) {
        if let Some(at) = position(&WriteRefusal::ALL, &refusal) {
            add(&self.write_refusals[at], 1);
        }
    }
}

impl Default for HandlerCounters {
    fn default() -> Self {
        let codes = std::array::from_fn(|_| AtomicU64::new(0));
        Self { codes, durations: DurationHistogram::new(&DURATION_BOUNDS) }
    }
}

impl HandlerCounters {
    /// Counts one answered request.
    pub(crate) fn request(&self, code: u16, duration: Duration) {
        let code = position(&CODES, &code).unwrap_or(CODES.len() - 1);
        add(&self.codes[code], 1);
        self.durations.observe(duration);
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn position<T: PartialEq>(all: &[T], one: &T) -> Option<usize> {
    all.iter().position(|each| each == one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_that_are_put_off_are_told_of_once_in_a_while() {
        let counters = Counters::default();
        let told: Vec<Option<u64>> = (0..4).map(|_| counters.tell_put_off()).collect();
        assert_eq!(told, [Some(0), None, None, None]);
        tokio::time::advance(PUT_OFF_TOLD_INTERVAL).await;
        assert_eq!([counters.tell_put_off(), counters.tell_put_off()], [Some(3), None]);
    }
}
