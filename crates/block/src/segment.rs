//! One object of the write-ahead log: a segment of samples, or the mark that closes a writer.
//!
//! Words: a *slot* is the place `wal/<writer>/<seq>` and what lies there; a *section* is one kind of
//! rows of one tenant, one Arrow IPC stream in one zstd frame.
//!
//! Invariants:
//! - The bytes of a slot depend only on its content. Its header carries xxh3-128 over every other
//!   byte of the object, and [`slot_checksum`] is what a read-back compares.
//! - Magic, size and checksum keep their places in every version: a damaged slot is told from one
//!   that a newer program wrote.
//! - Sections ascend by (tenant, shard, kind), lie back to back behind the table and end where the
//!   object ends.
//! - A section of an unknown kind is skipped if its entry says optional, and is an error otherwise.
//! - A decoder allocates at most [`SECTION_BYTES_MAX`] per section, and never more than a zstd frame
//!   of the section's real size can hold.
//!
//! The layout is drawn in `docs/format.md`.

mod series;
mod table;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use promontory_model::samples::LaneLists;
use promontory_model::{TenantId, TimeRange, WriterId};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::codec::{TenantRows, check_storable};
use crate::error::Error;
use crate::merge::merge_owned;
use crate::run::SeriesRun;
use table::{Entry, Kind};

/// Most bytes that one section may have before compression.
///
/// Ingest bounds what a segment can hold far below it, and large tenants are split into shards; it is
/// the bound of what a decoder allocates on the word of a table.
pub const SECTION_BYTES_MAX: u64 = 512 << 20;

/// Samples of one tenant above which its share of a segment is split into shards by label hash.
pub const SHARD_SAMPLES_MAX: usize = 1 << 20;

/// Bytes of keys of one tenant above which its share of a segment is split into shards.
pub const SHARD_KEY_BYTES_MAX: usize = 64 << 20;

/// A tenant's share is split into at most 2^n shards.
const SHARD_BITS_MAX: u8 = 8;

const WHAT: &str = "segment";
const MAGIC: &[u8; 8] = b"PROMSLOT";
const VERSION: u16 = 1;
const FLAG_CLOSED: u16 = 1;
const HEADER_BYTES: usize = 80;

/// Bytes of a closed mark, and of nothing else that is written: whatever is longer is a segment.
pub const CLOSED_BYTES: usize = HEADER_BYTES;

const CHECKSUM_AT: usize = 64;

/// What lies in one place of a writer's log.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// Samples, perhaps none.
    Segment(Segment),
    /// The writer is closed: whatever lies above is void for ever.
    Closed(Closed),
}

/// All tenants' samples of one cut of a writer.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The writer whose log it lies in.
    pub writer: WriterId,
    /// Its place in the log, from 1 and without gaps.
    pub seq: u64,
    /// Newest catalog version that the writer had applied.
    pub applied: u64,
    /// Rows by tenant, strictly ascending; empty runs are left out when encoding.
    pub sections: Vec<TenantRows>,
}

/// The mark that closes a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The writer whose log it lies in.
    pub writer: WriterId,
    /// Its place in the log: one above the last segment that counts.
    pub seq: u64,
    /// Newest catalog version that whoever closed it had applied.
    pub applied: u64,
}

impl Slot {
    /// The writer whose log the slot lies in.
    #[must_use]
    pub fn writer(&self) -> WriterId {
        match self {
            Self::Segment(segment) => segment.writer,
            Self::Closed(closed) => closed.writer,
        }
    }

    /// Its place in the log, from 1.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Segment(segment) => segment.seq,
            Self::Closed(closed) => closed.seq,
        }
    }

    /// The newest catalog version that was applied before the slot was made.
    #[must_use]
    pub fn applied(&self) -> u64 {
        match self {
            Self::Segment(segment) => segment.applied,
            Self::Closed(closed) => closed.applied,
        }
    }

    /// The bytes of the slot.
    ///
    /// # Errors
    /// [`Error::Bug`] if rows break an invariant of [`SeriesRun`] or exceed a bound of the format.
    pub fn encode(&self) -> Result<Bytes, Error> {
        match self {
            Self::Segment(s) => encode_segment(s.writer, s.seq, s.applied, &s.sections),
            Self::Closed(closed) => Ok(closed.encode()),
        }
    }

    /// Reads a slot, verifying every checksum and bound.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the bytes are damaged, [`Error::Unsupported`] if they are whole but of a
    /// newer version or hold a required section of an unknown kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let header = Header::read(bytes)?;
        let (writer, seq, applied) = (header.writer, header.seq, header.applied);
        if header.flags & !FLAG_CLOSED != 0 {
            return Err(unsupported(format!("flags {:#06x}", header.flags)));
        }
        let entries = header.entries(bytes)?;
        if header.flags & FLAG_CLOSED != 0 {
            if !entries.is_empty() {
                return Err(corrupt(12..16, "a closed mark has sections"));
            }
            return Ok(Self::Closed(Closed { writer, seq, applied }));
        }
        Ok(Self::Segment(Segment { writer, seq, applied, sections: read_sections(bytes, &entries)? }))
    }
}

