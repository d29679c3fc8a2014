//! Bytes of deltas, checkpoint roots and pages; drawn in `docs/format.md`.
//!
//! Invariant: equal states have equal bytes, so two processes that write one checkpoint write the
//! same objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use promontory_block::{BlockMeta, Level, ObjectKind, ObjectMeta, TenantSpan};
use promontory_model::{TenantId, TimeRange, WriterId};

use super::state::{BlockEntry, Catalog, Change, Delta, TenantState, WriterState};
use crate::object::encoding::{DecodeError, Decoder, Encoder};
use crate::object::keys::BlockId;

const VERSION: u16 = 1;
const MAGIC_DELTA: [u8; 4] = *b"PMDE";
const MAGIC_ROOT: [u8; 4] = *b"PMCK";
const MAGIC_PAGE: [u8; 4] = *b"PMPG";

const BIRTH: u8 = 1;
const L1: u8 = 2;
const CLOSE: u8 = 3;
const MERGE_L1: u8 = 4;
const MERGE: u8 = 5;
const FLOOR: u8 = 6;
const RETAIN: u8 = 7;
/// Kept for deletion, which is not written yet.
const TOMBSTONE: u8 = 8;
/// [`MERGE_L1`] with blocks that are passed over.
const MERGE_L1_PAST_DAMAGE: u8 = 9;

/// Flags of a tenant's page: which optional parts follow.
const HAS_RETENTION: u8 = 1;
const HAS_PASSED_OVER: u8 = 2;

/// The root of a checkpoint: all but the tenants' pages.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointRoot {
    /// The state with `tenants` empty.
    pub catalog: Catalog,
    /// Where each tenant's page lies: the version that changed it last.
    pub pages: BTreeMap<TenantId, u64>,
}

impl Delta {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Encoder::new(MAGIC_DELTA, VERSION);
        out.number(self.version);
        out.u128(self.attempt);
        match &self.change {
            Change::Birth { writer } => {
                out.byte(BIRTH);
                out.u128(writer.0);
            }
            Change::L1 { writer, from, to, entry } => {
                out.byte(L1);
                put_watermark(&mut out, *writer, *from, *to, entry.as_ref());
            }
            Change::Close { writer, from, mark, entry } => {
                out.byte(CLOSE);
                put_watermark(&mut out, *writer, *from, *mark, entry.as_ref());
            }
            Change::MergeL1 { tenant, from, to, passed_over, outputs } => {
                out.byte(if passed_over.is_empty() { MERGE_L1 } else { MERGE_L1_PAST_DAMAGE });
                out.text(tenant.as_str());
                out.number(*from);
                out.number(*to);
                if !passed_over.is_empty() {
                    put_list(&mut out, passed_over.iter(), |out, version| out.number(*version));
                }
                put_list(&mut out, outputs.iter(), put_entry);
            }
            Change::Merge { tenant, inputs, outputs } => {
                out.byte(MERGE);
                out.text(tenant.as_str());
                put_list(&mut out, inputs.iter(), |out, id| put_id(out, *id));
                put_list(&mut out, outputs.iter(), put_entry);
            }
            Change::Floor { floor } => {
                out.byte(FLOOR);
                out.number(*floor);
            }
            Change::Retain { tenant, from_ts } => {
                out.byte(RETAIN);
                out.text(tenant.as_str());
                out.signed(*from_ts);
            }
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes, MAGIC_DELTA, VERSION)?;
        let d = &mut decoder;
        let (version, attempt) = (d.number()?, d.u128()?);
        let change = match d.byte()? {
            BIRTH => Change::Birth { writer: WriterId(d.u128()?) },
            L1 => {
                let (writer, from, to, entry) = get_watermark(d)?;
                Change::L1 { writer, from, to, entry }
            }
            CLOSE => {
                let (writer, from, mark, entry) = get_watermark(d)?;
                Change::Close { writer, from, mark, entry }
            }
            kind @ (MERGE_L1 | MERGE_L1_PAST_DAMAGE) => {
                let (tenant, from, to) = (get_tenant(d)?, d.number()?, d.number()?);
                let passed_over = if kind == MERGE_L1 { Vec::new() } else { d.list(|d| d.number())? };
                Change::MergeL1 { tenant, from, to, passed_over, outputs: d.list(get_entry)? }
            }
            MERGE => {
                let tenant = get_tenant(d)?;
                Change::Merge { tenant, inputs: d.list(get_id)?, outputs: d.list(get_entry)? }
            }
            FLOOR => Change::Floor { floor: d.number()? },
            RETAIN => Change::Retain { tenant: get_tenant(d)?, from_ts: d.signed()? },
            TOMBSTONE => return Err(DecodeError::Unsupported("it deletes series".into())),
            kind => return Err(DecodeError::Unsupported(format!("change of kind {kind}"))),
        };
        decoder.finish()?;
        Ok(Self { version, attempt, change })
    }
}

