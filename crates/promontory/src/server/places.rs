//! Who is connected: places, and among those that have one, who waits.
//!
//! A connection *waits* while none of its requests is in flight: silent from the first moment, in the middle
//! of a head, or kept for a next request. It may be closed at any time without harm that its client must not
//! expect anyway. One with a request in flight is never closed for others.
//!
//! 1. A peer that has as many waiting as one may have loses the one that has waited longest.
//! 2. A place that is free is taken.
//! 3. Else the connection that has waited longest is closed, and its place taken.
//! 4. Else every place has a request in flight, and one of [`PROBE_PLACES`] more is taken: a connection there
//!    is answered if it is a probe, and told to come back if not, so that it ends at once.
//! 5. Else the connection that has waited longest there is closed, and its place taken: a flood of silent
//!    ones must come that often before a probe has sent its request.
//! 6. Else there is no place at all.
//!
//! Every step takes logarithmic time in the number of connections, under one lock.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use promontory_model::MutexExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::ServerLimits;
use super::counters::{Closing, ConnectionCounters};

/// Places beyond all others. Each is held for the time of a short answer, so that a few do for the probes
/// of a cluster and for telling others to come back.
pub(super) const PROBE_PLACES: usize = 16;

/// All places of a server.
#[derive(Debug)]
pub struct Places {
    limits: ServerLimits,
    counters: ConnectionCounters,
    rooms: Mutex<Rooms>,
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    /// With a request in flight.
    pub in_flight: usize,
    /// Without one.
    pub waiting: usize,
}

#[derive(Debug, Default)]
struct Rooms {
    /// Counts connections, and turns in which they began to wait.
    next: u64,
    open: HashMap<u64, Open>,
    /// By kind of place, and the turn in which they began to wait.
    waiting: BTreeMap<(PlaceKind, u64), u64>,
    /// Those of each peer, by their turns.
    of_peers: HashMap<IpAddr, BTreeMap<u64, u64>>,
    probe_places_taken: usize,
}

#[derive(Debug)]
struct Open {
    peer: IpAddr,
    kind: PlaceKind,
    /// The turn in which it began to wait, if it waits.
    turn: Option<u64>,
    since: Instant,
    close: oneshot::Sender<Closing>,
}

/// What a place is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PlaceKind {
    /// Any request.
    Whole,
    /// Probes.
    Probe,
}

/// The place of one connection; free when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    peer: IpAddr,
    pub(super) kind: PlaceKind,
    /// Requests that are in flight, also where others have the place already. Changes under the lock, as
    /// whether the connection waits does.
    requests: AtomicUsize,
    /// Has there been a request?
    served: AtomicBool,
    places: Arc<Places>,
}

/// A request that is in flight until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    place: Arc<Place>,
}

impl Places {
    /// Places within `limits`, all free.
    #[must_use]
    pub fn new(limits: ServerLimits) -> Arc<Self> {
        Arc::new(Self { limits, counters: ConnectionCounters::default(), rooms: Mutex::default() })
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> ServerLimits {
        self.limits
    }

    /// What became of connections.
    #[must_use]
    pub fn counters(&self) -> &ConnectionCounters {
        &self.counters
    }

    /// How many connections there are.
    #[must_use]
    pub fn connected(&self) -> Connected {
        let rooms = self.rooms();
        let waiting = rooms.waiting.len();
        Connected { in_flight: rooms.open.len() - waiting, waiting }
    }

    /// A place for a connection that has just come, which waits; the receiver says when it must go.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<(Place, oneshot::Receiver<Closing>)> {
        let (close, told) = oneshot::channel();
        let peer = neighbourhood(peer);
        let mut rooms = self.rooms();
        self.keep_to_limit(&mut rooms, peer, self.limits.waiting_per_peer_max.saturating_sub(1));
        let Some(kind) = self.find(&mut rooms) else {
            self.counters.close(Closing::Full);
            return None;
        };
        self.counters.accepted.fetch_add(1, Relaxed);
        let id = rooms.enter(peer, kind, close);
        let (requests, served) = (AtomicUsize::new(0), AtomicBool::new(false));
        Some((Place { id, peer, kind, requests, served, places: Arc::clone(self) }, told))
    }

    /// The kind of place that is free now, or was made free.
    fn find(&self, rooms: &mut Rooms) -> Option<PlaceKind> {
        if rooms.open.len() - rooms.probe_places_taken < self.limits.connections_max {
            return Some(PlaceKind::Whole);
        }
        let oldest = rooms.waiting.first_key_value().map(|((kind, _), id)| (*kind, *id));
        match oldest {
            Some((PlaceKind::Whole, id)) => self.close(rooms, id, Closing::Displaced),
            _ if rooms.probe_places_taken < PROBE_PLACES => Some(PlaceKind::Probe),
            Some((PlaceKind::Probe, id)) => self.close(rooms, id, Closing::Displaced),
            None => None,
        }
    }