impl Closed {
    /// The bytes of the mark, always [`CLOSED_BYTES`] of them.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        seal(self.writer, self.seq, self.applied, FLAG_CLOSED, &mut [], &[])
    }
}

/// Encodes a segment from borrowed rows; see [`Slot::encode`].
///
/// # Errors
/// [`Error::Bug`] if rows break an invariant of [`SeriesRun`] or exceed a bound of the format.
pub fn encode_segment(
    writer: WriterId,
    seq: u64,
    applied: u64,
    sections: &[TenantRows],
) -> Result<Bytes, Error> {
    if !sections.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return Err(Error::Bug("tenants of a segment do not ascend".into()));
    }
    let mut entries = Vec::new();
    let mut bodies = Vec::new();
    for (tenant, run) in sections.iter().filter(|(_, run)| !run.is_empty()) {
        check_storable(run).map_err(|why| Error::Bug(format!("segment of tenant {tenant}: {why}")))?;
        let bits = shard_bits(run);
        for (shard, run) in split(run, bits).iter().enumerate().filter(|(_, run)| !run.is_empty()) {
            for (kind, raw) in [
                (Kind::Series, series::encode_series(run)?),
                (Kind::Samples, series::encode_samples(run.floats())?),
            ] {
                let body = compress(&raw)?;
                entries.push(Entry {
                    kind: kind as u16,
                    required: true,
                    shard: shard as u32,
                    shard_bits: bits,
                    crc: crc32c::crc32c(&body),
                    offset: 0,
                    length: body.len() as u64,
                    raw_length: raw.len() as u64,
                    time_range: run.time_range(),
                    series: run.keys().len() as u64,
                    rows: run.rows() as u64,
                    tenant: tenant.clone(),
                });
                bodies.push(body);
            }
        }
    }
    if entries.is_empty() {
        entries.push(filler()?);
    }
    Ok(seal(writer, seq, applied, 0, &mut entries, &bodies))
}

/// What makes a segment without samples longer than a closed mark, so that a listing tells them apart.
fn filler() -> Result<Entry, Error> {
    let tenant = TenantId::new("-").map_err(|error| Error::Bug(error.to_string()))?;
    Ok(Entry {
        kind: table::KIND_FILLER,
        required: false,
        shard: 0,
        shard_bits: 0,
        crc: crc32c::crc32c(&[]),
        offset: 0,
        length: 0,
        raw_length: 0,
        time_range: TimeRange::EMPTY,
        series: 0,
        rows: 0,
        tenant,
    })
}

/// The checksum in a slot's header, verified against all other bytes: two slots with the same
/// checksum hold the same bytes.
///
/// # Errors
/// [`Error::Corrupt`] if the bytes are not a whole, undamaged slot.
pub fn slot_checksum(bytes: &[u8]) -> Result<u128, Error> {
    Header::read_any_version(bytes).map(|(_, checksum)| checksum)
}

/// The fixed part in front of every slot.
struct Header {
    flags: u16,
    sections: u32,
    writer: WriterId,
    seq: u64,
    applied: u64,
    table_length: u32,
    table_crc: u32,
}

