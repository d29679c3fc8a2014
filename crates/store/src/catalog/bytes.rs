//! Bytes of deltas, checkpoint roots and pages; drawn in `docs/format.md`.
//!
//! Version 2 is written; version 1, which has neither identities nor data epochs nor levels, is read.
//!
//! Invariant: equal states have equal bytes, so two processes that write one checkpoint write the
//! same objects.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use promontory_block::{BlockMeta, Level, ObjectKind, ObjectMeta, TenantSpan};
use promontory_model::{TenantId, TimeRange, WriterId};

use crate::catalog::epochs::{EpochRun, Epochs, Touched, WindowRun};
use crate::catalog::state::{
    Addition, BlockEntry, Catalog, Change, Delta, L1Place, TenantState, WriterState,
};
use crate::object::encoding::{DecodeError, Decoder, Encoder};
use crate::object::format::Format;
use crate::object::keys::BlockId;

const VERSION: u16 = 2;
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
/// [`MERGE_L1`] with blocks that are passed over, in version 1.
const MERGE_L1_PAST_DAMAGE: u8 = 9;
const GENESIS: u8 = 10;
const RAISE: u8 = 11;
const FORGET_BLOCK: u8 = 12;
const FORGET_SEGMENT: u8 = 13;
const LOST: u8 = 14;

/// Kinds of changes whose numbers are given and that nobody makes yet.
const RESERVED: [(u8, &str); 5] = [
    (8, "deletes series"),
    (15, "imports blocks"),
    (16, "merges blocks of many tenants"),
    (17, "sets the retentions of a tenant"),
    (18, "names a snapshot"),
];

/// Flags of a tenant's page: which optional parts follow.
const HAS_RETENTION: u8 = 1;
const HAS_PASSED_OVER: u8 = 2;

/// An object without which the rows of its block cannot be read.
const ESSENTIAL: u8 = 1;

/// The page of a whole tenant; pages of parts of one may come.
const WHOLE_TENANT: u8 = 0;

/// The root of a checkpoint: all but the tenants' pages.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointRoot {
    /// What the bucket was made with, so that a lost `format` can be made again; `None` in version 1.
    pub format: Option<Format>,
    /// The state with `tenants` and `epochs` empty.
    pub catalog: Catalog,
    /// Where each tenant's page lies: the version that changed it last.
    pub pages: BTreeMap<TenantId, u64>,
}

/// One tenant's page: what the root of a checkpoint leaves out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Blocks and watermarks, if the tenant has any.
    pub state: Option<Arc<TenantState>>,
    /// Data epochs, if any were raised.
    pub epochs: Option<Arc<Epochs>>,
}

impl Delta {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Encoder::new(MAGIC_DELTA, VERSION);
        out.number(self.version);
        out.u128(self.attempt);
        out.u128(self.predecessor);
        put_change(&mut out, &self.change);
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes, MAGIC_DELTA, VERSION)?;
        let d = &mut decoder;
        let (version, attempt) = (d.number()?, d.u128()?);
        let predecessor = if d.version() == 1 { 0 } else { d.u128()? };
        let change = get_change(d)?;
        decoder.finish()?;
        Ok(Self { version, attempt, predecessor, change })
    }
}

fn put_change(out: &mut Encoder, change: &Change) {
    match change {
        Change::Genesis { bucket } => {
            out.byte(GENESIS);
            out.u128(*bucket);
        }
        Change::Birth { writer, level } => {
            out.byte(BIRTH);
            out.u128(writer.0);
            out.u32(*level);
        }
        Change::L1 { writer, from, to, rows } => {
            out.byte(L1);
            put_watermark(out, (*writer, *from, *to), rows);
        }
        Change::Close { writer, from, mark, rows } => {
            out.byte(CLOSE);
            put_watermark(out, (*writer, *from, *mark), rows);
        }
        Change::MergeL1 { tenant, from, to, passed_over, outputs } => {
            out.byte(MERGE_L1);
            out.text(tenant.as_str());
            out.number(*from);
            out.number(*to);
            put_list(out, passed_over.iter(), |out, place| put_place(out, *place));
            put_list(out, outputs.iter(), put_entry);
        }
        Change::Merge { tenant, inputs, outputs } => {
            out.byte(MERGE);
            out.text(tenant.as_str());
            put_list(out, inputs.iter(), |out, id| put_id(out, *id));
            put_list(out, outputs.iter(), put_entry);
        }
        Change::Floor { floor } => put_numbers(out, FLOOR, &[*floor]),
        Change::Retain { tenant, from_ts } => {
            out.byte(RETAIN);
            out.text(tenant.as_str());
            out.signed(*from_ts);
        }
        Change::ForgetBlock { block } => {
            out.byte(FORGET_BLOCK);
            put_id(out, *block);
        }
        Change::ForgetSegment { writer, seq } => {
            out.byte(FORGET_SEGMENT);
            out.u128(writer.0);
            out.number(*seq);
        }
        Change::Lost { checkpoint } => put_numbers(out, LOST, &[*checkpoint]),
        Change::Raise { level } => put_numbers(out, RAISE, &[u64::from(*level)]),
    }
}

