//! `deriv` and `predict_linear`: the least-squares line through a window's samples.
//!
//! Source: `linearRegression`, prometheus v3.16 `promql/functions.go`.

use super::super::Param;
use super::super::kahan::Kahan;
use super::{Input, each};

/// The slope per second.
pub(super) fn deriv(input: Input<'_>, out: &mut [f64], valid: &mut [bool]) -> usize {
    each(input, 2, out, valid, |_, lower, upper| {
        line(&input.ts[lower..upper], &input.values[lower..upper], input.ts[lower]).slope
    })
}

/// The value of the line `seconds` after the evaluation time.
pub(super) fn predict_linear(
    input: Input<'_>,
    seconds: Param<'_>,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    each(input, 2, out, valid, |point, lower, upper| {
        let origin = input.window.eval.time(point);
        let line = line(&input.ts[lower..upper], &input.values[lower..upper], origin);
        line.slope * seconds.at(point) + line.intercept
    })
}

struct Line {
    slope: f64,
    /// The value at the origin.
    intercept: f64,
}

fn line(ts: &[i64], values: &[f64], origin: i64) -> Line {
    let first = values[0];
    if values.iter().all(|value| *value == first) {
        if first.is_infinite() {
            return Line { slope: f64::NAN, intercept: f64::NAN };
        }
        return Line { slope: 0.0, intercept: first };
    }
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Kahan::default(); 4];
    for (t, y) in ts.iter().zip(values) {
        let x = t.wrapping_sub(origin) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let count = values.len() as f64;
    let (x, y, xy, xx) = (x_sum.total(), y_sum.total(), xy_sum.total(), xx_sum.total());
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    Line { slope, intercept: y / count - slope * x / count }
}
