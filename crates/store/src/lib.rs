//! Where objects lie and which count: keys, catalog, commit, snapshot, tail, cache, sweep.
//!
//! This crate does not know: DataFusion, HTTP, PromQL, or any role's schedule. It owns the state
//! machines of the protocol, pure over store, clock and random source; roles only schedule them and
//! the simulator runs the same ones.
//!
//! In reading order; each wing uses only those above it:
//! - `trouble`, `outage`: what can be wrong with a store, in words, and how a loop that asks it logs that.
//! - `object`: what the protocol asks of an object store, and how it asks.
//! - `catalog`: which blocks and writers exist, and how one more version is made.
//! - `write`: a sample from the ingester to a slot, then to a block.
//! - `read`: a snapshot, and the samples of the series that a query selects from it; the door
//!   [`SampleSource`] stands here.
//! - `upkeep`: adoption, merges, sweeps, the check of a whole bucket.

mod counters;
mod error;
mod heavy;
mod outage;
mod planted;
mod trouble;

mod object;

mod catalog;

mod write;

mod read;

mod upkeep;

#[cfg(test)]
mod flips;
#[cfg(test)]
mod testing;

pub use catalog::chain::Chain;
pub use catalog::founding::{find_bucket, find_or_found_bucket};
pub use catalog::state::{BlockEntry, Catalog, L1Place, LEVEL};
pub use counters::Counters;
pub use error::Error;
pub use object::bucket::{Bucket, StoreUrl};
pub use object::context::{Context, Timing};
pub use object::counted::{Component, Operation, RequestCounters};
pub use object::first_request::ask_first;
pub use object::format::Format;
pub use object::keys::{BLOCKS, BlockId, block_object};
pub use object::self_test::self_test;
pub use outage::OutageLog;
pub use planted::{Bug, Planted, panic_when_asked};
pub use read::blocks::{BlockReader, BlockReaderSettings};
pub use read::reader::{Reader, ReaderSettings, Snapshot};
pub use read::source::{Allowance, PinnedViews, SampleSnapshot, SampleSource, Selection, SnapshotWish};
pub use read::stored_source::StoredSource;
pub use trouble::StoreTrouble;
pub use upkeep::adopter::{Adopter, AdopterSettings, Adoption};
pub use upkeep::compaction::{Compaction, PlanSettings, Round};
pub use upkeep::fsck::{FsckReport, fsck};
pub use upkeep::merger::{Merged, Merger, MergerSettings};
pub use upkeep::repair::{
    Step, block_steps, chain_steps, find_format, forget_block, forget_segment, mend_chain, segment_steps,
};
pub use upkeep::sweeper::{Sweep, Sweeper, SweeperSettings};
pub use write::life::LocalLives;
pub use write::writer::{Writer, WriterSettings, WriterStatus};
