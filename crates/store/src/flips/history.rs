//! A bucket with every kind of object in it, written by the protocol itself.
//!
//! ```text
//! versions    what is done                                          what stays of it
//! 1 .. 24     tenant a: ten segments, each flushed and merged;      swept/0, swept/1, one L3 block, a
//!             the ten L2 blocks merged to L3; closed; swept         closed mark, checkpoints and pages
//! then        tenants a and b: a second writer flushes once,        an L2 block, two L1 blocks, segments
//!             a's rows are merged, it flushes again and closes      that blocks contain, a closed mark
//! then        b's oldest samples fall out of retention
//! at last     a third writer puts two segments and a closed mark    the tail
//!             and does not come to committing it
//! ```
//!
//! The machines of the first part see a grace of zero, so that one sweep removes epochs at once; the
//! bucket's own `format` has the usual one, which is what every reader goes by.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use promontory_block::{Closed, Level, ObjectKind, ParquetCodec, SeriesRun, TenantRows};
use promontory_model::{Labels, WriterId, stale_nan};

use super::probe::{self, Rows, SELECTORS};
use crate::catalog::chain::{Chain, Next};
use crate::catalog::founding::find_or_found_bucket;
use crate::catalog::state::{BlockEntry, Change};
use crate::object::bucket::Bucket;
use crate::object::context::Context;
use crate::object::format::Format;
use crate::object::keys;
use crate::object::self_test::self_test;
use crate::testing::{Process, World, tenant, wait};
use crate::upkeep::merger::{Merger, MergerSettings};
use crate::upkeep::sweeper::{Sweeper, SweeperSettings};
use crate::write::writer::WriterSettings;

/// All samples lie in the two hours that begin here, one window of L2.
const BEGIN_MS: i64 = 1_699_999_200_000;

/// Between two samples of a series; 8,000 of them fit into the window.
const STEP_MS: i64 = 100;

/// Hosts, and so series of each metric.
const HOSTS: usize = 2;

/// A written bucket and what must come back from it.
pub(super) struct History {
    pub world: World,
    pub writer: WriterId,
    /// Everything that was sent and is retained.
    model: BTreeMap<&'static str, Rows>,
    /// The blocks of the newest version.
    entries: Vec<Arc<BlockEntry>>,
    /// One block's folder of each level, L1 first.
    folders: Vec<String>,
}

impl History {
    /// Writes a bucket whose second part has so many samples in each series.
    pub(super) async fn write(n_samples: usize) -> Self {
        let world = World::new();
        let bucket = Bucket::single(world.store.clone());
        let random = world.context().random.clone();
        self_test(&bucket, &*random, "0.0.0").await.unwrap();
        let mut world = world;
        world.format = find_or_found_bucket(&bucket, world.format, &*random).await.unwrap();
        let mut history = Self {
            world,
            writer: WriterId(0),
            model: BTreeMap::new(),
            entries: Vec::new(),
            folders: Vec::new(),
        };
        history.swept_past().await;
        history.blocks_of_two_tenants(n_samples).await;
        history.tail().await;
        history.look_at_blocks().await;
        history
    }

    /// A process that believes in a grace of so many milliseconds.
    async fn process(&self, grace_ms: u64) -> Process {
        let context = (*self.world.context()).clone();
        let format = Format { grace_ms, ..self.world.format };
        let context = Context { format, codec: Arc::new(ParquetCodec), ..context };
        Process { chain: Chain::open(Arc::new(context)).await.unwrap(), locals: Arc::default() }
    }

    async fn swept_past(&mut self) {
        let process = self.process(0).await;
        let writer = process.writer().await;
        let merger = Merger::new(process.chain.clone(), MergerSettings::default());
        for segment in 0..10 {
            let rows = self.rows("a", 2 * segment, 2);
            writer.append_segment(vec![rows]).await.unwrap();
            writer.flush_l1().await.unwrap();
            merger.merge_l1(&tenant("a")).await.unwrap();
        }
        let l2: Vec<_> = process.chain.latest().blocks_of(&tenant("a")).map(|entry| entry.id).collect();
        merger.merge(&tenant("a"), &l2, Level::L3).await.unwrap();
        writer.close().await.unwrap();
        wait();
        let sweeper = Sweeper::new(process.chain.clone(), SweeperSettings::default());
        let sweep = sweeper.sweep().await.unwrap();
        assert!(sweep.epochs >= 2 && sweep.segments > 0 && sweep.block_objects > 0, "{sweep:?}");
    }

    async fn blocks_of_two_tenants(&mut self, n_samples: usize) {
        let process = self.process(self.world.format.grace_ms).await;
        let writer = process.writer().await;
        let rows = vec![self.rows("a", 100, n_samples), self.rows("b", 100, 3)];
        writer.append_segment(rows).await.unwrap();
        writer.flush_l1().await.unwrap();
        let merger = Merger::new(process.chain.clone(), MergerSettings::default());
        merger.merge_l1(&tenant("a")).await.unwrap();
        let rows = vec![self.rows("a", 9_000, 2), self.rows("b", 9_000, 2)];
        writer.append_segment(rows).await.unwrap();
        writer.flush_l1().await.unwrap();
        writer.close().await.unwrap();
        self.retain(&process, BEGIN_MS + 101 * STEP_MS).await;
    }

