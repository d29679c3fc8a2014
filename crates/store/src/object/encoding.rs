//! Canonical bytes of catalog objects: one state has one encoding.
//!
//! ```text
//! object := magic(4) version(2) body crc32c(4)
//! ```
//!
//! Words: a *number* is LEB128 in its shortest form, a signed one is zigzag first; *bytes* are a
//! number and that many bytes; fixed integers are little-endian. The checksum covers every byte in
//! front of it. A decoder takes no more memory than its input has bytes, times a constant, and never
//! panics.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;

use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(magic: [u8; 4], version: u16) -> Self {
        let mut bytes = magic.to_vec();
        bytes.extend_from_slice(&version.to_le_bytes());
        Self { bytes }
    }

    pub(crate) fn finish(mut self) -> Bytes {
        let crc = crc32c::crc32c(&self.bytes);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes.into()
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, number: u128) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// Why an object cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Damaged, or not ours.
    #[error("corrupt at bytes {}..{}: {why}", at.start, at.end)]
    Corrupt {
        /// The bytes of the object that do not fit.
        at: Range<usize>,
        why: String,
    },
    /// Whole, but of a newer program.
    #[error("{0}")]
    Unsupported(String),
}

impl DecodeError {
    /// The same as an error about the object at `key`.
    pub(crate) fn about(self, key: &Path) -> Error {
        match self {
            Self::Unsupported(why) => Error::Unsupported(format!("cannot read {key}: {why}")),
            corrupt => Error::Corrupt { object: key.to_string(), why: corrupt.to_string() },
        }
    }
}

pub(crate) fn corrupt<T>(at: Range<usize>, why: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError::Corrupt { at, why: why.into() })
}

/// Reads one object whose checksum was verified.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    body: &'a [u8],
    at: usize,
    version: u16,
}

impl<'a> Decoder<'a> {
    /// Verifies checksum and magic, and that the version is not above `newest`.
    pub(crate) fn new(bytes: &'a [u8], magic: [u8; 4], newest: u16) -> Result<Self, DecodeError> {
        let Some((body, crc)) = bytes.split_last_chunk::<4>().filter(|(body, _)| body.len() >= 6) else {
            return corrupt(0..bytes.len(), format!("{} bytes, at least 10 are needed", bytes.len()));
        };
        if body[..4] != magic {
            return corrupt(0..4, "the magic is missing");
        }
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return corrupt(0..bytes.len(), "the checksum in the last four bytes differs");
        }
        let found = u16::from_le_bytes([body[4], body[5]]);
        if found == 0 || found > newest {
            return Err(DecodeError::Unsupported(format!("version {found}, this program knows {newest}")));
        }
        Ok(Self { body, at: 6, version: found })
    }

    /// Which version the object has, from 1.
    pub(crate) fn version(&self) -> u16 {
        self.version
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        let end = self.body.len();
        if self.at == end { Ok(()) } else { corrupt(self.at..end, "bytes are left over") }
    }

    /// Byte at which the next item begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The item that began at `from` and was just read makes no sense.
    pub(crate) fn corrupt<T>(&self, from: usize, why: impl Into<String>) -> Result<T, DecodeError> {
        corrupt(from..self.at, why)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        match self.body.get(self.at..).and_then(|rest| rest.get(..n)) {
            Some(taken) => {
                self.at += n;
                Ok(taken)
            }
            None => corrupt(self.at..self.body.len(), format!("the body ends here, {n} bytes are wanted")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let at = self.at;
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return self.corrupt(at, "not a canonical number");
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        self.corrupt(at, "not a canonical number")
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = self.number()?;
        self.take(usize::try_from(n).unwrap_or(usize::MAX))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.at;
        match std::str::from_utf8(self.bytes()?) {
            Ok(text) => Ok(text),
            Err(_) => self.corrupt(at, "not UTF-8"),
        }
    }

    /// Reads a list; every item takes at least one byte, so its length is bounded by the input.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let from = self.at;
        let n = self.number()?;
        if n > (self.body.len() - self.at) as u64 {
            return self.corrupt(from, format!("a list of {n} items"));
        }
        // Not with_capacity(n): an item may be larger in memory than its smallest encoding.
        let mut items = Vec::new();
        for _ in 0..n {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = *b"TEST";

    #[test]
    fn numbers_survive_and_have_one_form() {
        for number in [0, 1, 127, 128, 300, u64::MAX / 2, u64::MAX] {
            let mut encoder = Encoder::new(MAGIC, 1);
            encoder.number(number);
            encoder.signed(number as i64);
            encoder.signed(-(number as i128) as i64);
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes, MAGIC, 1).unwrap();
            assert_eq!(decoder.number(), Ok(number));
            assert_eq!(decoder.signed(), Ok(number as i64));
            assert_eq!(decoder.signed(), Ok(-(number as i128) as i64));
            decoder.finish().unwrap();
        }
        for body in
            [&[0x80, 0x00][..], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            let mut encoder = Encoder::new(MAGIC, 1);
            body.iter().for_each(|byte| encoder.byte(*byte));
            let bytes = encoder.finish();
            assert!(Decoder::new(&bytes, MAGIC, 1).unwrap().number().is_err(), "{body:?}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut encoder = Encoder::new(MAGIC, 1);
        encoder.text("promontory");
        let bytes = encoder.finish().to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(Decoder::new(&flipped, MAGIC, 1), Err(DecodeError::Corrupt { .. })),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_newer_version_is_not_called_damaged() {
        let bytes = Encoder::new(MAGIC, 2).finish();
        assert!(matches!(Decoder::new(&bytes, MAGIC, 1), Err(DecodeError::Unsupported(_))));
    }

    #[test]
    fn lengths_beyond_the_end_are_refused_before_memory_is_taken() {
        let mut encoder = Encoder::new(MAGIC, 1);
        encoder.number(u64::MAX);
        let bytes = encoder.finish();
        assert!(Decoder::new(&bytes, MAGIC, 1).unwrap().bytes().is_err());
        assert!(Decoder::new(&bytes, MAGIC, 1).unwrap().list(Decoder::byte).is_err());
    }
}
