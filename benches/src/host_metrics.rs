//! Real samples: `host-metrics.*.parquet` of the folder that `PROMONTORY_DATA` names, read as an
//! outside reader would, by DuckDB through `host_metrics.py`, whose output this file decodes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::delivery::{Delivered, deliver};
use crate::support::http::Client;
use crate::support::tools::{repository, tool};
use crate::support::write::{Request, encode_labels};

/// Windows are of this length, and shifting by a multiple keeps every sample's place in them.
pub const WINDOW_MS: i64 = 2 * 3_600_000;

/// Series with their samples.
pub struct HostMetrics {
    series: Vec<Series>,
    /// How far the timestamps were moved, in milliseconds.
    pub shifted_ms: i64,
}

struct Series {
    /// Labels in the encoding of remote write, by name.
    labels: Vec<u8>,
    /// By time, no timestamp twice.
    samples: Vec<(i64, f64)>,
}

impl HostMetrics {
    /// Reads the files.
    ///
    /// # Errors
    /// If they or DuckDB cannot be had.
    pub fn load() -> Result<Self> {
        let folder = folder();
        let files = ["series", "samples"].map(|part| folder.join(format!("host-metrics.{part}.parquet")));
        for file in &files {
            ensure!(file.exists(), "{} is not there; set PROMONTORY_DATA", file.display());
        }
        let script = repository().join("benches/host_metrics.py");
        let python = tool("duckdb-python").map_err(anyhow::Error::msg)?;
        let output = Command::new(python).arg(&script).args(&files).output().context("cannot run Python")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}: {errors}", script.display(), output.status);
        let mut series = decode(&output.stdout)?;
        ensure!(!series.is_empty(), "no series in {}", folder.display());
        for one in &mut series {
            one.samples.sort_by_key(|(ts, _)| *ts);
            one.samples.dedup_by_key(|(ts, _)| *ts);
        }
        Ok(Self { series, shifted_ms: 0 })
    }

    /// Moves all timestamps by the largest multiple of [`WINDOW_MS`] that leaves none after `now_ms`,
    /// so that the samples are recent and lie in the windows as before.
    pub fn shift_to(&mut self, now_ms: i64) {
        let newest = self.timestamps().max().unwrap_or_default();
        self.shifted_ms = (now_ms - newest).div_euclid(WINDOW_MS) * WINDOW_MS;
        let samples = self.series.iter_mut().flat_map(|series| &mut series.samples);
        samples.for_each(|(ts, _)| *ts += self.shifted_ms);
    }

    /// Keeps one series of `every`.
    pub fn thin_out(&mut self, every: usize) {
        let mut k = 0;
        self.series.retain(|_| {
            k += 1;
            k % every == 0
        });
    }

    pub fn n_series(&self) -> usize {
        self.series.len()
    }

    /// How many samples there are, none counted twice.
    pub fn n_samples(&self) -> usize {
        self.series.iter().map(|series| series.samples.len()).sum()
    }

    /// Two-hour windows that the samples lie in.
    pub fn n_windows(&self) -> usize {
        let windows: std::collections::BTreeSet<i64> =
            self.timestamps().map(|ts| ts.div_euclid(WINDOW_MS)).collect();
        windows.len()
    }

    /// Sends everything, each series in order of time, a minute of 200 series per request.
    ///
    /// # Errors
    /// If a request is refused.
    pub fn send(&self, client: &Client) -> Result<Delivered> {
        const SERIES: usize = 200;
        const SLICE_MS: i64 = 60_000;
        let first = self.timestamps().min().unwrap_or_default();
        let last = self.timestamps().max().unwrap_or_default();
        let parts: Vec<&[Series]> = self.series.chunks(SERIES).collect();
        deliver(client, parts.len(), |sender| {
            let part = parts[sender];
            let slices = (0..=(last - first) / SLICE_MS).map(move |k| first + k * SLICE_MS);
            slices.filter_map(move |start| slice(part, start, start + SLICE_MS))
        })
    }

    fn timestamps(&self) -> impl Iterator<Item = i64> {
        self.series.iter().flat_map(|series| &series.samples).map(|(ts, _)| *ts)
    }
}

