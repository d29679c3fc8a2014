//! Repair: brings a bucket with holes back to a state that opens, and says what is given up.
//!
//! First everything is looked at and written down as steps; nothing is changed before somebody has read them.
//! To be run while no other process uses the bucket.
//!
//! 1. `format` is missing: it is made again from the newest checkpoint, or from the genesis.
//! 2. Marks of swept epochs are missing below others, or versions of epochs that a later checkpoint stands
//!    for: the marks are made again.
//! 3. Versions are missing or damaged in the epoch that is not swept: each is replaced by a note
//!    ([`Change::Lost`]) that names a checkpoint above it. Where there is none, one is written of what the
//!    versions that are left say.
//! 4. Slots of a writer that nobody can read stand between it and its closing: they are given up.
//! 5. Blocks that nobody can read fail every query that overlaps them: they are given up.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use promontory_model::WriterId;

use crate::catalog::bytes::CheckpointRoot;
use crate::catalog::chain::{Chain, Next, Outcome};
use crate::catalog::founding::{find_bucket, genesis};
use crate::catalog::state::{Catalog, Change, Delta, WriterState};
use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::context::Context;
use crate::object::format::Format;
use crate::object::keys::{self, BlockId};
use crate::planted::Planted;
use crate::read::slot_log::log_end;
use crate::read::whole_blocks;
use crate::upkeep::adopter::{Adopter, AdopterSettings, Adoption};
use crate::upkeep::sweeper::encode_mark;

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `format` is made again.
    MakeFormat(Format),
    /// The mark of a swept epoch is made again.
    MarkSwept(u64),
    /// A checkpoint is written of what the versions that are left say.
    WriteCheckpoint {
        /// The state.
        state: Arc<Catalog>,
        /// What is not in it.
        given_up: Vec<String>,
    },
    /// A version that is missing or damaged is replaced by a note.
    ReplaceVersion {
        /// Which version.
        version: u64,
        /// The checkpoint that the note names.
        checkpoint: u64,
    },
    /// A segment is given up.
    ForgetSegment {
        /// Whose segment.
        writer: WriterId,
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A block is given up.
    ForgetBlock {
        /// Which block.
        block: BlockId,
        /// What is wrong with it, and what it held.
        why: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeFormat(format) => write!(
                f,
                "make {} again: epochs of {} versions, checkpoints each {}, a grace of {} s",
                keys::format(),
                format.epoch_length,
                format.checkpoint_spacing,
                format.grace().as_secs()
            ),
            Self::MarkSwept(epoch) => write!(f, "make {} again", keys::swept(*epoch)),
            Self::WriteCheckpoint { state, given_up } => {
                write!(f, "write {} of what is left", keys::checkpoint(state.version))?;
                given_up.iter().try_for_each(|what| write!(f, "; given up: {what}"))
            }
            Self::ReplaceVersion { version, checkpoint } => write!(
                f,
                "replace {} by a note that {} stands in for it",
                keys::version(*version),
                keys::checkpoint(*checkpoint)
            ),
            Self::ForgetSegment { writer, seq, why } => {
                write!(f, "give up {}: {why}", keys::slot(*writer, *seq))
            }
            Self::ForgetBlock { block, why } => write!(f, "give up block {block}: {why}"),
        }
    }
}

/// What the bucket was made with, and the step that says so again where `format` is missing.
///
/// # Errors
/// As [`find_bucket`]; `Unsupported` if nothing was written there yet, `Corrupt` if nothing tells any more what the bucket was made with.
pub async fn find_format(
    bucket: &Bucket,
    context: impl Fn(Format) -> Arc<Context>,
) -> Result<(Format, Option<Step>), Error> {
    match find_bucket(bucket).await {
        Ok(Some(format)) => return Ok((format, None)),
        Ok(None) => return Err(Error::Unsupported("nothing was written there yet".into())),
        Err(Error::Corrupt { .. }) => {}
        Err(error) => return Err(error),
    }
    let probe = context(Format::default());
    let checkpoints = probe.list_numbers(keys::CHECKPOINT).await?;
    for version in checkpoints.into_iter().rev() {
        let root = probe.get_decoded(&keys::checkpoint(version), CheckpointRoot::decode).await;
        if let Ok(Some(CheckpointRoot { format: Some(format), .. })) = root {
            return Ok((format, Some(Step::MakeFormat(format))));
        }
    }
    match genesis(bucket).await? {
        // All that were ever made have these constants.
        Some(bucket) => {
            let format = Format { bucket, ..Format::default() };
            Ok((format, Some(Step::MakeFormat(format))))
        }
        None => Err(Error::Corrupt {
            object: keys::format().to_string(),
            why: "is missing, and neither a checkpoint nor version 1 tells what it said".into(),
        }),
    }
}

