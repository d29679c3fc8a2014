//! `promontory repair`, `forget-block`, `forget-segment`: what a damaged store needs to be opened and read
//! again. Nothing is changed before its steps have been shown.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use promontory_store::{
    BlockId, Bucket, Chain, Step, block_steps, chain_steps, find_format, mend_chain, segment_steps,
};

use crate::config::StoreFlags;
use crate::store::context;

/// Rounds of a repair: each one gives up at most one segment of each writer.
const ROUNDS_MAX: usize = 10_000;

/// Shows what a repair would do, and does it if `apply`.
///
/// # Errors
/// If the store does not answer, or nothing is left to repair it from.
pub async fn run(store: &StoreFlags, apply: bool) -> anyhow::Result<()> {
    let url = store.check()?;
    let cannot = || format!("cannot repair store {url}");
    let bucket = Bucket::open(&url, &Default::default())?;
    let made_with = |format| context(bucket.clone(), format);
    let (format, step) = find_format(&bucket, made_with).await.with_context(cannot)?;
    let context = made_with(format);
    let mut steps: Vec<Step> = step.into_iter().collect();
    steps.extend(chain_steps(&context).await.with_context(cannot)?);
    show(&steps)?;
    let mut n_steps = steps.len();
    if apply {
        for step in &steps {
            mend_chain(&context, step).await.with_context(|| step.to_string())?;
        }
    } else if n_steps > 0 {
        return end(apply, n_steps);
    }
    let chain = Chain::open(context).await.with_context(cannot)?;
    for round in 0.. {
        let segments = segment_steps(&chain).await.with_context(cannot)?;
        n_steps += segments.len();
        if segments.is_empty() || !carry_out(&chain, &segments, apply).await? {
            break;
        }
        anyhow::ensure!(round < ROUNDS_MAX, "store {url} is not whole after {ROUNDS_MAX} rounds");
    }
    let blocks = block_steps(&chain).await.with_context(cannot)?;
    carry_out(&chain, &blocks, apply).await?;
    end(apply, n_steps + blocks.len())
}

/// Shows steps and does them if they are to be done; says whether they were.
async fn carry_out(chain: &Arc<Chain>, steps: &[Step], apply: bool) -> anyhow::Result<bool> {
    show(steps)?;
    for step in steps.iter().filter(|_| apply) {
        give_up(chain, step).await.with_context(|| step.to_string())?;
    }
    Ok(apply)
}

fn show(steps: &[Step]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    steps.iter().try_for_each(|step| writeln!(out, "{step}"))?;
    Ok(())
}

fn end(applied: bool, n_steps: usize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match (n_steps, applied) {
        (0, _) => writeln!(out, "nothing to repair")?,
        (_, true) => writeln!(out, "done; verify with `promontory fsck`")?,
        (_, false) => writeln!(
            out,
            "nothing was changed; stop every process that uses the store, then repeat with --apply"
        )?,
    }
    Ok(())
}

async fn give_up(chain: &Arc<Chain>, step: &Step) -> anyhow::Result<()> {
    match step {
        Step::ForgetBlock { block, .. } => promontory_store::forget_block(chain, *block).await?,
        Step::ForgetSegment { writer, seq, .. } => {
            promontory_store::forget_segment(chain, *writer, *seq).await?;
        }
        other => bail!("{other} is no step of an opened store"),
    }
    Ok(())
}

/// Gives one block up.
///
/// # Errors
/// If there is no such block, or the store does not answer.
pub async fn forget_block(store: &StoreFlags, block: &str) -> anyhow::Result<()> {
    let id =
        BlockId::parse(block).with_context(|| format!("{block:?} is no block; `blocks ls` prints them"))?;
    let (_, opened) = super::open(store).await?;
    promontory_store::forget_block(&opened.chain, id).await?;
    writeln!(std::io::stdout().lock(), "block {id} is given up")?;
    Ok(())
}

/// Gives one segment up.
///
/// # Errors
/// If it can be read, or is not the first of its writer that cannot, or the store does not answer.
pub async fn forget_segment(store: &StoreFlags, writer: &str, seq: u64) -> anyhow::Result<()> {
    let id = u128::from_str_radix(writer, 16).ok().filter(|_| writer.len() == 32);
    let id = id.with_context(|| format!("{writer:?} is no writer: 32 hexadecimal digits, as under wal/"))?;
    let (_, opened) = super::open(store).await?;
    promontory_store::forget_segment(&opened.chain, promontory_model::WriterId(id), seq).await?;
    writeln!(std::io::stdout().lock(), "segment {seq} of writer {writer} is given up")?;
    Ok(())
}
