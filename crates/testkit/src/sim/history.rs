//! What was asked, what was answered, what was seen, and whether that can be.
//!
//! Samples carry their identity: [`identity_value`] makes a value out of who sent it, with a check
//! over tenant, series and timestamp, so that a sample that was altered, invented, or shown to the
//! wrong tenant is recognised by itself.
//!
//! Words: an *attempt* is one sample of one request; a request is *acknowledged* once its 2xx came,
//! until then its outcome is unknown; a *sight* is everything that one snapshot of one tenant shows.
//!
//! Rules, one [`Violation`] each:
//! - `Lost` (P1, P2): a sample that was acknowledged before a sight began is in it, with its value or
//!   a greater one that was also sent for that timestamp ([`value_order`]).
//! - `Duplicated` (P2): no sample is stored twice, unless it was sent twice.
//! - `Altered` (P2): a value is bit by bit one that was sent for its series and timestamp.
//! - `Phantom` (P3): whatever is shown was sent; `Foreign` (P6): to this tenant.
//! - `Vanished` (P2): what a sight showed, every sight that began after its end shows, if its reader
//!   follows all writers.
//! - `Unstable` (P4): one snapshot read again shows the same.
//! - `Removed` (P10): a young snapshot never misses an object.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use promontory_model::samples::value_order;
use promontory_model::{Labels, TenantId};

use crate::sim::random::mix;

/// What a sample is known by: at one place one value counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The tenant that it was sent for.
    pub tenant: TenantId,
    /// The series of that tenant.
    pub series: Labels,
    /// Milliseconds since the Unix epoch.
    pub ts: i64,
}

/// Bits of an identity value: what a double holds exactly.
const NUMBER_BITS: u32 = 24;
const CHECK_BITS: u32 = 28;

/// The value of sample number `number` of this run at `place`.
///
/// An integer below 2^52: number, then a check over number and place.
///
/// # Panics
/// If a run sends more than 2^24 samples.
#[must_use]
pub fn identity_value(place: &Place, number: u64) -> f64 {
    assert!(number < 1 << NUMBER_BITS, "a run of more than 2^{NUMBER_BITS} samples");
    ((number << CHECK_BITS) | check(place, number)) as f64
}

/// The number that [`identity_value`] was given, if the value is of this place and whole.
#[must_use]
pub fn identity_number(place: &Place, value: f64) -> Option<u64> {
    let word = value as u64;
    let number = word >> CHECK_BITS;
    (word as f64 == value
        && number < 1 << NUMBER_BITS
        && word & ((1 << CHECK_BITS) - 1) == check(place, number))
    .then_some(number)
}

fn check(place: &Place, number: u64) -> u64 {
    let bytes = place.tenant.as_str().bytes().chain(place.series.key().iter().copied());
    let named = bytes.fold(mix(number ^ place.ts as u64), |hash, byte| mix(hash ^ u64::from(byte)));
    named & ((1 << CHECK_BITS) - 1)
}

/// One request to write, by its number in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(usize);

/// A rule of the history that a sight or a store breaks.
#[derive(Clone, Debug, PartialEq)]
pub enum Violation {
    /// An acknowledged sample is not there.
    Lost {
        /// The place of the sample.
        place: Place,
        /// The value that was acknowledged.
        value: f64,
        /// The value that the sight shows there; `None` if it shows none.
        seen: Option<f64>,
        /// Simulated time of the acknowledgement, since the run began.
        acknowledged: Duration,
    },
    /// A sample is stored more often than it was sent.
    Duplicated {
        /// The place of the sample.
        place: Place,
        /// The value that was sent and stored.
        value: f64,
        /// Number of attempts that carried this value.
        sent: usize,
        /// Number of rows with this value, before deduplication.
        stored: usize,
    },
    /// A value that nobody sent, at a place where others were sent.
    Altered {
        /// The place of the sample.
        place: Place,
        /// The value that the sight shows there.
        seen: f64,
    },
    /// A sample that nobody sent.
    Phantom {
        /// The place of the sample.
        place: Place,
        /// The value that the sight shows there.
        seen: f64,
    },
    /// A sample that was sent to another tenant.
    Foreign {
        /// The place of the sample.
        place: Place,
        /// The tenant that it was sent for.
        owner: TenantId,
    },
    /// A sample that an earlier sight showed.
    Vanished {
        /// The place of the sample.
        place: Place,
        /// The value that the earlier sight showed.
        value: f64,
        /// The value that the sight shows there; `None` if it shows none.
        seen: Option<f64>,
    },
    /// A snapshot that shows something else when read again.
    Unstable {
        /// The first difference.
        what: String,
    },
    /// A snapshot inside its grace of which something is gone.
    Removed {
        /// The object that could not be read.
        what: String,
    },
    /// Anything else that must not be: a broken catalog, an error of the wrong kind, an unclean
    /// store at the end.
    Broken {
        /// The rule, and how it is broken.
        what: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { place, value, seen, acknowledged } => {
                write!(f, "lost {place}: {value} acknowledged at {acknowledged:?}, there is {seen:?}")
            }
            Self::Duplicated { place, value, sent, stored } => {
                write!(f, "duplicated {place}: {value} sent {sent} times, stored {stored} times")
            }
            Self::Altered { place, seen } => write!(f, "altered {place}: nobody sent {seen}"),
            Self::Phantom { place, seen } => write!(f, "phantom {place}: {seen}"),
            Self::Foreign { place, owner } => write!(f, "foreign {place}: belongs to {owner}"),
            Self::Vanished { place, value, seen } => {
                write!(f, "vanished {place}: {value} was seen, there is {seen:?}")
            }
            Self::Unstable { what } => write!(f, "unstable snapshot: {what}"),
            Self::Removed { what } => write!(f, "removed from under a young snapshot: {what}"),
            Self::Broken { what } => f.write_str(what),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.tenant, self.series.as_ref(), self.ts)
    }
}

