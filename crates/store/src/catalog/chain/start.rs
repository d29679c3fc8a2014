//! Start-up of the chain: which version is the newest, and what the state is there.
//!
//! 1. List `swept/` and `catalog/`. Presence is proof; whatever a list lacks is asked for by name, because
//!    lists may be stale.
//! 2. Marks must be there for the epochs from 0 up to some epoch, and for none above. Versions must be there
//!    from the first of the next epoch on, without a hole: a hole below something that is present is damage
//!    and no end, whoever made it. A bucket with an id begins with version 1.
//! 3. Read the newest complete checkpoint at or below the newest version, then the versions above that.
//! 4. If a mark appeared meanwhile, start again; likewise after the first hole, because the store may have denied
//!    what it holds.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use promontory_model::MutexExt as _;
use tokio::time::Instant;

use super::{Chain, PARALLEL_MAX, denied, last_present};
use crate::catalog::state::{Catalog, Change, Delta};
use crate::counters::add;
use crate::error::Error;
use crate::object::keys;
use crate::planted::Bug;

/// How often start-up begins again because its epoch was swept meanwhile.
const STARTS_MAX: u32 = 8;

/// How a replay ended.
enum Replayed {
    Whole(Catalog),
    Lost { version: u64, checkpoint: u64 },
}

impl Chain {
    pub(super) async fn start(&self) -> Result<Arc<Catalog>, Error> {
        let mut damage = None;
        for starts in 1..=STARTS_MAX {
            add(&self.context.counters.catalog_starts, 1);
            let as_of = Instant::now();
            match self.load_newest().await {
                Ok(Some(catalog)) => {
                    let catalog = Arc::new(self.checked(catalog)?);
                    *self.seen.locked() = as_of;
                    self.publish(catalog.clone(), as_of);
                    return Ok(catalog);
                }
                Ok(None) => {}
                // A hole is one that is still there at a second look, by a store that shows what must be there.
                Err(found @ Error::Corrupt { .. }) => {
                    self.see_format().await?;
                    if damage.replace(found.to_string()).is_some() {
                        return Err(found);
                    }
                }
                Err(error) => return Err(error),
            }
            self.context.back_off(starts).await;
        }
        Err(Error::Stale(format!("the catalog was swept {STARTS_MAX} times while it was read")))
    }

    /// That the store does not deny everything.
    async fn see_format(&self) -> Result<(), Error> {
        let key = keys::format();
        if self.context.format.bucket == 0 || self.context.exists(&key).await? {
            return Ok(());
        }
        add(&self.context.counters.absences_refused, 1);
        Err(denied(&key))
    }

    /// That the state is of this bucket, and no newer program's.
    fn checked(&self, catalog: Catalog) -> Result<Catalog, Error> {
        let (ours, found) = (self.context.format.bucket, catalog.bucket);
        if ours != found {
            let why = format!(
                "is of bucket {ours:032x}, the catalog of bucket {found:032x}: objects of two \
                               buckets were mixed"
            );
            return Err(Error::Corrupt { object: keys::format().to_string(), why });
        }
        if catalog.level > self.context.level {
            let (level, known) = (catalog.level, self.context.level);
            let why = format!("the catalog has level {level}, this program knows {known}: use a newer one");
            return Err(Error::Unsupported(why));
        }
        Ok(catalog)
    }

    /// The newest state; `None` if its epoch was swept meanwhile.
    async fn load_newest(&self) -> Result<Option<Catalog>, Error> {
        if self.context.planted.is(Bug::BelieveAbsence) {
            return self.load(None).await;
        }
        let epoch = self.listed_epoch().await?;
        let loaded = self.load_listed(epoch).await;
        self.unless_swept(epoch, loaded).await
    }

    async fn load_listed(&self, epoch: u64) -> Result<Catalog, Error> {
        let first = self.context.format.first_version(epoch);
        let newest = self.listed_version(first).await?;
        self.load_from(first, newest).await
    }

    /// `loaded`, or `None` if the epoch that it began in was swept meanwhile, so that anything may be missing.
    async fn unless_swept(
        &self,
        epoch: u64,
        loaded: Result<Catalog, Error>,
    ) -> Result<Option<Catalog>, Error> {
        match loaded {
            Err(error @ Error::Unavailable { .. }) => Err(error),
            loaded if self.context.exists(&keys::swept(epoch)).await? => {
                drop(loaded);
                Ok(None)
            }
            loaded => loaded.map(Some),
        }
    }

