//! When an ingester acts.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use promontory_ingester::IngesterSettings;
use promontory_model::{HeadMemory, IngestLimits};
use promontory_store::WriterSettings;

use super::values::PositiveDuration;

/// Flags of the ingester.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Ingester")]
pub struct IngesterFlags {
    /// Longest time that samples wait before they are written to the store; 200ms to 10s.
    #[arg(
        long = "ingester.flush-interval",
        default_value_t = PositiveDuration(IngesterSettings::default().flush_interval)
    )]
    flush_interval: PositiveDuration,
    /// Time between L1 blocks.
    #[arg(
        long = "ingester.block-interval",
        default_value_t = PositiveDuration(IngesterSettings::default().block_interval)
    )]
    block_interval: PositiveDuration,
    /// How long a write waits for the store before its sender is asked to retry.
    #[arg(
        long = "ingester.append-timeout",
        default_value_t = PositiveDuration(IngesterSettings::default().append_timeout)
    )]
    append_timeout: PositiveDuration,
    /// An ingester without samples shows this often that it is alive; compactors take over whoever does not for
    /// --compactor.adopt-after.
    #[arg(
        long = "ingester.idle-interval",
        default_value_t = PositiveDuration(WriterSettings::default().idle_interval)
    )]
    idle_interval: PositiveDuration,
}

/// Below it a segment holds too little to pay for its request.
const FLUSH_INTERVAL_MIN: Duration = Duration::from_millis(200);
/// Above it senders give up waiting for the acknowledgement.
const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// What no block holds is replayed when its ingester dies.
const BLOCK_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3_600);

impl IngesterFlags {
    /// Holds the intervals against each other.
    ///
    /// # Errors
    /// If an interval is out of its range.
    pub fn check(&self, limits: IngestLimits, memory: HeadMemory) -> anyhow::Result<IngesterSettings> {
        let (flush_interval, block_interval) = (self.flush_interval.0, self.block_interval.0);
        ensure!(
            (FLUSH_INTERVAL_MIN..=FLUSH_INTERVAL_MAX).contains(&flush_interval),
            "--ingester.flush-interval must be between {} and {}, not {}",
            PositiveDuration(FLUSH_INTERVAL_MIN),
            PositiveDuration(FLUSH_INTERVAL_MAX),
            self.flush_interval
        );
        ensure!(
            (flush_interval..=BLOCK_INTERVAL_MAX).contains(&block_interval),
            "--ingester.block-interval must be between --ingester.flush-interval ({}) and {}, not {}",
            self.flush_interval,
            PositiveDuration(BLOCK_INTERVAL_MAX),
            self.block_interval
        );
        let append_timeout = self.append_timeout.0;
        Ok(IngesterSettings { flush_interval, block_interval, append_timeout, limits, memory })
    }

    /// How the ingester's writer behaves.
    ///
    /// # Errors
    /// If a compactor with `adopt_after` would take it over although it is only idle. The two may run in
    /// different processes; each is given both flags then.
    pub fn writer(&self, adopt_after: Duration, memory: HeadMemory) -> anyhow::Result<WriterSettings> {
        ensure!(
            adopt_after > self.idle_interval.0,
            "--compactor.adopt-after ({}) must be longer than --ingester.idle-interval ({}), or every ingester \
             without samples is taken for dead",
            PositiveDuration(adopt_after),
            self.idle_interval
        );
        Ok(WriterSettings { idle_interval: self.idle_interval.0, ..WriterSettings::default().within(memory) })
    }
}
