//! Functions of range vectors: one series, one result per grid point.
//!
//! Source of every rule: prometheus v3.16 `promql/functions.go`, float samples, without start
//! timestamps, `anchored` and `smoothed`.

mod over_time;
mod rate;
mod regression;

use promontory_model::{Floats, FloatsView, is_stale};

use super::window::{Edges, RangeWindow};
use super::{KernelError, Param};
use crate::go::format_fixed;

/// A function of a range vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is the PromQL function of its name.
pub enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    Changes,
    Resets,
    AvgOverTime,
    CountOverTime,
    FirstOverTime,
    LastOverTime,
    MaxOverTime,
    MinOverTime,
    SumOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    MadOverTime,
    PresentOverTime,
    /// 1 where the window holds a sample, as `present_over_time`: absence over all series is the
    /// planner's to derive.
    AbsentOverTime,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    TsOfMaxOverTime,
    TsOfMinOverTime,
    DoubleExponentialSmoothing,
}

/// Scalar arguments in the order of the function's signature; unused ones are ignored.
///
/// `quantile_over_time(first, x)`, `predict_linear(x, first)`,
/// `double_exponential_smoothing(x, first, second)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // The signatures above say what each means.
pub struct RangeParams<'a> {
    pub first: Param<'a>,
    pub second: Param<'a>,
}

impl RangeParams<'_> {
    /// For functions without scalar arguments.
    pub const NONE: Self = Self { first: Param::Constant(f64::NAN), second: Param::Constant(f64::NAN) };
}

/// What the kernels remember between two series; one per thread, any functions and windows.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    edges: Edges,
    rates: rate::Geometry,
    clean: Floats,
    positions: Vec<u32>,
    numbers: Vec<f64>,
}

impl Scratch {
    /// Samples that the windows of the last series held, stale markers left out, once per window.
    #[must_use]
    pub fn samples_in_windows(&self) -> u64 {
        let edges = self.edges.lower().iter().zip(self.edges.upper());
        edges.map(|(lower, upper)| u64::from(upper.saturating_sub(*lower))).sum()
    }
}

/// What a function works on: one series without stale markers, and where its windows are.
#[derive(Clone, Copy)]
struct Input<'a> {
    ts: &'a [i64],
    values: &'a [f64],
    edges: &'a Edges,
    window: &'a RangeWindow,
}

/// Evaluates `function` over the windows of one series; returns how many points are valid.
///
/// Timestamps strictly ascend; stale markers are dropped here. `out` and `valid` have one element per grid point and are written completely;
/// where `valid` is false, `out` is 0.
///
/// # Errors
/// If a scalar argument is outside its domain, where Prometheus fails the query
/// (`double_exponential_smoothing` only), or if slices disagree in length.
#[allow(clippy::too_many_arguments)] // A kernel takes slices; a struct would only rename them.
pub fn eval_range(
    function: RangeFunction,
    params: &RangeParams<'_>,
    samples: FloatsView<'_>,
    window: &RangeWindow,
    scratch: &mut Scratch,
    out: &mut [f64],
    valid: &mut [bool],
) -> Result<usize, KernelError> {
    let steps = window.ends.steps;
    if out.len() != steps || valid.len() != steps {
        return Err(KernelError(format!(
            "cannot evaluate windows: {} and {} results for {steps} steps",
            out.len(),
            valid.len()
        )));
    }
    let Scratch { edges, rates, clean, positions, numbers } = scratch;
    let samples = without_stale(samples, clean);
    let (ts, values) = (samples.ts(), samples.values());
    edges.prepare(ts, window);
    let input = Input { ts, values, edges, window };
    let found = match function {
        RangeFunction::Rate => rate::rate(input, rates, rate::Kind::PerSecond, positions, out, valid),
        RangeFunction::Increase => rate::rate(input, rates, rate::Kind::Total, positions, out, valid),
        RangeFunction::Delta => rate::delta(input, rates, out, valid),
        RangeFunction::Irate => rate::instant(input, true, out, valid),
        RangeFunction::Idelta => rate::instant(input, false, out, valid),
        RangeFunction::Deriv => regression::deriv(input, out, valid),
        RangeFunction::PredictLinear => regression::predict_linear(input, params.first, out, valid),
        RangeFunction::DoubleExponentialSmoothing => {
            return smooth(input, params, out, valid);
        }
        RangeFunction::Changes => over_time::changes(input, positions, out, valid),
        RangeFunction::Resets => over_time::resets(input, positions, out, valid),
        RangeFunction::AvgOverTime => over_time::average(input, numbers, out, valid),
        RangeFunction::SumOverTime => over_time::sum(input, numbers, out, valid),
        RangeFunction::StddevOverTime => over_time::variance(input, f64::sqrt, out, valid),
        RangeFunction::StdvarOverTime => over_time::variance(input, |v| v, out, valid),
        RangeFunction::MaxOverTime => over_time::max(input, out, valid),
        RangeFunction::MinOverTime => over_time::min(input, out, valid),
        RangeFunction::TsOfMaxOverTime => over_time::ts_of_max(input, out, valid),
        RangeFunction::TsOfMinOverTime => over_time::ts_of_min(input, out, valid),
        RangeFunction::QuantileOverTime => over_time::quantile(input, params.first, numbers, out, valid),
        RangeFunction::MadOverTime => over_time::mad(input, numbers, out, valid),
        RangeFunction::CountOverTime => each(input, 1, out, valid, |_, lower, upper| (upper - lower) as f64),
        RangeFunction::PresentOverTime | RangeFunction::AbsentOverTime => {
            each(input, 1, out, valid, |_, _, _| 1.0)
        }
        RangeFunction::FirstOverTime => each(input, 1, out, valid, |_, lower, _| values[lower]),
        RangeFunction::LastOverTime => each(input, 1, out, valid, |_, _, upper| values[upper - 1]),
        RangeFunction::TsOfFirstOverTime => each(input, 1, out, valid, |_, lower, _| seconds(ts[lower])),
        RangeFunction::TsOfLastOverTime => each(input, 1, out, valid, |_, _, upper| seconds(ts[upper - 1])),
    };
    Ok(found)
}