/// The steps that make the chain whole; none if it opens.
///
/// # Errors
/// `Unavailable`; `Corrupt` if nothing is left to begin from.
pub async fn chain_steps(context: &Arc<Context>) -> Result<Vec<Step>, Error> {
    let Err(damage) = Chain::open(context.clone()).await else { return Ok(Vec::new()) };
    if !matches!(damage, Error::Corrupt { .. }) {
        return Err(damage);
    }
    let chain = Chain::unopened(context.clone());
    let left = Left::look(context).await?;
    let mut steps = Vec::new();
    let stand_in = left.stand_in(&chain).await?;
    let epoch = left.swept_up_to(stand_in.as_ref().map(|(version, _)| *version), context.format);
    let unmarked = (0..epoch).filter(|epoch| !left.marks.contains(epoch));
    steps.extend(unmarked.map(Step::MarkSwept));
    let first = context.format.first_version(epoch).max(1);
    let holes: Vec<u64> = left.holes(first).collect();
    let checkpoint = match &stand_in {
        Some((version, _)) if holes.last().is_none_or(|hole| hole <= version) => *version,
        _ => {
            let (state, given_up) = left.replay(&chain, stand_in, first).await?;
            steps.push(Step::WriteCheckpoint { state: Arc::new(state), given_up });
            left.newest
        }
    };
    steps.extend(holes.into_iter().map(|version| Step::ReplaceVersion { version, checkpoint }));
    if steps.is_empty() { Err(damage) } else { Ok(steps) }
}

/// What is left of a chain.
struct Left {
    marks: BTreeSet<u64>,
    /// The first epoch above all marks.
    epoch: u64,
    /// Versions that can be read.
    whole: BTreeSet<u64>,
    newest: u64,
    checkpoints: BTreeSet<u64>,
}

