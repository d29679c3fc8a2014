//! What the program does besides serving; each command opens the store and only reads.

pub mod blocks;
pub mod fsck;

use std::sync::Arc;

use anyhow::Context as _;
use promontory_store::{Bucket, Format, StoreUrl};

use crate::serve::{Opened, open_catalog};

/// Opens the catalog of an existing store.
async fn open(store: &str) -> anyhow::Result<(StoreUrl, Opened)> {
    let url: StoreUrl = store.parse()?;
    if let StoreUrl::Local(path) = &url {
        anyhow::ensure!(path.is_dir(), "cannot open store {url}: there is no such folder");
    }
    let requests = Arc::default();
    let bucket = Bucket::open(&url, &requests)?;
    let cannot_open = || format!("cannot open store {url}");
    let format = Format::load(&bucket).await.with_context(cannot_open)?.with_context(|| {
        format!("cannot open store {url}: it holds no object `format`: nothing was written there yet, or that object was deleted")
    })?;
    let opened = open_catalog(bucket, format, requests).await.with_context(cannot_open)?;
    Ok((url, opened))
}