impl Header {
    /// Verifies magic, size and checksum, which every version has at the same place.
    fn read_any_version(bytes: &[u8]) -> Result<(u16, u128), Error> {
        if bytes.len() < HEADER_BYTES {
            let why = format!("{} bytes, a header has {HEADER_BYTES}", bytes.len());
            return Err(corrupt(0..bytes.len() as u64, why));
        }
        if &bytes[..8] != MAGIC {
            return Err(corrupt(0..8, "the magic is missing"));
        }
        let size = u64::from_le_bytes(array(bytes, 48));
        if size != bytes.len() as u64 {
            let why = format!("the header says {size} bytes, there are {}", bytes.len());
            return Err(corrupt(48..56, why));
        }
        let stored = u128::from_le_bytes(array(bytes, CHECKSUM_AT));
        let version = u16::from_le_bytes(array(bytes, 8));
        if stored == checksum(bytes) {
            return Ok((version, stored));
        }
        match version {
            VERSION => Err(Self::parse(bytes).damage(bytes)),
            // Where the parts of another version lie is not known.
            _ => Err(corrupt(0..size, "the checksum of the object differs")),
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let (version, _) = Self::read_any_version(bytes)?;
        if version != VERSION {
            return Err(unsupported(format!("version {version}, this program knows {VERSION}")));
        }
        Ok(Self::parse(bytes))
    }

    /// Takes the fields of this version apart; `bytes` holds at least a header.
    fn parse(bytes: &[u8]) -> Self {
        Self {
            flags: u16::from_le_bytes(array(bytes, 10)),
            sections: u32::from_le_bytes(array(bytes, 12)),
            writer: WriterId(u128::from_le_bytes(array(bytes, 16))),
            seq: u64::from_le_bytes(array(bytes, 32)),
            applied: u64::from_le_bytes(array(bytes, 40)),
            table_length: u32::from_le_bytes(array(bytes, 56)),
            table_crc: u32::from_le_bytes(array(bytes, 60)),
        }
    }

    /// Which part of a slot whose checksum differs is the damaged one: the table with what the header
    /// says of it, a section, or else the header.
    fn damage(&self, bytes: &[u8]) -> Error {
        if let Err(error) = self.table(bytes) {
            return error;
        }
        let entries = self.entries(bytes).unwrap_or_default();
        let sections = entries.iter().map(|entry| section(bytes, entry));
        let damaged = sections.filter_map(Result::err).next();
        damaged.unwrap_or_else(|| corrupt(0..HEADER_BYTES as u64, "the checksum of the object differs"))
    }

    /// The bytes of the section table, verified.
    fn table<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let end = HEADER_BYTES + self.table_length as usize;
        let table = bytes.get(HEADER_BYTES..end).ok_or_else(|| corrupt(56..60, "the table ends outside"))?;
        if crc32c::crc32c(table) != self.table_crc {
            return Err(corrupt(56..end as u64, "the checksum of the table differs"));
        }
        Ok(table)
    }

    /// The section table, with every entry inside the object.
    fn entries(&self, bytes: &[u8]) -> Result<Vec<Entry>, Error> {
        let table = self.table(bytes)?;
        let entries = table::read(table, self.sections, HEADER_BYTES as u64)?;
        let mut next = (HEADER_BYTES + table.len()) as u64;
        let size = bytes.len() as u64;
        for entry in &entries {
            if entry.offset != next || entry.length > size - next {
                return Err(corrupt(
                    next..size,
                    format!("section of tenant {} lies elsewhere", entry.tenant),
                ));
            }
            next += entry.length;
        }
        if next != size {
            return Err(corrupt(next..size, "bytes after the last section"));
        }
        Ok(entries)
    }
}

/// Joins header, table and sections, setting the offsets of the entries.
fn seal(
    writer: WriterId,
    seq: u64,
    applied: u64,
    flags: u16,
    entries: &mut [Entry],
    bodies: &[Vec<u8>],
) -> Bytes {
    let table_length: usize = entries.iter().map(Entry::encoded_length).sum();
    let mut offset = (HEADER_BYTES + table_length) as u64;
    let mut table = Vec::with_capacity(table_length);
    for entry in entries.iter_mut() {
        entry.offset = offset;
        offset += entry.length;
        entry.write(&mut table);
    }
    let mut out = Vec::with_capacity(offset as usize);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    out.extend_from_slice(&writer.0.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&applied.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&(table.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&table).to_le_bytes());
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&table);
    for body in bodies {
        out.extend_from_slice(body);
    }
    let sum = checksum(&out);
    out[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    out.into()
}

/// xxh3-128 of all bytes but the checksum's own. `bytes` holds at least a header.
fn checksum(bytes: &[u8]) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&bytes[..CHECKSUM_AT]);
    hasher.update(&bytes[HEADER_BYTES..]);
    hasher.digest128()
}