impl Left {
    async fn look(context: &Context) -> Result<Self, Error> {
        let marks = context.list_numbers(keys::SWEPT).await?;
        let epoch = marks.last().map_or(0, |last| last + 1);
        let listed = context.list_numbers(keys::CATALOG).await?;
        let mut whole = BTreeSet::new();
        for version in listed.range(context.format.first_version(epoch)..) {
            match context.get_decoded(&keys::version(*version), Delta::decode).await {
                Ok(Some(_)) => {
                    whole.insert(*version);
                }
                Ok(None) | Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let checkpoints = context.list_numbers(keys::CHECKPOINT).await?;
        let newest = listed.last().copied().max(checkpoints.last().copied()).unwrap_or(0);
        Ok(Self { marks, epoch, whole, newest, checkpoints })
    }

    fn holes(&self, first: u64) -> impl Iterator<Item = u64> {
        (first..=self.newest).filter(|version| !self.whole.contains(version))
    }

    /// The epochs below this one need no versions: they have a mark, or versions of them are missing and the
    /// checkpoint at `stand_in` is of a later one.
    fn swept_up_to(&self, stand_in: Option<u64>, format: Format) -> u64 {
        let later = stand_in.map_or(0, |version| format.epoch(version));
        let first = format.first_version(self.epoch).max(1);
        let broken = self.holes(first).map(|version| format.epoch(version)).filter(|epoch| *epoch < later);
        broken.last().map_or(self.epoch, |epoch| epoch + 1)
    }

    /// The newest checkpoint that can be read.
    async fn stand_in(&self, chain: &Chain) -> Result<Option<(u64, Catalog)>, Error> {
        for version in self.checkpoints.iter().rev().filter(|version| **version <= self.newest) {
            match chain.read_checkpoint(*version).await {
                Ok(Some(state)) => return Ok(Some((*version, state))),
                Ok(None) | Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The state that the versions from the newest readable checkpoint on make, as far as they can be applied.
    async fn replay(
        &self,
        chain: &Chain,
        stand_in: Option<(u64, Catalog)>,
        first: u64,
    ) -> Result<(Catalog, Vec<String>), Error> {
        if stand_in.is_none() && first > 1 {
            let why = format!("no version before {first} is left, and no checkpoint can be read");
            return Err(Error::Corrupt { object: keys::CHECKPOINT.into(), why });
        }
        let mut state = stand_in.map_or_else(Catalog::default, |(_, state)| state);
        state.bucket = chain.context().format.bucket;
        let mut given_up = Vec::new();
        for version in state.version + 1..=self.newest {
            let delta = match self.whole.contains(&version) {
                true => chain.delta(version).await?,
                false => None,
            };
            match delta {
                Some(delta) => state = forced(state, &delta, &mut given_up),
                None => given_up.push(format!("what {} changed", keys::version(version))),
            }
            state.version = version;
        }
        Ok((state, given_up))
    }
}

/// The state after `delta`, with what it needs made up where a lost version would have made it.
fn forced(mut state: Catalog, delta: &Delta, given_up: &mut Vec<String>) -> Catalog {
    state.version = delta.version - 1;
    state.attempt = 0;
    if let Change::L1 { writer, from, .. } | Change::Close { writer, from, .. } = &delta.change {
        let made_up = WriterState { born: state.version, watermark: 0, level: 0 };
        let known = state.writers.entry(*writer).or_insert(made_up);
        if known.watermark < *from {
            given_up.push(format!(
                "segments {} to {from} of writer {writer}, but those that other blocks contain",
                known.watermark + 1
            ));
            known.watermark = *from;
        }
    }
    match state.follow(delta, Planted::NONE) {
        Ok(next) => next,
        Err(void) => {
            given_up.push(format!("{}: {void}", keys::version(delta.version)));
            state
        }
    }
}

/// The steps that let every writer of an opened bucket be adopted: the first segment of each that cannot be
/// read. What lies above it shows once it was given up.
///
/// # Errors
/// `Unavailable`.
pub async fn segment_steps(chain: &Arc<Chain>) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for (writer, state) in &chain.latest().writers {
        let end = log_end(chain.context(), *writer, state.watermark).await?;
        let seq = end.readable + 1;
        steps.extend(end.lost.map(|why| Step::ForgetSegment { writer: *writer, seq, why }));
    }
    // A store that denies what it holds is no reason to give anything up.
    chain.see_newest().await?;
    Ok(steps)
}

/// The steps that make the blocks of an opened bucket readable; every block is read.
///
/// # Errors
/// `Unavailable`.
pub async fn block_steps(chain: &Arc<Chain>) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    for entry in chain.latest().entries() {
        match whole_blocks::read(chain.context(), entry).await {
            Ok(_) => {}
            Err(error @ (Error::Corrupt { .. } | Error::Missing { .. })) => {
                let tenants: Vec<&str> = entry.meta.tenants.iter().map(|span| span.tenant.as_str()).collect();
                let (rows, tenants) = (entry.meta.rows, tenants.join(", "));
                let why = format!("{error}; it held {rows} samples of {tenants}");
                steps.push(Step::ForgetBlock { block: entry.id, why });
            }
            Err(error) => return Err(error),
        }
    }
    chain.see_newest().await?;
    Ok(steps)
}

/// Does one step of [`find_format`] or [`chain_steps`].
///
/// # Errors
/// `Unavailable`; steps may be repeated.
pub async fn mend_chain(context: &Arc<Context>, step: &Step) -> Result<(), Error> {
    match step {
        Step::MakeFormat(format) => context.create_equal(&keys::format(), &format.encode(), |_| false).await,
        Step::MarkSwept(epoch) => {
            context.create_equal(&keys::swept(*epoch), &encode_mark(*epoch), |_| false).await
        }
        Step::WriteCheckpoint { state, .. } => {
            let chain = Chain::unopened(context.clone());
            chain.overwrite_checkpoint(state).await
        }
        Step::ReplaceVersion { version, checkpoint } => {
            let attempt = context.random.next_u128() | 1;
            let change = Change::Lost { checkpoint: *checkpoint };
            let note = Delta { version: *version, attempt, predecessor: 0, change };
            context.overwrite(&keys::version(*version), note.encode()).await
        }
        Step::ForgetSegment { .. } | Step::ForgetBlock { .. } => {
            Err(Error::Bug(format!("not a step of the chain: {step}")))
        }
    }
}

/// Gives one block up: its rows are gone for every query from now on.
///
/// # Errors
/// `Unavailable`; `Limited` says that there is no such block.
pub async fn forget_block(chain: &Chain, block: BlockId) -> Result<(), Error> {
    let mut tried = false;
    let outcome = chain.commit(|catalog| {
        let there = catalog.entries().any(|entry| entry.id == block);
        let done = std::mem::replace(&mut tried, true) && !there;
        if done { Next::Stop(()) } else { Next::Try(Change::ForgetBlock { block }) }
    });
    settled(outcome.await?)
}

/// Gives one segment up. What lies below it becomes a block first; what lies above counts from now on.
///
/// # Errors
/// `Unavailable`; `Limited` says why the segment cannot be given up, for instance because it can be read.
pub async fn forget_segment(chain: &Arc<Chain>, writer: WriterId, seq: u64) -> Result<(), Error> {
    let adopter = Adopter::new(chain.clone(), AdopterSettings::default());
    match adopter.adopt(writer).await? {
        Adoption::Quarantined { seq: damaged, .. } if damaged == seq => {}
        Adoption::Quarantined { seq: damaged, .. } => {
            return Err(Error::Limited(format!(
                "segment {damaged} of writer {writer} is damaged, not {seq}"
            )));
        }
        Adoption::Closed | Adoption::Gone => {
            return Err(Error::Limited(format!("all segments of writer {writer} can be read")));
        }
    }
    let outcome = chain.commit(|catalog| {
        let passed = catalog.writers.get(&writer).is_none_or(|state| state.watermark >= seq);
        if passed { Next::Stop(()) } else { Next::Try(Change::ForgetSegment { writer, seq }) }
    });
    settled(outcome.await?)?;
    // The rest of the log, up to the next damage or its end.
    adopter.adopt(writer).await.map(drop)
}

fn settled(outcome: Outcome<()>) -> Result<(), Error> {
    match outcome {
        Outcome::Committed(_) | Outcome::Stopped(()) => Ok(()),
        Outcome::Void(void) => Err(Error::Limited(void.to_string())),
    }
}
