//! Who takes part in a run: senders, ingesters, keepers, onlookers, and the mishaps of processes.
//!
//! Actors schedule the protocol's machines as the roles do and never look inside. What they draw
//! depends on their own stream of the seed only, so that one actor's change does not reorder
//! another's life.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promontory_block::{Level, SeriesRun, TenantRows};
use promontory_model::{Clock, Labels, MutexExt as _, RandomSource, TenantId};
use promontory_store::{
    Adopter, Chain, Compaction, Context, Error, LocalLives, Merger, MergerSettings, PlanSettings, Reader,
    Snapshot, Sweeper, SweeperSettings, Writer,
};
use tokio::time::{sleep, timeout};

use crate::sim::history::{History, Place, Sight, Violation, identity_value};
use crate::sim::process::{CrashPhase, Process};
use crate::sim::random::SeededRandom;
use crate::sim::stage::Stage;

/// An ingester that takes segments and answers queries.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) writer: Arc<Writer>,
    pub(crate) reader: Arc<Reader>,
}

/// The ingesters that senders may reach at the moment.
pub(crate) type Nodes = Arc<Mutex<BTreeMap<usize, Node>>>;

/// Series per tenant.
const SERIES: usize = 3;

/// How long a sender waits for one answer.
const SENDER_PATIENCE: Duration = Duration::from_secs(15);

/// How long SIGTERM may take before SIGKILL follows.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Where processes stand still while they write; versions twice, because they decide everything.
const WRITTEN: [&str; 6] = ["catalog/", "catalog/", "wal/", "blocks/", "swept/", "checkpoint/"];

/// Rows of small merges, so that one merge leaves work for the next.
const MERGE_ROWS_MAX: [u64; 3] = [1, 20, 10_000];

// --- Processes ---

#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// A writer and a reader that senders reach through `nodes`.
    Ingester { idx: usize, nodes: Nodes },
    /// Adopts, merges and sweeps.
    Keeper,
    /// Takes snapshots, judges what they show, and holds some of them.
    Onlooker,
}

impl Role {
    fn start(&self, stage: &Arc<Stage>, process: &Process) {
        let (stage, process) = (stage.clone(), process.clone());
        match self {
            Self::Ingester { idx, nodes } => {
                process.clone().spawn(run_ingester(stage, process, *idx, nodes.clone()));
            }
            Self::Keeper => drop(process.clone().spawn(run_keeper(stage, process))),
            Self::Onlooker => drop(process.clone().spawn(run_onlooker(stage, process))),
        }
    }

    /// SIGTERM; only a writer has something to finish.
    async fn stop(&self, stage: &Arc<Stage>, process: &Process) {
        if let Self::Ingester { idx, nodes } = self {
            let node = nodes.locked().remove(idx).filter(|node| node.process.name() == process.name());
            if let Some(node) = node {
                stop_node(stage, node).await;
            }
        }
    }
}

/// Keeps one process alive until the run stops: starts it, lets something happen to it, starts it
/// again as another process.
pub(crate) async fn keep_alive(stage: Arc<Stage>, name: String, role: Role) {
    let random = stage.random(&name);
    let mut life = 0;
    while !stage.is_stopped() {
        life += 1;
        let process = stage.process(format!("{name}.{life}"));
        let mishap = Mishap::draw(&random, &stage);
        if let Mishap::Crash(operation, phase) = mishap {
            process.crash_at(operation, phase);
        }
        role.start(&stage, &process);
        let undisturbed = random.millis(stage.scenario.life_ms.clone());
        if random.happens(4_000) {
            // Not at once: a process that has just begun holds nothing old.
            sleep(undisturbed / 3).await;
            let duration = random.millis(1_000..=5 * stage.scenario.format.grace_ms / 2);
            process.freeze_in(WRITTEN[random.below(WRITTEN.len() as u64) as usize], duration);
        }
        let _ = timeout(undisturbed, process.dead()).await;
        stage.world.note(|| format!("{:<14} {mishap:?}", process.name()));
        match mishap {
            _ if process.is_dead() => stage.event("crashes"),
            Mishap::Kill | Mishap::Crash(..) => stage.event("kills"),
            Mishap::Freeze(duration) => {
                stage.event(if duration > stage.scenario.format.grace() {
                    "long_freezes"
                } else {
                    "freezes"
                });
                process.freeze(duration);
                sleep(duration + random.millis(stage.scenario.life_ms.clone()) / 4).await;
            }
            Mishap::Stop => {
                stage.event("stops");
                let _ = timeout(STOP_PATIENCE, role.stop(&stage, &process)).await;
            }
        }
        process.kill();
        sleep(random.millis(0..=6_000)).await;
    }
}

