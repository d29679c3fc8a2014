//! The chain of catalog versions: find the newest, read forward, commit.
//!
//! One chain is shared by all machines of a process; it keeps the newest state that any of them has
//! seen and holds no lock while it waits for the store.
//!
//! Words: an *epoch* is `epoch_length` versions; a *hole* is an epoch whose versions are being
//! deleted or are gone, announced by `swept/<epoch>`, which stays for ever.
//!
//! Invariants:
//! - Nothing is published that was read forward from a version whose epoch was swept meanwhile.
//! - A commit counts only if its version's epoch is not swept after it was created.
//! - An attempt is repeated byte for byte until its version exists; only then is another begun.
//!
//! Start-up:
//! 1. Find the first epoch without a `swept/` mark by doubling and bisection; its first version, or
//!    the empty state, is there.
//! 2. Find the newest version from there by doubling and bisection.
//! 3. Read the newest complete checkpoint at or below it, then the deltas above that.
//! 4. If a mark appeared meanwhile, start again.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, RwLock};

use futures::{StreamExt, TryStreamExt, stream};
use promontory_model::{MutexExt as _, RwLockExt as _, TenantId};
use tokio::time::Instant;

use crate::catalog::bytes::CheckpointRoot;
use crate::catalog::state::{Catalog, Change, Delta, TenantState, Void};
use crate::counters::add;
use crate::error::Error;
use crate::object::context::Context;
use crate::object::keys;
use crate::planted::Bug;

/// Requests in flight while a checkpoint or a range of deltas is read or written.
const PARALLEL_MAX: usize = 16;

/// How often start-up begins again because its epoch was swept meanwhile.
const STARTS_MAX: u32 = 8;

/// How often one commit loses its version to others; at six commits a second that is half a minute.
const CONFLICTS_MAX: u32 = 200;

/// How often one attempt is repeated at its version before the caller is told that the store does
/// not answer; with the default waits about half a minute beyond the requests themselves.
const ATTEMPTS_MAX: u32 = 30;

/// The chain of catalog versions as one process sees it.
#[derive(Debug)]
pub struct Chain {
    context: Arc<Context>,
    latest: RwLock<Latest>,
    /// Per tenant the newest page that is known to be stored.
    pages: Mutex<BTreeMap<TenantId, u64>>,
}

/// The newest state seen, and since when it is known to be the newest.
#[derive(Clone, Debug)]
pub struct Latest {
    pub catalog: Arc<Catalog>,
    /// A moment at which no newer version existed.
    pub as_of: Instant,
}

/// What a committer wants on the version at hand.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives as long as one call")]
pub enum Next<T> {
    /// Commit this on exactly this version.
    Try(Change),
    /// There is nothing (more) to commit: an earlier attempt is in, or it became pointless.
    Stop(T),
}

#[derive(Debug)]
pub enum Outcome<T> {
    /// The change is committed; the state that it made.
    Committed(Arc<Catalog>),
    /// The committer wanted nothing (more), and why.
    Stopped(T),
    /// A precondition does not hold on the newest version.
    Void(Void),
}

enum Holder {
    Ours,
    Theirs,
}

impl Chain {
    /// Opens the chain at its newest version.
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt` if versions are missing or damaged.
    pub async fn open(context: Arc<Context>) -> Result<Arc<Self>, Error> {
        let latest = Latest { catalog: Arc::default(), as_of: Instant::now() };
        let chain = Self { context, latest: RwLock::new(latest), pages: Mutex::default() };
        chain.start().await?;
        Ok(Arc::new(chain))
    }

    /// The bucket, clock and randomness that the chain was opened with.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The newest state that this process has seen.
    #[must_use]
    pub fn latest(&self) -> Arc<Catalog> {
        self.latest_as_of().catalog
    }

    /// The newest state that this process has seen, and since when it is known to be the newest.
    #[must_use]
    pub fn latest_as_of(&self) -> Latest {
        self.latest.read_locked().clone()
    }

    fn publish(&self, catalog: Arc<Catalog>, as_of: Instant) {
        let mut latest = self.latest.write_locked();
        if catalog.version > latest.catalog.version {
            *latest = Latest { catalog, as_of };
        } else if catalog.version == latest.catalog.version {
            latest.as_of = latest.as_of.max(as_of);
        }
    }

    /// Reads forward to the newest version.
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt` if a version is damaged or breaks a precondition.
    pub async fn refresh(&self) -> Result<Arc<Catalog>, Error> {
        let (held, as_of) = (self.latest(), Instant::now());
        match self.read_forward(&held).await? {
            Some(catalog) => {
                self.publish(catalog.clone(), as_of);
                Ok(catalog)
            }
            None => self.start().await,
        }
    }

