//! Requests: what all carry, and what each asks.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promontory_model::{Matcher, MutexExt as _, Position, SnapshotId, Tenants, TimeRange};

use super::error::EngineError;
use crate::parser::parse_metric_selectors;

/// What every request carries.
///
/// Made by [`Self::new`] and the methods `with_...`, so that a field more changes no caller.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestContext {
    /// Whose data; settled by the face, never parsed below it.
    pub tenants: Tenants,
    /// Upper bound of the request's own wish; the engine's `--query.timeout` bounds it too.
    pub timeout: Option<Duration>,
    /// Positions that the snapshot must contain.
    pub must_contain: Vec<Position>,
    /// The snapshot to be asked instead of the newest.
    pub pinned: Option<SnapshotId>,
    /// What this request may take less of than others.
    pub limits: LoweredLimits,
    /// Which series the caller may see.
    pub label_policy: LabelPolicy,
    /// Who asks.
    pub caller: Caller,
    /// Whether the answer may come from a cache of results.
    pub result_cache: ResultCache,
    /// Where the engine puts what it keeps for the answer; `None`: it keeps nothing once it has answered.
    pub until_read: Option<UntilRead>,
}

/// What an engine keeps for an answer until somebody has read it: a place among the running queries, for one.
///
/// An answer is as large in memory as what made it. So it counts as running until its reader has all of it,
/// however slowly that reads. Clones are one; what is kept is free when the last is dropped.
#[derive(Clone, Default)]
pub struct UntilRead {
    kept: Arc<Mutex<Vec<Box<dyn Any + Send>>>>,
}

impl UntilRead {
    /// Keeps this, too.
    pub fn keep(&self, kept: impl Any + Send) {
        self.kept.locked().push(Box::new(kept));
    }
}

impl fmt::Debug for UntilRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UntilRead").field(&self.kept.locked().len()).finish()
    }
}

/// Limits of one request. Each can only lower the engine's own; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoweredLimits {
    /// Most samples that the query may hold.
    pub samples_max: Option<u64>,
    /// Most series that all selectors together may match.
    pub series_max: Option<u64>,
}

/// Which series a caller may see: those that pass every matcher; with none, all.
///
/// To the caller other series do not exist: not in results, listings, exemplars or raw samples, and no
/// operator of the language brings them back, because the matchers join those of each selector before
/// anything is looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelPolicy {
    /// The conditions.
    pub matchers: Vec<Matcher>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Somebody who waits for the answer.
    Person,
    /// A group of recording or alerting rules, by name.
    RuleGroup(Arc<str>),
}

/// Whether an answer may come from a cache of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultCache {
    /// It may.
    Allowed,
    /// It is computed anew.
    Bypassed,
}

impl RequestContext {
    /// A person's request that wishes for nothing in particular.
    #[must_use]
    pub fn new(tenants: impl Into<Tenants>) -> Self {
        Self {
            tenants: tenants.into(),
            timeout: None,
            must_contain: Vec::new(),
            pinned: None,
            limits: LoweredLimits::default(),
            label_policy: LabelPolicy::default(),
            caller: Caller::Person,
            result_cache: ResultCache::Allowed,
            until_read: None,
        }
    }

    /// It ends after `timeout`, if the engine's own timeout does not come first.
    #[must_use]
    pub fn with_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { timeout: timeout.into(), ..self }
    }

    /// Its snapshot contains these positions.
    #[must_use]
    pub fn with_positions(self, must_contain: Vec<Position>) -> Self {
        Self { must_contain, ..self }
    }

    /// It is answered from this snapshot, or not at all.
    #[must_use]
    pub fn with_pinned(self, snapshot: SnapshotId) -> Self {
        Self { pinned: Some(snapshot), ..self }
    }

    /// It may take no more than this.
    #[must_use]
    pub fn with_limits(self, limits: LoweredLimits) -> Self {
        Self { limits, ..self }
    }

    /// It sees no more than this.
    #[must_use]
    pub fn with_label_policy(self, label_policy: LabelPolicy) -> Self {
        Self { label_policy, ..self }
    }

    /// Who asks.
    #[must_use]
    pub fn with_caller(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// What is kept for its answer is kept there.
    #[must_use]
    pub fn with_until_read(self, until_read: UntilRead) -> Self {
        Self { until_read: Some(until_read), ..self }
    }

    /// The answer is computed anew.
    #[must_use]
    pub fn without_cache(self) -> Self {
        Self { result_cache: ResultCache::Bypassed, ..self }
    }
}

/// An instant query.
#[derive(Clone, Debug, PartialEq)]
pub struct InstantQuery {
    /// The expression as sent.
    pub expr: String,
    /// Evaluation time, milliseconds since the Unix epoch.
    pub time: i64,
    /// Overrides `--query.lookback-delta`.
    pub lookback_delta: Option<Duration>,
}

/// A range query over the grid `start, start + step, ..., <= end`.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeQuery {
    /// The expression as sent.
    pub expr: String,
    /// First evaluation time, milliseconds.
    pub start: i64,
    /// Last evaluation time at most, milliseconds; not before `start`.
    pub end: i64,
    /// Milliseconds between evaluations, positive.
    pub step: i64,
    /// Overrides `--query.lookback-delta`.
    pub lookback_delta: Option<Duration>,
}

/// A query of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// At one time.
    Instant(InstantQuery),
    /// Over a grid.
    Range(RangeQuery),
}

/// A request for exemplars.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarQuery {
    /// An expression; its selectors say which series are meant, the rest of it nothing.
    pub expr: String,
    /// Exemplars in this time.
    pub range: TimeRange,
}

/// A request for the samples of series as they were sent.
#[derive(Clone, Debug)]
pub struct SamplesQuery {
    /// Alternatives: a series counts if it passes all matchers of one of them. Empty: no series.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// Samples in this time, both ends included.
    pub range: TimeRange,
}

/// A request for series, label names or label values.
#[derive(Clone, Debug)]
pub struct ListingQuery {
    /// Alternatives: a series counts if it passes all matchers of one of them. Without any, all series.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// More of them, as they were sent: to parse them, and to compile their regular expressions, is work that the
    /// engine does once the request has its place.
    pub selectors: Vec<String>,
    /// Series with a sample here; blocks and tail are pruned by it, so that an answer may hold
    /// series whose samples lie a little outside, as in Prometheus.
    pub range: TimeRange,
    /// 0: no limit.
    pub limit: usize,
}

impl ListingQuery {
    /// The same with its selectors parsed, and the bytes that their regular expressions take.
    ///
    /// # Errors
    /// `Invalid` if one is no selector or passes every series, `Limited` if their regular expressions take too much.
    pub fn parsed(mut self) -> Result<(Self, usize), EngineError> {
        let texts = std::mem::take(&mut self.selectors);
        let (sets, bytes) = parse_metric_selectors(&texts)?;
        if sets.iter().any(|set| set.iter().all(Matcher::matches_empty)) {
            return Err(EngineError::Invalid("match[] must contain at least one non-empty matcher".into()));
        }
        self.matcher_sets.extend(sets);
        Ok((self, bytes))
    }
}
