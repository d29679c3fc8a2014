//! Data epochs: which version changed the data of a tenant last, by two-hour window of UTC.
//!
//! Whoever keeps an answer asks whether the windows that it was made of still have the epochs that they
//! had. An epoch may be higher than it need be (an answer is thrown away in vain), never lower.
//!
//! Words: a *window* is known by its number, its first millisecond divided by [`EPOCH_WINDOW_MS`].
//!
//! Bounds: a change names at most [`WINDOW_RUNS_MAX`] runs of windows for each tenant, and the catalog keeps
//! at most [`EPOCH_RUNS_MAX`] runs of epochs: three weeks if every window has one of its own. Beyond, the
//! oldest are one run with the highest epoch of them.

use std::collections::BTreeSet;

use promontory_model::time::EPOCH_WINDOW_MS;
use promontory_model::{TenantId, TimeRange};

/// Most runs of windows that one change names for a tenant.
pub const WINDOW_RUNS_MAX: usize = 64;

/// Most runs of epochs of a tenant.
pub const EPOCH_RUNS_MAX: usize = 256;

/// Consecutive windows, by number, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowRun {
    /// The first window.
    pub first: i64,
    /// The last window, not before the first.
    pub last: i64,
}

/// The windows of one tenant in which a change adds or takes away samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Whose samples.
    pub tenant: TenantId,
    /// Ascending, and never next to each other.
    pub windows: Vec<WindowRun>,
}

/// The epochs of one tenant's windows; 0 where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// The last version that changed them.
    pub changed: u64,
    /// Ascending, without overlap; neighbours differ.
    pub runs: Vec<EpochRun>,
}

/// Consecutive windows of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochRun {
    /// Which windows.
    pub windows: WindowRun,
    /// The last version that changed them.
    pub epoch: u64,
}

impl Touched {
    /// The windows of samples at these times.
    #[must_use]
    pub fn by_samples(tenant: &TenantId, ts: impl Iterator<Item = i64>) -> Self {
        // Samples of one series are neighbours in time: most look up nothing.
        let (mut windows, mut before) = (BTreeSet::new(), None);
        for window in ts.map(|ts| ts.div_euclid(EPOCH_WINDOW_MS)) {
            if before != Some(window) {
                windows.insert(window);
                before = Some(window);
            }
        }
        let mut runs: Vec<WindowRun> = Vec::new();
        for window in windows {
            match runs.last_mut().filter(|run| run.last + 1 == window) {
                Some(run) => run.last = window,
                None => runs.push(WindowRun { first: window, last: window }),
            }
        }
        let surplus = runs.len().saturating_sub(WINDOW_RUNS_MAX);
        let last_of_old = runs.get(surplus).map_or(0, |run| run.last);
        if surplus > 0 {
            runs.drain(1..=surplus);
            runs[0].last = last_of_old;
        }
        Self { tenant: tenant.clone(), windows: runs }
    }

    /// The windows of a range of time.
    #[must_use]
    pub fn by_range(tenant: &TenantId, range: TimeRange) -> Self {
        Self { tenant: tenant.clone(), windows: vec![WindowRun::of(range)] }
    }
}

impl WindowRun {
    fn of(range: TimeRange) -> Self {
        let window = |ts: i64| ts.div_euclid(EPOCH_WINDOW_MS);
        Self { first: window(range.start), last: window(range.end) }
    }

    /// The times of the windows; ends that milliseconds do not reach are cut off.
    fn times(self) -> TimeRange {
        let last = self.last.saturating_mul(EPOCH_WINDOW_MS).saturating_add(EPOCH_WINDOW_MS - 1);
        TimeRange::new(self.first.saturating_mul(EPOCH_WINDOW_MS), last)
    }
}

impl Epochs {
    /// From now on `windows` have the epoch `version`, which is higher than all before.
    pub(super) fn raise(&mut self, windows: &[WindowRun], version: u64) {
        self.changed = version;
        for raised in windows {
            let mut kept: Vec<EpochRun> = Vec::with_capacity(self.runs.len() + 2);
            for run in &self.runs {
                let WindowRun { first, last } = run.windows;
                let before = WindowRun { first, last: last.min(raised.first.saturating_sub(1)) };
                let after = WindowRun { first: first.max(raised.last.saturating_add(1)), last };
                let parts = [before, after].into_iter().filter(|part| part.first <= part.last);
                kept.extend(parts.map(|windows| EpochRun { windows, epoch: run.epoch }));
            }
            kept.push(EpochRun { windows: *raised, epoch: version });
            kept.sort_by_key(|run| run.windows);
            self.runs = kept;
        }
        self.join_neighbours();
        self.join_oldest();
    }

    fn join_neighbours(&mut self) {
        self.runs.dedup_by(|later, earlier| {
            let joined = earlier.epoch == later.epoch && earlier.windows.last + 1 == later.windows.first;
            if joined {
                earlier.windows.last = later.windows.last;
            }
            joined
        });
    }

    fn join_oldest(&mut self) {
        let surplus = self.runs.len().saturating_sub(EPOCH_RUNS_MAX);
        if surplus > 0 {
            let old = &self.runs[..=surplus];
            let windows = WindowRun { first: old[0].windows.first, last: old[surplus].windows.last };
            let epoch = old.iter().map(|run| run.epoch).max().unwrap_or(0);
            self.runs.splice(..=surplus, [EpochRun { windows, epoch }]);
        }
    }

    /// The parts of `range` with their epochs, in order and without a gap: whole windows.
    #[must_use]
    pub fn within(&self, range: TimeRange) -> Vec<(TimeRange, u64)> {
        let wanted = WindowRun::of(range);
        let mut parts: Vec<(TimeRange, u64)> = Vec::new();
        let mut next = wanted.first;
        let mut push = |first: i64, last: i64, epoch: u64| {
            if first <= last {
                parts.push((WindowRun { first, last }.times(), epoch));
            }
        };
        for EpochRun { windows, epoch } in &self.runs {
            let (first, last) = (windows.first.max(next), windows.last.min(wanted.last));
            if first > last {
                continue;
            }
            push(next, first - 1, 0);
            push(first, last, *epoch);
            next = last + 1;
        }
        push(next, wanted.last, 0);
        parts
    }
}

#[cfg(test)]
mod tests;