    /// The newest state, or `None` if what follows `held` lies in a hole.
    async fn read_forward(&self, held: &Arc<Catalog>) -> Result<Option<Arc<Catalog>>, Error> {
        let mut state = held.clone();
        // In a hole anything may lie; only outside of one is it damage.
        let damage = loop {
            match self.delta(state.version + 1).await {
                Ok(Some(delta)) => match self.apply(&state, &delta) {
                    Ok(next) => state = Arc::new(next),
                    Err(damage) => break Some(damage),
                },
                Ok(None) => break None,
                Err(damage @ Error::Corrupt { .. }) => break Some(damage),
                Err(error) => return Err(error),
            }
        };
        let blind = self.context.planted.is(Bug::ReadPastSweptEpoch);
        if !blind && self.is_swept(held.version + 1).await? {
            return Ok(None);
        }
        damage.map_or(Ok(Some(state)), Err)
    }

    pub(crate) fn apply(&self, state: &Catalog, delta: &Delta) -> Result<Catalog, Error> {
        add(&self.context.counters.versions_applied, 1);
        state.apply(&delta.change, self.context.planted).map_err(|Void(why)| Error::Corrupt {
            object: keys::version(delta.version).to_string(),
            why: format!("breaks a precondition: {why}"),
        })
    }

    /// What version `version` changes, or `None` if it does not exist.
    pub(crate) async fn delta(&self, version: u64) -> Result<Option<Delta>, Error> {
        let key = keys::version(version);
        let delta = self.context.get_decoded(&key, Delta::decode).await?;
        match delta {
            Some(delta) if delta.version != version => {
                let why = format!("says that it is version {}", delta.version);
                Err(Error::Corrupt { object: key.to_string(), why })
            }
            delta => Ok(delta),
        }
    }

    /// True if the versions of this one's epoch are being deleted or gone.
    pub(crate) async fn is_swept(&self, version: u64) -> Result<bool, Error> {
        self.context.exists(&keys::swept(self.context.format.epoch(version))).await
    }

    // --- Start-up ---

    async fn start(&self) -> Result<Arc<Catalog>, Error> {
        for starts in 1..=STARTS_MAX {
            add(&self.context.counters.catalog_starts, 1);
            let as_of = Instant::now();
            if let Some(catalog) = self.load(None).await? {
                let catalog = Arc::new(catalog);
                self.publish(catalog.clone(), as_of);
                return Ok(catalog);
            }
            self.context.back_off(starts).await;
        }
        Err(Error::Stale(format!("the catalog was swept {STARTS_MAX} times while it was read")))
    }

