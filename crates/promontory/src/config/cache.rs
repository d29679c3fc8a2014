//! The caches of a querier: as the flags say, or a share of the memory.

use clap::Args;
use promontory_store::BlockReaderSettings;

use super::values::MemorySize;
use crate::environment::memory_bytes_or_guess;

/// Flags of the caches.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Caches")]
pub struct CacheFlags {
    /// Memory for footers of block files, such as 512MB; auto is 1/64 of what this process may use.
    #[arg(long = FOOTERS, default_value_t = MemorySize::Auto, value_name = "SIZE")]
    footers: MemorySize,
    /// Memory for decoded series tables; auto is 1/16 of what this process may use.
    #[arg(long = SERIES, default_value_t = MemorySize::Auto, value_name = "SIZE")]
    series: MemorySize,
    /// Memory for ranges of block files as they are stored; auto is 1/16 of what this process may use.
    #[arg(long = RANGES, default_value_t = MemorySize::Auto, value_name = "SIZE")]
    ranges: MemorySize,
    /// Memory for decoded samples; auto is 1/8 of what this process may use.
    #[arg(long = SAMPLES, default_value_t = MemorySize::Auto, value_name = "SIZE")]
    samples: MemorySize,
}

const FOOTERS: &str = "cache.footers";
const SERIES: &str = "cache.series";
const RANGES: &str = "cache.ranges";
const SAMPLES: &str = "cache.samples";

/// A cache on a small machine.
const CACHE_BYTES_MIN: u64 = 16 << 20;

impl CacheFlags {
    /// Sizes on this machine.
    pub fn check(&self) -> BlockReaderSettings {
        self.with_memory(memory_bytes_or_guess())
    }

    /// Sizes on a machine with so many bytes of memory.
    pub fn with_memory(&self, memory: u64) -> BlockReaderSettings {
        let size = |size, share: u64| match size {
            MemorySize::Auto => (memory / share).max(CACHE_BYTES_MIN),
            MemorySize::Bytes(bytes) => bytes,
        };
        BlockReaderSettings {
            files_bytes_max: size(self.footers, 64),
            series_bytes_max: size(self.series, 16),
            ranges_bytes_max: size(self.ranges, 16),
            samples_bytes_max: size(self.samples, 8),
            ..BlockReaderSettings::default()
        }
    }
}

/// The bytes of each cache, by its flag.
pub fn sizes(blocks: &BlockReaderSettings) -> [(&'static str, u64); 4] {
    [
        (FOOTERS, blocks.files_bytes_max),
        (SERIES, blocks.series_bytes_max),
        (RANGES, blocks.ranges_bytes_max),
        (SAMPLES, blocks.samples_bytes_max),
    ]
}
