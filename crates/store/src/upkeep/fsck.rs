//! The check of a whole bucket: what the catalog says is there, whole, and follows from its chain.
//!
//! It writes nothing and trusts nothing that it can compute: it replays the chain from the oldest
//! version that is left, checking every precondition, compares every checkpoint on the way, and
//! reads every referenced object, `format` and every mark of a swept epoch.
//!
//! Of writers that have left, only the closed mark is looked for. Not read, because nobody needs what they
//! hold: segments below a watermark, the mark of the self-test.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use promontory_block::Slot;
use promontory_model::WriterId;

use crate::catalog::chain::Chain;
use crate::catalog::state::{BlockEntry, Catalog, Change, Delta};
use crate::error::Error;
use crate::object::context::Context;
use crate::object::format::Format;
use crate::object::keys::{self, IN_FLIGHT_MAX};
use crate::planted::Planted;
use crate::read::slot_log::{LogEnd, log_end};
use crate::read::whole_blocks;
use crate::upkeep::sweeper::decode_mark;

/// Problems that are named; all are counted.
const PROBLEMS_MAX: usize = 100;

const PARALLEL_MAX: usize = 16;

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// The newest version of the catalog, up to which everything was replayed.
    pub version: u64,
    /// Versions replayed.
    pub versions: u64,
    /// Checkpoints compared with the replay.
    pub checkpoints: u64,
    /// Blocks read.
    pub blocks: u64,
    /// Their encoded bytes.
    pub block_bytes: u64,
    /// Samples in them.
    pub rows: u64,
    /// Segments above the watermarks of live writers.
    pub segments: u64,
    /// Number of problems, those that `problems` does not name included.
    pub problems_total: u64,
    /// The first few of it, with the object's key.
    pub problems: Vec<String>,
}

impl FsckReport {
    /// True if no problem was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems_total == 0
    }

    fn problem(&mut self, text: String) {
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }
}

/// Checks the bucket of `context`, every rule of the protocol on.
///
/// A bucket in use is checked as of the version that was the newest at the start.
///
/// # Errors
/// `Unavailable` if the store does not answer, `Stale` if a sweep was faster than the check; damage
/// is no error but in the report.
pub async fn fsck(context: &Context) -> Result<FsckReport, Error> {
    let context = Arc::new(Context { planted: Planted::NONE, ..context.clone() });
    let mut report = FsckReport::default();
    let chain = match Chain::open(context.clone()).await {
        Ok(chain) => chain,
        Err(error) => {
            damage(error, &mut report)?;
            return Ok(report);
        }
    };
    check_format(&context, &mut report).await?;
    check_marks(&chain, &mut report).await?;
    let logs = last_slots(&context).await?;
    let newest = chain.refresh().await?;
    report.version = newest.version;
    replay(&chain, &newest, &mut report).await?;
    for entry in newest.entries() {
        check_block(&context, entry, &mut report).await?;
    }
    for (writer, state) in &newest.writers {
        check_tail(&context, *writer, state.watermark, &mut report).await?;
    }
    for (writer, last) in logs.iter().filter(|(writer, _)| !newest.writers.contains_key(writer)) {
        check_end(&context, *writer, *last, &mut report).await?;
    }
    // A store that denies what it holds gives no report.
    chain.see_newest().await?;
    let latest = chain.latest_as_of();
    if !report.is_clean() && latest.as_of.elapsed() > context.format.snapshot_age_max() {
        return Err(Error::Stale("the check took longer than half the grace of a bucket in use".into()));
    }
    Ok(report)
}

