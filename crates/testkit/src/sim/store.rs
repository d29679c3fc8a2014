//! An object store that lies, delays and forgets to answer, out of a seed.
//!
//! [`World`] is the bucket: objects, the store's own clock, requests that are still under way.
//! [`SimStore`] is one process's client of it.
//!
//! What the store promises, and all that the protocol may rely on:
//! - Create-if-absent has one winner; a read sees every effect that came before it; an object is
//!   never seen half.
//!
//! What it does not promise, each drawn per request from the seed ([`Faults`]):
//! - *Error before the effect*, *error after it* and *lost answer* (an error after a long silence).
//! - *Late landing*: the error comes first, the effect some time later, also after the caller died.
//!   A request whose caller is dropped lands later, now, or never.
//! - *`AlreadyExists` for one's own object* (a client retried by itself) and *without any effect*
//!   (S3's 409 on concurrent creates).
//! - *Slow* answers, and *stalls* that outlive every grace.
//! - *Lists* in pages, each page as of its own moment, sometimes as of an older one.
//! - *Denial*: for a while every read says that there is nothing, every list is empty, as a gateway does whose
//!   backend is away.
//! - *Unsynced*, on a folder of one machine ([`Ground::Folder`]): an error comes back, and the object is there with a
//!   name that is not synced. The next answer about its folder, that it exists or that another was put, has synced
//!   it; until then [`World::lose_power`] may take it away. So may it take what lands after its caller gave up.
//! - *Damage* in what is returned: one flipped bit, or a missing end; of a block sometimes many times in
//!   a row (a *spell*), so that it is damaged for all who read it. Stored bytes stay whole.

mod faults;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, UploadPart,
};
use tokio::time::Instant;

use crate::sim::clock::EPOCH_MS;
use crate::sim::process::{CrashPhase, Process};
use crate::sim::random::{SeededRandom, mix};
use promontory_model::{MutexExt as _, RandomSource};
use promontory_store::BLOCKS;

pub use self::faults::{Faults, Ground};

/// Damaged reads of blocks, of ten thousand, that begin a spell.
const SPELL_CHANCE: u32 = 2_500;

/// Reads of a spell: more than one reader tries in a row.
const SPELL_READS: u32 = 8;

/// Names that are not synced, of ten thousand, that a power loss takes away.
const NAME_LOSS_CHANCE: u32 = 8_000;

/// What the store did to its clients, by kind; the simulator asserts that each kind occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    counts: BTreeMap<&'static str, u64>,
}

impl StoreCounts {
    /// Counts by name, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, *count))
    }

    fn add(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }
}

/// One object as it lies in the store.
#[derive(Clone, Debug)]
struct Stored {
    bytes: Bytes,
    attributes: Attributes,
    tag: u64,
    created: Instant,
    /// A power loss takes it away no more.
    synced: bool,
}

/// A deleted object, kept for stale lists.
#[derive(Debug)]
struct Buried {
    path: Path,
    size: u64,
    tag: u64,
    created: Instant,
    deleted: Instant,
}

/// What a request does to the store when it lands.
#[derive(Clone, Debug)]
enum Effect {
    Put { path: Path, bytes: Bytes, attributes: Attributes, mode: PutMode },
    Delete { path: Path },
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<Path, Stored>,
    buried: Vec<Buried>,
    /// Requests whose caller no longer waits, by the time of their landing.
    under_way: BTreeMap<(Instant, u64), Effect>,
    next_tag: u64,
    counts: StoreCounts,
    /// Objects whose next reads, so many, come damaged.
    spells: BTreeMap<Path, u32>,
    /// Until when the store denies what it holds.
    denies_until: Instant,
    /// How often the machine lost its power: what was sent before the last time lands no more.
    power_losses: u64,
    trace: u64,
    log: Option<Vec<String>>,
}

/// The bucket and everything that travels to it.
#[derive(Debug)]
pub struct World {
    begun: Instant,
    random: SeededRandom,
    ground: Ground,
    /// The store rounds its last-modified times down to this many milliseconds.
    resolution_ms: u64,
    faults: Mutex<Faults>,
    state: Mutex<State>,
    requests: AtomicU64,
}

