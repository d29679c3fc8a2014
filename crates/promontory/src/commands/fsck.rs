//! `promontory fsck`: reads everything that counts and verifies that it is present and whole.

use std::io::Write;

use anyhow::bail;

use crate::config::StoreFlags;

/// Checks a store and prints what was checked and what is wrong.
///
/// # Errors
/// If the store cannot be opened or read, or if anything in it is damaged or missing.
pub async fn run(store: &StoreFlags) -> anyhow::Result<()> {
    let (url, opened) = super::open(store).await?;
    let report = promontory_store::fsck(&opened.context).await?;
    let mut out = std::io::stdout().lock();
    for problem in &report.problems {
        writeln!(out, "{problem}")?;
    }
    writeln!(
        out,
        "{url}: catalog version {}, {} versions replayed, {} checkpoints, {} blocks with {} samples in {} \
         bytes, {} segments above the watermarks",
        report.version,
        report.versions,
        report.checkpoints,
        report.blocks,
        report.rows,
        report.block_bytes,
        report.segments
    )?;
    if !report.is_clean() {
        bail!("{} problems in store {url}", report.problems_total);
    }
    writeln!(out, "no problems")?;
    Ok(())
}
