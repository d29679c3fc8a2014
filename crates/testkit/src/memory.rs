//! A source of samples that holds everything in memory: for tests of what lies above the store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use promontory_model::samples::{Floats, SampleLists};
use promontory_model::{
    Exemplar, Labels, Matcher, MetricMetadata, Position, RwLockExt as _, SnapshotId, TenantId, Tenants,
    TimeRange, WriterId,
};
use promontory_store::{
    Allowance, Error, PinnedViews, SampleSnapshot, SampleSource, Selection, SnapshotWish,
};

/// Series and their samples: of everyone, and of tenants that have their own instead.
///
/// A snapshot sees what was there when it was taken. Its identity is the number of changes so far, and
/// only the newest can be pinned.
#[derive(Debug, Default)]
pub struct MemorySource {
    data: RwLock<Arc<Data>>,
}

/// A tenant without data of its own sees what everyone sees.
#[derive(Clone, Debug, Default)]
struct Data {
    changes: u64,
    of_everyone: Arc<TenantData>,
    of_one: BTreeMap<TenantId, Arc<TenantData>>,
}

#[derive(Clone, Debug, Default)]
struct TenantData {
    samples: BTreeMap<Labels, Vec<(i64, f64)>>,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
    metadata: BTreeMap<String, Vec<MetricMetadata>>,
}

impl MemorySource {
    /// A source without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds samples of one series of everyone; at equal timestamps the later call wins.
    pub fn add(&self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        self.change(|data| Arc::make_mut(&mut data.of_everyone).add(labels, samples));
    }

    /// Adds samples of one series of one tenant, which from then on sees its own only.
    pub fn add_of(&self, tenant: &TenantId, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        self.change_of(tenant, |data| data.add(labels, samples));
    }

    /// Adds an exemplar of one series of one tenant.
    pub fn add_exemplar_of(&self, tenant: &TenantId, labels: Labels, exemplar: Exemplar) {
        self.change_of(tenant, |data| data.exemplars.entry(labels).or_default().push(exemplar));
    }

    /// Adds what a target of one tenant says about a metric.
    pub fn add_metadata_of(&self, tenant: &TenantId, metric: &str, metadata: MetricMetadata) {
        self.change_of(tenant, |data| data.metadata.entry(metric.to_owned()).or_default().push(metadata));
    }

    /// Removes the data of all tenants; what changes were counted stays counted.
    pub fn clear(&self) {
        self.change(|data| *data = Data { changes: data.changes, ..Data::default() });
    }

    fn change_of(&self, tenant: &TenantId, change: impl FnOnce(&mut TenantData)) {
        self.change(|data| change(Arc::make_mut(data.of_one.entry(tenant.clone()).or_default())));
    }

    fn change(&self, change: impl FnOnce(&mut Data)) {
        let mut data = self.data.write_locked();
        let data = Arc::make_mut(&mut *data);
        data.changes += 1;
        change(data);
    }
}

impl TenantData {
    fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        let series = self.samples.entry(labels).or_default();
        series.extend(samples);
        // Stable, so that of equal timestamps the newest is last and stays.
        series.sort_by_key(|(ts, _)| *ts);
        series.reverse();
        series.dedup_by_key(|(ts, _)| *ts);
        series.reverse();
    }
}

impl Data {
    fn of(&self, tenant: &TenantId) -> &Arc<TenantData> {
        self.of_one.get(tenant).unwrap_or(&self.of_everyone)
    }

    /// One writer, whose tail has a segment for each change.
    fn id(&self) -> SnapshotId {
        SnapshotId { version: 0, tails: vec![Position { writer: WriterId(0), seq: self.changes }] }
    }
}