/// Takes the power away once or twice in a run: every process dies at once, and names that were not synced may be
/// gone with them. The processes begin again, each after a while of its own.
pub(crate) async fn power(stage: Arc<Stage>) {
    let random = stage.random("power");
    while !stage.is_stopped() {
        let length = stage.scenario.length.as_millis() as u64;
        sleep(random.millis(length / 4..=length * 3 / 4)).await;
        stage.world.note(|| "the power is lost".to_owned());
        stage.lose_power();
    }
}

/// What ends or disturbs a process.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    /// SIGKILL at some time.
    Kill,
    /// SIGKILL inside a store operation.
    Crash(u64, CrashPhase),
    /// SIGSTOP, later SIGCONT, later SIGKILL.
    Freeze(Duration),
    /// SIGTERM.
    Stop,
}

impl Mishap {
    fn draw(random: &SeededRandom, stage: &Stage) -> Self {
        let grace_ms = stage.scenario.format.grace_ms;
        match random.within(0..=99) {
            0..20 => Self::Kill,
            20..50 => {
                let phase = *random.pick(&[CrashPhase::BeforeEffect, CrashPhase::AfterEffect]);
                Self::Crash(random.within(1..=150), phase)
            }
            50..80 => Self::Freeze(random.millis(500..=2 * grace_ms)),
            _ => Self::Stop,
        }
    }
}