fn put_numbers(out: &mut Encoder, kind: u8, numbers: &[u64]) {
    out.byte(kind);
    for number in numbers {
        out.number(*number);
    }
}

fn get_change(d: &mut Decoder<'_>) -> Result<Change, DecodeError> {
    let first = d.version() == 1;
    Ok(match d.byte()? {
        BIRTH => {
            let writer = WriterId(d.u128()?);
            Change::Birth { writer, level: if first { 0 } else { d.u32()? } }
        }
        L1 => {
            let ((writer, from, to), rows) = get_watermark(d)?;
            Change::L1 { writer, from, to, rows }
        }
        CLOSE => {
            let ((writer, from, mark), rows) = get_watermark(d)?;
            Change::Close { writer, from, mark, rows }
        }
        kind @ (MERGE_L1 | MERGE_L1_PAST_DAMAGE) if first || kind == MERGE_L1 => {
            let (tenant, from, to) = (get_tenant(d)?, d.number()?, d.number()?);
            let passes_over = !first || kind == MERGE_L1_PAST_DAMAGE;
            let passed_over = if passes_over { d.list(get_place)? } else { Vec::new() };
            Change::MergeL1 { tenant, from, to, passed_over, outputs: d.list(get_entry)? }
        }
        MERGE => {
            let tenant = get_tenant(d)?;
            Change::Merge { tenant, inputs: d.list(get_id)?, outputs: d.list(get_entry)? }
        }
        FLOOR => Change::Floor { floor: d.number()? },
        RETAIN => Change::Retain { tenant: get_tenant(d)?, from_ts: d.signed()? },
        GENESIS => Change::Genesis { bucket: d.u128()? },
        RAISE => Change::Raise { level: get_level(d)? },
        FORGET_BLOCK => Change::ForgetBlock { block: get_id(d)? },
        FORGET_SEGMENT => Change::ForgetSegment { writer: WriterId(d.u128()?), seq: d.number()? },
        LOST => Change::Lost { checkpoint: d.number()? },
        kind => {
            let reserved = RESERVED.iter().find(|(number, _)| *number == kind);
            let why = reserved.map_or(format!("change of kind {kind}"), |(_, does)| format!("it {does}"));
            return Err(DecodeError::Unsupported(why));
        }
    })
}

fn get_level(d: &mut Decoder<'_>) -> Result<u32, DecodeError> {
    let at = d.at();
    let level = d.number()?;
    u32::try_from(level).or_else(|_| d.corrupt(at, format!("level {level}")))
}

impl CheckpointRoot {
    pub(crate) fn of(catalog: &Catalog, format: Format) -> Self {
        let states = catalog.tenants.iter().map(|(id, tenant)| (id, tenant.changed));
        let epochs = catalog.epochs.iter().map(|(id, epochs)| (id, epochs.changed));
        let mut pages: BTreeMap<TenantId, u64> = BTreeMap::new();
        for (id, changed) in states.chain(epochs) {
            let newest = pages.entry(id.clone()).or_default();
            *newest = changed.max(*newest);
        }
        let catalog = Catalog { tenants: BTreeMap::new(), epochs: BTreeMap::new(), ..catalog.clone() };
        Self { format: Some(format), catalog, pages }
    }

