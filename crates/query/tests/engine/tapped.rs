//! A source within another that listens at each step, and may let it fail.

use std::fmt::Debug;
use std::ops::Range;

use promontory_model::{Exemplar, MetricMetadata, SampleLists};
use promontory_store::{Allowance, SampleSnapshot, Selection};

use super::*;

/// What is asked of a source, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Snapshot,
    Select,
    Read,
    Exemplars,
    Metadata,
}

/// Who listens.
pub(super) trait Tap: Clone + Debug + Send + Sync + 'static {
    /// Before the source within is asked: an error is its answer.
    fn before(&self, _: Step) -> Result<(), StoreError> {
        Ok(())
    }

    /// What the source within has read.
    fn read(&self, _: &SampleLists) {}
}

#[derive(Debug)]
pub(super) struct Tapped<P, T: ?Sized> {
    pub(super) tap: P,
    pub(super) inner: Arc<T>,
}

impl<P: Tap, T: ?Sized> Tapped<P, T> {
    fn around<U: ?Sized>(&self, inner: Arc<U>) -> Tapped<P, U> {
        Tapped { tap: self.tap.clone(), inner }
    }
}

#[async_trait::async_trait]
impl<P: Tap> SampleSource for Tapped<P, dyn SampleSource> {
    async fn snapshot(&self, tenants: &Tenants, wish: SnapshotWish<'_>) -> Result<PinnedViews, StoreError> {
        self.tap.before(Step::Snapshot)?;
        let mut pinned = self.inner.snapshot(tenants, wish).await?;
        for view in &mut pinned.views {
            *view = Arc::new(self.around(Arc::clone(view)));
        }
        Ok(pinned)
    }
}

#[async_trait::async_trait]
impl<P: Tap> SampleSnapshot for Tapped<P, dyn SampleSnapshot> {
    async fn select_within(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        allowance: Arc<dyn Allowance>,
    ) -> Result<Arc<dyn Selection>, StoreError> {
        self.tap.before(Step::Select)?;
        Ok(Arc::new(self.around(self.inner.select_within(matchers, range, allowance).await?)))
    }

    async fn exemplars(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, StoreError> {
        self.tap.before(Step::Exemplars)?;
        self.inner.exemplars(matchers, range).await
    }

    async fn metadata(&self, metric: Option<&str>) -> Result<Vec<(String, Vec<MetricMetadata>)>, StoreError> {
        self.tap.before(Step::Metadata)?;
        self.inner.metadata(metric).await
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    fn epochs(&self, range: TimeRange) -> Vec<(TimeRange, u64)> {
        self.inner.epochs(range)
    }

    fn mutable_from(&self) -> i64 {
        self.inner.mutable_from()
    }
}

#[async_trait::async_trait]
impl<P: Tap> Selection for Tapped<P, dyn Selection> {
    fn series(&self) -> &[Labels] {
        self.inner.series()
    }

    fn samples_max_within(&self, of: Range<usize>, within: TimeRange) -> u64 {
        self.inner.samples_max_within(of, within)
    }

    async fn read_within(&self, of: Range<usize>, within: TimeRange) -> Result<SampleLists, StoreError> {
        self.tap.before(Step::Read)?;
        let read = self.inner.read_within(of, within).await?;
        self.tap.read(&read);
        Ok(read)
    }
}
