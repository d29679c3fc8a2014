//! The hash of labels in tables that live in memory.
//!
//! Label bytes are long and looked up for every series of every segment; the standard library's hash
//! was a tenth of the cost of ingest. xxh3 is several times faster, and its seed is random for each
//! table, because senders choose labels and the buckets must not be foreseeable.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Builds hashers of xxh3 under one seed, drawn at random by `default`.
#[derive(Clone, Debug)]
pub struct LabelHash(u64);

impl Default for LabelHash {
    fn default() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for LabelHash {
    type Hasher = LabelHasher;

    fn build_hasher(&self) -> LabelHasher {
        LabelHasher(self.0)
    }
}

#[derive(Debug)]
pub struct LabelHasher(u64);

impl Hasher for LabelHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        self.0 = self.0.wrapping_add(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
