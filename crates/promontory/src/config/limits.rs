//! Bounds of what one write may bring.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use promontory_api::ApiSettings;
use promontory_model::IngestLimits;

use super::values::{PositiveDuration, count, size};

/// Flags of limits.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits of writes")]
pub struct LimitFlags {
    /// Labels per series, the metric name included.
    #[arg(
        long = "limits.labels-per-series",
        default_value_t = IngestLimits::default().labels_per_series_max,
        value_parser = count
    )]
    labels_per_series: usize,
    /// Bytes of a label name.
    #[arg(
        long = "limits.label-name-length",
        default_value_t = IngestLimits::default().label_name_bytes_max,
        value_parser = size
    )]
    label_name_length: usize,
    /// Bytes of a label value.
    #[arg(
        long = "limits.label-value-length",
        default_value_t = IngestLimits::default().label_value_bytes_max,
        value_parser = size
    )]
    label_value_length: usize,
    /// Bytes of a write request as sent.
    #[arg(
        long = "limits.write-body",
        default_value_t = IngestLimits::default().body_bytes_max,
        value_parser = size
    )]
    write_body: usize,
    /// Bytes of a write request after decompression.
    #[arg(
        long = "limits.write-decoded",
        default_value_t = IngestLimits::default().decoded_bytes_max,
        value_parser = size
    )]
    write_decoded: usize,
    /// Bytes of all write requests that are being worked on.
    #[arg(
        long = "limits.write-in-flight",
        default_value_t = ApiSettings::default().write_bytes_in_flight_max,
        value_parser = size
    )]
    write_in_flight: usize,
    /// Series per write request.
    #[arg(
        long = "limits.series-per-request",
        default_value_t = IngestLimits::default().series_per_request_max,
        value_parser = count
    )]
    series_per_request: usize,
    /// Samples per write request.
    #[arg(
        long = "limits.samples-per-request",
        default_value_t = IngestLimits::default().samples_per_request_max,
        value_parser = count
    )]
    samples_per_request: usize,
    /// Series of one tenant that an ingester holds at a time; new ones above it are refused.
    #[arg(
        long = "limits.series-max",
        default_value_t = IngestLimits::default().series_max,
        value_parser = count
    )]
    series_max: usize,
    /// How far in the future a sample may lie.
    #[arg(long = "limits.future-samples", default_value_t = future_samples_default())]
    future_samples: PositiveDuration,
}

impl LimitFlags {
    /// The limits of one write, and the most bytes of all writes in flight.
    ///
    /// # Errors
    /// If one request of the largest size does not fit in flight: it would be asked to retry for ever.
    pub fn check(&self) -> anyhow::Result<(IngestLimits, usize)> {
        let largest = self.write_body.saturating_add(self.write_decoded);
        ensure!(
            self.write_in_flight >= largest,
            "--limits.write-in-flight must hold one largest request, body and decoded: at least {largest} bytes"
        );
        let limits = IngestLimits {
            labels_per_series_max: self.labels_per_series,
            label_name_bytes_max: self.label_name_length,
            label_value_bytes_max: self.label_value_length,
            body_bytes_max: self.write_body,
            decoded_bytes_max: self.write_decoded,
            series_per_request_max: self.series_per_request,
            samples_per_request_max: self.samples_per_request,
            series_max: self.series_max,
            future_ms_max: i64::try_from(self.future_samples.0.as_millis())?,
        };
        Ok((limits, self.write_in_flight))
    }
}

fn future_samples_default() -> PositiveDuration {
    PositiveDuration(Duration::from_millis(IngestLimits::default().future_ms_max.unsigned_abs()))
}