    /// Closes those of a peer that have waited longest, until `waiting_max` are left.
    fn keep_to_limit(&self, rooms: &mut Rooms, peer: IpAddr, waiting_max: usize) {
        while let Some(waiting) = rooms.of_peers.get(&peer).filter(|waiting| waiting.len() > waiting_max) {
            let Some(oldest) = waiting.first_key_value().map(|(_, id)| *id) else { return };
            self.close(rooms, oldest, Closing::PeerLimit);
        }
    }

    /// Takes a connection's place away and tells it to go.
    fn close(&self, rooms: &mut Rooms, id: u64, closing: Closing) -> Option<PlaceKind> {
        let open = rooms.leave(id)?;
        self.counters.close(closing);
        // It may have ended by itself just now.
        let _ = open.close.send(closing);
        Some(open.kind)
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.locked()
    }
}

impl Rooms {
    fn enter(&mut self, peer: IpAddr, kind: PlaceKind, close: oneshot::Sender<Closing>) -> u64 {
        let id = self.next;
        let since = Instant::now();
        self.open.insert(id, Open { peer, kind, turn: None, since, close });
        self.probe_places_taken += usize::from(kind == PlaceKind::Probe);
        self.begin_to_wait(id);
        id
    }

    fn leave(&mut self, id: u64) -> Option<Open> {
        self.end_to_wait(id);
        let open = self.open.remove(&id)?;
        self.probe_places_taken -= usize::from(open.kind == PlaceKind::Probe);
        Some(open)
    }

    fn begin_to_wait(&mut self, id: u64) {
        let turn = self.next;
        self.next += 1;
        let Some(open) = self.open.get_mut(&id) else { return };
        (open.turn, open.since) = (Some(turn), Instant::now());
        self.waiting.insert((open.kind, turn), id);
        self.of_peers.entry(open.peer).or_default().insert(turn, id);
    }

    fn end_to_wait(&mut self, id: u64) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let Some(turn) = open.turn.take() else { return };
        let peer = open.peer;
        self.waiting.remove(&(open.kind, turn));
        if let Some(waiting) = self.of_peers.get_mut(&peer) {
            waiting.remove(&turn);
            if waiting.is_empty() {
                self.of_peers.remove(&peer);
            }
        }
    }
}

impl Place {
    /// A request has come.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.served.store(true, Relaxed);
        let mut rooms = self.places.rooms();
        self.requests.fetch_add(1, Relaxed);
        rooms.end_to_wait(self.id);
        InFlight { place: Arc::clone(self) }
    }

    fn request_ended(&self) {
        let mut rooms = self.places.rooms();
        if self.requests.fetch_sub(1, Relaxed) == 1 {
            rooms.begin_to_wait(self.id);
            self.places.keep_to_limit(&mut rooms, self.peer, self.places.limits.waiting_per_peer_max);
        }
    }

    /// Is there a request in flight?
    pub(super) fn is_in_flight(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// Has there been a request?
    pub(super) fn was_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    /// The bounds.
    pub(super) fn limits(&self) -> ServerLimits {
        self.places.limits
    }

    /// What became of connections.
    pub(super) fn counters(&self) -> &ConnectionCounters {
        &self.places.counters
    }

    /// Takes the place away and tells the connection to go.
    pub(super) fn close(&self, closing: Closing) {
        self.places.close(&mut self.places.rooms(), self.id, closing);
    }

    /// Resolves when the connection has waited too long.
    pub(super) async fn overdue(&self) -> Closing {
        let limits = self.limits();
        // No time ends earlier than this after a look that has found something else.
        let tick = limits.read_timeout.min(limits.header_timeout);
        loop {
            let (patience, closing) = match self.was_served() {
                false => (limits.header_timeout, Closing::HeaderTimeout),
                true => (limits.read_timeout, Closing::IdleTimeout),
            };
            let (now, deadline) = (Instant::now(), self.waits_since().map(|since| since + patience));
            if deadline.is_some_and(|deadline| deadline <= now) {
                return closing;
            }
            sleep_until(deadline.map_or(now + tick, |deadline| deadline.min(now + tick))).await;
        }
    }

    fn waits_since(&self) -> Option<Instant> {
        let rooms = self.places.rooms();
        rooms.open.get(&self.id).filter(|open| open.turn.is_some()).map(|open| open.since)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.rooms().leave(self.id);
    }
}

impl InFlight {
    /// Of which connection it is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.place.request_ended();
    }
}

/// Whom a limit per peer means: an address of IPv4, and of IPv6 the 64 bits that a host is given.
fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
