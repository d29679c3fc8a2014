//! The data that all programs of a run get, and how it is sent: remote write 1.0 as Prometheus'
//! sender makes it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::support::clock::pause;
use crate::support::http::Client;
use crate::support::write::{self, Request, encode_labels};

/// Series per request, one sample each: Prometheus' default of 2,000 samples per request.
const SERIES_PER_REQUEST: usize = 2_000;
/// Jobs of [`Shape::counters`].
pub const JOBS: usize = 20;
/// How long one request may be repeated.
const SEND_DEADLINE: Duration = Duration::from_secs(60);

/// Label sets in the encoding of remote write.
pub struct Shape {
    series: Vec<Vec<u8>>,
}

impl Shape {
    /// GPU metrics of a cluster: ten labels per series, the name included.
    pub fn ten_labels(n_series: usize) -> Self {
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
        Self { series: series.collect() }
    }

    /// A counter `x` in [`JOBS`] jobs.
    pub fn counters(n_series: usize) -> Self {
        let series = (0..n_series).map(|k| {
            encode_labels(&[
                ("__name__", "x".to_owned()),
                ("cluster", format!("lake-{}", k % 5)),
                ("instance", format!("10.0.{}.{}:9100", k / 250, k % 250)),
                ("job", format!("job-{}", k % JOBS)),
            ])
        });
        Self { series: series.collect() }
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Sends one sample per series and timestamp, as so many scrapes do: one request per 2,000
    /// series, all of them at once, the next timestamp after all are acknowledged.
    pub fn send_scrapes(&self, client: &Client, timestamps: &[i64]) -> Result<()> {
        for (round, ts) in timestamps.iter().enumerate() {
            let sent: Vec<Result<()>> = std::thread::scope(|scope| {
                let parts = self.series.chunks(SERIES_PER_REQUEST).enumerate();
                let sending: Vec<_> = parts
                    .map(|(part, series)| {
                        scope.spawn(move || send(client, &scrape(series, part, round, *ts)))
                    })
                    .collect();
                sending.into_iter().map(|thread| thread.join().expect("a sender does not panic")).collect()
            });
            sent.into_iter().collect::<Result<Vec<()>>>()?;
        }
        Ok(())
    }

    /// Sends the samples of many scrapes, a few series per request.
    ///
    /// In two passes over time, because Prometheus takes nothing that is an hour older than the newest.
    pub fn send_history(&self, client: &Client, timestamps: &[i64]) -> Result<()> {
        const SERIES: usize = 200;
        let (early, late) = timestamps.split_at(timestamps.len() / 2);
        for (offset, timestamps) in [(0, early), (early.len(), late)] {
            for (part, series) in self.series.chunks(SERIES).enumerate() {
                let mut request = Request::default();
                for (k, labels) in series.iter().enumerate() {
                    let slope = ((part * SERIES + k) % 37 + 1) as f64;
                    let value = |n: usize| (offset + n) as f64 * slope * 1.7;
                    let samples: Vec<_> =
                        timestamps.iter().enumerate().map(|(n, ts)| (*ts, value(n))).collect();
                    request.encoded_series(labels, &samples);
                }
                send(client, &request)?;
            }
        }
        Ok(())
    }
}

/// One sample per series: mostly counters with small steps, some gauges.
fn scrape(series: &[Vec<u8>], part: usize, round: usize, ts: i64) -> Request {
    let mut request = Request::default();
    for (k, labels) in series.iter().enumerate() {
        let id = part * SERIES_PER_REQUEST + k;
        let value = match id % 4 {
            0 => (id % 100) as f64 + (round as f64 * 0.7 + id as f64).sin(),
            _ => (round * (id % 13 + 1) + id) as f64,
        };
        request.encoded_series(labels, &[(ts, value)]);
    }
    request
}

fn send(client: &Client, request: &Request) -> Result<()> {
    let body = request.body();
    let started = Instant::now();
    loop {
        let answer = write::send(client, body.clone()).map_err(anyhow::Error::msg).context("remote write")?;
        match answer.status {
            200..300 => return Ok(()),
            429 | 500.. if started.elapsed() < SEND_DEADLINE => pause(Duration::from_millis(50)),
            status => bail!("remote write: status {status}: {}", answer.text()),
        }
    }
}
