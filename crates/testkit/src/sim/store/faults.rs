//! What the simulated store is, and what it does wrong.

use std::ops::RangeInclusive;

/// What the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A service: what it has taken it keeps.
    Service,
    /// A folder of the machine on which all processes run: names outlast a power loss once they are synced.
    Folder,
}

/// How often what goes wrong; every chance is of 10,000 requests of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Any request: an error, nothing happened.
    pub error_before: u32,
    /// A write or deletion: it happened, and an error came back.
    pub error_after: u32,
    /// A write or deletion: it happened, and the error came after `silence_ms`.
    pub lost_answer: u32,
    /// A write or deletion: an error came back, and it happens later, within `late_ms`.
    pub late_landing: u32,
    /// A create: it happened, and `AlreadyExists` came back.
    pub own_already_exists: u32,
    /// A create: `AlreadyExists` came back, and nothing happened.
    pub phantom_already_exists: u32,
    /// A list page: as of up to `stale_list_ms` ago.
    pub stale_list: u32,
    /// A write: it happened, an error came back, and a power loss may undo it.
    pub unsynced: u32,
    /// A read: a flipped bit or a missing end.
    pub damage: u32,
    /// A read: from now on, for `denial_ms`, the store denies what it holds.
    pub denial: u32,
    /// Any request: an answer after `slow_ms`.
    pub slow: u32,
    /// Any request: an answer, or only the effect, after `stall_ms`.
    pub stall: u32,
    /// A write whose caller is dropped: it lands later instead of never.
    pub orphan_lands: u32,
    /// The usual time of each of the two ways.
    pub latency_ms: RangeInclusive<u64>,
    /// Time of a `slow` request, in milliseconds.
    pub slow_ms: RangeInclusive<u64>,
    /// Time of a request that is met by `stall`, in milliseconds.
    pub stall_ms: RangeInclusive<u64>,
    /// Time until the error of a `lost_answer`, in milliseconds.
    pub silence_ms: RangeInclusive<u64>,
    /// Time until the effect of a `late_landing`, in milliseconds.
    pub late_ms: RangeInclusive<u64>,
    /// How old the page of a `stale_list` may be, in milliseconds.
    pub stale_list_ms: RangeInclusive<u64>,
    /// See `denial`.
    pub denial_ms: RangeInclusive<u64>,
}

impl Faults {
    /// A store that answers at once and truly.
    #[must_use]
    pub fn none() -> Self {
        Self {
            error_before: 0,
            error_after: 0,
            lost_answer: 0,
            late_landing: 0,
            own_already_exists: 0,
            phantom_already_exists: 0,
            stale_list: 0,
            unsynced: 0,
            damage: 0,
            denial: 0,
            slow: 0,
            stall: 0,
            orphan_lands: 0,
            latency_ms: 1..=5,
            slow_ms: 0..=0,
            stall_ms: 0..=0,
            silence_ms: 0..=0,
            late_ms: 0..=0,
            stale_list_ms: 0..=0,
            denial_ms: 0..=0,
        }
    }
}
