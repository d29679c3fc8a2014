//! `promontory blocks ls`: the live blocks, for people and for outside readers.
//!
//! Outside readers must not trust a bare glob: it also sees blocks that were merged and wait for
//! their deletion. Samples younger than the last L1 block are in no file yet.

use std::io::Write;
use std::sync::Arc;

use promontory_model::TenantId;
use promontory_store::{BlockEntry, Catalog, block_object};

use crate::config::StoreFlags;

/// Prints the live blocks: a table, or with `files` the path of each object, one a line.
///
/// # Errors
/// If the store cannot be opened or the tenant's name is not one.
pub async fn ls(store: &StoreFlags, files: bool, tenant: Option<&str>) -> anyhow::Result<()> {
    let tenant = tenant.map(TenantId::new).transpose()?;
    let (url, opened) = super::open(store).await?;
    let catalog = opened.chain.latest();
    let mut out = std::io::stdout().lock();
    let entries = live(&catalog, tenant.as_ref());
    if files {
        for entry in &entries {
            for object in &entry.meta.objects {
                writeln!(out, "{}", url.locate(&block_object(&entry.path, object.kind)))?;
            }
        }
        return Ok(());
    }
    writeln!(
        out,
        "{:<5} {:>12} {:>10} {:>12}  {:<27}  PATH",
        "LEVEL", "SAMPLES", "SERIES", "BYTES", "TIMES (ms)"
    )?;
    for entry in &entries {
        let meta = &entry.meta;
        let bytes: u64 = meta.objects.iter().map(|object| object.size).sum();
        let times = format!("{}-{}", meta.time_range.start, meta.time_range.end);
        let level = format!("{:?}", meta.level);
        writeln!(
            out,
            "{level:<5} {:>12} {:>10} {bytes:>12}  {times:<27}  {}",
            meta.rows, meta.series, entry.path
        )?;
    }
    Ok(())
}

fn live<'a>(catalog: &'a Catalog, tenant: Option<&'a TenantId>) -> Vec<&'a Arc<BlockEntry>> {
    match tenant {
        None => catalog.entries().collect(),
        Some(tenant) => {
            catalog.l1_of(tenant).map(|(_, entry)| entry).chain(catalog.blocks_of(tenant)).collect()
        }
    }
}
