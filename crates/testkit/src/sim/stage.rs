//! What all actors of one run share: the world, the record of what happened, the verdicts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::{GetOptions, ObjectStore};
use promontory_block::PlainCodec;
use promontory_block::{BlockCodec, ParquetCodec, SeriesRun};
use promontory_model::{Labels, MutexExt as _, Position, TenantId};
use promontory_store::{
    BlockEntry, Bucket, Context, Counters, Error, Format, LEVEL, Planted, Reader, Snapshot, block_object,
};
use tokio::time::Instant;

use crate::sim::clock::SimClock;
use crate::sim::history::{History, RequestId, Sight, Violation};
use crate::sim::process::Process;
use crate::sim::random::SeededRandom;
use crate::sim::scenario::{BlockBytes, Scenario, Weather};
use crate::sim::store::{SimStore, World};

/// How many violations one run names; the first one is what matters.
const VIOLATIONS_MAX: usize = 20;

/// What all actors of one run share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) planted: Planted,
    pub(crate) world: Arc<World>,
    pub(crate) clock: SimClock,
    pub(crate) history: Mutex<History>,
    /// Acknowledged requests and where they lie, newest last; bounded by the length of the run.
    pub(crate) positions: Mutex<Vec<(RequestId, Position)>>,
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) counters: Arc<Counters>,
    codec: Arc<dyn BlockCodec>,
    format: Mutex<Format>,
    processes: Mutex<Vec<Process>>,
    begun: Instant,
    stopped: AtomicBool,
    violations: Mutex<Vec<(Duration, Violation)>>,
    events: Mutex<BTreeMap<&'static str, u64>>,
}

impl Stage {
    pub(crate) fn new(scenario: Scenario, planted: Planted) -> Arc<Self> {
        let codec: Arc<dyn BlockCodec> = match scenario.block_bytes {
            BlockBytes::Plain => Arc::new(PlainCodec),
            BlockBytes::Parquet => Arc::new(ParquetCodec),
        };
        let tenants = ["anonymous", "ml", "ml-2"].into_iter().take(scenario.tenants);
        Arc::new(Self {
            planted,
            world: World::new(scenario.seed, scenario.ground, scenario.faults(), scenario.resolution_ms),
            clock: SimClock::starting_now(),
            history: Mutex::default(),
            positions: Mutex::default(),
            tenants: tenants.filter_map(|name| TenantId::new(name).ok()).collect(),
            counters: Arc::default(),
            codec,
            processes: Mutex::default(),
            format: Mutex::new(scenario.format),
            begun: Instant::now(),
            stopped: AtomicBool::new(false),
            violations: Mutex::default(),
            events: Mutex::default(),
            scenario,
        })
    }

    /// What the bucket was made with, once it was founded.
    pub(crate) fn bucket_is(&self, format: Format) {
        *self.format.locked() = format;
    }

    /// A process of this run.
    pub(crate) fn process(&self, name: String) -> Process {
        let process = Process::new(name);
        self.processes.locked().push(process.clone());
        process
    }

    /// Ends every process that was started here.
    pub(crate) fn kill_all(&self) {
        self.processes.locked().drain(..).for_each(|process| process.kill());
    }

    /// Every process ends at once, and names that were not synced may be gone with them.
    pub(crate) fn lose_power(&self) {
        self.kill_all();
        self.world.lose_power();
        self.history.locked().lose_power();
    }

    /// A stream of its own for one actor.
    pub(crate) fn random(&self, actor: &str) -> SeededRandom {
        SeededRandom::fork(self.scenario.seed, actor)
    }

    /// What the machines of one process get handed.
    pub(crate) fn context(&self, process: &Process, skew_ms: i64) -> Arc<Context> {
        let store = SimStore::new(self.world.clone(), process.clone());
        Arc::new(Context {
            bucket: Bucket::single(Arc::new(store)),
            format: *self.format.locked(),
            codec: self.codec.clone(),
            clock: Arc::new(self.clock.skewed(skew_ms)),
            random: Arc::new(self.random(process.name())),
            timing: self.scenario.timing,
            level: LEVEL,
            block_bytes_max: self.scenario.block_bytes_max,
            counters: self.counters.clone(),
            planted: self.planted,
        })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Counts something that the run must have seen.
    pub(crate) fn event(&self, name: &'static str) {
        *self.events.locked().entry(name).or_default() += 1;
    }

    pub(crate) fn events(&self) -> BTreeMap<&'static str, u64> {
        self.events.locked().clone()
    }