#[async_trait]
impl SampleSource for MemorySource {
    async fn snapshot(&self, tenants: &Tenants, wish: SnapshotWish<'_>) -> Result<PinnedViews, Error> {
        let data = Arc::clone(&self.data.read_locked());
        if let Some(pinned) = wish.pinned.filter(|pinned| **pinned != data.id()) {
            return Err(Error::Stale(format!("{pinned:?} is gone, the newest is {:?}", data.id())));
        }
        let view = |tenant| Arc::new(MemorySnapshot { data: Arc::clone(data.of(tenant)) });
        let views = tenants.as_slice().iter().map(|tenant| view(tenant) as Arc<dyn SampleSnapshot>);
        Ok(PinnedViews { id: data.id(), views: views.collect() })
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    data: Arc<TenantData>,
}

#[async_trait]
impl SampleSnapshot for MemorySnapshot {
    async fn select_within(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        allowance: Arc<dyn Allowance>,
    ) -> Result<Arc<dyn Selection>, Error> {
        let (series, samples) = (Vec::new(), Vec::new());
        let mut selection = MemorySelection { series, samples, allowance };
        for (labels, samples) in &self.data.samples {
            let inside = inside(samples, range);
            if !inside.is_empty() && matchers.iter().all(|matcher| matcher.matches_labels(labels.as_ref())) {
                // Counted as if the key were not shared, as a block's is not.
                selection.allowance.take((size_of::<Labels>() + labels.key().len()) as u64)?;
                selection.series.push(labels.clone());
                selection.samples.push(samples[inside].to_vec());
            }
        }
        Ok(Arc::new(selection))
    }

    async fn exemplars(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, Error> {
        let passes = |labels: &Labels| matchers.iter().all(|matcher| matcher.matches_labels(labels.as_ref()));
        let inside = |exemplar: &&Exemplar| exemplar.ts.is_some_and(|ts| range.contains(ts));
        let series = self.data.exemplars.iter().filter(|(labels, _)| passes(labels));
        let found =
            series.map(|(labels, all)| (labels.clone(), all.iter().filter(inside).cloned().collect()));
        Ok(found.filter(|(_, exemplars): &(Labels, Vec<Exemplar>)| !exemplars.is_empty()).collect())
    }

    async fn metadata(&self, metric: Option<&str>) -> Result<Vec<(String, Vec<MetricMetadata>)>, Error> {
        let wanted =
            self.data.metadata.iter().filter(|(name, _)| metric.is_none_or(|metric| metric == *name));
        Ok(wanted.map(|(name, all)| (name.clone(), all.clone())).collect())
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn epochs(&self, range: TimeRange) -> Vec<(TimeRange, u64)> {
        vec![(range, 0)]
    }

    /// Behind the newest sample: here nothing is on its way.
    fn mutable_from(&self) -> i64 {
        let newest = self.data.samples.values().filter_map(|samples| samples.last());
        newest.map(|(ts, _)| ts.saturating_add(1)).max().unwrap_or(i64::MIN)
    }
}

fn inside(samples: &[(i64, f64)], range: TimeRange) -> Range<usize> {
    let from = samples.partition_point(|(ts, _)| *ts < range.start);
    let to = samples.partition_point(|(ts, _)| *ts <= range.end);
    from..to.max(from)
}

#[derive(Debug)]
struct MemorySelection {
    series: Vec<Labels>,
    samples: Vec<Vec<(i64, f64)>>,
    allowance: Arc<dyn Allowance>,
}

#[async_trait]
impl Selection for MemorySelection {
    fn series(&self) -> &[Labels] {
        &self.series
    }

    fn samples_max_within(&self, of: Range<usize>, within: TimeRange) -> u64 {
        self.samples[of].iter().map(|samples| inside(samples, within).len() as u64).sum()
    }

    async fn read_within(&self, of: Range<usize>, within: TimeRange) -> Result<SampleLists, Error> {
        let mut read = SampleLists::default();
        for samples in &self.samples[of] {
            let floats: Floats = samples[inside(samples, within)].iter().copied().collect();
            read.push(floats.view().into());
        }
        Ok(read)
    }
}