/// Everything that one snapshot of one tenant shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// The tenant whose samples were asked for.
    pub tenant: TenantId,
    /// Whatever was acknowledged before must be in it.
    pub begun: Duration,
    /// Simulated time at which the answer was whole.
    pub ended: Duration,
    /// Acknowledged requests that the snapshot was asked to contain, however young.
    pub required: Vec<RequestId>,
    /// True if the reader follows every writer by its slots. The reader beside a writer shows only
    /// what that writer has confirmed, which others may have seen before it knows.
    pub follows_all: bool,
    /// Each (series, timestamp) with its value, as a query gets them.
    pub samples: BTreeMap<(Labels, i64), f64>,
    /// The same before deduplication, as they are stored; empty if that was not looked at.
    pub stored: Vec<(Labels, i64, f64)>,
}

#[derive(Debug)]
struct Request {
    acknowledged: Option<Duration>,
}

#[derive(Debug)]
struct Attempt {
    request: usize,
    value: f64,
}

/// What was sent, acknowledged and seen in a run, against which each sight is judged.
#[derive(Debug, Default)]
pub struct History {
    requests: Vec<Request>,
    attempts: BTreeMap<Place, Vec<Attempt>>,
    /// The greatest value that a sight showed, and when the first such sight ended.
    seen: BTreeMap<Place, (f64, Duration)>,
}

impl History {
    /// Records that samples are being sent, each with the value that it carries.
    pub fn invoke(&mut self, samples: impl IntoIterator<Item = (Place, f64)>) -> RequestId {
        let request = self.requests.len();
        self.requests.push(Request { acknowledged: None });
        for (place, value) in samples {
            self.attempts.entry(place).or_default().push(Attempt { request, value });
        }
        RequestId(request)
    }

    /// Records that the request was answered with success.
    pub fn acknowledge(&mut self, request: RequestId, at: Duration) {
        self.requests[request.0].acknowledged.get_or_insert(at);
    }