impl World {
    /// An empty bucket on a store with these faults. `resolution_ms` is that of last-modified times
    /// (S3 keeps seconds).
    #[must_use]
    pub fn new(seed: u64, ground: Ground, faults: Faults, resolution_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            random: SeededRandom::fork(seed, "world"),
            ground,
            resolution_ms: resolution_ms.max(1),
            faults: Mutex::new(faults),
            state: Mutex::new(State {
                objects: BTreeMap::new(),
                buried: Vec::new(),
                under_way: BTreeMap::new(),
                next_tag: 1,
                counts: StoreCounts::default(),
                spells: BTreeMap::new(),
                denies_until: Instant::now(),
                power_losses: 0,
                trace: 0,
                log: None,
            }),
            requests: AtomicU64::new(0),
        })
    }

    /// From now on the store has these faults.
    pub fn set_faults(&self, faults: Faults) {
        if faults.denial == 0 {
            self.state.locked().denies_until = Instant::now();
        }
        *self.faults.locked() = faults;
    }

    /// Lets every request that is still under way land now.
    pub fn land_all(&self) {
        let mut state = self.state.locked();
        let now = Instant::now();
        for effect in std::mem::take(&mut state.under_way).into_values() {
            let _ = state.apply(effect, now);
        }
    }

    /// The machine loses its power: names that were not synced may be gone, and what was under way is. All its
    /// processes must be dead.
    pub fn lose_power(&self) {
        let mut state = self.settled();
        state.counts.add("power_loss");
        state.power_losses += 1;
        state.under_way.clear();
        let unsynced: Vec<Path> =
            state.objects.iter().filter(|(_, stored)| !stored.synced).map(|(path, _)| path.clone()).collect();
        for path in unsynced {
            if self.random.happens(NAME_LOSS_CHANCE) {
                state.counts.add("name_lost");
                state.objects.remove(&path);
            } else if let Some(stored) = state.objects.get_mut(&path) {
                stored.synced = true;
            }
        }
    }

    /// Keeps a line for every request, for the replay of a seed.
    pub fn keep_log(&self) {
        self.state.locked().log = Some(Vec::new());
    }

    /// Adds a line of an actor to the log, if one is kept.
    pub fn note(&self, line: impl FnOnce() -> String) {
        let now = self.begun.elapsed().as_millis();
        if let Some(log) = &mut self.state.locked().log {
            log.push(format!("{now:>9} ms  {}", line()));
        }
    }

    /// The lines kept since [`Self::keep_log`].
    #[must_use]
    pub fn take_log(&self) -> Vec<String> {
        self.state.locked().log.take().unwrap_or_default()
    }

    /// A hash of every request, its time and its outcome: equal for equal runs.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.state.locked().trace
    }

    /// What the store did to its clients so far.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        self.state.locked().counts.clone()
    }

    /// Number of requests so far, those that failed included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Every object's path and size, without a request.
    #[must_use]
    pub fn objects(&self) -> Vec<(Path, u64)> {
        let state = self.state.locked();
        state.objects.iter().map(|(path, stored)| (path.clone(), stored.bytes.len() as u64)).collect()
    }

    /// True if the store holds an object of this key, whatever it says to its clients.
    pub fn holds(&self, key: &str) -> bool {
        self.settled().objects.contains_key(&Path::from(key))
    }

    /// Replaces the bytes of one object in the store itself, as failing media do.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state.locked();
        let Some(stored) = state.objects.get_mut(path) else { return false };
        let mut bytes = stored.bytes.to_vec();
        change(&mut bytes);
        stored.bytes = bytes.into();
        true
    }

    fn now_ms(&self, at: Instant) -> u64 {
        (at - self.begun).as_millis() as u64
    }

    fn last_modified(&self, at: Instant) -> SystemTime {
        let since_epoch = EPOCH_MS as u64 + self.now_ms(at);
        let rounded = since_epoch - since_epoch % self.resolution_ms;
        SystemTime::UNIX_EPOCH + Duration::from_millis(rounded)
    }

    fn meta(&self, path: &Path, size: u64, tag: u64, created: Instant) -> ObjectMeta {
        ObjectMeta {
            location: path.clone(),
            last_modified: self.last_modified(created).into(),
            size,
            e_tag: Some(tag.to_string()),
            version: None,
        }
    }

    /// Locks the state after letting everything land that is due.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.locked();
        let now = Instant::now();
        while let Some(first) = state.under_way.first_entry().filter(|first| first.key().0 <= now) {
            let (at, _) = *first.key();
            let effect = first.remove();
            state.counts.add("landed_late");
            // Nobody waits for the sync of its name.
            let _ = state.apply(effect, at);
        }
        state
    }

    fn record(&self, process: &str, what: &str, path: &Path, outcome: &str) {
        let now = self.begun.elapsed().as_millis() as u64;
        let mut state = self.state.locked();
        let bytes = [process, what, path.as_ref(), outcome].into_iter().flat_map(str::bytes);
        state.trace = bytes.fold(mix(state.trace ^ now), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if let Some(log) = &mut state.log {
            log.push(format!("{now:>9} ms  {process:<14} {what:<7} {path}: {outcome}"));
        }
    }
}