/// The bucket's `format`, which whoever opened the bucket has read or created.
async fn check_format(context: &Context, report: &mut FsckReport) -> Result<(), Error> {
    let key = keys::format();
    match context.get_decoded(&key, Format::decode_inner).await {
        Ok(Some(format)) if format != context.format => {
            report.problem(format!("{key}: says {format:?}, not {:?}", context.format));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => damage(error, report),
    }
}

/// The marks of all swept epochs.
async fn check_marks(chain: &Chain, report: &mut FsckReport) -> Result<(), Error> {
    let read = |epoch| async move {
        let mark = chain.context().get_decoded(&keys::swept(epoch), decode_mark).await;
        (epoch, mark)
    };
    let reads = (0..chain.first_unswept_epoch().await?).map(read);
    let mut marks = stream::iter(reads).buffered(PARALLEL_MAX);
    while let Some((epoch, mark)) = marks.next().await {
        match mark {
            Ok(Some(found)) if found == epoch => {}
            Ok(Some(found)) => {
                report.problem(format!("{}: says that it is epoch {found}", keys::swept(epoch)))
            }
            Ok(None) => report.problem(format!("{}: is missing", keys::swept(epoch))),
            Err(error) => damage(error, report)?,
        }
    }
    Ok(())
}

/// Replays from the oldest state that is left and compares checkpoints on the way.
async fn replay(chain: &Chain, newest: &Catalog, report: &mut FsckReport) -> Result<(), Error> {
    let format = chain.context().format;
    let first = format.first_version(chain.first_unswept_epoch().await?);
    let mut state = Catalog::default();
    if first > 0 {
        // The oldest version is replayed by nobody any more: its checkpoint stands for it.
        if let Err(error) = chain.delta(first).await {
            damage(error, report)?;
        }
        match chain.read_checkpoint(first).await {
            Ok(Some(oldest)) => state = oldest,
            Ok(None) => {
                report.problem(format!("{}: is missing or incomplete", keys::checkpoint(first)));
                return Ok(());
            }
            Err(error) => return damage(error, report),
        }
    }
    while state.version < newest.version {
        let version = state.version + 1;
        let next = match chain.delta(version).await {
            Ok(Some(Delta { change: Change::Lost { checkpoint }, .. })) => {
                let read = chain.read_checkpoint(checkpoint).await;
                read.and_then(|state| {
                    state.ok_or_else(|| Error::Missing { object: keys::checkpoint(checkpoint).to_string() })
                })
            }
            Ok(Some(delta)) => chain.apply(&state, &delta),
            Ok(None) if chain.is_swept(version).await? => {
                return Err(Error::Stale(format!("version {version} was swept while it was checked")));
            }
            Ok(None) => {
                report.problem(format!("{}: is missing from the chain", keys::version(version)));
                return Ok(());
            }
            Err(error) => Err(error),
        };
        state = match next {
            Ok(next) => next,
            Err(error) => return damage(error, report),
        };
        report.versions += 1;
        if version.is_multiple_of(format.checkpoint_spacing) {
            check_checkpoint(chain, &state, report).await?;
        }
    }
    if state != *newest {
        report.problem(format!("{}: the replay gives another state", keys::version(newest.version)));
    }
    Ok(())
}

async fn check_checkpoint(chain: &Chain, state: &Catalog, report: &mut FsckReport) -> Result<(), Error> {
    match chain.read_checkpoint(state.version).await {
        // A missing one costs a longer replay only.
        Ok(None) => Ok(()),
        Ok(Some(checkpoint)) => {
            report.checkpoints += 1;
            if checkpoint != *state {
                report.problem(format!("{}: differs from the replay", keys::checkpoint(state.version)));
            }
            Ok(())
        }
        Err(error) => damage(error, report),
    }
}

async fn check_block(context: &Context, entry: &BlockEntry, report: &mut FsckReport) -> Result<(), Error> {
    let rows = match whole_blocks::read(context, entry).await {
        Ok(rows) => rows,
        Err(error) => return damage(error, report),
    };
    report.blocks += 1;
    report.block_bytes += entry.meta.objects.iter().map(|object| object.size).sum::<u64>();
    report.rows += entry.meta.rows;
    let found: u64 = rows.iter().map(|(_, run)| run.rows() as u64).sum();
    let tenants =
        rows.iter().map(|(tenant, _)| tenant).eq(entry.meta.tenants.iter().map(|span| &span.tenant));
    if found != entry.meta.rows || !tenants {
        report.problem(format!("{}: {found} rows, the catalog says {}", entry.path, entry.meta.rows));
    }
    Ok(())
}

async fn check_tail(
    context: &Context,
    writer: WriterId,
    watermark: u64,
    report: &mut FsckReport,
) -> Result<(), Error> {
    let LogEnd { readable, lost } = log_end(context, writer, watermark).await?;
    if let Some(why) = lost {
        report.problem(format!("{}: {why}", keys::slot(writer, readable + 1)));
    }
    report.segments += readable - watermark;
    Ok(())
}

/// The last slot of every writer that has any.
async fn last_slots(context: &Context) -> Result<BTreeMap<WriterId, u64>, Error> {
    let mut last = BTreeMap::new();
    let mut listed = context.list(keys::WAL);
    while let Some(meta) = listed.try_next().await? {
        if let Some((writer, seq)) = keys::parse_slot(&meta.location) {
            let known = last.entry(writer).or_insert(seq);
            *known = seq.max(*known);
        }
    }
    Ok(last)
}

/// That a writer which is in no version has left: its closed mark stays for ever.
///
/// Above its mark may lie what landed late, so the mark is looked for from there downwards.
async fn check_end(
    context: &Context,
    writer: WriterId,
    last: u64,
    report: &mut FsckReport,
) -> Result<(), Error> {
    for seq in (1..=last).rev() {
        let key = keys::slot(writer, seq);
        match context.get(&key).await? {
            // Damaged bytes may have been the mark, and end a writer as well as it does.
            Some(bytes) if !matches!(Slot::decode(&bytes), Ok(Slot::Segment(_))) => return Ok(()),
            Some(_) if seq + IN_FLIGHT_MAX as u64 <= last => break,
            _ => {}
        }
    }
    let slot = keys::slot(writer, last);
    report.problem(format!(
        "{slot}: its writer is in no version and left no closed mark; its samples may count for nobody"
    ));
    Ok(())
}

/// Damage goes into the report, everything else to the caller.
fn damage(error: Error, report: &mut FsckReport) -> Result<(), Error> {
    match error {
        Error::Corrupt { object, why } => report.problem(format!("{object}: {why}")),
        missing @ Error::Missing { .. } => report.problem(missing.to_string()),
        Error::Unsupported(why) => report.problem(why),
        error => return Err(error),
    }
    Ok(())
}