    /// Number of requests that were begun.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Number of requests that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.requests.iter().filter(|request| request.acknowledged.is_some()).count()
    }

    /// The machine lost its power: what was seen and not acknowledged may be gone, since a name can be read before
    /// it is synced.
    pub fn lose_power(&mut self) {
        self.seen.clear();
    }

    /// Judges one sight and remembers it. At most [`Self::VIOLATIONS_MAX`] are named.
    pub fn check(&mut self, sight: &Sight) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check_shown(sight, &mut found);
        self.check_missing(sight, &mut found);
        self.check_stored(sight, &mut found);
        self.remember(sight);
        found.truncate(Self::VIOLATIONS_MAX);
        found
    }

    /// How many violations one sight may name.
    pub const VIOLATIONS_MAX: usize = 10;

    /// Judges a snapshot that was read twice.
    #[must_use]
    pub fn check_stable(first: &Sight, again: &Sight) -> Option<Violation> {
        if first.samples == again.samples {
            return None;
        }
        let key = |entry: (&(Labels, i64), &f64)| (entry.0.clone(), entry.1.to_bits());
        let (a, b): (BTreeSet<_>, BTreeSet<_>) =
            (first.samples.iter().map(key).collect(), again.samples.iter().map(key).collect());
        let ((series, ts), bits) = a.symmetric_difference(&b).next()?;
        let value = f64::from_bits(*bits);
        let what = format!(
            "{}/{}@{ts} = {value}: {} samples at first, {} when read again",
            first.tenant,
            series.as_ref(),
            a.len(),
            b.len()
        );
        Some(Violation::Unstable { what })
    }

    fn check_shown(&self, sight: &Sight, found: &mut Vec<Violation>) {
        for ((series, ts), value) in &sight.samples {
            let place = Place { tenant: sight.tenant.clone(), series: series.clone(), ts: *ts };
            match self.attempts.get(&place) {
                None => found.push(self.owner_of(&place, *value)),
                Some(attempts) if attempts.iter().all(|a| a.value.to_bits() != value.to_bits()) => {
                    found.push(self.owner_or(
                        &place,
                        *value,
                        Violation::Altered { place: place.clone(), seen: *value },
                    ));
                }
                Some(_) => {}
            }
        }
    }

    fn check_missing(&self, sight: &Sight, found: &mut Vec<Violation>) {
        for (place, attempts) in self.of_tenant(&sight.tenant) {
            let seen = sight.samples.get(&(place.series.clone(), place.ts)).copied();
            let below = |value: f64| seen.is_none_or(|seen| value_order(seen, value) == Ordering::Less);
            let acknowledged = attempts.iter().filter_map(|attempt| {
                let at = self.requests[attempt.request].acknowledged?;
                let due = at <= sight.begun || sight.required.contains(&RequestId(attempt.request));
                (due && below(attempt.value)).then_some((attempt.value, at))
            });
            if let Some((value, acknowledged)) = acknowledged.min_by_key(|(_, at)| *at) {
                found.push(Violation::Lost { place: place.clone(), value, seen, acknowledged });
            } else if let Some((value, _)) = self
                .seen
                .get(place)
                .filter(|(value, ended)| sight.follows_all && *ended <= sight.begun && below(*value))
            {
                found.push(Violation::Vanished { place: place.clone(), value: *value, seen });
            }
        }
    }

    fn check_stored(&self, sight: &Sight, found: &mut Vec<Violation>) {
        let mut stored: BTreeMap<(&Labels, i64, u64), usize> = BTreeMap::new();
        for (series, ts, value) in &sight.stored {
            *stored.entry((series, *ts, value.to_bits())).or_default() += 1;
        }
        for ((series, ts, bits), stored) in stored {
            let place = Place { tenant: sight.tenant.clone(), series: series.clone(), ts };
            let attempts = self.attempts.get(&place).map(Vec::as_slice).unwrap_or_default();
            let sent = attempts.iter().filter(|attempt| attempt.value.to_bits() == bits).count();
            let value = f64::from_bits(bits);
            // What nobody sent is reported by the rules for what is shown.
            if stored > sent && sent > 0 {
                found.push(Violation::Duplicated { place, value, sent, stored });
            }
        }
    }

    fn remember(&mut self, sight: &Sight) {
        for ((series, ts), value) in &sight.samples {
            let place = Place { tenant: sight.tenant.clone(), series: series.clone(), ts: *ts };
            let known = self.seen.entry(place).or_insert((*value, sight.ended));
            if value_order(known.0, *value) == Ordering::Less {
                *known = (*value, sight.ended);
            } else if known.0.to_bits() == value.to_bits() {
                known.1 = known.1.min(sight.ended);
            }
        }
    }

    fn of_tenant<'a>(&'a self, tenant: &'a TenantId) -> impl Iterator<Item = (&'a Place, &'a Vec<Attempt>)> {
        let first = Place { tenant: tenant.clone(), series: Labels::from_key_unchecked([]), ts: i64::MIN };
        self.attempts.range(first..).take_while(move |(place, _)| place.tenant == *tenant)
    }

    fn owner_of(&self, place: &Place, value: f64) -> Violation {
        self.owner_or(place, value, Violation::Phantom { place: place.clone(), seen: value })
    }

    /// `Foreign` if another tenant was sent this very value for the series and time.
    fn owner_or(&self, place: &Place, value: f64, otherwise: Violation) -> Violation {
        let same = |(other, attempts): &(&Place, &Vec<Attempt>)| {
            (&other.series, other.ts) == (&place.series, place.ts)
                && other.tenant != place.tenant
                && attempts.iter().any(|attempt| attempt.value.to_bits() == value.to_bits())
        };
        match self.attempts.iter().find(same) {
            Some((other, _)) => Violation::Foreign { place: place.clone(), owner: other.tenant.clone() },
            None => otherwise,
        }
    }
}

#[cfg(test)]
mod tests;