    /// True if both say the same, as far as the first encoding says it.
    pub(crate) fn is_as_good_as(&self, other: &Self) -> bool {
        let mut known = self.clone();
        if known.catalog.attempt == 0 || other.catalog.attempt == 0 {
            known.catalog.attempt = other.catalog.attempt;
        }
        known.format = known.format.and(other.format);
        known == Self { format: self.format.and(other.format), ..other.clone() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Encoder::new(MAGIC_ROOT, VERSION);
        out.number(self.catalog.version);
        out.u128(self.catalog.attempt);
        out.u128(self.catalog.bucket);
        let format = self.format.unwrap_or_default();
        for number in [format.epoch_length, format.checkpoint_spacing, format.grace_ms] {
            out.number(number);
        }
        out.number(u64::from(self.catalog.level));
        out.number(self.catalog.floor);
        put_list(&mut out, self.catalog.writers.iter(), |out, (id, state)| {
            out.u128(id.0);
            out.number(state.born);
            out.number(state.watermark);
            out.u32(state.level);
        });
        put_list(&mut out, self.catalog.l1.iter(), |out, (place, entry)| {
            put_place(out, *place);
            put_entry(out, entry);
        });
        put_list(&mut out, self.pages.iter(), |out, (tenant, changed)| {
            out.text(tenant.as_str());
            out.byte(WHOLE_TENANT);
            out.number(*changed);
        });
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes, MAGIC_ROOT, VERSION)?;
        let d = &mut decoder;
        let mut catalog = Catalog { version: d.number()?, ..Catalog::default() };
        let mut format = None;
        if d.version() > 1 {
            (catalog.attempt, catalog.bucket) = (d.u128()?, d.u128()?);
            format = Some(Format {
                epoch_length: d.number()?,
                checkpoint_spacing: d.number()?,
                grace_ms: d.number()?,
                bucket: catalog.bucket,
            });
            catalog.level = get_level(d)?;
        }
        catalog.floor = d.number()?;
        let writers = d.list(|d| {
            let id = WriterId(d.u128()?);
            let (born, watermark) = (d.number()?, d.number()?);
            Ok((id, WriterState { born, watermark, level: if d.version() == 1 { 0 } else { d.u32()? } }))
        })?;
        let l1 = d.list(|d| Ok((get_place(d)?, Arc::new(get_entry(d)?))))?;
        let pages = d.list(get_page_place)?;
        catalog.writers = ascending(d, writers, "writers")?;
        catalog.l1 = ascending(d, l1, "L1 blocks")?;
        let pages = ascending(d, pages, "tenants")?;
        decoder.finish()?;
        Ok(Self { format, catalog, pages })
    }
}

fn get_page_place(d: &mut Decoder<'_>) -> Result<(TenantId, u64), DecodeError> {
    let tenant = get_tenant(d)?;
    if d.version() > 1 && d.byte()? != WHOLE_TENANT {
        return Err(DecodeError::Unsupported("it has pages of parts of a tenant".into()));
    }
    Ok((tenant, d.number()?))
}

impl Page {
    /// The page of a tenant, if the state has anything of it.
    pub(crate) fn of(catalog: &Catalog, id: &TenantId) -> Self {
        Self { state: catalog.tenants.get(id).cloned(), epochs: catalog.epochs.get(id).cloned() }
    }

    /// The last version that changed it.
    pub(crate) fn changed(&self) -> u64 {
        let state = self.state.as_ref().map_or(0, |state| state.changed);
        state.max(self.epochs.as_ref().map_or(0, |epochs| epochs.changed))
    }

