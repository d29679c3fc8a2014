//! How the data is sent: remote write 1.0 by several senders at once, as the shards of Prometheus'
//! sender do. A sender has one request under way and goes on when it is acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::support::clock::pause;
use crate::support::http::Client;
use crate::support::write::{self, Request};

/// How long one request may be repeated.
const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// Between two attempts.
const REPEAT_AFTER: Duration = Duration::from_millis(50);

/// What became of the requests of one load.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Per request, from its first attempt to its acknowledgement; in no order.
    pub waits: Vec<Duration>,
    /// Attempts that were answered with 429 or 5xx.
    pub repeated: usize,
}

impl Delivered {
    /// The wait that `share` of the requests did not exceed; zero if there were none.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.waits.clone();
        sorted.sort_unstable();
        // The nearest-rank definition: no request is invented between two others.
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Adds the requests of another load.
    pub fn extend(&mut self, other: Self) {
        self.waits.extend(other.waits);
        self.repeated += other.repeated;
    }
}

/// Sends everything: sender `k` of `n_senders` sends the requests of `requests(k)` one after another.
///
/// # Errors
/// If a request was refused, or was not acknowledged in time; then the other senders stop too.
pub fn deliver<F, I>(client: &Client, n_senders: usize, requests: F) -> Result<Delivered>
where
    F: Fn(usize) -> I + Sync,
    I: Iterator<Item = Request>,
{
    let failed = AtomicBool::new(false);
    let (failed, requests) = (&failed, &requests);
    let sent: Vec<Result<Delivered>> = std::thread::scope(|scope| {
        let senders: Vec<_> =
            (0..n_senders).map(|k| scope.spawn(move || sender(client, requests(k), failed))).collect();
        senders.into_iter().map(|thread| thread.join().expect("a sender does not panic")).collect()
    });
    let mut all = Delivered::default();
    for delivered in sent {
        all.extend(delivered?);
    }
    Ok(all)
}

fn sender(
    client: &Client,
    requests: impl Iterator<Item = Request>,
    failed: &AtomicBool,
) -> Result<Delivered> {
    let mut delivered = Delivered::default();
    for request in requests {
        if failed.load(Ordering::Relaxed) {
            break;
        }
        let sent = send(client, &request, &mut delivered);
        if sent.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        sent?;
    }
    Ok(delivered)
}

fn send(client: &Client, request: &Request, delivered: &mut Delivered) -> Result<()> {
    let body = request.body();
    let started = Instant::now();
    loop {
        let answer = write::send(client, body.clone()).map_err(anyhow::Error::msg).context("remote write")?;
        match answer.status {
            200..300 => {
                delivered.waits.push(started.elapsed());
                return Ok(());
            }
            429 | 500.. if started.elapsed() < SEND_DEADLINE => {
                delivered.repeated += 1;
                pause(REPEAT_AFTER);
            }
            status => bail!("remote write: status {status}: {}", answer.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_wait_of_a_request() {
        let waits = (1..=200).rev().map(Duration::from_millis).collect();
        let delivered = Delivered { waits, repeated: 0 };
        assert_eq!(delivered.quantile(0.5), Duration::from_millis(100));
        assert_eq!(delivered.quantile(0.99), Duration::from_millis(198));
        assert_eq!(delivered.quantile(1.0), Duration::from_millis(200));
        assert_eq!(Delivered::default().quantile(0.5), Duration::ZERO);
    }
}
