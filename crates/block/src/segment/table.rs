//! The section table of a segment: which rows lie where, enough to fetch one share alone.

use std::ops::Range;

use promontory_model::{TenantId, TimeRange};

use super::{array, corrupt};
use crate::error::Error;

/// Bytes of an entry without its tenant's name.
const ENTRY_BYTES: usize = 72;
const FLAG_REQUIRED: u16 = 1;

/// A section of no meaning and no bytes.
pub(super) const KIND_FILLER: u16 = 7;

/// Kinds of sections that this program reads.
///
/// Assigned and not yet written: 3 histograms, 4 exemplars, 5 metadata, 6 start timestamps. Written and not read:
/// [`KIND_FILLER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Series = 1,
    Samples = 2,
}

impl Kind {
    pub(super) fn of(kind: u16) -> Option<Self> {
        match kind {
            1 => Some(Self::Series),
            2 => Some(Self::Samples),
            _ => None,
        }
    }
}

/// One entry; its numbers are the section's own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub kind: u16,
    pub required: bool,
    /// Shard `shard` of 2^`shard_bits` by the top bits of xxh3-64 of the key.
    pub shard: u32,
    pub shard_bits: u8,
    /// CRC32C of the compressed bytes.
    pub crc: u32,
    pub offset: u64,
    pub length: u64,
    /// Bytes after decompression.
    pub raw_length: u64,
    pub time_range: TimeRange,
    pub series: u64,
    pub rows: u64,
    pub tenant: TenantId,
}

impl Entry {
    pub(super) fn encoded_length(&self) -> usize {
        ENTRY_BYTES + self.tenant.as_str().len()
    }

    pub(super) fn bytes(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }

    /// True if both describe the same tenant's same shard.
    pub(super) fn same_share(&self, other: &Self) -> bool {
        let share = |entry: &Self| (entry.shard, entry.shard_bits, entry.series, entry.rows);
        self.tenant == other.tenant && share(self) == share(other) && self.time_range == other.time_range
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let tenant = self.tenant.as_str().as_bytes();
        let flags = if self.required { FLAG_REQUIRED } else { 0 };
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.shard.to_le_bytes());
        // A tenant's name has at most 150 bytes.
        out.extend_from_slice(&[self.shard_bits, tenant.len() as u8, 0, 0]);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.raw_length.to_le_bytes());
        out.extend_from_slice(&self.time_range.start.to_le_bytes());
        out.extend_from_slice(&self.time_range.end.to_le_bytes());
        out.extend_from_slice(&self.series.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(tenant);
    }

    /// Reads one entry and returns what follows it; `at` is its place in the object.
    fn read(bytes: &[u8], at: u64) -> Result<(Self, &[u8]), Error> {
        let rest = at..at + bytes.len() as u64;
        let short = || corrupt(rest.clone(), "the table ends inside an entry");
        if bytes.len() < ENTRY_BYTES {
            return Err(short());
        }
        let (fixed, after) = bytes.split_at(ENTRY_BYTES);
        let tenant_length = usize::from(fixed[9]);
        if after.len() < tenant_length {
            return Err(short());
        }
        let (tenant, after) = after.split_at(tenant_length);
        let illegal = || corrupt(at..at + (ENTRY_BYTES + tenant_length) as u64, "an illegal tenant");
        let tenant = std::str::from_utf8(tenant).ok().and_then(|name| TenantId::new(name).ok());
        let flags = u16::from_le_bytes(array(fixed, 2));
        let entry = Self {
            kind: u16::from_le_bytes(array(fixed, 0)),
            required: flags & FLAG_REQUIRED != 0,
            shard: u32::from_le_bytes(array(fixed, 4)),
            shard_bits: fixed[8],
            crc: u32::from_le_bytes(array(fixed, 12)),
            offset: u64::from_le_bytes(array(fixed, 16)),
            length: u64::from_le_bytes(array(fixed, 24)),
            raw_length: u64::from_le_bytes(array(fixed, 32)),
            time_range: TimeRange::new(
                i64::from_le_bytes(array(fixed, 40)),
                i64::from_le_bytes(array(fixed, 48)),
            ),
            series: u64::from_le_bytes(array(fixed, 56)),
            rows: u64::from_le_bytes(array(fixed, 64)),
            tenant: tenant.ok_or_else(illegal)?,
        };
        Ok((entry, after))
    }
}

/// Reads `count` entries that fill the table exactly and ascend; `at` is the table's place.
pub(super) fn read(table: &[u8], count: u32, at: u64) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::with_capacity((count as usize).min(table.len() / ENTRY_BYTES));
    let mut rest = table;
    for _ in 0..count {
        let place = at + (table.len() - rest.len()) as u64;
        let (entry, after) = Entry::read(rest, place)?;
        let order = |entry: &Entry| (entry.tenant.clone(), entry.shard, entry.kind);
        if entries.last().is_some_and(|last| order(last) >= order(&entry)) {
            return Err(corrupt(
                place..place + entry.encoded_length() as u64,
                "entries of the table do not ascend",
            ));
        }
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() {
        return Ok(entries);
    }
    let end = at + table.len() as u64;
    Err(corrupt(end - rest.len() as u64..end, "bytes after the last entry of the table"))
}
