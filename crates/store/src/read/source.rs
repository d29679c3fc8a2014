//! The door `SampleSource`: pin a snapshot, select series, read their samples.
//!
//! The fourth door, beside `Append`, `Engine` and `ObjectStore`, and the only one inside: whoever asks
//! stands above it and does not know where samples lie, whoever holds samples stands behind it. The real
//! source reads blocks and tails; the conformance tests of PromQL also run over one that holds everything
//! in memory.
//!
//! Words: a *snapshot* is one immutable state of all tenants; a *view* is one tenant's part of it; a
//! *selection* is the series of a view that pass matchers; an *allowance* is what it may take of memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use promontory_model::samples::SampleLists;
use promontory_model::{Exemplar, Labels, Matcher, MetricMetadata, Position, SnapshotId, Tenants, TimeRange};

use crate::error::Error;

/// The door through which queries see what is stored: gives snapshots.
#[async_trait]
pub trait SampleSource: Send + Sync + fmt::Debug {
    /// Pins one snapshot and gives the view of each tenant, in their order.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer, `Corrupt` if the catalog is damaged, `Busy` if a
    /// position does not show up in time, `Stale` if the wish names a snapshot that is gone.
    async fn snapshot(&self, tenants: &Tenants, wish: SnapshotWish<'_>) -> Result<PinnedViews, Error>;
}

/// Which snapshot is wanted; by default the newest.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotWish<'a> {
    /// Acknowledged positions that the snapshot must contain; it waits for them within a bound.
    pub must_contain: &'a [Position],
    /// The snapshot that was seen before, and no other; `None`: the newest.
    pub pinned: Option<&'a SnapshotId>,
}

/// The views of some tenants in one snapshot.
#[derive(Clone, Debug)]
pub struct PinnedViews {
    /// The identity of the snapshot that all views are of.
    pub id: SnapshotId,
    /// One view for each tenant that was named, in their order.
    pub views: Vec<Arc<dyn SampleSnapshot>>,
}

/// What a selection may take of memory.
pub trait Allowance: Send + Sync + fmt::Debug {
    /// Takes `bytes` more. It is asked before or soon after they are taken, at least once for each block.
    ///
    /// # Errors
    /// `Limited` or `Busy` if there is no more; `Stopped` if whoever asked has ended.
    fn take(&self, bytes: u64) -> Result<(), Error>;
}

/// As much as it wants.
#[derive(Clone, Copy, Debug)]
struct Unlimited;

impl Allowance for Unlimited {
    fn take(&self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

/// One tenant's view of a snapshot: a catalog version plus tails; immutable.
#[async_trait]
pub trait SampleSnapshot: Send + Sync + fmt::Debug {
    /// Selects the series that pass all matchers and may have a sample in `range`.
    ///
    /// # Errors
    /// As [`Self::select_within`], but for the allowance.
    async fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Arc<dyn Selection>, Error> {
        self.select_within(matchers, range, Arc::new(Unlimited)).await
    }

    /// The same, within an allowance that is asked while series are found. The selection keeps it, so that what
    /// was taken is free when both are dropped.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`, `Stale` if the snapshot is older than half the grace, and those of the
    /// allowance.
    async fn select_within(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        allowance: Arc<dyn Allowance>,
    ) -> Result<Arc<dyn Selection>, Error>;

    /// The exemplars in `range` of series that pass all matchers; series ascend by canonical key, times of
    /// one series do not descend. None are stored yet.
    ///
    /// # Errors
    /// As [`Self::select`].
    async fn exemplars(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, Error> {
        let _ = (matchers, range);
        Ok(Vec::new())
    }

    /// What targets say about metrics, or about the one that is named; ordered by metric, each once. None is
    /// stored yet.
    ///
    /// # Errors
    /// As [`Self::select`].
    async fn metadata(&self, metric: Option<&str>) -> Result<Vec<(String, Vec<MetricMetadata>)>, Error> {
        let _ = metric;
        Ok(Vec::new())
    }

    /// What is missing or uncertain in this view, for the answer's warnings.
    fn warnings(&self) -> Vec<String>;

    /// The parts of `range` by the last change of what lies there, in whole two-hour windows, in order and without
    /// a gap: 0 where nothing is known to have changed. What is still on its way counts for none.
    fn epochs(&self, range: TimeRange) -> Vec<(TimeRange, u64)>;

    /// The time in milliseconds from which on samples were still on their way when the snapshot was taken:
    /// before it, a later snapshot differs only by samples that came late.
    fn mutable_from(&self) -> i64;
}

/// Selected series with the places of their samples.
#[async_trait]
pub trait Selection: Send + Sync + fmt::Debug {
    /// The series, strictly ascending by canonical key.
    fn series(&self) -> &[Labels];

    /// Upper bound of the samples of `series()[of]` that [`Self::read`] will hold, duplicates
    /// included; known without reading samples.
    fn samples_max(&self, of: Range<usize>) -> u64 {
        self.samples_max_within(of, TimeRange::ALL)
    }

    /// The same for [`Self::read_within`]. A part of time without samples has none, and a part of two hours
    /// has no more than its blocks and tails hold of these series.
    fn samples_max_within(&self, of: Range<usize>, within: TimeRange) -> u64;

    /// Bytes of stored objects that hold the samples of `series()[of]`, estimated without reading them; what
    /// lies in memory has none.
    fn stored_bytes(&self, of: Range<usize>) -> u64 {
        let _ = of;
        0
    }

    /// Brings what [`Self::read`] of parts of `series()[of]` needs near, in few requests: a scan that reads
    /// a few hundred series at a time would ask the store for each few pages. Nothing is decoded.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn prefetch(&self, of: Range<usize>) -> Result<(), Error> {
        let _ = of;
        Ok(())
    }

    /// Reads the samples of `series()[of]` in the selected range, merged and deduplicated: as many
    /// series, some perhaps empty, stale markers kept.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`, or `Stale`.
    async fn read(&self, of: Range<usize>) -> Result<SampleLists, Error> {
        self.read_within(of, TimeRange::ALL).await
    }

    /// The same samples as far as they lie in `within`: for those who must not hold a long series at once.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn read_within(&self, of: Range<usize>, within: TimeRange) -> Result<SampleLists, Error>;
}
