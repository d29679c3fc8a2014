//! One zstd frame, decompressed into exactly the size that was promised.
//!
//! A few zstd contexts are kept: making them took 8 to 11 % of the simulator's time, whose segments are
//! small. Not one per thread: a runtime has many, and a context that has met a large segment holds
//! megabytes (21 MB of 122 in a heap profile of an ingester).

use std::io;
use std::sync::Mutex;

use promontory_model::MutexExt as _;
use zstd::bulk::{Compressor, Decompressor};

static COMPRESSORS: Kept<Compressor<'static>> = Kept(Mutex::new(Vec::new()));
static DECOMPRESSORS: Kept<Decompressor<'static>> = Kept(Mutex::new(Vec::new()));

/// Contexts that are not in use.
struct Kept<T>(Mutex<Vec<T>>);

impl<T> Kept<T> {
    /// As many as segments are usually made or read at once.
    const MAX: usize = 2;

    /// Works with a context that is kept, or with a new one.
    fn with<R>(
        &self,
        make: impl FnOnce() -> io::Result<T>,
        work: impl FnOnce(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let kept = self.0.locked().pop();
        let mut context = kept.map_or_else(make, Ok)?;
        let result = work(&mut context);
        let mut contexts = self.0.locked();
        if contexts.len() < Self::MAX {
            contexts.push(context);
        }
        result
    }
}

/// Segments live for minutes: the fastest level is the cheapest.
const LEVEL: i32 = 1;

/// No zstd frame expands more than this: a block of 128 KiB takes at least four bytes.
const EXPANSION_MAX: u64 = 1 << 15;

/// Decompresses `frame`, which must be exactly one frame that declares `raw_length` bytes.
///
/// Allocates at most `raw_length_max`, and never more than a frame of this size can hold; the text
/// of an error says which rule is broken.
pub(crate) fn decompress(frame: &[u8], raw_length: u64, raw_length_max: u64) -> Result<Vec<u8>, String> {
    let bound = raw_length_max.min((frame.len() as u64).saturating_mul(EXPANSION_MAX));
    if raw_length > bound {
        return Err(format!("{raw_length} bytes decompressed, at most {bound}"));
    }
    let declared = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten();
    if declared != Some(raw_length) {
        return Err(format!("a frame of {declared:?} bytes, expected {raw_length}"));
    }
    if zstd::zstd_safe::find_frame_compressed_size(frame).ok() != Some(frame.len()) {
        return Err("not exactly one zstd frame".into());
    }
    let raw = DECOMPRESSORS
        .with(Decompressor::new, |decompressor| decompressor.decompress(frame, raw_length as usize));
    let raw = raw.map_err(|error: io::Error| format!("zstd: {error}"))?;
    if raw.len() as u64 == raw_length { Ok(raw) } else { Err("the frame is shorter than it says".into()) }
}

/// Compresses `raw` into one frame that declares its length.
pub(crate) fn compress(raw: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSORS.with(|| Compressor::new(LEVEL), |compressor| compressor.compress(raw))
}
