//! Blocks on their way up, as flushes, adoption and merges write them.

use promontory_block::{Level, TenantRows, cut_rows};

use crate::catalog::epochs::Touched;
use crate::catalog::state::{Addition, BlockEntry};
use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::Context;
use crate::object::keys::{self, BlockId};

/// Uploads rows as L1 blocks, as many as [`Context::block_bytes_max`] makes of them.
pub(crate) async fn upload_l1(
    context: &Context,
    base: u64,
    tenants: Vec<TenantRows>,
) -> Result<Addition, Error> {
    let touched = tenants.iter().map(|(tenant, run)| Touched::by_samples(tenant, run.samples().ts()));
    let mut added = Addition { entries: Vec::new(), touched: heavy(|| touched.collect()) };
    for part in heavy(|| cut_rows(tenants, context.block_bytes_max)) {
        added.entries.push(upload_block(context, base, Level::L1, &part).await?);
    }
    Ok(added)
}

/// Encodes rows and uploads them under a name that carries `base`.
///
/// The block counts only once a commit names it; if none does, it is swept when the floor passes its
/// base.
pub(crate) async fn upload_block(
    context: &Context,
    base: u64,
    level: Level,
    tenants: &[TenantRows],
) -> Result<BlockEntry, Error> {
    let encoded =
        heavy(|| context.codec.encode(level, tenants)).map_err(|error| Error::Bug(error.to_string()))?;
    let id = BlockId { base, unique: context.random.next_u128() };
    let tenant = (level != Level::L1).then(|| &tenants[0].0);
    let path = keys::block(level, tenant, encoded.meta.time_range.start, id);
    for object in &encoded.objects {
        context.upload(&keys::block_object(&path, object.kind), &object.bytes).await?;
    }
    Ok(BlockEntry { id, path, applied: base, meta: encoded.meta })
}