/// Decodes the sections of known kinds and joins the shards of each tenant.
fn read_sections(bytes: &[u8], entries: &[Entry]) -> Result<Vec<TenantRows>, Error> {
    let mut known = Vec::with_capacity(entries.len());
    for entry in entries {
        match Kind::of(entry.kind) {
            Some(kind) => known.push((kind, entry)),
            None if entry.required => {
                return Err(unsupported(format!("required section kind {}", entry.kind)));
            }
            None => {}
        }
    }
    let mut sections: Vec<(TenantId, Vec<SeriesRun>)> = Vec::new();
    for pair in known.chunks(2) {
        let [(Kind::Series, series), (Kind::Samples, samples)] = pair else {
            return Err(corrupt(pair[0].1.bytes(), "a section of series without one of samples"));
        };
        if !series.same_share(samples) {
            return Err(corrupt(series.bytes(), "series and samples of different shares"));
        }
        let run = read_share(bytes, series, samples)?;
        match sections.last_mut().filter(|(tenant, _)| *tenant == series.tenant) {
            Some((_, shards)) => shards.push(run),
            None => sections.push((series.tenant.clone(), vec![run])),
        }
    }
    Ok(sections.into_iter().map(|(tenant, shards)| (tenant, merge_owned(shards))).collect())
}

fn read_share(bytes: &[u8], series: &Entry, samples: &Entry) -> Result<SeriesRun, Error> {
    let (keys, offsets) = series::decode_series(&decompress(bytes, series)?, series)?;
    let floats = series::decode_samples(&decompress(bytes, samples)?, samples)?;
    let n_rows = floats.len();
    let lists = LaneLists::try_new(offsets, floats)
        .ok_or_else(|| corrupt(series.bytes(), format!("the series do not share {n_rows} samples out")))?;
    let run = SeriesRun::new(keys, lists.into());
    run.check().map_err(|why| corrupt(series.bytes(), why))?;
    if run.keys().len() as u64 != series.series
        || run.rows() as u64 != series.rows
        || run.time_range() != series.time_range
    {
        return Err(corrupt(series.bytes(), "counts or time range differ from the table"));
    }
    Ok(run)
}

/// How finely a run is split so that each shard is of a handy size.
fn shard_bits(run: &SeriesRun) -> u8 {
    let key_bytes: usize = run.keys().iter().map(|key| key.key().len()).sum();
    let shares = run.rows().div_ceil(SHARD_SAMPLES_MAX).max(key_bytes.div_ceil(SHARD_KEY_BYTES_MAX));
    let bits = shares.max(1).next_power_of_two().trailing_zeros() as u8;
    bits.min(SHARD_BITS_MAX)
}

/// Splits by the top bits of the hash of the key; every shard stays sorted.
fn split(run: &SeriesRun, bits: u8) -> Vec<Cow<'_, SeriesRun>> {
    if bits == 0 {
        return vec![Cow::Borrowed(run)];
    }
    let mut shards = vec![SeriesRun::default(); 1 << bits];
    for (key, samples) in run.iter() {
        let shard = &mut shards[(xxh3_64(key.key()) >> (64 - u32::from(bits))) as usize];
        shard.push(key.clone(), samples);
    }
    shards.into_iter().map(Cow::Owned).collect()
}

fn compress(raw: &[u8]) -> Result<Vec<u8>, Error> {
    if raw.len() as u64 > SECTION_BYTES_MAX {
        return Err(Error::Bug(format!("section of {} bytes, at most {SECTION_BYTES_MAX}", raw.len())));
    }
    crate::frame::compress(raw).map_err(|error| Error::Bug(format!("zstd: {error}")))
}

/// The bytes of one section, verified.
fn section<'a>(bytes: &'a [u8], entry: &Entry) -> Result<&'a [u8], Error> {
    let body = &bytes[entry.offset as usize..(entry.offset + entry.length) as usize];
    if crc32c::crc32c(body) == entry.crc { Ok(body) } else { Err(bad_section(entry, "the checksum differs")) }
}

/// Verifies and decompresses one section: exactly one frame that says its content's size.
fn decompress(bytes: &[u8], entry: &Entry) -> Result<Vec<u8>, Error> {
    let body = section(bytes, entry)?;
    let raw = crate::frame::decompress(body, entry.raw_length, SECTION_BYTES_MAX);
    raw.map_err(|why| bad_section(entry, &why))
}

fn bad_section(entry: &Entry, why: &str) -> Error {
    corrupt(entry.bytes(), format!("section of tenant {}: {why}", entry.tenant))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

fn corrupt(at: Range<u64>, why: impl Into<String>) -> Error {
    Error::Corrupt { what: WHAT, at, why: why.into() }
}

fn unsupported(why: String) -> Error {
    Error::Unsupported { what: WHAT, why }
}

#[cfg(test)]
mod tests;
