//! The memory for samples that no block holds yet: as the flag says, or a share of the memory.

use anyhow::ensure;
use clap::Args;
use promontory_model::HeadMemory;

use super::values::MemorySize;
use crate::environment::memory_bytes_or_guess;

/// Flags of what every role holds of the newest samples.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Head")]
pub struct HeadFlags {
    /// Memory for samples that no block holds yet and for the labels of known series, decoded: what comes in and
    /// waits, what queries see of other ingesters, what is adopted and merged; auto is a quarter of what this process may
    /// use.
    #[arg(long = MAX_MEMORY, default_value_t = MemorySize::Auto, value_name = "SIZE")]
    max_memory: MemorySize,
}

pub const MAX_MEMORY: &str = "head.max-memory";

impl HeadFlags {
    /// The size on this machine.
    ///
    /// # Errors
    /// If it is too small for a single request.
    pub fn check(&self) -> anyhow::Result<HeadMemory> {
        self.with_memory(memory_bytes_or_guess())
    }

    /// The size on a machine with so many bytes of memory.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn with_memory(&self, memory: u64) -> anyhow::Result<HeadMemory> {
        let bytes_min = HeadMemory::BYTES_MIN as u64;
        let bytes = match self.max_memory {
            MemorySize::Auto => (memory / 4).max(bytes_min),
            MemorySize::Bytes(bytes) => bytes,
        };
        ensure!(
            bytes >= bytes_min,
            "--{MAX_MEMORY} must be at least {}MB, not {bytes} bytes",
            bytes_min >> 20
        );
        Ok(HeadMemory { bytes_max: usize::try_from(bytes)? })
    }
}
