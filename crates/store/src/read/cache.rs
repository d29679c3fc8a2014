//! A weighed cache of immutable things in which nobody loads what somebody else is loading.
//!
//! Words: a *flight* is one load of several entries that is under way.
//!
//! Invariants:
//! - An entry is loaded by at most one flight at a time; whoever needs it joins.
//! - A flight that all its callers gave up ends; nobody waits for a flight that nobody drives.
//! - An error is not cached.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared, try_join_all};
use promontory_model::MutexExt as _;

use crate::error::Error;

type Loaded<K, V> = Result<Arc<HashMap<K, Arc<V>>>, Arc<Error>>;
type Flight<K, V> = Shared<BoxFuture<'static, Loaded<K, V>>>;
type Flights<K, V> = Arc<Mutex<HashMap<K, WeakShared<BoxFuture<'static, Loaded<K, V>>>>>>;

#[derive(Debug, Default)]
pub struct CacheCounters {
    /// Entries that were there.
    pub hits: AtomicU64,
    /// Entries that had to be loaded, by the caller or by a flight that it joined.
    pub misses: AtomicU64,
}

pub(crate) struct Cache<K, V> {
    entries: moka::future::Cache<K, Arc<V>>,
    flights: Flights<K, V>,
    counters: CacheCounters,
}

impl<K, V> Cache<K, V>
where
    K: Copy + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A cache of at most `bytes_max` bytes by `weigh`.
    pub(crate) fn new(bytes_max: u64, weigh: fn(&V) -> usize) -> Self {
        let entries = moka::future::Cache::builder()
            .max_capacity(bytes_max)
            .weigher(move |_: &K, value: &Arc<V>| u32::try_from(weigh(value)).unwrap_or(u32::MAX))
            .build();
        Self { entries, flights: Flights::default(), counters: CacheCounters::default() }
    }

    pub(crate) fn counters(&self) -> &CacheCounters {
        &self.counters
    }

    /// Bytes held, approximately.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    /// An entry, if it is there; only a hit is counted.
    pub(crate) async fn get(&self, key: &K) -> Option<Arc<V>> {
        let found = self.entries.get(key).await?;
        self.counters.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// An entry, if it is there; counted as a hit or a miss. For those who load and [`Self::put`]
    /// themselves, because what they load is not yet known to be right.
    pub(crate) async fn look(&self, key: &K) -> Option<Arc<V>> {
        let found = self.entries.get(key).await;
        let counter = if found.is_some() { &self.counters.hits } else { &self.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// True if an entry is there; not counted.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) async fn put(&self, key: K, value: V) {
        self.entries.insert(key, Arc::new(value)).await;
    }

    /// The entries of `keys`, in their order. `load` is called at most once, with the keys that are
    /// neither there nor being loaded, and answers as many values in the same order.
    ///
    /// # Errors
    /// Of `load`, or of the flight that was joined.
    pub(crate) async fn get_many(
        &self,
        keys: &[K],
        load: impl FnOnce(Vec<K>) -> BoxFuture<'static, Result<Vec<V>, Error>>,
    ) -> Result<Vec<Arc<V>>, Error> {
        let mut found: HashMap<K, Arc<V>> = HashMap::with_capacity(keys.len());
        let mut absent = Vec::new();
        for key in keys {
            match self.entries.get(key).await {
                Some(value) => drop(found.insert(*key, value)),
                None => absent.push(*key),
            }
        }
        self.counters.hits.fetch_add((keys.len() - absent.len()) as u64, Ordering::Relaxed);
        self.counters.misses.fetch_add(absent.len() as u64, Ordering::Relaxed);
        if !absent.is_empty() {
            let flights = self.join(&absent, load);
            for loaded in try_join_all(flights).await.map_err(|error| shared(&error))? {
                found.extend(absent.iter().filter_map(|key| Some((*key, loaded.get(key)?.clone()))));
            }
        }
        let values = keys.iter().map(|key| found.get(key).cloned());
        values.collect::<Option<_>>().ok_or_else(|| Error::Bug("a load answered too few entries".into()))
    }

    /// The flights that bring `absent`; one of them may be new.
    fn join(
        &self,
        absent: &[K],
        load: impl FnOnce(Vec<K>) -> BoxFuture<'static, Result<Vec<V>, Error>>,
    ) -> Vec<Flight<K, V>> {
        let mut joined: Vec<Flight<K, V>> = Vec::new();
        let mut mine = Vec::new();
        let mut flights = self.flights.locked();
        for key in absent {
            match flights.get(key).and_then(WeakShared::upgrade) {
                Some(flight) if joined.iter().any(|other| other.ptr_eq(&flight)) => {}
                Some(flight) => joined.push(flight),
                None => mine.push(*key),
            }
        }
        if !mine.is_empty() {
            let flight = self.depart(mine.clone(), load(mine.clone()));
            for key in mine {
                flights.extend(flight.downgrade().map(|weak| (key, weak)));
            }
            joined.push(flight);
        }
        joined
    }

    fn depart(&self, keys: Vec<K>, load: BoxFuture<'static, Result<Vec<V>, Error>>) -> Flight<K, V> {
        let entries = self.entries.clone();
        let landed = Landed { flights: self.flights.clone(), keys: keys.clone() };
        let flight = async move {
            let values = load.await.map_err(Arc::new)?;
            let loaded: HashMap<K, Arc<V>> = keys.into_iter().zip(values.into_iter().map(Arc::new)).collect();
            for (key, value) in &loaded {
                entries.insert(*key, value.clone()).await;
            }
            drop(landed);
            Ok(Arc::new(loaded))
        };
        flight.boxed().shared()
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// Takes a flight off the board, also when it fails or is given up.
struct Landed<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    keys: Vec<K>,
}

impl<K: Eq + Hash, V> Drop for Landed<K, V> {
    fn drop(&mut self) {
        let mut flights = self.flights.locked();
        for key in &self.keys {
            flights.remove(key);
        }
    }
}

/// An error of a flight, once for each who joined it.
fn shared(error: &Arc<Error>) -> Error {
    match &**error {
        Error::Unavailable { action, .. } => Error::Unavailable {
            action: action.clone(),
            source: object_store::Error::Generic { store: "blocks", source: Box::new(Cause(error.clone())) },
        },
        Error::Missing { object } => Error::Missing { object: object.clone() },
        Error::Corrupt { object, why } => Error::Corrupt { object: object.clone(), why: why.clone() },
        Error::Unsupported(why) => Error::Unsupported(why.clone()),
        Error::Limited(why) => Error::Limited(why.clone()),
        Error::Busy(why) => Error::Busy(why.clone()),
        Error::Stopped(why) => Error::Stopped(why.clone()),
        Error::Stale(why) => Error::Stale(why.clone()),
        Error::Bug(why) => Error::Bug(why.clone()),
    }
}

/// What the store's client said to whoever started the flight.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Error::Unavailable { source, .. } => fmt::Display::fmt(source, f),
            other => fmt::Display::fmt(other, f),
        }
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Error::Unavailable { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
