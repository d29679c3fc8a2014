//! One run: set the stage, let the actors play, heal the store, bring everything to rest, judge.
//!
//! The end of a run is the strictest part: once the store is healthy, every dead writer adopted,
//! everything merged and swept twice past the grace, all that was acknowledged must be there exactly
//! once, and nothing must lie around that nobody needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promontory_model::{MutexExt as _, WriterId};
use promontory_store::{
    Adopter, AdopterSettings, Adoption, BLOCKS, Bucket, Chain, Context, Error, L1Place, LocalLives, Merged,
    Merger, MergerSettings, Planted, Reader, ReaderSettings, Sweeper, SweeperSettings, block_object,
    find_or_found_bucket, fsck,
};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::sim::actors::{self, Nodes, Role, keep_alive};
use crate::sim::history::Violation;
use crate::sim::process::Process;
use crate::sim::scenario::Scenario;
use crate::sim::stage::Stage;
use crate::sim::store::{Faults, Ground, SimStore};

/// What one run did and what it broke.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed that replays it.
    pub seed: u64,
    /// What must not be, with the simulated time at which it was noticed; empty is good.
    pub violations: Vec<(Duration, Violation)>,
    /// What happened, by name: events of the actors, faults of the store, counters of the protocol.
    pub coverage: BTreeMap<String, u64>,
    /// A hash of every request: equal for equal runs.
    pub trace: u64,
    /// Requests to the simulated store, those that failed included.
    pub requests: u64,
    /// Every request and note, if they were asked for.
    pub log: Vec<String>,
}

/// Whether a run keeps its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// No: a run is ten times faster so.
    Off,
    /// Yes, for a replay.
    Kept,
}

/// How often the closing phase repeats a step on a healthy store.
const STEPS_MAX: u32 = 200;

/// Runs the scenario of one seed to its end.
///
/// # Panics
/// If no runtime can be built.
#[must_use]
pub fn run(scenario: Scenario, planted: Planted, log: Log) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO needs nothing from outside");
    runtime.block_on(play(scenario, planted, log))
}

async fn play(scenario: Scenario, planted: Planted, log: Log) -> Report {
    let stage = Stage::new(scenario, planted);
    if log == Log::Kept {
        stage.world.keep_log();
        stage.world.note(|| format!("{:#?}", stage.scenario));
    }
    found_bucket(&stage).await;
    let nodes = Nodes::default();
    let actors = cast(&stage, &nodes);
    let mut left = stage.scenario.length;
    // In slices, so that a run that has failed ends soon.
    while !left.is_zero() && !stage.has_failed() {
        let slice = left.min(Duration::from_secs(5));
        sleep(slice).await;
        left -= slice;
    }
    stage.stop();
    curtain(&stage, &nodes, actors).await;
    if !stage.has_failed() {
        let closing = timeout(Duration::from_secs(3_600), bring_to_rest(&stage)).await;
        let unfinished = match closing {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it takes more than an hour on a healthy store".to_owned()),
        };
        if let Some(why) = unfinished {
            stage.violate(Violation::Broken { what: format!("cannot be brought to rest: {why}") });
        }
    }
    report(&stage)
}

/// Creates the bucket's format while the store still behaves.
async fn found_bucket(stage: &Arc<Stage>) {
    stage.world.set_faults(Faults::none());
    let founder = SimStore::new(stage.world.clone(), Process::new("founder"));
    let bucket = Bucket::single(Arc::new(founder));
    match find_or_found_bucket(&bucket, stage.scenario.format, &stage.random("founder")).await {
        Ok(format) => stage.bucket_is(format),
        Err(error) => stage.violate(Violation::Broken { what: format!("founding the bucket: {error}") }),
    }
    stage.world.set_faults(stage.scenario.faults());
}