/// The samples of some series from `start` to before `end`; `None` if there are none.
fn slice(part: &[Series], start: i64, end: i64) -> Option<Request> {
    let mut request = Request::default();
    for series in part {
        let from = series.samples.partition_point(|(ts, _)| *ts < start);
        let to = series.samples.partition_point(|(ts, _)| *ts < end);
        if from < to {
            request.encoded_series(&series.labels, &series.samples[from..to]);
        }
    }
    (!request.protobuf().is_empty()).then_some(request)
}

fn folder() -> PathBuf {
    let beside = || repository().join("../shared/data");
    std::env::var_os("PROMONTORY_DATA").map_or_else(beside, |folder| Path::new(&folder).to_owned())
}

fn decode(bytes: &[u8]) -> Result<Vec<Series>> {
    let mut reader = Reader { bytes };
    let mut all = Vec::new();
    while !reader.bytes.is_empty() {
        all.push(reader.series().context("cannot decode the output of host_metrics.py")?);
    }
    Ok(all)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn series(&mut self) -> Result<Series> {
        let n_labels = self.length()?;
        let labels = (0..n_labels).map(|_| Ok((self.text()?, self.text()?))).collect::<Result<Vec<_>>>()?;
        let n_samples = self.length()?;
        let timestamps = self.numbers(n_samples)?.into_iter().map(i64::from_le_bytes);
        let values = self.numbers(n_samples)?.into_iter().map(f64::from_le_bytes);
        Ok(Series { labels: encode_labels(&labels), samples: timestamps.zip(values).collect() })
    }

    fn length(&mut self) -> Result<usize> {
        let bytes: [u8; 4] = self.take(4)?.try_into().context("four bytes")?;
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    fn text(&mut self) -> Result<Vec<u8>> {
        let length = self.length()?;
        Ok(self.take(length)?.to_vec())
    }

    fn numbers(&mut self, n: usize) -> Result<Vec<[u8; 8]>> {
        let bytes = self.take(n.saturating_mul(8))?;
        bytes.chunks_exact(8).map(|chunk| chunk.try_into().context("eight bytes")).collect()
    }

    fn take(&mut self, length: usize) -> Result<&[u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            bail!("ends {} bytes early", length - self.bytes.len());
        };
        self.bytes = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0, 1, 0, 0, 0, b'n', 2, 0, 0, 0, b'v', b'w', 2, 0, 0, 0];
        for ts in [5_i64, 6] {
            bytes.extend(ts.to_le_bytes());
        }
        for value in [0.5_f64, f64::from_bits(0x7ff0_0000_0000_0002)] {
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn bits_of_values_survive() {
        let all = decode(&example()).unwrap();
        assert_eq!(all[0].labels, encode_labels(&[("n", "vw")]));
        let bits: Vec<_> = all[0].samples.iter().map(|(ts, value)| (*ts, value.to_bits())).collect();
        assert_eq!(bits, [(5, 0.5_f64.to_bits()), (6, 0x7ff0_0000_0000_0002)]);
    }

    #[test]
    fn output_that_ends_early_is_an_error() {
        let bytes = example();
        for length in 1..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_shift_keeps_the_place_in_the_window() {
        let mut metrics = HostMetrics { series: decode(&example()).unwrap(), shifted_ms: 0 };
        metrics.shift_to(3 * WINDOW_MS + 5);
        assert_eq!(metrics.shifted_ms, 2 * WINDOW_MS);
        assert_eq!(metrics.timestamps().collect::<Vec<_>>(), [2 * WINDOW_MS + 5, 2 * WINDOW_MS + 6]);
        assert_eq!(metrics.n_windows(), 1);
    }
}
