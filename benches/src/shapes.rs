//! The made data that all programs of a run get.

use std::ops::Range;

use anyhow::Result;

use crate::delivery::{Delivered, deliver};
use crate::support::http::Client;
use crate::support::write::{Request, encode_labels};

/// Time between the samples of a series.
pub const SPACING_MS: i64 = 15_000;
/// Jobs of [`CounterSeries`].
pub const JOBS: usize = 20;
/// Series per request, one sample each: Prometheus' default of 2,000 samples per request.
const SERIES_PER_REQUEST: usize = 2_000;
/// Threads that send at once. Prometheus' own bound is 50 shards per remote; several of them send here.
const SENDERS_MAX: usize = 200;

/// GPU metrics of a cluster: ten labels per series, the name included.
pub struct Scrapes {
    /// Labels in the encoding of remote write.
    series: Vec<Vec<u8>>,
    /// Timestamp of the first scrape; the others follow each [`SPACING_MS`].
    first_ts: i64,
}

impl Scrapes {
    /// So many series, scraped from `first_ts` on.
    pub fn new(n_series: usize, first_ts: i64) -> Self {
        let series = (0..n_series).map(|k| {
            let (gpu, node, metric) = (k % 8, k / 8 % 500, k / 4_000);
            encode_labels(&[
                ("__name__", format!("DCGM_FI_DEV_METRIC_{metric}")),
                ("cluster", format!("lake-{}", node % 5)),
                ("device", format!("nvidia{gpu}")),
                ("gpu", gpu.to_string()),
                ("hostname", format!("gpu-node-{node:04}.lake.example")),
                ("instance", format!("10.0.{}.{}:9400", node / 250, node % 250)),
                ("job", "dcgm-exporter".to_owned()),
                ("modelName", "NVIDIA H100 80GB HBM3".to_owned()),
                ("namespace", format!("team-{}", node % 23)),
                ("pod", format!("trainer-{}-{}", node % 97, k % 4_000)),
            ])
        });
        Self { series: series.collect(), first_ts }
    }

    pub fn requests(&self) -> usize {
        self.series.len().div_ceil(SERIES_PER_REQUEST)
    }

    /// Senders that [`Self::send`] uses for so many lanes.
    pub fn senders(&self, lanes: usize) -> usize {
        self.senders_per_lane(lanes) * lanes
    }

    fn senders_per_lane(&self, lanes: usize) -> usize {
        self.requests().min(SENDERS_MAX / lanes)
    }

    /// Sends the scrapes of `rounds`: each sender has its own series, sends 2,000 of them per request
    /// and takes the next scrape when the last one is acknowledged.
    ///
    /// With `lanes` above 1 as many scrapes of one series may be under way, as when their sender has
    /// fallen behind; a program that refuses samples out of order gets one lane.
    ///
    /// # Errors
    /// If a request is refused.
    pub fn send(&self, client: &Client, rounds: Range<usize>, lanes: usize) -> Result<Delivered> {
        let per_lane = self.senders_per_lane(lanes);
        deliver(client, per_lane * lanes, |sender| {
            let (lane, first) = (sender / per_lane, sender % per_lane);
            let rounds = rounds.clone().skip(lane).step_by(lanes);
            rounds.flat_map(move |round| {
                let parts = (first..self.requests()).step_by(per_lane);
                parts.map(move |part| self.request(part, round))
            })
        })
    }

    /// One sample per series: mostly counters with small steps, some gauges.
    fn request(&self, part: usize, round: usize) -> Request {
        let ts = self.first_ts + round as i64 * SPACING_MS;
        let first = part * SERIES_PER_REQUEST;
        let series = self.series.iter().enumerate().skip(first).take(SERIES_PER_REQUEST);
        let mut request = Request::default();
        for (id, labels) in series {
            let value = match id % 4 {
                0 => (id % 100) as f64 + (round as f64 * 0.7 + id as f64).sin(),
                _ => (round * (id % 13 + 1) + id) as f64,
            };
            request.encoded_series(labels, &[(ts, value)]);
        }
        request
    }
}