impl CheckpointRoot {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let pages = catalog.tenants.iter().map(|(id, tenant)| (id.clone(), tenant.changed)).collect();
        Self { catalog: Catalog { tenants: BTreeMap::new(), ..catalog.clone() }, pages }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Encoder::new(MAGIC_ROOT, VERSION);
        out.number(self.catalog.version);
        out.number(self.catalog.floor);
        put_list(&mut out, self.catalog.writers.iter(), |out, (id, state)| {
            out.u128(id.0);
            out.number(state.born);
            out.number(state.watermark);
        });
        put_list(&mut out, self.catalog.l1.iter(), |out, (version, entry)| {
            out.number(*version);
            put_entry(out, entry);
        });
        put_list(&mut out, self.pages.iter(), |out, (tenant, changed)| {
            out.text(tenant.as_str());
            out.number(*changed);
        });
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes, MAGIC_ROOT, VERSION)?;
        let d = &mut decoder;
        let (version, floor) = (d.number()?, d.number()?);
        let writers = d.list(|d| {
            let id = WriterId(d.u128()?);
            Ok((id, WriterState { born: d.number()?, watermark: d.number()? }))
        })?;
        let l1 = d.list(|d| Ok((d.number()?, Arc::new(get_entry(d)?))))?;
        let pages = d.list(|d| Ok((get_tenant(d)?, d.number()?)))?;
        let writers = ascending(d, writers, "writers")?;
        let l1 = ascending(d, l1, "L1 blocks")?;
        let pages = ascending(d, pages, "tenants")?;
        decoder.finish()?;
        let catalog = Catalog { version, floor, writers, l1, tenants: BTreeMap::new() };
        Ok(Self { catalog, pages })
    }
}

impl TenantState {
    pub(crate) fn encode(&self, id: &TenantId) -> Bytes {
        let mut out = Encoder::new(MAGIC_PAGE, VERSION);
        out.text(id.as_str());
        out.number(self.changed);
        out.number(self.l1_watermark);
        let flag = |flag: u8, set: bool| if set { flag } else { 0 };
        let has_passed_over = !self.passed_over.is_empty();
        out.byte(flag(HAS_RETENTION, self.retained_from.is_some()) | flag(HAS_PASSED_OVER, has_passed_over));
        if let Some(from_ts) = self.retained_from {
            out.signed(from_ts);
        }
        if has_passed_over {
            put_list(&mut out, self.passed_over.iter(), |out, version| out.number(*version));
        }
        put_list(&mut out, self.blocks.values(), |out, entry| put_entry(out, entry));
        // Tombstones and data epochs.
        out.number(0);
        out.number(0);
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<(TenantId, Self), DecodeError> {
        let mut decoder = Decoder::new(bytes, MAGIC_PAGE, VERSION)?;
        let d = &mut decoder;
        let id = get_tenant(d)?;
        let (changed, l1_watermark) = (d.number()?, d.number()?);
        let at = d.at();
        let flags = d.byte()?;
        if flags & !(HAS_RETENTION | HAS_PASSED_OVER) != 0 {
            return d.corrupt(at, format!("flags {flags}"));
        }
        let retained_from = if flags & HAS_RETENTION != 0 { Some(d.signed()?) } else { None };
        let at = d.at();
        let passed_over = if flags & HAS_PASSED_OVER != 0 { d.list(|d| d.number())? } else { Vec::new() };
        if !passed_over.windows(2).all(|pair| pair[0] < pair[1]) {
            return d.corrupt(at, "versions that do not ascend");
        }
        let passed_over = passed_over.into_iter().collect();
        let blocks = d.list(get_entry)?;
        if d.number()? != 0 || d.number()? != 0 {
            return Err(DecodeError::Unsupported("it holds tombstones or data epochs".into()));
        }
        let blocks = blocks.into_iter().map(|entry| (entry.id, Arc::new(entry))).collect();
        let blocks = ascending(d, blocks, "blocks")?;
        decoder.finish()?;
        Ok((id, Self { changed, l1_watermark, passed_over, retained_from, blocks }))
    }
}

/// A map out of pairs, read before here, whose keys strictly ascend.
fn ascending<K: Ord, V>(
    d: &Decoder<'_>,
    pairs: Vec<(K, V)>,
    what: &str,
) -> Result<BTreeMap<K, V>, DecodeError> {
    if pairs.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        Ok(pairs.into_iter().collect())
    } else {
        d.corrupt(0, format!("{what} do not ascend"))
    }
}

