//! Which two-hour windows a request has looked at.

use promontory_model::time::EPOCH_WINDOW_MS;
use promontory_model::{TenantId, TimeRange};
use promontory_promql::engine::WindowEpochs;

/// The windows of one tenant that any of `ranges` touches, as runs that ascend and do not touch.
///
/// A range counts as a whole, whether or not it holds samples: what comes late may come where nothing is.
pub(super) fn windows(tenant: &TenantId, ranges: impl Iterator<Item = TimeRange>) -> Vec<WindowEpochs> {
    let mut whole: Vec<TimeRange> = ranges.filter(|range| !range.is_empty()).map(whole_windows).collect();
    whole.sort_by_key(|range| range.start);
    let mut runs: Vec<WindowEpochs> = Vec::new();
    for windows in whole {
        match runs.last_mut().filter(|last| windows.start <= last.windows.end.saturating_add(1)) {
            Some(last) => last.windows = last.windows.union(windows),
            None => runs.push(WindowEpochs { tenant: tenant.clone(), windows, epoch: 0 }),
        }
    }
    runs
}

fn whole_windows(range: TimeRange) -> TimeRange {
    let within = |ts: i64| ts.rem_euclid(EPOCH_WINDOW_MS);
    let start = range.start.saturating_sub(within(range.start));
    let end = range.end.saturating_add(EPOCH_WINDOW_MS - 1 - within(range.end));
    TimeRange::new(start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn check(ranges: &[(i64, i64)], expected: &[(i64, i64)]) {
        let ranges = ranges.iter().map(|(start, end)| TimeRange::new(*start, *end));
        let found = windows(&TenantId::anonymous(), ranges);
        let found: Vec<_> = found.iter().map(|run| (run.windows.start, run.windows.end)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn windows_begin_at_even_hours_and_runs_do_not_touch() {
        check(&[], &[]);
        check(&[(5, 4)], &[]);
        check(&[(0, 0)], &[(0, 2 * HOUR - 1)]);
        check(&[(2 * HOUR - 1, 2 * HOUR)], &[(0, 4 * HOUR - 1)]);
        check(&[(-1, -1)], &[(-2 * HOUR, -1)]);
        check(&[(9 * HOUR, 9 * HOUR), (HOUR, HOUR)], &[(0, 2 * HOUR - 1), (8 * HOUR, 10 * HOUR - 1)]);
        check(&[(HOUR, HOUR), (3 * HOUR, 3 * HOUR), (0, 5)], &[(0, 4 * HOUR - 1)]);
        check(&[(i64::MIN, i64::MAX), (0, 1)], &[(i64::MIN, i64::MAX)]);
    }
}