    pub(crate) fn encode(&self, id: &TenantId) -> Bytes {
        let mut out = Encoder::new(MAGIC_PAGE, VERSION);
        out.text(id.as_str());
        put_state(&mut out, self.state.as_deref().unwrap_or(&TenantState::default()));
        // Tombstones.
        out.number(0);
        let epochs = self.epochs.as_deref();
        out.number(epochs.map_or(0, |epochs| epochs.changed));
        put_list(&mut out, epochs.map_or(&[][..], |epochs| &epochs.runs).iter(), |out, run| {
            put_windows(out, run.windows);
            out.number(run.epoch);
        });
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<(TenantId, Self), DecodeError> {
        let mut decoder = Decoder::new(bytes, MAGIC_PAGE, VERSION)?;
        let d = &mut decoder;
        let id = get_tenant(d)?;
        let state = get_state(d)?;
        if d.number()? != 0 {
            return Err(DecodeError::Unsupported("it holds tombstones".into()));
        }
        let epochs = match d.version() {
            1 if d.number()? == 0 => Epochs::default(),
            1 => return Err(DecodeError::Unsupported("it holds data epochs".into())),
            _ => get_epochs(d)?,
        };
        decoder.finish()?;
        let state = (state.changed > 0).then(|| Arc::new(state));
        Ok((id, Self { state, epochs: (epochs.changed > 0).then(|| Arc::new(epochs)) }))
    }
}

fn put_state(out: &mut Encoder, state: &TenantState) {
    out.number(state.changed);
    out.number(state.l1_watermark);
    let flag = |flag: u8, set: bool| if set { flag } else { 0 };
    let has_passed_over = !state.passed_over.is_empty();
    out.byte(flag(HAS_RETENTION, state.retained_from.is_some()) | flag(HAS_PASSED_OVER, has_passed_over));
    if let Some(from_ts) = state.retained_from {
        out.signed(from_ts);
    }
    if has_passed_over {
        put_list(out, state.passed_over.iter(), |out, place| put_place(out, *place));
    }
    put_list(out, state.blocks.values(), |out, entry| put_entry(out, entry));
}

fn get_state(d: &mut Decoder<'_>) -> Result<TenantState, DecodeError> {
    let (changed, l1_watermark) = (d.number()?, d.number()?);
    let at = d.at();
    let flags = d.byte()?;
    if flags & !(HAS_RETENTION | HAS_PASSED_OVER) != 0 {
        return d.corrupt(at, format!("flags {flags}"));
    }
    let retained_from = if flags & HAS_RETENTION != 0 { Some(d.signed()?) } else { None };
    let at = d.at();
    let passed_over = if flags & HAS_PASSED_OVER != 0 { d.list(get_place)? } else { Vec::new() };
    if !passed_over.windows(2).all(|pair| pair[0] < pair[1]) {
        return d.corrupt(at, "versions that do not ascend");
    }
    let passed_over = passed_over.into_iter().collect();
    let blocks = d.list(get_entry)?.into_iter().map(|entry| (entry.id, Arc::new(entry))).collect();
    let blocks = ascending(d, blocks, "blocks")?;
    Ok(TenantState { changed, l1_watermark, passed_over, retained_from, blocks })
}

fn get_epochs(d: &mut Decoder<'_>) -> Result<Epochs, DecodeError> {
    let (changed, at) = (d.number()?, d.at());
    let runs = d.list(|d| Ok(EpochRun { windows: get_windows(d)?, epoch: d.number()? }))?;
    if !runs.windows(2).all(|pair| pair[0].windows.last < pair[1].windows.first) {
        return d.corrupt(at, "epochs that do not ascend");
    }
    Ok(Epochs { changed, runs })
}

fn put_windows(out: &mut Encoder, windows: WindowRun) {
    out.signed(windows.first);
    out.number(windows.last.abs_diff(windows.first));
}

fn get_windows(d: &mut Decoder<'_>) -> Result<WindowRun, DecodeError> {
    let at = d.at();
    let (first, more) = (d.signed()?, d.number()?);
    match first.checked_add_unsigned(more) {
        Some(last) => Ok(WindowRun { first, last }),
        None => d.corrupt(at, "windows beyond the end of time"),
    }
}

fn put_place(out: &mut Encoder, place: L1Place) {
    out.number(place.version);
    out.number(u64::from(place.part));
}

fn get_place(d: &mut Decoder<'_>) -> Result<L1Place, DecodeError> {
    let version = d.number()?;
    if d.version() == 1 {
        return Ok(L1Place::first_of(version));
    }
    let at = d.at();
    let part = d.number()?;
    match u32::try_from(part) {
        Ok(part) => Ok(L1Place { version, part }),
        Err(_) => d.corrupt(at, format!("part {part} of version {version}")),
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

/// Whose watermark, and the two between which a commit goes.
type Watermark = (WriterId, u64, u64);

fn put_watermark(out: &mut Encoder, (writer, from, to): Watermark, rows: &Addition) {
    out.u128(writer.0);
    out.number(from);
    out.number(to);
    put_list(out, rows.entries.iter(), put_entry);
    put_list(out, rows.touched.iter(), |out, touched| {
        out.text(touched.tenant.as_str());
        put_list(out, touched.windows.iter(), |out, windows| put_windows(out, *windows));
    });
}

fn get_watermark(d: &mut Decoder<'_>) -> Result<(Watermark, Addition), DecodeError> {
    let (writer, from, to) = (WriterId(d.u128()?), d.number()?, d.number()?);
    let entries = d.list(get_entry)?;
    let touched = if d.version() == 1 {
        Vec::new()
    } else {
        d.list(|d| Ok(Touched { tenant: get_tenant(d)?, windows: d.list(get_windows)? }))?
    };
    Ok(((writer, from, to), Addition { entries, touched }))
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
        put_rows(out, &span.series);
        let tables = [(ObjectKind::Samples, &span.rows)];
        let others = span.other_rows.iter().map(|(kind, rows)| (*kind, rows));
        let tables: Vec<_> = tables.into_iter().chain(others).collect();
        put_list(out, tables.into_iter(), |out, (kind, rows)| {
            out.byte(kind_number(kind));
            put_rows(out, rows);
        });
        put_range(out, span.time_range);
    });
    put_list(out, meta.objects.iter(), |out, object| {
        out.byte(kind_number(object.kind));
        out.byte(if object.kind.is_essential() { ESSENTIAL } else { 0 });
        out.number(object.size);
        out.number(object.rows);
        out.u128(object.checksum);
        out.u32(object.footer_size);
        out.u32(object.footer_crc);
    });
}

fn put_rows(out: &mut Encoder, rows: &Range<u64>) {
    out.number(rows.start);
    out.number(rows.end);
}

fn get_rows(d: &mut Decoder<'_>) -> Result<Range<u64>, DecodeError> {
    Ok(d.number()?..d.number()?)
}

fn kind_number(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Series => 1,
        ObjectKind::Samples => 2,
        ObjectKind::Histograms => 3,
        ObjectKind::Exemplars => 4,
        ObjectKind::Metadata => 5,
        ObjectKind::Summaries => 6,
        ObjectKind::Sketch => 7,
        ObjectKind::KeyFilter => 8,
        ObjectKind::Other(number) => number,
    }
}