impl State {
    /// The sync of a folder keeps all names in it.
    fn sync_folder_of(&mut self, path: &Path) {
        let folder = |path: &Path| path.as_ref().rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let synced = folder(path);
        for (other, stored) in &mut self.objects {
            if !stored.synced && folder(other) == synced {
                stored.synced = true;
            }
        }
    }

    fn apply(&mut self, effect: Effect, at: Instant) -> Result<PutResult> {
        match effect {
            Effect::Put { path, bytes, attributes, mode } => {
                let present = self.objects.get(&path);
                match &mode {
                    PutMode::Create if present.is_some() => return Err(already_exists(&path)),
                    PutMode::Update(version) => {
                        let tag = present.map(|stored| stored.tag.to_string());
                        if tag.is_none() || tag != version.e_tag {
                            return Err(precondition(&path));
                        }
                    }
                    PutMode::Create | PutMode::Overwrite => {}
                }
                // Of a name that is there already a power loss leaves one version or the other.
                let synced = present.is_some_and(|stored| stored.synced);
                let tag = self.next_tag;
                self.next_tag += 1;
                self.objects.insert(path, Stored { bytes, attributes, tag, created: at, synced });
                Ok(PutResult { e_tag: Some(tag.to_string()), version: None })
            }
            Effect::Delete { path } => {
                if let Some(Stored { bytes, tag, created, .. }) = self.objects.remove(&path) {
                    let size = bytes.len() as u64;
                    self.buried.push(Buried { path, size, tag, created, deleted: at });
                }
                Ok(PutResult { e_tag: None, version: None })
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    ErrorBefore,
    ErrorAfter,
    LostAnswer,
    LateLanding,
    Unsynced,
    OwnAlreadyExists,
    PhantomAlreadyExists,
}

/// One process's client of the bucket.
#[derive(Clone)]
pub struct SimStore {
    world: Arc<World>,
    process: Process,
}

impl SimStore {
    /// A client of `world` that dies with `process`.
    #[must_use]
    pub fn new(world: Arc<World>, process: Process) -> Self {
        Self { world, process }
    }

    /// Begins a request: counts it, lets the process die in it if it must, and waits the way there.
    async fn send(&self, name: &'static str) -> Option<CrashPhase> {
        self.world.requests.fetch_add(1, Ordering::Relaxed);
        let crash = self.process.count_operation();
        if crash == Some(CrashPhase::BeforeEffect) {
            self.die(name).await;
        }
        let way = self.way(name);
        tokio::time::sleep(way).await;
        crash
    }

    /// Ends a request: waits the way back.
    async fn answer(&self, name: &'static str, crash: Option<CrashPhase>) {
        if crash == Some(CrashPhase::AfterEffect) {
            self.die(name).await;
        }
        let way = self.way(name);
        tokio::time::sleep(way).await;
    }

    async fn die(&self, name: &'static str) {
        self.world.note(|| format!("{:<14} dies in {name}", self.process.name()));
        self.world.state.locked().counts.add("crash_in_request");
        self.process.kill();
        std::future::pending::<()>().await;
    }

    fn way(&self, _name: &'static str) -> Duration {
        let world = &self.world;
        let faults = world.faults.locked();
        let (name, range) = if world.random.happens(faults.stall) {
            ("stall", &faults.stall_ms)
        } else if world.random.happens(faults.slow) {
            ("slow", &faults.slow_ms)
        } else {
            return world.random.millis(faults.latency_ms.clone());
        };
        world.state.locked().counts.add(name);
        world.random.millis(range.clone())
    }

    fn fate(&self, create: bool) -> Fate {
        let faults = self.world.faults.locked();
        let chances = [
            (Fate::ErrorBefore, faults.error_before, "error_before"),
            (Fate::ErrorAfter, faults.error_after, "error_after"),
            (Fate::LostAnswer, faults.lost_answer, "lost_answer"),
            (Fate::LateLanding, faults.late_landing, "late_landing"),
            (Fate::Unsynced, faults.unsynced, "unsynced"),
            (
                Fate::OwnAlreadyExists,
                if create { faults.own_already_exists } else { 0 },
                "own_already_exists",
            ),
            (
                Fate::PhantomAlreadyExists,
                if create { faults.phantom_already_exists } else { 0 },
                "phantom_already_exists",
            ),
        ];
        let mut drawn = self.world.random.below(10_000);
        for (fate, chance, name) in chances {
            if drawn < u64::from(chance) {
                self.world.state.locked().counts.add(name);
                return fate;
            }
            drawn -= u64::from(chance);
        }
        Fate::Fine
    }

    /// Carries one write or deletion out, with everything that can happen to it.
    async fn change(&self, name: &'static str, effect: Effect) -> Result<PutResult> {
        let (path, create) = match &effect {
            Effect::Put { path, mode, .. } => (path.clone(), matches!(mode, PutMode::Create)),
            Effect::Delete { path } => (path.clone(), false),
        };
        if self.process.begin_write(path.as_ref()) {
            self.world.note(|| format!("{:<14} freezes before it writes {path}", self.process.name()));
            self.world.state.locked().counts.add("freeze_in_write");
            // Given to the gate of the process, which polls again when it thaws.
            tokio::task::yield_now().await;
        }
        let fate = self.fate(create);
        let power_losses = self.world.state.locked().power_losses;
        let mut flight = Flight { world: self.world.clone(), power_losses, effect: Some(effect) };
        let crash = self.send(name).await;
        let result = match fate {
            Fate::ErrorBefore => {
                flight.effect = None;
                Err(unavailable("injected: nothing happened"))
            }
            Fate::PhantomAlreadyExists => {
                flight.effect = None;
                Err(already_exists(&path))
            }
            Fate::LateLanding => {
                flight.land_late();
                Err(unavailable("injected: it may still happen"))
            }
            Fate::Unsynced => {
                let _ = flight.land();
                Err(unavailable("injected: it happened, and its name is not synced"))
            }
            _ => {
                let landed = flight.land();
                // On a folder both answers come after the sync of the name.
                if self.world.ground == Ground::Folder {
                    self.world.state.locked().sync_folder_of(&path);
                }
                landed
            }
        };
        self.answer(name, crash).await;
        let result = match fate {
            Fate::ErrorAfter => Err(unavailable("injected: it happened")),
            Fate::LostAnswer => {
                let silence = self.world.random.millis(self.world.faults.locked().silence_ms.clone());
                tokio::time::sleep(silence).await;
                Err(unavailable("injected: no answer"))
            }
            Fate::OwnAlreadyExists if result.is_ok() => Err(already_exists(&path)),
            _ => result,
        };
        self.world.record(self.process.name(), name, &path, &outcome(fate, &result));
        result
    }

    fn read_fails(&self) -> Result<()> {
        let chance = self.world.faults.locked().error_before;
        if self.world.random.happens(chance) {
            self.world.state.locked().counts.add("read_error");
            return Err(unavailable("injected: no read"));
        }
        Ok(())
    }

    async fn get(&self, path: &Path, options: &GetOptions) -> Result<GetResult> {
        let crash = self.send("get").await;
        self.read_fails()?;
        let denied = self.denies();
        let stored = self.world.settled().objects.get(path).filter(|_| !denied).cloned();
        self.answer("get", crash).await;
        let stored = stored.ok_or_else(|| not_found(path))?;
        let size = stored.bytes.len() as u64;
        let meta = self.world.meta(path, size, stored.tag, stored.created);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            _ if options.head => 0..0,
            Some(range) => range.as_range(size).map_err(|source| generic(source.into()))?,
            None => 0..size,
        };
        let bytes = self.damaged(path, stored.bytes.slice(range.start as usize..range.end as usize));
        let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: stored.attributes })
    }

