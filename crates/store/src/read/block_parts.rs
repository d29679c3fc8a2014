//! The rows of single tenants out of blocks that hold many, each read by itself.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use promontory_block::{BlockMeta, Fetched, OpenBlock, SeriesRun};
use promontory_model::TenantId;

use crate::catalog::state::BlockEntry;
use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::Context;
use crate::object::keys;
use crate::object::verified::read_verified;
use crate::read::blocks::{check_delivered, span_of};
use crate::read::whole_blocks::{damaged_object, decode_error};

/// Ranges of one object that are fetched at once.
const REQUESTS_AT_ONCE: usize = 4;

/// A block whose footers were read.
#[derive(Debug)]
pub(crate) struct OpenedBlock {
    entry: Arc<BlockEntry>,
    /// What the entry says, of the objects that hold the rows.
    meta: BlockMeta,
    rows: Box<dyn OpenBlock>,
}

/// Reads a block's footers; damaged bytes are read again before they are called damaged.
pub(crate) async fn open(context: &Context, entry: &Arc<BlockEntry>) -> Result<OpenedBlock, Error> {
    let mut meta = entry.meta.clone();
    meta.objects.retain(|object| object.kind.is_essential());
    let corrupt = |error| decode_error(&damaged_object(entry, &error), error);
    let tails = meta.objects.iter().map(|object| context.codec.tail(object));
    let tails: Vec<Range<u64>> = tails.collect::<Result<_, _>>().map_err(corrupt)?;
    let read = |_| async {
        let tails = object_keys(entry, &meta).zip(tails.iter().cloned());
        let read = tails.map(|(key, tail)| async move { context.get_range(&key, tail).await });
        futures::future::try_join_all(read).await
    };
    let verify = |tails: Vec<Bytes>| heavy(|| context.codec.open(&meta, &tails)).map_err(corrupt);
    let rows = read_verified(&context.counters.damaged_reads, read, verify).await?;
    Ok(OpenedBlock { entry: entry.clone(), meta, rows })
}

impl OpenedBlock {
    /// The rows of one tenant, none if the block has none; damaged bytes are read again before they are called
    /// damaged.
    pub(crate) async fn rows_of(&self, context: &Context, tenant: &TenantId) -> Result<SeriesRun, Error> {
        let Some(span) = span_of(&self.entry, tenant) else { return Ok(SeriesRun::default()) };
        let corrupt = |error| decode_error(&damaged_object(&self.entry, &error), error);
        let plan = self.rows.plan(span).map_err(corrupt)?;
        let read = |_| async {
            let objects = object_keys(&self.entry, &self.meta).zip(&plan);
            let fetched = objects.map(|(key, ranges)| async move { fetch(context, &key, ranges).await });
            futures::future::try_join_all(fetched).await
        };
        let verify = |fetched: Vec<Fetched>| {
            for ((key, ranges), fetched) in object_keys(&self.entry, &self.meta).zip(&plan).zip(&fetched) {
                check_delivered(&key, fetched, ranges)?;
            }
            heavy(|| self.rows.decode(span, &fetched)).map_err(corrupt)
        };
        read_verified(&context.counters.damaged_reads, read, verify).await
    }
}

fn object_keys<'a>(entry: &'a BlockEntry, meta: &'a BlockMeta) -> impl Iterator<Item = Path> + use<'a> {
    meta.objects.iter().map(|object| keys::block_object(&entry.path, object.kind))
}

async fn fetch(context: &Context, key: &Path, ranges: &[Range<u64>]) -> Result<Fetched, Error> {
    let parts = ranges.iter().cloned().map(|range| async move {
        let bytes = context.get_range(key, range.clone()).await?;
        Ok::<_, Error>((range.start, bytes))
    });
    let parts: Vec<_> = parts.collect();
    let mut fetched = Fetched::default();
    let mut parts = stream::iter(parts).buffered(REQUESTS_AT_ONCE);
    while let Some((start, bytes)) = parts.try_next().await? {
        fetched.insert(start, bytes);
    }
    Ok(fetched)
}

#[cfg(test)]
mod tests;
