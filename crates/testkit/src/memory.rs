//! A source of samples that holds everything in memory: for tests of what lies above the store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use promontory_model::{Labels, Matcher, Position, RwLockExt as _, TenantId, TimeRange};
use promontory_store::{Error, SampleSnapshot, SampleSource, SelectedSamples, Selection};

/// Series and their samples, the same for every tenant.
///
/// A snapshot sees what was there when it was taken.
#[derive(Debug, Default)]
pub struct MemorySource {
    data: RwLock<Arc<Data>>,
}

type Data = BTreeMap<Labels, Vec<(i64, f64)>>;

impl MemorySource {
    /// A source without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds samples of one series; at equal timestamps the later call wins.
    pub fn add(&self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        let mut data = self.data.write_locked();
        let series = Arc::make_mut(&mut data).entry(labels).or_default();
        series.extend(samples);
        // Stable, so that of equal timestamps the newest is last and stays.
        series.sort_by_key(|(ts, _)| *ts);
        series.reverse();
        series.dedup_by_key(|(ts, _)| *ts);
        series.reverse();
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.data.write_locked() = Arc::default();
    }
}

#[async_trait]
impl SampleSource for MemorySource {
    async fn snapshot(&self, _: &TenantId, _: &[Position]) -> Result<Arc<dyn SampleSnapshot>, Error> {
        let data = self.data.read_locked();
        Ok(Arc::new(MemorySnapshot { data: Arc::clone(&data) }))
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    data: Arc<Data>,
}

#[async_trait]
impl SampleSnapshot for MemorySnapshot {
    async fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Arc<dyn Selection>, Error> {
        let mut selection = MemorySelection { series: Vec::new(), samples: Vec::new() };
        for (labels, samples) in self.data.iter() {
            let inside = inside(samples, range);
            if !inside.is_empty() && matchers.iter().all(|matcher| matcher.matches_labels(labels.as_ref())) {
                selection.series.push(labels.clone());
                selection.samples.push(samples[inside].to_vec());
            }
        }
        Ok(Arc::new(selection))
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
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
}

#[async_trait]
impl Selection for MemorySelection {
    fn series(&self) -> &[Labels] {
        &self.series
    }

    fn samples_max(&self, of: Range<usize>) -> u64 {
        self.samples[of].iter().map(|samples| samples.len() as u64).sum()
    }

    async fn read(&self, of: Range<usize>) -> Result<SelectedSamples, Error> {
        let mut read = SelectedSamples { offsets: vec![0], ..SelectedSamples::default() };
        for samples in &self.samples[of] {
            read.ts.extend(samples.iter().map(|(ts, _)| *ts));
            read.values.extend(samples.iter().map(|(_, value)| *value));
            read.offsets.push(read.ts.len());
        }
        Ok(read)
    }
}