    pub(crate) fn violate(&self, violation: Violation) {
        self.world.note(|| format!("VIOLATION {violation}"));
        let mut violations = self.violations.locked();
        if violations.len() < VIOLATIONS_MAX {
            violations.push((self.elapsed(), violation));
        }
    }

    pub(crate) fn violations(&self) -> Vec<(Duration, Violation)> {
        self.violations.locked().clone()
    }

    /// True once the run has failed: nothing that comes later matters.
    pub(crate) fn has_failed(&self) -> bool {
        !self.violations.locked().is_empty()
    }

    /// A machine may find the store unavailable or itself too late; it may not find the store broken
    /// or itself wrong.
    pub(crate) fn judge(&self, who: &str, error: &Error) {
        self.world.note(|| format!("{who:<14} {error}"));
        match error {
            Error::Unavailable { .. }
            | Error::Limited(_)
            | Error::Busy(_)
            | Error::Stopped(_)
            | Error::Stale(_) => {}
            // A lie, which whoever was lied to took for what it is.
            Error::Missing { object } if self.world.holds(object) => self.event("denied_blocks"),
            // Bytes that come damaged four times in a row are damaged for all that a reader knows.
            Error::Corrupt { .. } if self.scenario.weather == Weather::Radiation => {
                self.event("damage_reported");
            }
            error => self.violate(Violation::Broken { what: format!("{who}: {error}") }),
        }
    }

    /// What a snapshot shows of one tenant, through the product's own read path.
    pub(crate) async fn sight(
        &self,
        reader: &Reader,
        snapshot: &Snapshot,
        tenant: &TenantId,
        asked: Duration,
        ended: Duration,
    ) -> Result<Sight, Error> {
        let run = reader.read_all(snapshot, tenant).await?;
        let complete = snapshot.warnings.is_empty();
        let begun = if complete { asked } else { Duration::ZERO };
        let samples = rows(&run).map(|(series, ts, value)| ((series.clone(), ts), value)).collect();
        Ok(Sight {
            tenant: tenant.clone(),
            begun,
            ended,
            required: Vec::new(),
            follows_all: true,
            samples,
            stored: Vec::new(),
        })
    }

    /// The rows of one tenant as they are stored, read past the product's own read path: every block
    /// and every segment of the snapshot by itself. `None` if something could not be read.
    pub(crate) async fn stored(
        &self,
        process: &Process,
        snapshot: &Snapshot,
        tenant: &TenantId,
    ) -> Option<Vec<(Labels, i64, f64)>> {
        let view = snapshot.view(tenant);
        let mut stored = Vec::new();
        let mut add =
            |run: &SeriesRun| stored.extend(rows(run).map(|(series, ts, v)| (series.clone(), ts, v)));
        for entry in &view.blocks {
            let tenants = self.block(process, entry).await?;
            tenants.iter().filter(|(id, _)| id == tenant).for_each(|(_, run)| add(run));
        }
        for tail in &view.tails {
            for contribution in tail.head.contributions_within(tail.after, tail.last) {
                contribution.iter().filter(|(id, _)| id == tenant).for_each(|(_, run)| add(run));
            }
        }
        Some(stored)
    }

    async fn block(
        &self,
        process: &Process,
        entry: &BlockEntry,
    ) -> Option<Vec<promontory_block::TenantRows>> {
        let store = SimStore::new(self.world.clone(), process.clone());
        let mut objects = Vec::new();
        for object in &entry.meta.objects {
            let key = block_object(&entry.path, object.kind);
            objects.push(store.get_opts(&key, GetOptions::default()).await.ok()?.bytes().await.ok()?);
        }
        self.codec.decode(&entry.meta, &objects).ok()
    }

    /// Judges a sight; true if nothing is wrong with it.
    pub(crate) fn check(&self, sight: &Sight) -> bool {
        let found = self.history.locked().check(sight);
        let clean = found.is_empty();
        found.into_iter().for_each(|violation| self.violate(violation));
        clean
    }
}

/// The samples of a run, one by one.
fn rows(run: &SeriesRun) -> impl Iterator<Item = (&Labels, i64, f64)> {
    run.iter().flat_map(|(series, samples)| samples.floats.iter().map(move |(ts, value)| (series, ts, value)))
}