/// Repeats until it works; a process that cannot open its store does nothing else either.
async fn insist<T, F>(stage: &Stage, process: &Process, attempt: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => stage.judge(process.name(), &error),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn open_chain(stage: &Stage, process: &Process, context: &Arc<Context>) -> Arc<Chain> {
    insist(stage, process, || Chain::open(context.clone())).await
}

/// How wrong the watch of a process is: mostly a little, sometimes enough to stop sweeping.
fn skew_ms(random: &SeededRandom) -> i64 {
    let skew = if random.happens(1_000) { random.within(0..=600_000) } else { random.within(0..=5_000) };
    if random.happens(5_000) { -(skew as i64) } else { skew as i64 }
}

// --- Ingesters ---

/// SIGTERM: flush, closed mark, last commit.
pub(crate) async fn stop_node(stage: &Arc<Stage>, node: Node) {
    let closing = stage.clone();
    let writer = node.writer.clone();
    let process = node.process.clone();
    let task = node.process.spawn(async move {
        match writer.close().await {
            Ok(()) => closing.event("graceful_closes"),
            Err(error) => closing.judge(process.name(), &error),
        }
    });
    let _ = task.await;
}

async fn run_ingester(stage: Arc<Stage>, process: Process, idx: usize, nodes: Nodes) {
    let random = stage.random(&format!("{} body", process.name()));
    let context = stage.context(&process, skew_ms(&random));
    let chain = open_chain(&stage, &process, &context).await;
    let locals = Arc::new(LocalLives::default());
    let settings = stage.scenario.writer;
    let writer = insist(&stage, &process, || Writer::open(chain.clone(), locals.clone(), settings)).await;
    let reader = Reader::new(chain, locals, stage.scenario.reader);
    let (driver, driven, driver_name) = (writer.clone(), stage.clone(), process.name().to_owned());
    process.spawn(async move {
        if let Err(error) = driver.run().await {
            driven.judge(&driver_name, &error);
        }
    });
    let node = Node { process: process.clone(), writer: writer.clone(), reader };
    nodes.locked().insert(idx, node);
    loop {
        sleep(random.millis(stage.scenario.flush_ms.clone())).await;
        if let Err(error) = writer.flush_l1().await {
            stage.judge(process.name(), &error);
        }
    }
}

// --- Senders ---

/// One batch of samples, as it was or will be sent.
#[derive(Clone, Debug)]
struct Parcel {
    samples: BTreeMap<Place, f64>,
}

impl Parcel {
    /// A new batch: some series of some tenants, now or late, each value an identity.
    fn fresh(stage: &Stage, random: &SeededRandom, numbers: &Mutex<u64>) -> Self {
        let mut samples = BTreeMap::new();
        for _ in 0..random.within(1..=4) {
            let place = Place {
                tenant: random.pick(&stage.tenants).clone(),
                series: series(random.below(SERIES as u64)),
                ts: timestamp(stage, random),
            };
            let number = {
                let mut numbers = numbers.locked();
                *numbers += 1;
                *numbers
            };
            let value = identity_value(&place, number);
            samples.insert(place, value);
        }
        Self { samples }
    }

    /// The same places with new values: a correction, or the other half of an HA pair.
    fn corrected(&self, numbers: &Mutex<u64>) -> Self {
        let mut numbers = numbers.locked();
        let value = |place: &Place| {
            *numbers += 1;
            identity_value(place, *numbers)
        };
        let samples = self.samples.keys().cloned().map({
            let mut value = value;
            move |place| {
                let value = value(&place);
                (place, value)
            }
        });
        Self { samples: samples.collect() }
    }

    fn rows(&self) -> Vec<TenantRows> {
        let mut tenants: BTreeMap<TenantId, BTreeMap<Labels, Vec<(i64, f64)>>> = BTreeMap::new();
        for (place, value) in &self.samples {
            let series = tenants.entry(place.tenant.clone()).or_default();
            series.entry(place.series.clone()).or_default().push((place.ts, *value));
        }
        let run = |all: BTreeMap<Labels, Vec<(i64, f64)>>| {
            let mut run = SeriesRun::default();
            for (series, samples) in all {
                run.push_floats(series, samples);
            }
            run
        };
        tenants.into_iter().map(|(tenant, all)| (tenant, run(all))).collect()
    }
}

fn series(idx: u64) -> Labels {
    Labels::from_pairs([("__name__", "requests_total"), ("instance", &format!("host-{idx}"))])
}

/// Mostly now, sometimes hours or days ago.
fn timestamp(stage: &Stage, random: &SeededRandom) -> i64 {
    const HOUR_MS: u64 = 3_600_000;
    let age_ms = match random.within(0..=9) {
        0..8 => random.within(0..=2_000),
        8 => random.within(0..=6 * HOUR_MS),
        _ => random.within(0..=96 * HOUR_MS),
    };
    stage.clock.now_ms() - age_ms as i64
}

/// How many parcels a sender keeps to send again.
const PARCELS_MAX: usize = 8;

/// A client: sends batches to whoever it reaches, repeats what was not answered, as Prometheus does.
pub(crate) async fn sender(stage: Arc<Stage>, idx: usize, nodes: Nodes, numbers: Arc<Mutex<u64>>) {
    let random = stage.random(&format!("sender{idx}"));
    let mut unknown: Option<Parcel> = None;
    let mut sent: Vec<Parcel> = Vec::new();
    while !stage.is_stopped() {
        sleep(random.millis(stage.scenario.send_ms.clone())).await;
        let Some(node) = reachable(&random, &nodes) else { continue };
        let parcel = match unknown.take() {
            // Prometheus repeats for ever; here also a sender may die.
            Some(parcel) if !random.happens(2_000) => {
                stage.event("resends");
                parcel
            }
            _ if !sent.is_empty() && random.happens(500) => {
                stage.event("resends_of_acknowledged");
                random.pick(&sent).clone()
            }
            _ if !sent.is_empty() && random.happens(500) => {
                stage.event("corrections");
                random.pick(&sent).corrected(&numbers)
            }
            _ => Parcel::fresh(&stage, &random, &numbers),
        };
        if !send(&stage, &node, &parcel).await {
            unknown = Some(parcel.clone());
        }
        if sent.len() >= PARCELS_MAX {
            sent.remove(0);
        }
        sent.push(parcel);
    }
}

fn reachable(random: &SeededRandom, nodes: &Nodes) -> Option<Node> {
    let nodes = nodes.locked();
    let alive: Vec<&Node> = nodes.values().filter(|node| !node.process.is_dead()).collect();
    if alive.is_empty() { None } else { Some((*random.pick(&alive)).clone()) }
}

/// Sends one parcel; true if it was acknowledged.
async fn send(stage: &Arc<Stage>, node: &Node, parcel: &Parcel) -> bool {
    let samples = parcel.samples.iter().map(|(place, value)| (place.clone(), *value));
    let request = stage.history.locked().invoke(samples);
    let (writer, rows) = (node.writer.clone(), parcel.rows());
    let task = node.process.spawn(async move { writer.append_segment(rows).await });
    match timeout(SENDER_PATIENCE, task).await {
        Ok(Ok(Some(Ok(position)))) => {
            stage.history.locked().acknowledge(request, stage.elapsed());
            stage.positions.locked().push((request, position));
            stage.event("acknowledged");
            true
        }
        Ok(Ok(Some(Err(error)))) => {
            stage.judge(node.process.name(), &error);
            stage.event("refused");
            false
        }
        Ok(_) | Err(_) => {
            stage.event("unknown");
            false
        }
    }
}

// --- Keepers ---

async fn run_keeper(stage: Arc<Stage>, process: Process) {
    let random = stage.random(&format!("{} body", process.name()));
    let context = stage.context(&process, skew_ms(&random));
    let chain = open_chain(&stage, &process, &context).await;
    let adopter = Arc::new(Adopter::new(chain.clone(), stage.scenario.adopter));
    let merger = Arc::new(Merger::new(chain.clone(), merger_settings(&random)));
    let compaction = Arc::new(compaction(&chain, &random));
    let sweeper = Arc::new(Sweeper::new(chain.clone(), SweeperSettings::default()));
    repeat(&stage, &process, "adopts", move || {
        let adopter = adopter.clone();
        Box::pin(async move { adopter.tick().await.map(drop) })
    });
    let draws = Arc::new(stage.random(&format!("{} merges", process.name())));
    let merging = stage.clone();
    repeat(&stage, &process, "merges", move || {
        let (stage, merger, chain, draws) = (merging.clone(), merger.clone(), chain.clone(), draws.clone());
        Box::pin(async move { merge_some(&stage, &merger, &chain, &draws).await })
    });
    let compacting = (stage.clone(), process.name().to_owned());
    repeat(&stage, &process, "compacts", move || {
        let (compaction, (stage, name)) = (compaction.clone(), compacting.clone());
        Box::pin(async move {
            let round = compaction.round().await?;
            if round.merges > 0 {
                stage.event("compactions");
            }
            round.failures.iter().for_each(|(_, error)| stage.judge(&name, error));
            Ok(())
        })
    });
    repeat(&stage, &process, "sweeps", move || {
        let sweeper = sweeper.clone();
        Box::pin(async move { sweeper.sweep().await.map(drop) })
    });
}

type Step = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Runs one machine of a process again and again.
fn repeat(
    stage: &Arc<Stage>,
    process: &Process,
    machine: &'static str,
    step: impl Fn() -> Step + Send + 'static,
) {
    let random = stage.random(&format!("{} {machine}", process.name()));
    let (stage, name) = (stage.clone(), process.name().to_owned());
    process.spawn(async move {
        loop {
            sleep(random.millis(stage.scenario.tick_ms.clone())).await;
            if let Err(error) = step().await {
                stage.judge(&name, &error);
            }
        }
    });
}

fn merger_settings(random: &SeededRandom) -> MergerSettings {
    let rows_max = *random.pick(&MERGE_ROWS_MAX);
    let windows_max = *random.pick(&[1, 3, 64]);
    let series_max = *random.pick(&[2, 1_000, 1_000]);
    let decoded_bytes_max = *random.pick(&[1, 5_000, 1 << 30]);
    MergerSettings { rows_max, decoded_bytes_max, windows_max, series_max, ..MergerSettings::default() }
}

/// What the compactor role runs, with waits that a run of a minute reaches.
fn compaction(chain: &Arc<Chain>, random: &SeededRandom) -> Compaction {
    let l2_after = random.millis(0..=12_000);
    let l1_blocks_max = *random.pick(&[1, 3, 64]);
    Compaction::new(chain.clone(), merger_settings(random), PlanSettings { l2_after, l1_blocks_max })
}

/// One tenant's L1 whatever its age, then perhaps some of its blocks above L1, which nothing schedules
/// yet.
async fn merge_some(
    stage: &Stage,
    merger: &Merger,
    chain: &Chain,
    random: &SeededRandom,
) -> Result<(), Error> {
    let tenant = random.pick(&stage.tenants);
    if random.happens(3_000) {
        merger.merge_l1(tenant).await?;
        merger.forget_inputs();
    }
    let catalog = chain.latest();
    let mut inputs: Vec<_> = catalog.blocks_of(tenant).map(|entry| entry.id).collect();
    if inputs.len() < 4 || random.happens(5_000) {
        return Ok(());
    }
    let from = random.below(inputs.len() as u64 - 1) as usize;
    inputs.drain(..from);
    inputs.truncate(random.within(2..=5) as usize);
    let level = *random.pick(&[Level::L2, Level::L3]);
    let merged = merger.merge(tenant, &inputs, level).await;
    merger.forget_inputs();
    match merged {
        Err(Error::Limited(_)) => Ok(()),
        merged => merged.map(|_| stage.event("merges_above_l1")),
    }
}

// --- Onlookers ---

async fn run_onlooker(stage: Arc<Stage>, process: Process) {
    let random = stage.random(&format!("{} body", process.name()));
    let context = stage.context(&process, skew_ms(&random));
    let chain = open_chain(&stage, &process, &context).await;
    let reader = Reader::new(chain, Arc::new(LocalLives::default()), stage.scenario.reader);
    look_on(stage, process, reader, random).await;
}

/// Looks through the readers of the ingesters, whose tails are local.
pub(crate) async fn local_onlooker(stage: Arc<Stage>, nodes: Nodes) {
    let random = stage.random("local onlooker");
    while !stage.is_stopped() {
        sleep(random.millis(stage.scenario.look_ms.clone())).await;
        let Some(node) = reachable(&random, &nodes) else { continue };
        let draws = stage.random(&format!("local look at {:?}", stage.elapsed()));
        let task = look(stage.clone(), node.process.clone(), node.reader.clone(), draws, Beside::Writer);
        node.process.spawn(task);
    }
}

async fn look_on(stage: Arc<Stage>, process: Process, reader: Arc<Reader>, random: SeededRandom) {
    let mut looks = 0;
    loop {
        sleep(random.millis(stage.scenario.look_ms.clone())).await;
        looks += 1;
        let draws = stage.random(&format!("{} look {looks}", process.name()));
        let task = look(stage.clone(), process.clone(), reader.clone(), draws, Beside::Nobody);
        if random.happens(5_000) {
            task.await;
        } else {
            process.spawn(task);
        }
    }
}

/// Does the process of a reader also write?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nobody,
    Writer,
}