    /// The first epoch without a mark.
    async fn listed_epoch(&self) -> Result<u64, Error> {
        let marks = self.context.list_numbers(keys::SWEPT).await?;
        let mut epoch = 0;
        while marks.contains(&epoch) || self.context.exists(&keys::swept(epoch)).await? {
            epoch += 1;
        }
        match marks.last().filter(|last| **last > epoch) {
            None => Ok(epoch),
            Some(last) => Err(Error::Corrupt {
                object: keys::swept(epoch).to_string(),
                why: format!("is missing, and {} is there", keys::swept(*last)),
            }),
        }
    }

    /// The newest version, if `first` is the first that is not swept.
    async fn listed_version(&self, first: u64) -> Result<u64, Error> {
        let mut versions = self.context.list_numbers(keys::CATALOG).await?;
        let below = versions.first().copied().filter(|lowest| *lowest < first);
        versions.retain(|version| *version >= first.max(1));
        let mut next = first.max(1);
        while versions.contains(&next) || self.version_exists(next).await? {
            next += 1;
        }
        let object = keys::version(next).to_string();
        if let Some(last) = versions.last().filter(|last| **last > next) {
            let why = format!("is missing from the chain, and {} is there", keys::version(*last));
            return Err(Error::Corrupt { object, why });
        }
        let begun = first > 0 || self.context.format.bucket != 0 || below.is_some();
        if next == first.max(1) && begun {
            let why = format!("is missing, and {} is there", self.witness(first));
            return Err(Error::Corrupt { object, why });
        }
        Ok(next - 1)
    }

    /// What proves that there was a version from `first` on.
    fn witness(&self, first: u64) -> String {
        match self.context.format.epoch(first).checked_sub(1) {
            Some(epoch) => keys::swept(epoch).to_string(),
            None => format!("{} with an id", keys::format()),
        }
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
        match self.unless_swept(epoch, loaded).await {
            // What is missing may have been denied.
            Err(damage @ Error::Corrupt { .. }) => self.vouch().await.and(Err(damage)),
            loaded => loaded,
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
        let mut lost_at = None;
        while state.version < up_to {
            state = match self.replay(state, up_to).await? {
                Replayed::Whole(state) => state,
                // A lost version: the checkpoint that stands in for it is further on.
                Replayed::Lost { version, checkpoint } if lost_at != Some(version) => {
                    lost_at = Some(version);
                    self.beyond_loss(version, checkpoint, up_to).await?
                }
                Replayed::Lost { version, .. } => return Err(lost(version)),
            };
        }
        Ok(state)
    }

    async fn beyond_loss(&self, version: u64, checkpoint: u64, up_to: u64) -> Result<Catalog, Error> {
        if checkpoint < version || checkpoint > up_to {
            return Err(lost(version));
        }
        self.read_checkpoint(checkpoint).await?.ok_or_else(|| lost(version))
    }

    /// Applies the versions above `state` up to `up_to`, or to the first that was lost.
    async fn replay(&self, mut state: Catalog, up_to: u64) -> Result<Replayed, Error> {
        let versions = state.version + 1..=up_to;
        let mut deltas = stream::iter(versions.map(|v| self.delta(v))).buffered(PARALLEL_MAX);
        while let Some(delta) = deltas.try_next().await? {
            let version = state.version + 1;
            match delta {
                None => return Err(missing(version)),
                Some(Delta { change: Change::Lost { checkpoint }, .. }) => {
                    return Ok(Replayed::Lost { version, checkpoint });
                }
                Some(delta) => state = self.apply(&state, &delta)?,
            }
        }
        Ok(Replayed::Whole(state))
    }
}

fn missing(version: u64) -> Error {
    Error::Corrupt { object: keys::version(version).to_string(), why: "is missing from the chain".into() }
}

fn lost(version: u64) -> Error {
    let why = "was lost, and the checkpoint that stands in for it cannot be read";
    Error::Corrupt { object: keys::version(version).to_string(), why: why.into() }
}