    /// Lets the first samples of tenant b go.
    async fn retain(&mut self, process: &Process, from_ts: i64) {
        // In two steps, so that the newest version has no checkpoint of its own.
        for from_ts in [from_ts - 1, from_ts] {
            let mut change = Some(Change::Retain { tenant: tenant("b"), from_ts });
            let outcome = process.chain.commit(|_| change.take().map_or(Next::Stop(()), Next::Try));
            outcome.await.unwrap();
        }
        let b = self.model.get_mut("b").unwrap();
        b.values_mut().for_each(|samples| samples.retain(|ts, _| *ts >= from_ts));
    }

    async fn tail(&mut self) {
        let process = self.process(self.world.format.grace_ms).await;
        let (writer, life) = process.mortal_writer(WriterSettings::default()).await;
        let first = vec![self.rows("a", 9_100, 2), self.rows("b", 9_100, 2)];
        let position = writer.append_segment(first).await.unwrap();
        writer.append_segment(vec![self.rows("a", 9_200, 2)]).await.unwrap();
        self.writer = position.writer;
        let mark = Closed { writer: self.writer, seq: 3, applied: process.chain.latest().version };
        let key = keys::slot(self.writer, 3);
        self.world.store.inner.put(&key, mark.encode().into()).await.unwrap();
        // It would find the mark when much time has passed, and write more versions and checkpoints.
        life.abort();
    }

    /// A writer that died with so many segments above its watermark, which is the one of the tail from now on.
    pub(super) async fn longer_tail(&mut self, n_segments: i64) {
        let process = self.process(self.world.format.grace_ms).await;
        let (writer, life) = process.mortal_writer(WriterSettings::default()).await;
        for segment in 0..n_segments {
            let rows = vec![self.rows("a", 10_000 + 2 * segment, 2)];
            self.writer = writer.append_segment(rows).await.unwrap().writer;
        }
        life.abort();
    }

    async fn look_at_blocks(&mut self) {
        let process = self.process(self.world.format.grace_ms).await;
        let catalog = process.chain.latest();
        assert!(!catalog.version.is_multiple_of(self.world.format.checkpoint_spacing), "no delta is read");
        self.entries = catalog.entries().cloned().collect();
        for level in [Level::L1, Level::L2, Level::L3] {
            let entry = self.entries.iter().find(|entry| entry.meta.level == level);
            self.folders.push(entry.expect("a block of every level").path.to_string());
        }
    }

    /// Rows of a tenant from step `first` on, remembered as sent.
    fn rows(&mut self, name: &'static str, first: i64, n_samples: usize) -> TenantRows {
        let mut run = SeriesRun::default();
        let sent = self.model.entry(name).or_default();
        for metric in ["m", "n"] {
            for host in 0..HOSTS {
                let key = labels(metric, host);
                let sample = |step: usize| (BEGIN_MS + (first + step as i64) * STEP_MS, value(step + host));
                let samples: Vec<(i64, f64)> = (0..n_samples).map(sample).collect();
                let bits = samples.iter().map(|(ts, value)| (*ts, value.to_bits()));
                sent.entry(key.clone()).or_default().extend(bits);
                run.push_floats(key, samples);
            }
        }
        (tenant(name), run)
    }

    pub(super) fn expected(&self) -> BTreeMap<String, Rows> {
        let mut expected = BTreeMap::new();
        for (name, rows) in &self.model {
            for (selector, matchers) in SELECTORS.iter().zip(probe::matchers()) {
                let passes = |key: &Labels| matchers.iter().all(|m| m.matches_labels(key.as_ref()));
                let some: Rows =
                    rows.iter().filter(|(key, _)| passes(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
                for config in probe::CONFIGS {
                    expected.insert(probe::selective(name, config, selector), some.clone());
                }
            }
            expected.insert(probe::whole(name), rows.clone());
        }
        expected
    }

    /// The folders of one block of each level, L1 first.
    pub(super) fn block_prefixes(&self) -> Vec<&str> {
        self.folders.iter().map(String::as_str).collect()
    }

    /// The length of the tail of a file of a block, as the catalog says; 0 of other objects.
    pub(super) fn footer_size(&self, key: &Path) -> usize {
        let files = self.entries.iter().flat_map(|entry| {
            let object = |kind: ObjectKind| keys::block_object(&entry.path, kind);
            entry.meta.objects.iter().map(move |meta| (object(meta.kind), meta.footer_size as usize))
        });
        files.into_iter().find(|(file, _)| file == key).map_or(0, |(_, size)| size)
    }

    /// Leaves only the oldest checkpoint, as if the newer ones could not be written.
    pub(super) async fn drop_newer_checkpoints(&self) {
        let roots = self.keys(&["checkpoint/"]).await;
        let oldest = keys::parse_version(&roots[0]).unwrap();
        for root in &roots[1..] {
            self.world.store.inner.delete(root).await.unwrap();
        }
        // Pages that only those had.
        for page in self.keys(&["page/"]).await {
            if keys::parse_version(&page).unwrap() > oldest {
                self.world.store.inner.delete(&page).await.unwrap();
            }
        }
    }
}

fn labels(metric: &str, host: usize) -> Labels {
    Labels::from_pairs([("__name__", metric.to_owned()), ("host", format!("host-{host}"))])
}

/// Values whose bits a careless path would change are among them.
fn value(step: usize) -> f64 {
    match step % 7 {
        0 => stale_nan(),
        1 => -0.0,
        2 => f64::INFINITY,
        _ => (step * step % 1_009) as f64 / 8.0,
    }
}
