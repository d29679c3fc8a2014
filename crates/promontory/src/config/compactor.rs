//! When a compactor acts.

use clap::Args;
use promontory_compactor::CompactorSettings;
use promontory_model::HeadMemory;

use super::values::PositiveDuration;

/// Flags of the compactor.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Compactor")]
pub struct CompactorFlags {
    /// A writer without a new segment for this long is taken over.
    #[arg(long = "compactor.adopt-after", default_value_t = PositiveDuration(CompactorSettings::default().adopt_after))]
    adopt_after: PositiveDuration,
    /// L1 blocks, which ingesters write, are merged into L2 blocks of one tenant and two hours each once
    /// they are this old.
    #[arg(long = "compactor.l2-after", default_value_t = PositiveDuration(CompactorSettings::default().l2_after))]
    l2_after: PositiveDuration,
    /// Time between sweeps of objects that nothing refers to any more.
    #[arg(
        long = "compactor.sweep-interval",
        default_value_t = PositiveDuration(CompactorSettings::default().sweep_interval)
    )]
    sweep_interval: PositiveDuration,
}

impl CompactorFlags {
    pub fn check(&self, memory: HeadMemory) -> CompactorSettings {
        CompactorSettings {
            adopt_after: self.adopt_after.0,
            l2_after: self.l2_after.0,
            sweep_interval: self.sweep_interval.0,
            memory,
        }
    }
}