fn cast(stage: &Arc<Stage>, nodes: &Nodes) -> Vec<JoinHandle<()>> {
    let numbers = Arc::new(Mutex::new(0));
    let scenario = &stage.scenario;
    let mut actors = Vec::new();
    for idx in 0..scenario.ingesters {
        let role = Role::Ingester { idx, nodes: nodes.clone() };
        actors.push(tokio::spawn(keep_alive(stage.clone(), format!("ingester{idx}"), role)));
    }
    for idx in 0..scenario.keepers {
        actors.push(tokio::spawn(keep_alive(stage.clone(), format!("keeper{idx}"), Role::Keeper)));
    }
    for idx in 0..scenario.onlookers {
        actors.push(tokio::spawn(keep_alive(stage.clone(), format!("onlooker{idx}"), Role::Onlooker)));
    }
    if scenario.ground == Ground::Folder {
        actors.push(tokio::spawn(actors::power(stage.clone())));
    }
    actors.push(tokio::spawn(actors::local_onlooker(stage.clone(), nodes.clone())));
    for idx in 0..scenario.senders {
        actors.push(tokio::spawn(actors::sender(stage.clone(), idx, nodes.clone(), numbers.clone())));
    }
    actors
}

/// Ends the play: some ingesters stop as they should, all other processes die; then the store heals.
async fn curtain(stage: &Arc<Stage>, nodes: &Nodes, actors: Vec<JoinHandle<()>>) {
    let random = stage.random("curtain");
    let left = std::mem::take(&mut *nodes.locked());
    for actor in actors {
        actor.abort();
        let _ = actor.await;
    }
    for node in left.into_values() {
        let graceful = !node.process.is_dead() && random.happens(5_000);
        if graceful {
            let _ = timeout(Duration::from_secs(20), actors::stop_node(stage, node.clone())).await;
        }
    }
    stage.kill_all();
    if stage.scenario.ground == Ground::Folder && random.happens(5_000) {
        stage.lose_power();
    }
    stage.world.set_faults(Faults::none());
    if random.happens(5_000) {
        stage.world.land_all();
    }
}

/// Adopts every writer, reads, merges, reads, sweeps, reads, looks for litter.
async fn bring_to_rest(stage: &Arc<Stage>) -> Result<(), Error> {
    let process = Process::new("closer");
    let context = stage.context(&process, 0);
    let chain = Chain::open(context.clone()).await?;
    let settings = ReaderSettings { probe_interval: Duration::ZERO, ..stage.scenario.reader };
    let reader = Reader::new(chain.clone(), Arc::new(LocalLives::default()), settings);
    read_back(stage, &process, &reader, "tails").await?;
    adopt_all(stage, &chain).await?;
    read_back(stage, &process, &reader, "L1").await?;
    merge_all(stage, &chain).await?;
    read_back(stage, &process, &reader, "merges").await?;
    check_bucket(stage, &context).await?;
    sweep_all(stage, &context, &chain).await?;
    read_back(stage, &process, &reader, "sweeps").await?;
    let cold = Chain::open(context.clone()).await?;
    if *cold.latest() != *chain.latest() {
        let what = format!("a cold start reads version {} otherwise", cold.latest().version);
        stage.violate(Violation::Broken { what });
    }
    check_bucket(stage, &context).await?;
    find_litter(stage, &chain);
    Ok(())
}

/// The product's own check of the whole bucket finds nothing.
async fn check_bucket(stage: &Arc<Stage>, context: &Arc<Context>) -> Result<(), Error> {
    let checked = fsck(context).await?;
    if !checked.is_clean() {
        let what = format!("fsck of version {}: {:?}", checked.version, checked.problems);
        stage.violate(Violation::Broken { what });
    }
    stage.event("fscks");
    Ok(())
}

/// Everything that was ever acknowledged, on a healthy store, without excuses.
async fn read_back(stage: &Arc<Stage>, process: &Process, reader: &Reader, after: &str) -> Result<(), Error> {
    stage.world.note(|| format!("reading back {after}"));
    let asked = stage.elapsed();
    let snapshot = reader.snapshot(&[]).await?;
    if !snapshot.warnings.is_empty() {
        let what = format!("warnings on a healthy store: {:?}", snapshot.warnings);
        stage.violate(Violation::Broken { what });
    }
    for tenant in &stage.tenants {
        let mut sight = stage.sight(reader, &snapshot, tenant, asked, stage.elapsed()).await?;
        match stage.stored(process, &snapshot, tenant).await {
            Some(stored) => sight.stored = stored,
            None => stage.violate(Violation::Removed { what: format!("after {after}: rows of {tenant}") }),
        }
        stage.check(&sight);
    }
    Ok(())
}

