//! One zstd frame, decompressed into exactly the size that was promised.

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
    let raw = zstd::bulk::decompress(frame, raw_length as usize).map_err(|error| format!("zstd: {error}"))?;
    if raw.len() as u64 == raw_length { Ok(raw) } else { Err("the frame is shorter than it says".into()) }
}