    /// Whether the store denies what it holds now; it may begin to.
    fn denies(&self) -> bool {
        let (chance, times) = {
            let faults = self.world.faults.locked();
            (faults.denial, faults.denial_ms.clone())
        };
        let now = Instant::now();
        let begins = chance > 0 && self.world.random.happens(chance);
        let mut state = self.world.state.locked();
        if begins {
            state.counts.add("denial");
            state.denies_until = now + self.world.random.millis(times);
        }
        now < state.denies_until
    }

    fn damaged(&self, path: &Path, bytes: Bytes) -> Bytes {
        let chance = self.world.faults.locked().damage;
        if bytes.is_empty() || chance == 0 {
            return bytes;
        }
        let mut state = self.world.state.locked();
        if let Some(left) = state.spells.get_mut(path).filter(|left| **left > 0) {
            *left -= 1;
        } else if !self.world.random.happens(chance) {
            return bytes;
        } else if path.as_ref().starts_with(BLOCKS) && self.world.random.happens(SPELL_CHANCE) {
            state.spells.insert(path.clone(), SPELL_READS);
            state.counts.add("spell");
        }
        state.counts.add("damage");
        drop(state);
        let mut bytes = bytes.to_vec();
        let at = self.world.random.below(bytes.len() as u64) as usize;
        if self.world.random.happens(3_000) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << self.world.random.below(8);
        }
        bytes.into()
    }

    /// One page of a list: what lies after `after`, as of now or of an older moment.
    async fn page(&self, prefix: &Path, after: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let crash = self.send("list").await;
        self.read_fails()?;
        let mut metas = if self.denies() { Vec::new() } else { self.listed(prefix, after.as_ref()) };
        metas.truncate(self.world.random.within(LIST_PAGE) as usize);
        self.answer("list", crash).await;
        self.world.record(self.process.name(), "list", prefix, &format!("{} objects", metas.len()));
        Ok(metas)
    }

    /// What lies below `prefix` and after `after`, sorted, as of now or of an older moment.
    fn listed(&self, prefix: &Path, after: Option<&Path>) -> Vec<ObjectMeta> {
        let world = &self.world;
        let now = Instant::now();
        let (chance, lags) = {
            let faults = world.faults.locked();
            (faults.stale_list, faults.stale_list_ms.clone())
        };
        let stale = world.random.happens(chance);
        let lag = if stale { world.random.millis(lags) } else { Duration::ZERO };
        let as_of = now.checked_sub(lag).unwrap_or(now);
        let mut state = world.settled();
        let wanted =
            |path: &Path| path.prefix_matches(prefix) && path != prefix && after.is_none_or(|a| path > a);
        let live =
            state.objects.range(prefix.clone()..).filter(|(path, s)| wanted(path) && s.created <= as_of);
        let live = live.map(|(path, s)| world.meta(path, s.bytes.len() as u64, s.tag, s.created));
        let mut metas: Vec<ObjectMeta> = live.collect();
        if stale {
            let gone = state.buried.iter().filter(|b| b.created <= as_of && as_of < b.deleted);
            let gone = gone.filter(|b| wanted(&b.path) && !state.objects.contains_key(&b.path));
            metas.extend(gone.map(|b| world.meta(&b.path, b.size, b.tag, b.created)));
            metas.sort_by(|a, b| a.location.cmp(&b.location));
            state.counts.add("stale_list");
        }
        metas
    }
}