async fn adopt_all(stage: &Arc<Stage>, chain: &Arc<Chain>) -> Result<(), Error> {
    let adopter =
        Adopter::new(chain.clone(), AdopterSettings { dead_after: Duration::ZERO, ..stage.scenario.adopter });
    for _ in 0..STEPS_MAX {
        let writers: Vec<WriterId> = chain.refresh().await?.writers.keys().copied().collect();
        let Some(writer) = writers.first() else { return Ok(()) };
        match adopter.adopt(*writer).await {
            Ok(Adoption::Quarantined { seq, why }) => {
                let what = format!("slot {seq} of writer {writer} is taken for damaged: {why}");
                stage.violate(Violation::Broken { what });
                return Ok(());
            }
            // Small replays go on with the next call.
            Ok(_) | Err(Error::Busy(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Busy(format!("writers are still alive after {STEPS_MAX} adoptions")))
}

async fn merge_all(stage: &Arc<Stage>, chain: &Arc<Chain>) -> Result<(), Error> {
    let merger = Merger::new(chain.clone(), MergerSettings::default());
    for tenant in &stage.tenants {
        for _ in 0..STEPS_MAX {
            if merger.merge_l1(tenant).await? == Merged::Nothing {
                break;
            }
        }
    }
    let catalog = chain.refresh().await?;
    let passed_over: BTreeSet<&L1Place> =
        catalog.tenants.values().flat_map(|tenant| &tenant.passed_over).collect();
    let left = catalog.l1.keys().filter(|place| !passed_over.contains(place)).count();
    if left > 0 {
        let what = format!("{left} L1 blocks are left after every tenant was merged");
        stage.violate(Violation::Broken { what });
    }
    Ok(())
}

/// Sweeps until nothing is left to sweep, with a grace between.
async fn sweep_all(stage: &Arc<Stage>, context: &Arc<Context>, chain: &Arc<Chain>) -> Result<(), Error> {
    let sweeper = Sweeper::new(chain.clone(), SweeperSettings::default());
    // Late requests land first; then what they left grows old.
    sleep(3 * context.format.grace()).await;
    stage.world.land_all();
    for _ in 0..3 {
        sleep(context.format.grace() + Duration::from_secs(2)).await;
        sweeper.sweep().await?;
    }
    Ok(())
}

/// What lies in the bucket must be in the catalog, but for what only time removes.
fn find_litter(stage: &Arc<Stage>, chain: &Arc<Chain>) {
    let catalog = chain.latest();
    let objects: BTreeSet<_> = stage.world.objects().into_iter().map(|(path, _)| path).collect();
    let mut wanted = BTreeSet::new();
    for entry in catalog.entries() {
        for object in &entry.meta.objects {
            wanted.insert(block_object(&entry.path, object.kind));
        }
    }
    if let Some(missing) = wanted.iter().find(|path| !objects.contains(*path)) {
        stage.violate(Violation::Removed {
            what: format!("{missing} is in the catalog and not in the bucket"),
        });
    }
    let blocks = objects.iter().filter(|path| path.as_ref().starts_with(BLOCKS));
    if let Some(litter) = blocks.into_iter().find(|path| !wanted.contains(*path)) {
        stage.violate(Violation::Broken { what: format!("litter after the last sweep: {litter}") });
    }
}

fn report(stage: &Arc<Stage>) -> Report {
    let mut coverage = BTreeMap::new();
    let mut add = |prefix: &str, name: &str, count: u64| {
        *coverage.entry(format!("{prefix}.{name}")).or_default() += count;
    };
    stage.events().into_iter().for_each(|(name, count)| add("actors", name, count));
    stage.world.counts().iter().for_each(|(name, count)| add("store", name, count));
    stage.counters.values().into_iter().for_each(|(name, count)| add("protocol", name, count));
    add("weather", &format!("{:?}", stage.scenario.weather), 1);
    add("blocks", &format!("{:?}", stage.scenario.block_bytes), 1);
    Report {
        seed: stage.scenario.seed,
        violations: stage.violations(),
        coverage,
        trace: stage.world.trace(),
        requests: stage.world.requests(),
        log: stage.world.take_log(),
    }
}