    /// The state at `wanted` or the newest version; `None` if its epoch was swept meanwhile.
    pub(crate) async fn load(&self, wanted: Option<u64>) -> Result<Option<Catalog>, Error> {
        let epoch = self.first_unswept_epoch().await?;
        let first = self.context.format.first_version(epoch);
        let up_to = match wanted {
            Some(version) if version < first => return Ok(None),
            Some(version) => version,
            None => last_present(first, |version| self.version_exists(version)).await?,
        };
        let loaded = self.load_from(first, up_to).await;
        match loaded {
            Err(error @ Error::Unavailable { .. }) => Err(error),
            loaded if self.context.exists(&keys::swept(epoch)).await? => {
                drop(loaded);
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    async fn version_exists(&self, version: u64) -> Result<bool, Error> {
        self.context.exists(&keys::version(version)).await
    }

    /// The first epoch without a mark.
    pub(crate) async fn first_unswept_epoch(&self) -> Result<u64, Error> {
        // Shifted by one, so that "none is swept" is the first present number.
        let swept = |n: u64| async move { self.context.exists(&keys::swept(n - 1)).await };
        last_present(0, swept).await
    }

    /// The state at `up_to`, out of a checkpoint not below `first` and the deltas above it.
    async fn load_from(&self, first: u64, up_to: u64) -> Result<Catalog, Error> {
        let spacing = self.context.format.checkpoint_spacing;
        let mut candidate = up_to - up_to % spacing;
        let mut damage = None;
        let mut state = loop {
            if candidate == 0 {
                break Catalog::default();
            }
            if candidate < first {
                let why = format!("no complete checkpoint from version {first} to {up_to}");
                return Err(damage.unwrap_or(Error::Corrupt { object: keys::CHECKPOINT.into(), why }));
            }
            match self.read_checkpoint(candidate).await {
                Ok(Some(state)) => break state,
                Ok(None) => {}
                Err(error @ Error::Corrupt { .. }) => {
                    add(&self.context.counters.checkpoints_failed, 1);
                    tracing::error!(%error, "checkpoint is damaged; an older one is tried");
                    damage.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            candidate -= spacing;
        };
        let versions = state.version + 1..=up_to;
        let mut deltas = stream::iter(versions.map(|v| self.delta(v))).buffered(PARALLEL_MAX);
        while let Some(delta) = deltas.try_next().await? {
            let Some(delta) = delta else {
                let object = keys::version(state.version + 1).to_string();
                return Err(Error::Corrupt { object, why: "is missing from the chain".into() });
            };
            state = self.apply(&state, &delta)?;
        }
        Ok(state)
    }

    // --- Checkpoints ---

    /// The state of a checkpoint, or `None` if it is missing or incomplete.
    pub(crate) async fn read_checkpoint(&self, version: u64) -> Result<Option<Catalog>, Error> {
        let key = keys::checkpoint(version);
        let Some(root) = self.context.get_decoded(&key, CheckpointRoot::decode).await? else {
            return Ok(None);
        };
        if root.catalog.version != version {
            let why = format!("says that it is version {}", root.catalog.version);
            return Err(Error::Corrupt { object: key.to_string(), why });
        }
        let mut catalog = root.catalog;
        let reads = root.pages.into_iter().map(|(tenant, changed)| self.read_page(tenant, changed));
        let mut pages = stream::iter(reads).buffered(PARALLEL_MAX);
        while let Some(page) = pages.try_next().await? {
            let Some((tenant, page)) = page else {
                return Ok(None);
            };
            self.remember_page(&tenant, page.changed);
            catalog.tenants.insert(tenant, Arc::new(page));
        }
        Ok(Some(catalog))
    }

    async fn read_page(
        &self,
        tenant: TenantId,
        changed: u64,
    ) -> Result<Option<(TenantId, TenantState)>, Error> {
        let key = keys::page(&tenant, changed);
        match self.context.get_decoded(&key, TenantState::decode).await? {
            Some((of, page)) if of != tenant || page.changed != changed => {
                let why = format!("says that it is of tenant {of} at version {}", page.changed);
                Err(Error::Corrupt { object: key.to_string(), why })
            }
            page => Ok(page),
        }
    }

    /// Writes the pages that are not known to be stored, then the root.
    pub(crate) async fn write_checkpoint(&self, catalog: &Catalog) -> Result<(), Error> {
        // Owned ids and pages: a closure over references would leave the future without `Send`.
        let unknown: Vec<(TenantId, Arc<TenantState>)> = {
            let pages = self.pages.locked();
            let all = catalog.tenants.iter().map(|(id, tenant)| (id.clone(), tenant.clone()));
            all.filter(|(id, tenant)| pages.get(id) != Some(&tenant.changed)).collect()
        };
        let writes = unknown.into_iter().map(|(id, tenant)| async move {
            self.context.create_equal(&keys::page(&id, tenant.changed), &tenant.encode(&id)).await?;
            self.remember_page(&id, tenant.changed);
            Ok::<(), Error>(())
        });
        // Collected, because a future that holds a closure over references is not `Send`.
        let writes: Vec<_> = writes.collect();
        stream::iter(writes).buffered(PARALLEL_MAX).try_collect::<()>().await?;
        let root = CheckpointRoot::of(catalog).encode();
        self.context.create_equal(&keys::checkpoint(catalog.version), &root).await?;
        add(&self.context.counters.checkpoints_written, 1);
        Ok(())
    }

    /// From now on no page is known to be stored.
    pub(crate) fn forget_pages(&self) {
        self.pages.locked().clear();
    }

    fn remember_page(&self, tenant: &TenantId, changed: u64) {
        let mut pages = self.pages.locked();
        pages.insert(tenant.clone(), changed);
    }

    // --- Commit ---

    /// Commits what `decide` wants on the newest version.
    ///
    /// `decide` is called anew for every version that the commit is tried on; it looks whether an
    /// earlier attempt is in.
    ///
    /// # Errors
    /// `Unavailable`: nothing is known, the attempt may still land; whoever tries again decides by
    /// the state, not by this error. `Limited` if others won too often in a row.
    pub async fn commit<T>(
        &self,
        mut decide: impl FnMut(&Arc<Catalog>) -> Next<T>,
    ) -> Result<Outcome<T>, Error> {
        let counters = &self.context.counters;
        for conflicts in 1..=CONFLICTS_MAX {
            let as_of = Instant::now();
            let blind = self.context.planted.is(Bug::CommitIntoSweptEpoch) && conflicts == 1;
            let base = if blind { self.latest() } else { self.refresh().await? };
            let change = match decide(&base) {
                Next::Try(change) => change,
                Next::Stop(value) => return Ok(Outcome::Stopped(value)),
            };
            let next = match base.apply(&change, self.context.planted) {
                Ok(next) => next,
                Err(void) => {
                    add(&counters.commits_void, 1);
                    return Ok(Outcome::Void(void));
                }
            };
            let attempt = self.context.random.next_u128();
            match self.create(&Delta { version: next.version, attempt, change }).await? {
                Holder::Ours if self.fell_into_hole(next.version).await? => {
                    add(&counters.commits_in_swept_epochs, 1);
                }
                Holder::Ours => return Ok(Outcome::Committed(self.committed(next, as_of).await)),
                Holder::Theirs => add(&counters.commit_conflicts, 1),
            }
            self.context.back_off(conflicts.min(6)).await;
        }
        Err(Error::Limited(format!("others committed {CONFLICTS_MAX} versions in a row; retry later")))
    }

    /// Repeats one attempt until its version exists.
    async fn create(&self, delta: &Delta) -> Result<Holder, Error> {
        let (key, bytes) = (keys::version(delta.version), delta.encode());
        let mut attempts = 0;
        loop {
            let Err(error) = self.context.create(&key, bytes.clone()).await else {
                return Ok(Holder::Ours);
            };
            match self.delta(delta.version).await {
                Ok(Some(found)) if found == *delta => return Ok(Holder::Ours),
                Ok(Some(_)) => return Ok(Holder::Theirs),
                Ok(None) | Err(Error::Unavailable { .. }) => {}
                Err(error) => return Err(error),
            }
            attempts += 1;
            if attempts >= ATTEMPTS_MAX {
                return Err(error);
            }
            self.context.back_off(attempts).await;
        }
    }

    async fn fell_into_hole(&self, version: u64) -> Result<bool, Error> {
        if self.context.planted.is(Bug::CommitIntoSweptEpoch) {
            return Ok(false);
        }
        self.is_swept(version).await
    }

    async fn committed(&self, next: Catalog, as_of: Instant) -> Arc<Catalog> {
        add(&self.context.counters.commits, 1);
        let catalog = Arc::new(next);
        self.publish(catalog.clone(), as_of);
        if catalog.version.is_multiple_of(self.context.format.checkpoint_spacing)
            && let Err(error) = self.write_checkpoint(&catalog).await
        {
            add(&self.context.counters.checkpoints_failed, 1);
            tracing::warn!(version = catalog.version, %error, "cannot write checkpoint; replay is longer");
        }
        catalog
    }
}

/// The last present number, if every number up to it is present from `first` on, which is.
pub(crate) async fn last_present<F>(first: u64, present: impl Fn(u64) -> F) -> Result<u64, Error>
where
    F: Future<Output = Result<bool, Error>>,
{
    let (mut low, mut step) = (first, 1);
    let mut high = loop {
        let probe = low.saturating_add(step);
        if probe == low || !present(probe).await? {
            break probe;
        }
        low = probe;
        step *= 2;
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if present(middle).await? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
