//! Whole blocks read back, as merges, adoption and checks need them.
//!
//! The query path reads ranges instead and does not pass through here.

use bytes::Bytes;
use object_store::path::Path;
use promontory_block::{BlockMeta, ObjectMeta, TenantRows};
use xxhash_rust::xxh3::xxh3_128;

use crate::catalog::state::BlockEntry;
use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::Context;
use crate::object::keys;
use crate::object::verified::read_verified;
use crate::planted::Bug;

/// All rows of a block, verified; damaged bytes are read again before they are called damaged.
pub(crate) async fn read(context: &Context, entry: &BlockEntry) -> Result<Vec<TenantRows>, Error> {
    let decode = |objects: Vec<Bytes>| {
        let meta = trusted_meta(context, &entry.meta, &objects);
        let decoded = heavy(|| context.codec.decode(&meta, &objects));
        decoded.map_err(|error| decode_error(&damaged_object(entry, &error), error))
    };
    read_verified(&context.counters.damaged_reads, |_| read_objects(context, entry), decode).await
}

async fn read_objects(context: &Context, entry: &BlockEntry) -> Result<Vec<Bytes>, Error> {
    let mut objects = Vec::with_capacity(entry.meta.objects.len());
    for object in entry.meta.objects.iter().filter(|object| object.kind.is_essential()) {
        let key = keys::block_object(&entry.path, object.kind);
        let Some(bytes) = context.get_large(&key, object.size).await? else {
            return Err(Error::Missing { object: key.to_string() });
        };
        objects.push(bytes);
    }
    Ok(objects)
}

/// The meta data to verify against, of the objects that hold the rows; with the planted bug, whatever was
/// delivered is right.
fn trusted_meta(context: &Context, meta: &BlockMeta, objects: &[Bytes]) -> BlockMeta {
    let mut meta = meta.clone();
    meta.objects.retain(|object| object.kind.is_essential());
    if context.planted.is(Bug::SkipChecksum) {
        for (object, bytes) in meta.objects.iter_mut().zip(objects) {
            object.size = bytes.len() as u64;
            object.checksum = xxh3_128(bytes);
        }
    }
    meta
}

/// The object that an error of the codec is about, or the folder if it is about more than one.
pub(crate) fn damaged_object(entry: &BlockEntry, error: &promontory_block::Error) -> Path {
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
