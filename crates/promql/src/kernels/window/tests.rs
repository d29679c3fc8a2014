//! Tests of window edges and subquery grids.

use super::*;

fn check(ts: &[i64], window: RangeWindow) {
    let mut edges = Edges::default();
    edges.prepare(ts, &window);
    for point in 0..window.ends.steps {
        let end = window.ends.time(point);
        let start = end - window.range;
        let inside = |t: &&i64| **t > start && **t <= end;
        let expected = ts.iter().filter(inside).count() as u32;
        let (lower, upper) = (edges.lower()[point], edges.upper()[point]);
        assert_eq!(upper - lower, expected, "point {point} of {window:?} over {ts:?}");
        assert!(ts[lower as usize..upper as usize].iter().all(|t| inside(&t)), "point {point} of {window:?}");
    }
    let uniform = edges.uniform();
    assert!(uniform.end <= window.ends.steps);
    let length = |point: usize| edges.upper()[point] - edges.lower()[point];
    for point in uniform.clone().skip(1) {
        assert_eq!(edges.lower()[point] - edges.lower()[point - 1], edges.stride() as u32);
        assert_eq!(length(point), length(uniform.start));
    }
}

#[test]
fn edges_hold_exactly_the_samples_of_left_open_windows() {
    let regular: Vec<i64> = (0..40).map(|i| -100 + 10 * i).collect();
    let irregular: Vec<i64> = (0..40).map(|i| -100 + 10 * i + i % 3 + if i > 20 { 77 } else { 0 }).collect();
    for ts in [&regular[..], &irregular[..], &regular[..1], &regular[..2], &[]] {
        for step in [1, 3, 10, 20, 30, 1000] {
            for range in [0, 1, 9, 10, 11, 30, 60, 1000] {
                for start in [-500, -101, -100, -99, 0, 5, 290, 600] {
                    check(ts, RangeWindow::new(Grid { start, step, steps: 50 }, range, 7));
                }
            }
        }
        check(ts, RangeWindow::fixed(Grid { start: 0, step: 10, steps: 5 }, 25, 33));
    }
}

#[test]
fn long_series_over_few_points_are_searched() {
    let ts: Vec<i64> = (0..1000).map(|i| i * 7 + i % 2).collect();
    check(&ts, RangeWindow::new(Grid { start: 100, step: 2000, steps: 4 }, 3000, 0));
}

#[test]
fn edges_are_found_anew_for_other_times_or_windows() {
    let window = RangeWindow::new(Grid { start: 0, step: 10, steps: 3 }, 20, 0);
    let mut edges = Edges::default();
    edges.prepare(&[1, 2, 3], &window);
    let version = edges.version();
    edges.prepare(&[1, 2, 3], &window);
    assert_eq!(edges.version(), version);
    edges.prepare(&[1, 2, 4], &window);
    assert_ne!(edges.version(), version);
    edges.prepare(&[1, 2, 4], &RangeWindow { range: 21, ..window });
    assert_eq!(edges.version(), version + 2);
}

#[test]
fn a_uniform_part_covers_the_grid_of_a_regular_series() {
    let ts: Vec<i64> = (0..100).map(|i| i * 15 + 7).collect();
    let mut edges = Edges::default();
    edges.prepare(&ts, &RangeWindow::new(Grid { start: 300, step: 30, steps: 30 }, 300, 0));
    assert_eq!((edges.uniform(), edges.stride()), (0..30, 2));
    edges.prepare(&ts, &RangeWindow::new(Grid { start: 300, step: 31, steps: 30 }, 300, 0));
    assert!(edges.uniform().is_empty());
}

#[test]
fn subquery_grids_are_absolute_multiples_strictly_after_the_window_start() {
    let check = |outer: Grid, range, offset, step, expected: &[i64]| {
        assert_eq!(subquery_grid(outer, range, offset, step).times().collect::<Vec<_>>(), expected);
    };
    check(Grid::instant(100), 30, 0, 10, &[80, 90, 100]);
    check(Grid::instant(105), 30, 0, 10, &[80, 90, 100]);
    check(Grid::instant(100), 30, 5, 10, &[70, 80, 90]);
    check(Grid::instant(100), 30, -5, 10, &[80, 90, 100]);
    check(Grid::instant(3), 30, 0, 10, &[-20, -10, 0]);
    check(Grid::instant(0), 30, 0, 10, &[-20, -10, 0]);
    check(Grid::instant(-5), 20, 0, 10, &[-20, -10]);
    check(Grid { start: 100, step: 25, steps: 3 }, 20, 0, 20, &[100, 120, 140]);
    check(Grid { start: 5, step: 1, steps: 0 }, 20, 0, 20, &[]);
    check(Grid::instant(5), 3, 0, 10, &[]);
}
