//! Windows that changes touch, and the epochs that follow.

use super::*;

const W: i64 = EPOCH_WINDOW_MS;

fn touched(ts: &[i64]) -> Vec<(i64, i64)> {
    let touched = Touched::by_samples(&TenantId::anonymous(), ts.iter().copied());
    touched.windows.iter().map(|run| (run.first, run.last)).collect()
}

fn run(first: i64, last: i64) -> WindowRun {
    WindowRun { first, last }
}

/// Epochs after these changes, at versions from 1 on.
fn epochs(changes: &[&[(i64, i64)]]) -> Epochs {
    let mut epochs = Epochs::default();
    for (version, windows) in (1..).zip(changes) {
        let windows: Vec<WindowRun> = windows.iter().map(|(first, last)| run(*first, *last)).collect();
        epochs.raise(&windows, version);
    }
    epochs
}

fn shown(epochs: &Epochs) -> Vec<(i64, i64, u64)> {
    epochs.runs.iter().map(|run| (run.windows.first, run.windows.last, run.epoch)).collect()
}

#[test]
fn samples_touch_the_windows_that_they_lie_in() {
    assert_eq!(touched(&[]), []);
    assert_eq!(touched(&[0, W - 1]), [(0, 0)]);
    assert_eq!(touched(&[-1, 0, W, 5 * W]), [(-1, 1), (5, 5)]);
    assert_eq!(touched(&[5 * W, 0, 5 * W, -1]), [(-1, 0), (5, 5)]);
    let ends = touched(&[i64::MIN, i64::MAX]);
    assert_eq!(ends, [(i64::MIN.div_euclid(W), i64::MIN.div_euclid(W)), (i64::MAX / W, i64::MAX / W)]);
}

#[test]
fn a_change_of_very_many_windows_names_the_newest_exactly() {
    let many: Vec<i64> = (0..100).map(|window| 2 * window * W).collect();
    let runs = touched(&many);
    assert_eq!(runs.len(), WINDOW_RUNS_MAX);
    assert_eq!(runs[0], (0, 72));
    assert_eq!(runs[1], (74, 74));
    assert_eq!(runs[63], (198, 198));
}

#[test]
fn the_newest_change_of_a_window_counts() {
    assert_eq!(shown(&epochs(&[&[(0, 9)]])), [(0, 9, 1)]);
    assert_eq!(shown(&epochs(&[&[(0, 9)], &[(3, 4)]])), [(0, 2, 1), (3, 4, 2), (5, 9, 1)]);
    assert_eq!(shown(&epochs(&[&[(0, 1), (5, 6)], &[(1, 5)]])), [(0, 0, 1), (1, 5, 2), (6, 6, 1)]);
    assert_eq!(shown(&epochs(&[&[(0, 1)], &[(-5, 20)]])), [(-5, 20, 2)]);
    assert_eq!(shown(&epochs(&[&[(0, 1), (2, 3)]])), [(0, 3, 1)]);
    assert_eq!(epochs(&[&[(0, 1)], &[]]).changed, 2);
}

#[test]
fn old_windows_become_one_run_that_is_never_too_low() {
    let mut epochs = Epochs::default();
    for version in 1..=300 {
        epochs.raise(&[run(version, version)], version as u64);
    }
    assert_eq!(epochs.runs.len(), EPOCH_RUNS_MAX);
    assert_eq!(shown(&epochs)[..2], [(1, 45, 45), (46, 46, 46)]);
    // A late sample raises all of the old windows.
    epochs.raise(&[run(7, 7)], 301);
    let of_seven = epochs.within(TimeRange::new(7 * W, 7 * W));
    assert_eq!(of_seven, [(TimeRange::new(7 * W, 8 * W - 1), 301)]);
    let of_one = epochs.within(TimeRange::new(W, W))[0].1;
    assert!(of_one >= 45, "{of_one}");
}

#[test]
fn parts_of_a_range_cover_it_without_a_gap() {
    let epochs = epochs(&[&[(2, 3)], &[(6, 6)]]);
    let within = |start, end| {
        let parts = epochs.within(TimeRange::new(start, end));
        parts.iter().map(|(range, epoch)| (range.start / W, (range.end + 1) / W, *epoch)).collect::<Vec<_>>()
    };
    assert_eq!(within(W, 7 * W), [(1, 2, 0), (2, 4, 1), (4, 6, 0), (6, 7, 2), (7, 8, 0)]);
    assert_eq!(within(2 * W + 5, 2 * W + 6), [(2, 3, 1)]);
    assert_eq!(within(9 * W, 9 * W), [(9, 10, 0)]);
    let all = epochs.within(TimeRange::ALL);
    assert_eq!((all[0].0.start, all.last().unwrap().0.end), (i64::MIN, i64::MAX));
}