/// Counters of one name in [`JOBS`] jobs, with resets.
pub struct CounterSeries {
    series: Vec<Vec<u8>>,
    /// Two names have other values.
    seed: u64,
}

impl CounterSeries {
    /// So many series called `name`.
    pub fn new(name: &str, n_series: usize) -> Self {
        let series = (0..n_series).map(|k| {
            encode_labels(&[
                ("__name__", name.to_owned()),
                ("cluster", format!("lake-{}", k % 5)),
                ("instance", instance(k)),
                ("job", format!("job-{}", k % JOBS)),
            ])
        });
        let seed = name.bytes().fold(0, |seed, byte| seed << 8 | u64::from(byte));
        Self { series: series.collect(), seed }
    }

    /// The samples `range` of the series `part`, a slice of all from number `first` on.
    fn request(&self, first: usize, part: &[Vec<u8>], first_ts: i64, range: Range<usize>) -> Request {
        let mut request = Request::default();
        for (k, labels) in part.iter().enumerate() {
            let values = counter(self.seed, first + k, range.end);
            let at = |n: usize| (first_ts + n as i64 * SPACING_MS, values[n]);
            request.encoded_series(labels, &range.clone().map(at).collect::<Vec<_>>());
        }
        request
    }
}

/// Sends so many samples of every counter, a few series per request.
///
/// In two passes over time, because Prometheus takes nothing that is an hour older than the newest.
///
/// # Errors
/// If a request is refused.
pub fn send_counters(
    counters: &[CounterSeries],
    client: &Client,
    first_ts: i64,
    n_samples: usize,
) -> Result<()> {
    const SERIES: usize = 200;
    const SENDERS: usize = 16;
    let half = n_samples / 2;
    for range in [0..half, half..n_samples] {
        let range = &range;
        for counter in counters {
            deliver(client, SENDERS, |sender| {
                let parts = counter.series.chunks(SERIES).enumerate().skip(sender).step_by(SENDERS);
                parts.map(move |(k, part)| counter.request(k * SERIES, part, first_ts, range.clone()))
            })?;
        }
    }
    Ok(())
}

/// The label `instance` of counter `k`, alone in its job and cluster.
pub fn instance(k: usize) -> String {
    format!("10.0.{}.{}:9100", k / 250, k % 250)
}

/// Values of one counter: random steps of a size of its own, whole numbers, and about two resets.
///
/// The steps are large, so that no two series have the same rate and every `topk` is unique.
fn counter(seed: u64, k: usize, n_samples: usize) -> Vec<f64> {
    /// Of a thousand samples.
    const RESETS: u64 = 8;
    let mut random = seed ^ (k as u64).wrapping_mul(0xa076_1d64_78bd_642f);
    let step_max = 10_000_000 * (k as u64 % 37 + 1);
    let mut value = split_mix(&mut random) % step_max;
    let mut values = Vec::with_capacity(n_samples);
    for _ in 0..n_samples {
        let reset = split_mix(&mut random) % 1_000 < RESETS;
        let step = split_mix(&mut random) % step_max;
        value = if reset { step } else { value + step };
        values.push(value as f64);
    }
    values
}

/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", `SplitMix64`.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_the_same_each_time_and_some_reset() {
        let falls = |k| counter(7, k, 260).windows(2).filter(|pair| pair[1] < pair[0]).count();
        let total: usize = (0..1_000).map(falls).sum();
        assert!((1_500..2_500).contains(&total), "{total} resets in 1,000 series");
        assert_eq!(counter(7, 3, 260), counter(7, 3, 260));
        assert_ne!(counter(7, 3, 260), counter(8, 3, 260));
    }

    #[test]
    fn lanes_share_the_scrapes_and_keep_the_bound_of_senders() {
        let scrapes = Scrapes::new(9_000, 0);
        assert_eq!((scrapes.requests(), scrapes.senders(1), scrapes.senders(4)), (5, 5, 20));
        let many = Scrapes { series: vec![Vec::new(); 1_000_000], first_ts: 0 };
        assert_eq!((many.requests(), many.senders(1), many.senders(4)), (500, 200, 200));
    }
}
