//! The snappy *block* format (not the framed one), as remote write uses it.
//!
//! Invariant: no memory is taken for a length that the sender merely declares. A declared length is
//! refused if it is above the limit, and also if the block could not expand to it: the densest element
//! of the format yields 64 bytes from 3 (a copy with a two-byte offset).
//!
//! Source: google/snappy `format_description.txt`.

use crate::error::DecodeError;

/// The largest factor by which a block can expand, rounded up from 64 / 3.
const EXPANSION_MAX: usize = 22;

/// The length that a block declares for its content.
///
/// # Errors
/// `Snappy` if the length is malformed or cannot be true, `TooLarge` if it is above
/// `decoded_bytes_max`.
pub fn declared_len(block: &[u8], decoded_bytes_max: usize) -> Result<usize, DecodeError> {
    let declared = snap::raw::decompress_len(block).map_err(|e| DecodeError::Snappy(e.to_string()))?;
    if declared > decoded_bytes_max {
        return Err(DecodeError::TooLarge {
            what: "decompressed bytes",
            found: declared,
            limit: decoded_bytes_max,
            name: "decoded_bytes_max",
        });
    }
    if declared > block.len().saturating_mul(EXPANSION_MAX) {
        let text = format!("a block of {} bytes cannot hold the {declared} that it declares", block.len());
        return Err(DecodeError::Snappy(text));
    }
    Ok(declared)
}

/// Decompresses a block.
///
/// # Errors
/// As [`declared_len`], and `Snappy` if the block is corrupt, truncated or does not hold exactly what
/// it declares.
pub fn decompress(block: &[u8], decoded_bytes_max: usize) -> Result<Vec<u8>, DecodeError> {
    if block.is_empty() {
        return Err(DecodeError::Snappy("the block is empty".to_owned()));
    }
    let mut decoded = vec![0; declared_len(block, decoded_bytes_max)?];
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut decoded)
        .map_err(|e| DecodeError::Snappy(e.to_string()))?;
    decoded.truncate(written);
    Ok(decoded)
}

/// Compresses to one block.
///
/// # Panics
/// If `bytes` is longer than the format can say (4 GiB): callers build requests far below it.
#[must_use]
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("below 4 GiB every input has a snappy block")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        for bytes in [vec![], vec![0], vec![7; 100_000], (0..=255).cycle().take(70_000).collect()] {
            assert_eq!(decompress(&compress(&bytes), 1 << 20).unwrap(), bytes);
        }
    }

    #[test]
    fn the_densest_real_block_is_below_the_expansion_bound() {
        let bytes = vec![0; 32 << 20];
        let block = compress(&bytes);
        assert!(bytes.len() < block.len() * EXPANSION_MAX, "{} from {}", bytes.len(), block.len());
        assert_eq!(declared_len(&block, 32 << 20), Ok(32 << 20));
    }

    #[test]
    fn a_declared_length_above_the_limit_is_refused_by_its_name() {
        let block = compress(&[0; 1_001]);
        assert!(decompress(&block, 1_001).is_ok());
        let error = decompress(&block, 1_000).unwrap_err();
        assert!(error.is_limit());
        assert_eq!(
            error.to_string(),
            "request has 1001 decompressed bytes, at most 1000 are accepted (decoded_bytes_max)"
        );
    }

    #[test]
    fn a_short_block_that_declares_much_is_malformed_and_takes_no_memory() {
        // Varint 32 MiB - 1, then nothing.
        let error = decompress(&[0xff, 0xff, 0xff, 0x0f], 32 << 20).unwrap_err();
        assert!(matches!(error, DecodeError::Snappy(_)), "{error}");
    }

    #[test]
    fn every_truncation_and_every_lie_about_the_length_is_an_error() {
        let block = compress(b"some bytes, some bytes, some bytes, and others");
        for end in 0..block.len() {
            assert!(matches!(decompress(&block[..end], 1 << 20), Err(DecodeError::Snappy(_))), "{end}");
        }
        for lie in [0, block[0] - 1, block[0] + 1] {
            let mut lying = block.clone();
            lying[0] = lie;
            assert!(matches!(decompress(&lying, 1 << 20), Err(DecodeError::Snappy(_))), "{lie}");
        }
    }

    #[test]
    fn the_framed_format_is_an_error() {
        let framed = b"\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00abcde";
        assert!(decompress(framed, 1 << 20).is_err());
    }
}
