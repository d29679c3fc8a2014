//! One zstd frame, decompressed into exactly the size that was promised.
//!
//! Each thread keeps its zstd contexts: making them took 8 to 11 % of the simulator's time, whose
//! segments are small.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
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
    let raw = DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new()?),
        };
        decompressor.decompress(frame, raw_length as usize)
    });
    let raw = raw.map_err(|error: io::Error| format!("zstd: {error}"))?;
    if raw.len() as u64 == raw_length { Ok(raw) } else { Err("the frame is shorter than it says".into()) }
}

/// Compresses `raw` into one frame that declares its length.
pub(crate) fn compress(raw: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(raw)
    })
}