/// The result of `of(point, lower, upper)` at every point whose window has at least `samples_min`
/// samples.
#[inline(always)]
fn each(
    input: Input<'_>,
    samples_min: usize,
    out: &mut [f64],
    valid: &mut [bool],
    mut of: impl FnMut(usize, usize, usize) -> f64,
) -> usize {
    let mut found = 0;
    let edges = input.edges.lower().iter().zip(input.edges.upper());
    for (point, (((lower, upper), out), valid)) in edges.zip(out).zip(valid).enumerate() {
        let (lower, upper) = (*lower as usize, *upper as usize);
        *valid = upper >= lower + samples_min;
        *out = if *valid { of(point, lower, upper) } else { 0.0 };
        found += usize::from(*valid);
    }
    found
}

/// The series without its stale markers; copied only if there are any.
fn without_stale<'a>(samples: FloatsView<'a>, clean: &'a mut Floats) -> FloatsView<'a> {
    let values = samples.values();
    // Markers are NaN, and asking for NaN vectorises.
    let any_nan = values.iter().fold(false, |any, value| any | value.is_nan());
    if !any_nan || !values.iter().any(|value| is_stale(*value)) {
        return samples;
    }
    clean.clear();
    samples.iter().filter(|(_, value)| !is_stale(*value)).for_each(|(ts, value)| clean.push(ts, value));
    clean.view()
}

fn seconds(ts: i64) -> f64 {
    ts as f64 / 1000.0
}

/// `double_exponential_smoothing`: parameters are checked only where there are samples.
fn smooth(
    input: Input<'_>,
    params: &RangeParams<'_>,
    out: &mut [f64],
    valid: &mut [bool],
) -> Result<usize, KernelError> {
    let edges = input.edges.lower().iter().zip(input.edges.upper());
    for (point, _) in edges.enumerate().filter(|(_, (lower, upper))| upper > lower) {
        for (what, factor) in [("smoothing", params.first.at(point)), ("trend", params.second.at(point))] {
            if factor <= 0.0 || factor >= 1.0 {
                let shown = format_fixed(factor);
                let symbol = if what == "smoothing" { "sf" } else { "tf" };
                return Err(KernelError(format!(
                    "invalid {what} factor. Expected: 0 < {symbol} < 1, got: {shown}"
                )));
            }
        }
    }
    Ok(each(input, 2, out, valid, |point, lower, upper| {
        let (smoothing, trend_factor) = (params.first.at(point), params.second.at(point));
        let values = &input.values[lower..upper];
        let mut before = 0.0;
        let mut smoothed = values[0];
        let mut trend = values[1] - values[0];
        for (index, value) in values[1..].iter().enumerate() {
            if index > 0 {
                trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
            }
            let next = smoothing * value + (1.0 - smoothing) * (smoothed + trend);
            (before, smoothed) = (smoothed, next);
        }
        smoothed
    }))
}

#[cfg(test)]
mod tests;
