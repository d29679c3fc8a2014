//! A codec of plain rows: as fast as copying, for the simulator and for tests of the protocol.
//!
//! ```text
//! series object  := magic(8) ( tenant_length(1) tenant n_series(4) ( key_length(4) key n_rows(4) )* )*
//! samples object := magic(8) ts(8 * rows) value(8 * rows)
//! ```
//!
//! Numbers are little-endian. Damage is found by the checksums in the block's meta data.

use std::ops::Range;

use bytes::Bytes;
use promontory_model::samples::{Floats, FloatsView};
use promontory_model::{Labels, TenantId};
use xxhash_rust::xxh3::xxh3_128;

use crate::codec::{
    BlockCodec, BlockMeta, EncodedBlock, EncodedObject, Level, ObjectKind, ObjectMeta, OpenBlock, TenantRows,
    TenantSpan, describe, verify_objects, verify_rows,
};
use crate::error::Error;
use crate::fetched::Fetched;
use crate::run::SeriesRun;

const MAGIC_SERIES: &[u8; 8] = b"PLAINSER";
const MAGIC_SAMPLES: &[u8; 8] = b"PLAINSAM";

/// Blocks as plain rows, for the simulator: quick to write and checked like the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainCodec;

impl BlockCodec for PlainCodec {
    fn encode(&self, level: Level, tenants: &[TenantRows]) -> Result<EncodedBlock, Error> {
        let mut meta = describe(level, tenants)?;
        let mut series = MAGIC_SERIES.to_vec();
        let mut samples = Vec::with_capacity(8 + 16 * meta.rows as usize);
        samples.extend_from_slice(MAGIC_SAMPLES);
        for (tenant, run) in tenants {
            series.push(tenant.as_str().len() as u8);
            series.extend_from_slice(tenant.as_str().as_bytes());
            series.extend_from_slice(&(run.keys().len() as u32).to_le_bytes());
            for (key, rows) in run.iter() {
                series.extend_from_slice(&(key.key().len() as u32).to_le_bytes());
                series.extend_from_slice(key.key());
                series.extend_from_slice(&(rows.len() as u32).to_le_bytes());
            }
        }
        for ts in tenants.iter().flat_map(|(_, run)| run.floats().ts()) {
            samples.extend_from_slice(&ts.to_le_bytes());
        }
        for value in tenants.iter().flat_map(|(_, run)| run.floats().values()) {
            samples.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        let objects = [(ObjectKind::Series, series), (ObjectKind::Samples, samples)];
        let objects = objects.map(|(kind, bytes)| EncodedObject { kind, bytes: bytes.into() });
        meta.objects = objects.iter().map(|object| object_meta(object, meta.rows_of(object.kind))).collect();
        Ok(EncodedBlock { objects: objects.into(), meta })
    }

    fn decode(&self, meta: &BlockMeta, objects: &[Bytes]) -> Result<Vec<TenantRows>, Error> {
        verify_objects(meta, objects)?;
        let [series, samples] = objects else {
            return Err(corrupt(
                ObjectKind::Series,
                0..0,
                format!("{} objects in a block of two", objects.len()),
            ));
        };
        let tenants = read_tenants(series, read_samples(samples)?.view())?;
        verify_rows(meta, &tenants)?;
        Ok(tenants)
    }

    /// All of it: plain objects have no footers.
    fn tail(&self, object: &ObjectMeta) -> Result<Range<u64>, Error> {
        Ok(0..object.size)
    }

    fn open(&self, meta: &BlockMeta, tails: &[Bytes]) -> Result<Box<dyn OpenBlock>, Error> {
        self.decode(meta, tails).map(|rows| Box::new(OpenRows(rows)) as Box<dyn OpenBlock>)
    }
}

/// A block that was read whole.
#[derive(Debug)]
struct OpenRows(Vec<TenantRows>);

impl OpenBlock for OpenRows {
    fn plan(&self, _: &TenantSpan) -> Result<Vec<Vec<Range<u64>>>, Error> {
        Ok(Vec::new())
    }

    fn decode(&self, span: &TenantSpan, _: &[Fetched]) -> Result<SeriesRun, Error> {
        let found = self.0.iter().find(|(tenant, _)| *tenant == span.tenant);
        found.map(|(_, run)| run.clone()).ok_or_else(|| Error::Bug("a span of another block".into()))
    }
}

fn object_meta(object: &EncodedObject, rows: u64) -> ObjectMeta {
    ObjectMeta {
        kind: object.kind,
        size: object.bytes.len() as u64,
        rows,
        checksum: xxh3_128(&object.bytes),
        footer_size: 0,
        footer_crc: crc32c::crc32c(&[]),
    }
}

fn read_samples(object: &[u8]) -> Result<Floats, Error> {
    let rows = object.strip_prefix(MAGIC_SAMPLES).filter(|rows| rows.len() % 16 == 0);
    let rows =
        rows.ok_or_else(|| corrupt(ObjectKind::Samples, 0..object.len() as u64, "not plain samples".into()))?;
    let (ts, values) = rows.split_at(rows.len() / 2);
    let ts = ts.chunks_exact(8).map(|bytes| u64_le(bytes) as i64).collect();
    let values = values.chunks_exact(8).map(|bytes| f64::from_bits(u64_le(bytes))).collect();
    Ok(Floats::new(ts, values))
}

fn read_tenants(object: &[u8], floats: FloatsView<'_>) -> Result<Vec<TenantRows>, Error> {
    let mut reader = Reader { object, at: 0 };
    if reader.take(8)? != MAGIC_SERIES {
        return Err(corrupt(ObjectKind::Series, 0..8, "not plain series".into()));
    }
    let mut tenants = Vec::new();
    let mut row = 0usize;
    while reader.at < object.len() {
        let at = reader.at as u64;
        let length = usize::from(reader.take(1)?[0]);
        let tenant = std::str::from_utf8(reader.take(length)?).ok().and_then(|name| TenantId::new(name).ok());
        let tenant = tenant.ok_or_else(|| {
            corrupt(ObjectKind::Series, at..object.len() as u64, "an illegal tenant".into())
        })?;
        let mut run = SeriesRun::default();
        for _ in 0..reader.u32()? {
            let at = reader.at as u64;
            let length = reader.u32()? as usize;
            let key = Labels::from_key(reader.take(length)?);
            let key = key.ok_or_else(|| {
                corrupt(ObjectKind::Series, at..object.len() as u64, "an illegal key".into())
            })?;
            let end = row.saturating_add(reader.u32()? as usize);
            if end <= row || end > floats.len() {
                let why = "rows outside the samples".into();
                return Err(corrupt(ObjectKind::Series, at..object.len() as u64, why));
            }
            run.push(key, floats.part(row..end).into());
            row = end;
        }
        tenants.push((tenant, run));
    }
    Ok(tenants)
}

struct Reader<'a> {
    object: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.saturating_add(length);
        let bytes = self.object.get(self.at..end);
        let bytes = bytes.ok_or_else(|| {
            corrupt(ObjectKind::Series, self.at as u64..self.object.len() as u64, "ends early".into())
        })?;
        self.at = end;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

fn u64_le(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes"))
}

fn corrupt(kind: ObjectKind, at: Range<u64>, why: String) -> Error {
    Error::Corrupt { what: kind.file_name(), at, why }
}

#[cfg(test)]
mod tests;
