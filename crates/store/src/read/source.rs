//! The seam between storage and query: pin a snapshot, select series, read their samples.
//!
//! The real source reads blocks and tail; the conformance tests of PromQL also run over one that
//! holds everything in memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use promontory_model::{Labels, Matcher, Position, TenantId, TimeRange};

use crate::error::Error;

/// Gives snapshots.
#[async_trait]
pub trait SampleSource: Send + Sync + fmt::Debug {
    /// Pins the newest snapshot of one tenant that contains at least `must_contain`.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer, `Corrupt` if the catalog is damaged.
    async fn snapshot(
        &self,
        tenant: &TenantId,
        must_contain: &[Position],
    ) -> Result<Arc<dyn SampleSnapshot>, Error>;
}

/// One immutable view: a catalog version plus a tail, of one tenant.
#[async_trait]
pub trait SampleSnapshot: Send + Sync + fmt::Debug {
    /// Selects the series that pass all matchers and may have a sample in `range`.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`, or `Stale` if the snapshot is older than half the grace.
    async fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Arc<dyn Selection>, Error>;

    /// What is missing or uncertain in this view, for the answer's warnings.
    fn warnings(&self) -> Vec<String>;
}

/// Selected series with the places of their samples.
#[async_trait]
pub trait Selection: Send + Sync + fmt::Debug {
    /// The series, strictly ascending by canonical key.
    fn series(&self) -> &[Labels];

    /// Upper bound of the samples of `series()[of]` that [`Self::read`] will hold, duplicates
    /// included; known without reading samples.
    fn samples_max(&self, of: Range<usize>) -> u64;

    /// Brings what [`Self::read`] of parts of `series()[of]` needs near, in few requests: a scan that reads
    /// a few hundred series at a time would ask the store for each few pages. Nothing is decoded.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn prefetch(&self, of: Range<usize>) -> Result<(), Error> {
        let _ = of;
        Ok(())
    }

    /// Reads the samples of `series()[of]` in the selected range, merged and deduplicated.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`, or `Stale`.
    async fn read(&self, of: Range<usize>) -> Result<SelectedSamples, Error>;
}

/// Samples of consecutive series.
///
/// `offsets` has one entry more than there are series, from 0 to `ts.len()`; a series may be empty;
/// within a series `ts` strictly ascends. Stale markers are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SelectedSamples {
    /// The samples of series `i` are `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<usize>,
    /// Milliseconds since the Unix epoch.
    pub ts: Vec<i64>,
    /// One value per timestamp.
    pub values: Vec<f64>,
}
