//! Instant vector selectors: the newest sample that is not older than the lookback.
//!
//! Source: `evaluator.vectorSelectorSingle`, prometheus v3.16 `promql/engine.go`.

use promontory_model::time::first_at_or_after;
use promontory_model::{FloatsView, is_stale};

use crate::grid::Grid;

/// Writes the newest value in `(t - lookback, t]` for each time `t` of `grid` (offset and `@`
/// already applied); returns how many points are valid.
///
/// Nothing where there is no such sample or where it is a stale marker. `out` and `valid` have one
/// element per grid point; where `valid` is false, `out` is 0.
pub fn lookup_value(
    samples: FloatsView<'_>,
    grid: &Grid,
    lookback: i64,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    lookup_with(samples, grid, lookback, out, valid, |_, value| value)
}

/// As [`lookup_value`], but writes the timestamp of the sample in seconds, as `timestamp()` wants it.
pub fn lookup_timestamp(
    samples: FloatsView<'_>,
    grid: &Grid,
    lookback: i64,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    lookup_with(samples, grid, lookback, out, valid, |t, _| t as f64 / 1000.0)
}

fn lookup_with(
    samples: FloatsView<'_>,
    grid: &Grid,
    lookback: i64,
    out: &mut [f64],
    valid: &mut [bool],
    result: impl Fn(i64, f64) -> f64,
) -> usize {
    let (ts, values) = (samples.ts(), samples.values());
    let mut count = first_at_or_after(ts, grid.start.saturating_add(1));
    let mut found = 0;
    for ((time, out), valid) in grid.times().zip(out).zip(valid) {
        while count < ts.len() && ts[count] <= time {
            count += 1;
        }
        (*out, *valid) = (0.0, false);
        if count > 0 && ts[count - 1] > time.saturating_sub(lookback) && !is_stale(values[count - 1]) {
            (*out, *valid) = (result(ts[count - 1], values[count - 1]), true);
            found += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ts: &[i64], values: &[f64], grid: Grid, lookback: i64, expected: &[Option<f64>]) {
        let mut out = vec![9.0; grid.steps];
        let mut valid = vec![true; grid.steps];
        let found = lookup_value(FloatsView::new(ts, values), &grid, lookback, &mut out, &mut valid);
        let got: Vec<_> = out.iter().zip(&valid).map(|(v, ok)| ok.then_some(*v)).collect();
        assert_eq!(got, expected);
        assert_eq!(found, expected.iter().flatten().count());
    }

    #[test]
    fn the_newest_sample_in_the_left_open_lookback_counts() {
        let ts = [10, 20, 50];
        let values = [1.0, 2.0, 5.0];
        let some = |v| Some(v);
        check(
            &ts,
            &values,
            Grid::new(0, 80, 10),
            20,
            &[None, some(1.0), some(2.0), some(2.0), None, some(5.0), some(5.0), None, None],
        );
    }

    #[test]
    fn a_stale_marker_ends_a_series_until_the_next_sample() {
        let ts = [10, 20, 40];
        let values = [1.0, promontory_model::stale_nan(), 4.0];
        check(&ts, &values, Grid::new(10, 50, 10), 100, &[Some(1.0), None, None, Some(4.0), Some(4.0)]);
    }

    #[test]
    fn an_ordinary_nan_is_a_value() {
        let mut out = [0.0];
        let mut valid = [false];
        assert_eq!(
            lookup_value(FloatsView::new(&[5], &[f64::NAN]), &Grid::instant(5), 1, &mut out, &mut valid),
            1
        );
        assert!(out[0].is_nan() && valid[0]);
    }

    #[test]
    fn a_fixed_time_gives_the_same_at_each_step() {
        check(&[10], &[3.0], Grid { start: 12, step: 0, steps: 3 }, 5, &[Some(3.0); 3]);
    }

    #[test]
    fn timestamps_are_in_seconds_and_of_the_sample() {
        let mut out = [0.0; 2];
        let mut valid = [false; 2];
        let grid = Grid::new(2000, 3000, 1000);
        assert_eq!(lookup_timestamp(FloatsView::new(&[1500], &[7.0]), &grid, 5000, &mut out, &mut valid), 2);
        assert_eq!(out, [1.5, 1.5]);
    }

    /// `cargo test -p promontory-promql --lib kernels::instant -- --ignored --nocapture speed`
    #[test]
    #[ignore = "a measurement"]
    #[allow(clippy::print_stderr)]
    fn speed_of_lookup() {
        let grid = Grid { start: 300_000, step: 15_000, steps: 241 };
        let values: Vec<f64> = (0..260).map(f64::from).collect();
        let (mut out, mut valid) = (vec![0.0; 241], vec![false; 241]);
        let mut best = f64::INFINITY;
        let mut found = 0;
        for _ in 0..5 {
            let begin = std::time::Instant::now();
            for series in 0..2000 {
                let ts: Vec<i64> = (0..260).map(|i| i * 15_000 + series * 7).collect();
                found += lookup_value(FloatsView::new(&ts, &values), &grid, 300_000, &mut out, &mut valid);
            }
            best = best.min(begin.elapsed().as_secs_f64());
        }
        eprintln!("lookup: {:.2} ns/point ({found})", best / (2000.0 * 241.0) * 1e9);
    }
}