/// Takes one snapshot, judges it, perhaps holds it and reads it again.
async fn look(
    stage: Arc<Stage>,
    process: Process,
    reader: Arc<Reader>,
    random: SeededRandom,
    beside: Beside,
) {
    let required = if random.happens(3_000) { stage.positions.locked().last().copied() } else { None };
    let positions: Vec<_> = required.iter().map(|(_, position)| *position).collect();
    let asked = stage.elapsed().saturating_sub(stage.scenario.freshness());
    let snapshot = match reader.snapshot(&positions).await {
        Ok(snapshot) => snapshot,
        Err(error) => return stage.judge(process.name(), &error),
    };
    let ended = stage.elapsed();
    stage.event("snapshots");
    stage.world.note(|| {
        let tails = snapshot.tails.iter().map(|(id, tail)| format!("{id}:{}..={}", tail.after, tail.last));
        let tails = tails.collect::<Vec<_>>().join(" ");
        let (version, warnings) = (snapshot.catalog.version, &snapshot.warnings);
        format!("{:<14} snapshot of version {version}, tails [{tails}], {warnings:?}", process.name())
    });
    if !snapshot.warnings.is_empty() {
        stage.event("snapshots_with_warnings");
    }
    let mut sights = Vec::new();
    for tenant in &stage.tenants {
        match stage.sight(&reader, &snapshot, tenant, asked, ended).await {
            Ok(mut sight) => {
                sight.follows_all = beside == Beside::Nobody;
                sight.required.extend(required.iter().map(|(request, _)| *request));
                if random.happens(5_000)
                    && let Some(stored) = stage.stored(&process, &snapshot, tenant).await
                {
                    stage.event("stored_rows_checked");
                    sight.stored = stored;
                }
                stage.check(&sight);
                sights.push(sight);
            }
            Err(error) => judge_read(&stage, &process, &snapshot, &error),
        }
    }
    if random.happens(6_000) {
        hold(&stage, &process, &reader, &snapshot, &sights, &random).await;
    }
}

/// Reads a held snapshot again, once young, once perhaps too old.
async fn hold(
    stage: &Stage,
    process: &Process,
    reader: &Reader,
    snapshot: &Snapshot,
    sights: &[Sight],
    random: &SeededRandom,
) {
    sleep(random.millis(0..=stage.scenario.format.grace_ms * 2 / 3)).await;
    for first in sights {
        match stage.sight(reader, snapshot, &first.tenant, first.begun, first.ended).await {
            Ok(again) => {
                stage.event("snapshots_read_again");
                if let Some(violation) = History::check_stable(first, &again) {
                    stage.violate(violation);
                }
            }
            Err(error) => judge_read(stage, process, snapshot, &error),
        }
    }
}

/// A snapshot may be too old or the store silent; it may not miss anything.
fn judge_read(stage: &Stage, process: &Process, snapshot: &Snapshot, error: &Error) {
    match error {
        Error::Stale(_) => stage.event("stale_snapshots"),
        Error::Missing { object } if stage.world.holds(object) => stage.event("denied_blocks"),
        Error::Missing { .. } => {
            let what = format!("version {} of {}: {error}", snapshot.catalog.version, process.name());
            stage.violate(Violation::Removed { what });
        }
        error => stage.judge(process.name(), error),
    }
}
