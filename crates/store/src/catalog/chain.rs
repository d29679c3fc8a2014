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
//! - Absence proves nothing: an answer "there is none" counts only if the newest version that is known is
//!   seen afterwards, with its identity ([`Chain::vouch`]). So nobody builds on a version that was taken
//!   away or replaced under a running process, and a gateway that denies everything stops the look.
//!
//! Start-up (`catalog::chain::start`) finds the newest version, and refuses a chain with a hole.

mod start;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, RwLock};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::Error as StoreError;
use object_store::path::Path;
use promontory_model::{MutexExt as _, RwLockExt as _, TenantId};
use tokio::time::Instant;

use crate::catalog::bytes::{CheckpointRoot, Page};
use crate::catalog::state::{Catalog, Change, Delta, Void};
use crate::counters::add;
use crate::error::Error;
use crate::object::context::{Context, Created};
use crate::object::keys;
use crate::planted::Bug;

/// Requests in flight while a checkpoint or a range of deltas is read or written.
const PARALLEL_MAX: usize = 16;

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
    /// When the newest version that is known was asked for last and seen.
    seen: Mutex<Instant>,
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
        let chain = Self::unopened(context);
        chain.start().await?;
        Ok(Arc::new(chain))
    }

    /// A chain that knows nothing yet, for whoever repairs one that does not open.
    pub(crate) fn unopened(context: Arc<Context>) -> Self {
        let latest = Latest { catalog: Arc::default(), as_of: Instant::now() };
        Self {
            context,
            latest: RwLock::new(latest),
            seen: Mutex::new(Instant::now()),
            pages: Mutex::default(),
        }
    }

    /// The machine's surroundings.
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
        let held = self.latest();
        self.see_first(&held).await;
        let as_of = Instant::now();
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
            let asked = Instant::now();
            match self.delta(state.version + 1).await {
                Ok(Some(Delta { change: Change::Lost { .. }, .. })) => return Ok(None),
                Ok(Some(delta)) => match self.apply(&state, &delta) {
                    Ok(next) => {
                        state = Arc::new(next);
                        *self.seen.locked() = asked;
                    }
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
        if let Some(damage) = damage {
            return Err(damage);
        }
        self.vouch_for(&state).await?;
        Ok(Some(state))
    }

    /// Sees the newest version that is known, so that what was denied since it was seen last may count as
    /// absent: a store that denies everything does so for longer than [`Timing::absence_window`], and would
    /// have denied one of the two.
    ///
    /// # Errors
    /// `Unavailable` if the store denies it, `Busy` if it was seen too long ago, `Corrupt` if another version
    /// stands in its place.
    pub(crate) async fn vouch(&self) -> Result<(), Error> {
        self.vouch_for(&self.latest()).await
    }

    async fn vouch_for(&self, state: &Catalog) -> Result<(), Error> {
        let seen = *self.seen.locked();
        self.see(state).await?;
        let since = seen.elapsed();
        if since > self.context.timing.absence_window && !self.context.planted.is(Bug::BelieveAbsence) {
            add(&self.context.counters.absences_refused, 1);
            let why = format!(
                "a look took {} ms: what the store denied meanwhile proves nothing",
                since.as_millis()
            );
            return Err(Error::Busy(why));
        }
        Ok(())
    }

    /// As [`Self::vouch`], however long ago the version was seen last.
    pub(crate) async fn see_newest(&self) -> Result<(), Error> {
        self.see(&self.latest()).await
    }

    async fn see(&self, state: &Catalog) -> Result<(), Error> {
        let (key, asked) = (keys::version(state.version), Instant::now());
        if state.version == 0 || self.context.planted.is(Bug::BelieveAbsence) {
            *self.seen.locked() = asked;
            return Ok(());
        }
        match self.delta(state.version).await? {
            Some(delta) if state.attempt == 0 || delta.attempt == state.attempt => {}
            // A repair put it there; the state is that of the checkpoint that it names.
            Some(Delta { change: Change::Lost { .. }, .. }) => {}
            Some(_) => {
                let why = "is another version than the one that was read before: the bucket was restored or \
                           changed under this process; stop all processes and run `promontory fsck`";
                return Err(Error::Corrupt { object: key.to_string(), why: why.into() });
            }
            // Its epoch may have been swept since: whoever looks next starts again.
            None => {
                add(&self.context.counters.absences_refused, 1);
                return Err(denied(&key));
            }
        }
        *self.seen.locked() = asked;
        Ok(())
    }

    /// Sees the version at hand at the beginning of a look, if that was long ago. What it meets is the matter
    /// of the end of the look: the version may lie in a hole.
    async fn see_first(&self, held: &Catalog) {
        if self.seen.locked().elapsed() > self.context.timing.absence_window / 2 {
            let _ = self.see(held).await;
        }
    }

    pub(crate) fn apply(&self, state: &Catalog, delta: &Delta) -> Result<Catalog, Error> {
        add(&self.context.counters.versions_applied, 1);
        state.follow(delta, self.context.planted).map_err(|Void(why)| Error::Corrupt {
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
            self.remember_page(&tenant, page.changed());
            catalog.epochs.extend(page.epochs.map(|epochs| (tenant.clone(), epochs)));
            catalog.tenants.extend(page.state.map(|state| (tenant, state)));
        }
        Ok(Some(catalog))
    }

    async fn read_page(&self, tenant: TenantId, changed: u64) -> Result<Option<(TenantId, Page)>, Error> {
        let key = keys::page(&tenant, changed);
        match self.context.get_decoded(&key, Page::decode).await? {
            Some((of, page)) if of != tenant || page.changed() != changed => {
                let why = format!("says that it is of tenant {of} at version {}", page.changed());
                Err(Error::Corrupt { object: key.to_string(), why })
            }
            page => Ok(page),
        }
    }

    /// Writes the pages that are not known to be stored, then the root.
    pub(crate) async fn write_checkpoint(&self, catalog: &Catalog) -> Result<(), Error> {
        let root = CheckpointRoot::of(catalog, self.context.format);
        // Owned ids and pages: a closure over references would leave the future without `Send`.
        let unknown: Vec<(TenantId, Page)> = {
            let pages = self.pages.locked();
            let unknown = root.pages.iter().filter(|(id, changed)| pages.get(*id) != Some(*changed));
            unknown.map(|(id, _)| (id.clone(), Page::of(catalog, id))).collect()
        };
        let writes = unknown.into_iter().map(|(id, page)| async move {
            let (key, bytes) = (keys::page(&id, page.changed()), page.encode(&id));
            let same =
                |found: &[u8]| Page::decode(found).is_ok_and(|found| found == (id.clone(), page.clone()));
            self.context.create_equal(&key, &bytes, same).await?;
            self.remember_page(&id, page.changed());
            Ok::<(), Error>(())
        });
        // Collected, because a future that holds a closure over references is not `Send`.
        let writes: Vec<_> = writes.collect();
        stream::iter(writes).buffered(PARALLEL_MAX).try_collect::<()>().await?;
        let same = |found: &[u8]| CheckpointRoot::decode(found).is_ok_and(|found| found.is_as_good_as(&root));
        self.context.create_equal(&keys::checkpoint(catalog.version), &root.encode(), same).await?;
        add(&self.context.counters.checkpoints_written, 1);
        Ok(())
    }

    /// Writes a checkpoint over whatever is there: for a repair.
    pub(crate) async fn overwrite_checkpoint(&self, catalog: &Catalog) -> Result<(), Error> {
        let root = CheckpointRoot::of(catalog, self.context.format);
        for (id, changed) in &root.pages {
            let page = Page::of(catalog, id);
            self.context.overwrite(&keys::page(id, *changed), page.encode(id)).await?;
        }
        self.context.overwrite(&keys::checkpoint(catalog.version), root.encode()).await
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
            // Never 0, which stands for an identity that was not kept.
            let attempt = self.context.random.next_u128() | 1;
            let delta = Delta { version: base.version + 1, attempt, predecessor: base.attempt, change };
            let next = match base.follow(&delta, self.context.planted) {
                Ok(next) => next,
                Err(void) => {
                    add(&counters.commits_void, 1);
                    return Ok(Outcome::Void(void));
                }
            };
            match self.create(&delta).await? {
                Holder::Ours if self.fell_into_hole(&next).await? => {
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
            let (kept, error) = match self.context.create(&key, bytes.clone()).await {
                Ok(Created::New) => return Ok(Holder::Ours),
                Ok(Created::Exists(error)) => (true, error),
                Err(error) => (self.context.planted.is(Bug::TrustReadBack), error),
            };
            match self.delta(delta.version).await {
                Ok(Some(found)) if found == *delta && kept => return Ok(Holder::Ours),
                // Ours, and the next try says whether it is kept.
                Ok(Some(found)) if found == *delta => {}
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

    /// Whether `next`, which was just created, lies among versions that are being deleted.
    async fn fell_into_hole(&self, next: &Catalog) -> Result<bool, Error> {
        if self.context.planted.is(Bug::CommitIntoSweptEpoch) {
            return Ok(false);
        }
        if self.is_swept(next.version).await? {
            return Ok(true);
        }
        self.vouch_for(next).await?;
        Ok(false)
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

/// The store does not show what was read or written there before.
fn denied(key: &Path) -> Error {
    let why = "it was there before: the store denies what it holds, or the bucket was restored or emptied under \
               this process";
    let source = StoreError::NotFound { path: key.to_string(), source: why.into() };
    Error::Unavailable { action: format!("find {key}"), source }
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
