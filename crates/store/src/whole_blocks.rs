//! Whole blocks up and down, as flushes, merges, adoption and checks need them.
//!
//! The query path reads ranges instead and does not pass through here.

use bytes::Bytes;
use object_store::path::Path;
use promontory_block::{BlockMeta, Level, ObjectMeta, TenantRows};
use tokio::runtime::{Handle, RuntimeFlavor};
use xxhash_rust::xxh3::xxh3_128;

use crate::catalog::Entry;
use crate::context::{Context, DAMAGED_READS_MAX};
use crate::counters::add;
use crate::error::Error;
use crate::keys::{self, BlockId};
use crate::planted::Bug;

/// Encodes rows and uploads them under a name that carries `base`.
///
/// The block counts only once a commit names it; if none does, it is swept when the floor passes its
/// base.
pub(crate) async fn upload(
    context: &Context,
    base: u64,
    level: Level,
    tenants: &[TenantRows],
) -> Result<Entry, Error> {
    let encoded =
        heavy(|| context.codec.encode(level, tenants)).map_err(|error| Error::Bug(error.to_string()))?;
    let id = BlockId { base, unique: context.random.next_u128() };
    let tenant = (level != Level::L1).then(|| &tenants[0].0);
    let path = keys::block(level, tenant, encoded.meta.time_range.start, id);
    for object in &encoded.objects {
        context.upload(&keys::block_object(&path, object.kind), &object.bytes).await?;
    }
    Ok(Entry { id, path, applied: base, meta: encoded.meta })
}

/// All rows of a block, verified; damaged bytes are read again before they are called damaged.
pub(crate) async fn read(context: &Context, entry: &Entry) -> Result<Vec<TenantRows>, Error> {
    let mut reads = 0;
    loop {
        let objects = read_objects(context, entry).await?;
        let meta = trusted_meta(context, &entry.meta, &objects);
        reads += 1;
        match heavy(|| context.codec.decode(&meta, &objects)) {
            Ok(rows) => return Ok(rows),
            Err(promontory_block::Error::Corrupt { .. }) if reads < DAMAGED_READS_MAX => {
                add(&context.counters.damaged_reads, 1);
                context.back_off(reads).await;
            }
            Err(error) => return Err(decode_error(&damaged_object(entry, &error), error)),
        }
    }
}

async fn read_objects(context: &Context, entry: &Entry) -> Result<Vec<Bytes>, Error> {
    let mut objects = Vec::with_capacity(entry.meta.objects.len());
    for object in &entry.meta.objects {
        let key = keys::block_object(&entry.path, object.kind);
        let Some(bytes) = context.get_large(&key).await? else {
            return Err(Error::Corrupt { object: key.to_string(), why: "is missing".into() });
        };
        objects.push(bytes);
    }
    Ok(objects)
}

/// The meta data to verify against; with the planted bug, whatever was delivered is right.
fn trusted_meta(context: &Context, meta: &BlockMeta, objects: &[Bytes]) -> BlockMeta {
    let mut meta = meta.clone();
    if context.planted.is(Bug::SkipChecksum) {
        for (object, bytes) in meta.objects.iter_mut().zip(objects) {
            object.size = bytes.len() as u64;
            object.checksum = xxh3_128(bytes);
        }
    }
    meta
}

/// The object that an error of the codec is about, or the folder if it is about more than one.
fn damaged_object(entry: &Entry, error: &promontory_block::Error) -> Path {
    let named = |object: &&ObjectMeta| match error {
        promontory_block::Error::Corrupt { what, .. } => *what == object.kind.file_name(),
        _ => false,
    };
    match entry.meta.objects.iter().find(named) {
        Some(object) => keys::block_object(&entry.path, object.kind),
        None => entry.path.clone(),
    }
}

/// An error of `block` about the object at `key`.
pub(crate) fn decode_error(key: &Path, error: promontory_block::Error) -> Error {
    match error {
        promontory_block::Error::Unsupported { .. } => {
            Error::Unsupported(format!("cannot read {key}: {error}"))
        }
        promontory_block::Error::Bug(why) => Error::Bug(why),
        corrupt => Error::Corrupt { object: key.to_string(), why: corrupt.to_string() },
    }
}

/// Rows of one tenant out of a block's rows.
pub(crate) fn rows_of(
    rows: Vec<TenantRows>,
    tenant: &promontory_model::TenantId,
) -> promontory_block::SeriesRun {
    rows.into_iter().find(|(id, _)| id == tenant).map(|(_, run)| run).unwrap_or_default()
}

/// Runs work that may take longer than a request: other tasks of this thread move to another one.
///
/// On the simulator's single thread it simply runs.
pub(crate) fn heavy<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