/// Objects on one page of a list; S3 gives 1,000, but a run has only hundreds of objects.
const LIST_PAGE: RangeInclusive<u64> = 20..=200;

/// A request that has left the process: it lands although nobody waits for it any more.
struct Flight {
    world: Arc<World>,
    power_losses: u64,
    effect: Option<Effect>,
}

impl Flight {
    fn land(&mut self) -> Result<PutResult> {
        let effect = self.effect.take();
        let mut state = self.world.settled();
        match effect {
            Some(effect) => state.apply(effect, Instant::now()),
            None => Err(unavailable("landed twice")),
        }
    }

    fn land_late(&mut self) {
        let Some(effect) = self.effect.take() else { return };
        let delay = self.world.random.millis(self.world.faults.locked().late_ms.clone());
        let mut state = self.world.state.locked();
        if state.power_losses > self.power_losses {
            return;
        }
        let tag = state.next_tag;
        state.next_tag += 1;
        state.under_way.insert((Instant::now() + delay, tag), effect);
    }
}

impl Drop for Flight {
    /// The caller died or gave up between sending and the effect.
    fn drop(&mut self) {
        let chance = self.world.faults.locked().orphan_lands;
        if self.effect.is_some() && self.world.random.happens(chance) {
            self.world.state.locked().counts.add("orphan_lands");
            self.land_late();
        }
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let PutOptions { mode, attributes, .. } = opts;
        self.change("put", Effect::Put { path: location.clone(), bytes: payload.into(), attributes, mode })
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let crash = self.send("put").await;
        self.read_fails()?;
        self.answer("put", crash).await;
        let parts = Arc::default();
        Ok(Box::new(SimUpload {
            store: self.clone(),
            path: location.clone(),
            attributes: opts.attributes,
            sent: 0,
            parts,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.get(location, &options).await;
        let outcome = match &result {
            Ok(got) => format!("{} bytes", got.range.end - got.range.start),
            Err(error) => short(error).to_owned(),
        };
        self.world.record(self.process.name(), if options.head { "head" } else { "get" }, location, &outcome);
        result
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut all = Vec::with_capacity(ranges.len());
        for range in ranges {
            let options = GetOptions { range: Some(range.clone().into()), ..GetOptions::default() };
            all.push(self.get_opts(location, options).await?.bytes().await?);
        }
        Ok(all)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .and_then(move |path| {
                let store = store.clone();
                async move {
                    store.change("delete", Effect::Delete { path: path.clone() }).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let pages = futures::stream::try_unfold(Some(None), move |after: Option<Option<Path>>| {
            let (store, prefix) = (store.clone(), prefix.clone());
            async move {
                let Some(after) = after else { return Ok::<_, Error>(None) };
                let page = store.page(&prefix, after).await?;
                let next = page.last().map(|meta| Some(meta.location.clone()));
                Ok(Some((futures::stream::iter(page.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = prefix.cloned().unwrap_or_default();
        let metas: Vec<ObjectMeta> = self.list(prefix).try_collect().await?;
        let mut result = ListResult { objects: Vec::new(), common_prefixes: Vec::new() };
        for meta in metas {
            let Some(mut below) = meta.location.prefix_match(&root) else { continue };
            let (first, nested) = (below.next(), below.next().is_some());
            let Some(first) = first else { continue };
            let folder = root.clone().join(first);
            drop(below);
            if !nested {
                result.objects.push(meta);
            } else if result.common_prefixes.last() != Some(&folder) {
                result.common_prefixes.push(folder);
            }
        }
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let source = self.get_opts(from, GetOptions::default()).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.put_opts(to, source.into(), PutOptions { mode, ..PutOptions::default() }).await.map(|_| ())
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated store of {}", self.process.name())
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An upload in parts: nothing is visible before it is completed.
#[derive(Debug)]
struct SimUpload {
    store: SimStore,
    path: Path,
    attributes: Attributes,
    sent: usize,
    parts: Arc<Mutex<BTreeMap<usize, Bytes>>>,
}

#[async_trait]
impl MultipartUpload for SimUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, parts, part) = (self.store.clone(), self.parts.clone(), self.sent);
        self.sent += 1;
        Box::pin(async move {
            let crash = store.send("part").await;
            store.read_fails()?;
            parts.locked().insert(part, data.into());
            store.answer("part", crash).await;
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = std::mem::take(&mut *self.parts.locked());
        let bytes: Vec<u8> = parts.into_values().flatten().collect();
        let (path, attributes) = (self.path.clone(), self.attributes.clone());
        let effect = Effect::Put { path, bytes: bytes.into(), attributes, mode: PutMode::Overwrite };
        self.store.change("put", effect).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.locked().clear();
        Ok(())
    }
}

fn outcome(fate: Fate, result: &Result<PutResult>) -> String {
    let answer = result.as_ref().map_or_else(short, |_| "done");
    if fate == Fate::Fine { answer.to_owned() } else { format!("{answer} ({fate:?})") }
}

fn short(error: &Error) -> &'static str {
    match error {
        Error::AlreadyExists { .. } => "already exists",
        Error::NotFound { .. } => "not found",
        Error::Precondition { .. } => "precondition failed",
        _ => "error",
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "simulated", source }
}

fn unavailable(why: &'static str) -> Error {
    generic(why.into())
}

fn already_exists(path: &Path) -> Error {
    Error::AlreadyExists { path: path.to_string(), source: "simulated".into() }
}

fn not_found(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "simulated".into() }
}

fn precondition(path: &Path) -> Error {
    Error::Precondition { path: path.to_string(), source: "simulated".into() }
}

#[cfg(test)]
mod tests;