fn kind_of(number: u8) -> ObjectKind {
    match number {
        1 => ObjectKind::Series,
        2 => ObjectKind::Samples,
        3 => ObjectKind::Histograms,
        4 => ObjectKind::Exemplars,
        5 => ObjectKind::Metadata,
        6 => ObjectKind::Summaries,
        7 => ObjectKind::Sketch,
        8 => ObjectKind::KeyFilter,
        number => ObjectKind::Other(number),
    }
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
    let tenants = d.list(get_span)?;
    let mut objects = d.list(get_object)?;
    if !tenants.windows(2).all(|pair| pair[0].tenant < pair[1].tenant) {
        return d.corrupt(entry_at, format!("tenants of block {id} do not ascend"));
    }
    if d.version() == 1 {
        for object in &mut objects {
            object.rows = if object.kind == ObjectKind::Series { series } else { rows };
        }
    }
    let meta = BlockMeta { level, rows, series, time_range, first_key, last_key, tenants, objects };
    Ok(BlockEntry { id, path, applied, meta })
}

fn get_span(d: &mut Decoder<'_>) -> Result<TenantSpan, DecodeError> {
    let (tenant, series) = (get_tenant(d)?, get_rows(d)?);
    let (rows, other_rows) = if d.version() == 1 { (get_rows(d)?, Vec::new()) } else { get_tables(d)? };
    Ok(TenantSpan { tenant, series, rows, other_rows, time_range: get_range(d)? })
}

/// Rows of the samples table, and of further tables in order of kind.
type Tables = (Range<u64>, Vec<(ObjectKind, Range<u64>)>);

fn get_tables(d: &mut Decoder<'_>) -> Result<Tables, DecodeError> {
    let at = d.at();
    let mut tables = d.list(|d| Ok((d.byte()?, get_rows(d)?)))?;
    if tables.first().is_none_or(|(kind, _)| *kind != 2)
        || !tables.windows(2).all(|pair| pair[0].0 < pair[1].0)
    {
        return d.corrupt(at, "tables that do not begin with samples and ascend");
    }
    let (_, samples) = tables.remove(0);
    Ok((samples, tables.into_iter().map(|(kind, rows)| (kind_of(kind), rows)).collect()))
}

/// Its rows are 0 in version 1, which does not say them.
fn get_object(d: &mut Decoder<'_>) -> Result<ObjectMeta, DecodeError> {
    let (number, first) = (d.byte()?, d.version() == 1);
    let kind = kind_of(number);
    let flags = if first { ESSENTIAL } else { d.byte()? };
    if flags & !ESSENTIAL != 0 || (flags != 0) != kind.is_essential() {
        return Err(DecodeError::Unsupported(format!("object of kind {number}")));
    }
    let size = d.number()?;
    let rows = if first { 0 } else { d.number()? };
    Ok(ObjectMeta { kind, size, rows, checksum: d.u128()?, footer_size: d.u32()?, footer_crc: d.u32()? })
}