fn put_list<T>(
    out: &mut Encoder,
    items: impl ExactSizeIterator<Item = T>,
    mut put: impl FnMut(&mut Encoder, T),
) {
    out.number(items.len() as u64);
    for item in items {
        put(out, item);
    }
}

fn put_watermark(out: &mut Encoder, writer: WriterId, from: u64, to: u64, entry: Option<&BlockEntry>) {
    out.u128(writer.0);
    out.number(from);
    out.number(to);
    put_list(out, entry.into_iter(), put_entry);
}

fn get_watermark(d: &mut Decoder<'_>) -> Result<(WriterId, u64, u64, Option<BlockEntry>), DecodeError> {
    let (writer, from, to) = (WriterId(d.u128()?), d.number()?, d.number()?);
    let at = d.at();
    let mut entries = d.list(get_entry)?;
    if entries.len() > 1 {
        return d.corrupt(at, format!("{} L1 blocks in one commit", entries.len()));
    }
    Ok((writer, from, to, entries.pop()))
}

fn put_id(out: &mut Encoder, id: BlockId) {
    out.number(id.base);
    out.u128(id.unique);
}

fn get_id(d: &mut Decoder<'_>) -> Result<BlockId, DecodeError> {
    Ok(BlockId { base: d.number()?, unique: d.u128()? })
}

fn get_tenant(d: &mut Decoder<'_>) -> Result<TenantId, DecodeError> {
    let at = d.at();
    let name = d.text()?;
    TenantId::new(name).or_else(|error| d.corrupt(at, error.to_string()))
}

fn put_range(out: &mut Encoder, range: TimeRange) {
    out.signed(range.start);
    out.signed(range.end);
}

fn get_range(d: &mut Decoder<'_>) -> Result<TimeRange, DecodeError> {
    Ok(TimeRange::new(d.signed()?, d.signed()?))
}

fn put_entry(out: &mut Encoder, entry: &BlockEntry) {
    let meta = &entry.meta;
    put_id(out, entry.id);
    out.text(entry.path.as_ref());
    out.number(entry.applied);
    out.byte(match meta.level {
        Level::L1 => 1,
        Level::L2 => 2,
        Level::L3 => 3,
    });
    out.number(meta.rows);
    out.number(meta.series);
    put_range(out, meta.time_range);
    out.bytes(&meta.first_key);
    out.bytes(&meta.last_key);
    put_list(out, meta.tenants.iter(), |out, span| {
        out.text(span.tenant.as_str());
        for end in [&span.series, &span.rows] {
            out.number(end.start);
            out.number(end.end);
        }
        put_range(out, span.time_range);
    });
    put_list(out, meta.objects.iter(), |out, object| {
        out.byte(match object.kind {
            ObjectKind::Series => 1,
            ObjectKind::Samples => 2,
        });
        out.number(object.size);
        out.u128(object.checksum);
        out.u32(object.footer_size);
        out.u32(object.footer_crc);
    });
}

fn get_entry(d: &mut Decoder<'_>) -> Result<BlockEntry, DecodeError> {
    let entry_at = d.at();
    let id = get_id(d)?;
    let at = d.at();
    let path = d.text()?;
    let path = match Path::parse(path) {
        Ok(parsed) if parsed.as_ref() == path => parsed,
        _ => return d.corrupt(at, format!("illegal path {path:?}")),
    };
    let applied = d.number()?;
    let level = match d.byte()? {
        1 => Level::L1,
        2 => Level::L2,
        3 => Level::L3,
        level => return Err(DecodeError::Unsupported(format!("block of level {level}"))),
    };
    let (rows, series, time_range) = (d.number()?, d.number()?, get_range(d)?);
    let first_key = Bytes::copy_from_slice(d.bytes()?);
    let last_key = Bytes::copy_from_slice(d.bytes()?);
    let tenants = d.list(|d| {
        Ok(TenantSpan {
            tenant: get_tenant(d)?,
            series: d.number()?..d.number()?,
            rows: d.number()?..d.number()?,
            time_range: get_range(d)?,
        })
    })?;
    let objects = d.list(|d| {
        let kind = match d.byte()? {
            1 => ObjectKind::Series,
            2 => ObjectKind::Samples,
            kind => return Err(DecodeError::Unsupported(format!("object of kind {kind}"))),
        };
        let (size, checksum) = (d.number()?, d.u128()?);
        Ok(ObjectMeta { kind, size, checksum, footer_size: d.u32()?, footer_crc: d.u32()? })
    })?;
    if !tenants.windows(2).all(|pair| pair[0].tenant < pair[1].tenant) {
        return d.corrupt(entry_at, format!("tenants of block {id} do not ascend"));
    }
    let meta = BlockMeta { level, rows, series, time_range, first_key, last_key, tenants, objects };
    Ok(BlockEntry { id, path, applied, meta })
}
