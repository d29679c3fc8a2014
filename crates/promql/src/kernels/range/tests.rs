//! Tests of range functions: a plain transcription of Prometheus' rules, window by window, on
//! random series; and values worked out by hand.

use promontory_model::stale_nan;

use super::super::window::RangeWindow;
use super::*;
use crate::functions::{FUNCTIONS, Function, Kernel};
use crate::grid::Grid;

fn of(function: &Function) -> Option<RangeFunction> {
    match function.kernel {
        Kernel::Range(function) => Some(function),
        _ => None,
    }
}

fn all() -> impl Iterator<Item = RangeFunction> {
    FUNCTIONS.iter().filter_map(of)
}

fn by_name(name: &str) -> RangeFunction {
    Function::by_name(name).and_then(of).unwrap()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What Prometheus does, sample by sample: no sharing, no shortcuts.
mod plain {
    use super::super::super::quantile::quantile;
    use super::*;

    fn kahan_inc(inc: f64, sum: f64, c: f64) -> (f64, f64) {
        let t = sum + inc;
        if t.is_infinite() {
            (t, 0.0)
        } else if sum.abs() >= inc.abs() {
            (t, c + ((sum - t) + inc))
        } else {
            (t, c + ((inc - t) + sum))
        }
    }

    fn extrapolated(
        ts: &[i64],
        values: &[f64],
        range_start: i64,
        range_end: i64,
        counter: bool,
        per_second: bool,
    ) -> Option<f64> {
        if ts.len() < 2 {
            return None;
        }
        let gaps = ts.len() - 1;
        let mut result = values[gaps] - values[0];
        if counter {
            for pair in values.windows(2) {
                if pair[1] < pair[0] {
                    result += pair[0];
                }
            }
        }
        let mut to_start = (ts[0] - range_start) as f64 / 1000.0;
        let mut to_end = (range_end - ts[gaps]) as f64 / 1000.0;
        let sampled = (ts[gaps] - ts[0]) as f64 / 1000.0;
        let average = sampled / gaps as f64;
        let threshold = average * 1.1;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if counter && result > 0.0 && values[0] >= 0.0 {
            let to_zero = sampled * (values[0] / result);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let mut factor = (sampled + to_start + to_end) / sampled;
        if per_second {
            let range = range_end - range_start;
            factor /= (range / 1000) as f64 + (range % 1000 * 1_000_000) as f64 / 1e9;
        }
        Some(result * factor)
    }

    fn average(values: &[f64]) -> f64 {
        let (mut sum, mut count) = (values[0], 1.0);
        let (mut mean, mut c, mut incremental) = (0.0, 0.0, false);
        for (i, v) in values[1..].iter().enumerate() {
            count = (i + 2) as f64;
            if !incremental {
                let (new_sum, new_c) = kahan_inc(*v, sum, c);
                if !new_sum.is_infinite() {
                    (sum, c) = (new_sum, new_c);
                    continue;
                }
                incremental = true;
                mean = sum / (count - 1.0);
                c /= count - 1.0;
            }
            let q = (count - 1.0) / count;
            (mean, c) = kahan_inc(v / count, q * mean, q * c);
        }
        if incremental { mean + c } else { sum / count + c / count }
    }

    fn variance(values: &[f64]) -> f64 {
        let (mut count, mut mean, mut c_mean, mut aux, mut c_aux) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for v in values {
            count += 1.0;
            let delta = v - (mean + c_mean);
            (mean, c_mean) = kahan_inc(delta / count, mean, c_mean);
            (aux, c_aux) = kahan_inc(delta * (v - (mean + c_mean)), aux, c_aux);
        }
        (aux + c_aux) / count
    }

    fn extreme(ts: &[i64], values: &[f64], better: impl Fn(f64, f64) -> bool) -> (f64, i64) {
        let mut best = (values[0], ts[0]);
        for (t, v) in ts.iter().zip(values) {
            if better(*v, best.0) || best.0.is_nan() {
                best = (*v, *t);
            }
        }
        best
    }

    fn regression(ts: &[i64], values: &[f64], origin: i64) -> Option<(f64, f64)> {
        if ts.len() < 2 {
            return None;
        }
        let (mut n, mut constant) = (0.0, true);
        let mut sums = [(0.0, 0.0); 4];
        for (i, (t, y)) in ts.iter().zip(values).enumerate() {
            if constant && i > 0 && *y != values[0] {
                constant = false;
            }
            n += 1.0;
            let x = (t - origin) as f64 / 1e3;
            for (sum, term) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
                *sum = kahan_inc(term, sum.0, sum.1);
            }
        }
        if constant {
            let v = values[0];
            return Some(if v.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, v) });
        }
        let [x, y, xy, x2] = sums.map(|(sum, c)| sum + c);
        let slope = (xy - x * y / n) / (x2 - x * x / n);
        Some((slope, y / n - slope * x / n))
    }

    fn smoothed(values: &[f64], sf: f64, tf: f64) -> Option<f64> {
        if values.len() < 2 {
            return None;
        }
        let (mut s0, mut s1, mut b) = (0.0, values[0], values[1] - values[0]);
        for (i, value) in values.iter().enumerate().skip(1) {
            let x = sf * value;
            b = if i == 1 { b } else { tf * (s1 - s0) + (1.0 - tf) * b };
            let y = (1.0 - sf) * (s1 + b);
            (s0, s1) = (s1, x + y);
        }
        Some(s1)
    }

    /// One window: `ts` and `values` are what it holds.
    pub fn window(
        function: RangeFunction,
        params: [f64; 2],
        (ts, values): (&[i64], &[f64]),
        (start, end): (i64, i64),
        eval: i64,
    ) -> Option<f64> {
        use RangeFunction as F;
        if ts.is_empty() {
            return None;
        }
        let last = ts.len() - 1;
        let pairs = || values.windows(2).map(|pair| (pair[0], pair[1]));
        Some(match function {
            F::Rate => return extrapolated(ts, values, start, end, true, true),
            F::Increase => return extrapolated(ts, values, start, end, true, false),
            F::Delta => return extrapolated(ts, values, start, end, false, false),
            F::Irate | F::Idelta if last == 0 => return None,
            F::Irate | F::Idelta => {
                let (a, b) = (values[last - 1], values[last]);
                let rate = function == F::Irate;
                let change = if rate && b < a { b } else { b - a };
                if rate { change / ((ts[last] - ts[last - 1]) as f64 / 1000.0) } else { change }
            }
            F::Deriv => return regression(ts, values, ts[0]).map(|(slope, _)| slope),
            F::PredictLinear => {
                return regression(ts, values, eval).map(|(slope, at)| slope * params[0] + at);
            }
            F::Changes => pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64,
            F::Resets => pairs().filter(|(a, b)| b < a).count() as f64,
            F::AvgOverTime => average(values),
            F::CountOverTime => values.len() as f64,
            F::FirstOverTime => values[0],
            F::LastOverTime => values[last],
            F::MaxOverTime => extreme(ts, values, |v, best| v > best).0,
            F::MinOverTime => extreme(ts, values, |v, best| v < best).0,
            F::TsOfMaxOverTime => extreme(ts, values, |v, best| v >= best).1 as f64 / 1000.0,
            F::TsOfMinOverTime => extreme(ts, values, |v, best| v <= best).1 as f64 / 1000.0,
            F::SumOverTime => {
                let (sum, c) = values.iter().fold((0.0, 0.0), |(sum, c), v| kahan_inc(*v, sum, c));
                if sum.is_infinite() { sum } else { sum + c }
            }
            F::StddevOverTime => variance(values).sqrt(),
            F::StdvarOverTime => variance(values),
            F::QuantileOverTime => quantile(params[0], &mut values.to_vec()),
            F::MadOverTime => {
                if values.iter().any(|v| v.is_nan()) {
                    return Some(f64::NAN);
                }
                let median = quantile(0.5, &mut values.to_vec());
                let mut distances: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
                quantile(0.5, &mut distances)
            }
            F::PresentOverTime | F::AbsentOverTime => 1.0,
            F::TsOfFirstOverTime => ts[0] as f64 / 1000.0,
            F::TsOfLastOverTime => ts[last] as f64 / 1000.0,
            F::DoubleExponentialSmoothing => return smoothed(values, params[0], params[1]),
        })
    }

    /// All windows of a grid, each with all samples looked through.
    pub fn series(
        function: RangeFunction,
        params: &RangeParams<'_>,
        ts: &[i64],
        values: &[f64],
        window: &RangeWindow,
    ) -> Vec<Option<f64>> {
        (0..window.ends.steps)
            .map(|step| {
                let end = window.ends.time(step);
                let start = end - window.range;
                let inside: (Vec<i64>, Vec<f64>) = ts
                    .iter()
                    .zip(values)
                    .filter(|(t, v)| **t > start && **t <= end && !is_stale(**v))
                    .unzip();
                let params = [params.first.at(step), params.second.at(step)];
                let eval = window.eval.time(step);
                self::window(function, params, (&inside.0, &inside.1), (start, end), eval)
            })
            .collect()
    }
}

fn evaluate(
    function: RangeFunction,
    params: &RangeParams<'_>,
    ts: &[i64],
    values: &[f64],
    window: &RangeWindow,
    scratch: &mut Scratch,
) -> Vec<Option<f64>> {
    let steps = window.ends.steps;
    let (mut out, mut valid) = (vec![9.9; steps], vec![true; steps]);
    let found =
        eval_range(function, params, FloatsView::new(ts, values), window, scratch, &mut out, &mut valid)
            .unwrap();
    assert_eq!(found, valid.iter().filter(|v| **v).count(), "{function:?}: number of valid points");
    for (out, valid) in out.iter().zip(&valid) {
        assert!(*valid || *out == 0.0, "{function:?}: {out} where nothing is");
    }
    out.iter().zip(&valid).map(|(out, valid)| valid.then_some(*out)).collect()
}

fn same_bits(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        _ => false,
    }
}

fn random_ts(random: &mut Random) -> Vec<i64> {
    let samples = random.below(90);
    let interval = [1, 1000, 5000, 15_000, 15_001][random.below(5) as usize];
    let jitter = if random.one_in(2) { 0 } else { interval / 10 + 1 };
    let mut t = random.below(200_000) as i64 - 100_000;
    let mut ts: Vec<i64> = Vec::new();
    for _ in 0..samples {
        t += interval;
        if jitter > 0 && random.one_in(12) {
            t += interval * random.below(30) as i64;
        }
        let moved = t + if jitter > 0 { random.below(jitter as u64) as i64 } else { 0 };
        if ts.last().is_none_or(|last| *last < moved) {
            ts.push(moved);
        }
    }
    ts
}

fn random_values(random: &mut Random, count: usize) -> Vec<f64> {
    let shape = random.below(9);
    let mut counter = if random.one_in(2) { 0.0 } else { random.unit() * 1e6 };
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MAX, -f64::MAX, 5e-324];
    (0..count)
        .map(|_| {
            let value = match shape {
                // Counters with and without resets, whole and not.
                0 | 1 => {
                    counter += (random.unit() * 100.0).floor();
                    if shape == 1 && random.one_in(15) {
                        counter = (random.unit() * 3.0).floor();
                    }
                    counter
                }
                2 => {
                    counter += random.unit();
                    if random.one_in(20) {
                        counter = random.unit();
                    }
                    counter
                }
                // Gauges.
                3 => random.unit() * 2.0 - 1.0,
                4 => (random.unit() * 20.0).floor() - 10.0,
                5 => 42.5,
                // Extremes of all kinds.
                6 if random.one_in(3) => special[random.below(8) as usize],
                6 => random.unit(),
                7 => f64::MAX * (random.unit() * 2.0 - 1.0),
                _ if random.one_in(6) => f64::NAN,
                _ => (random.unit() * 1e-300) * 1e-20,
            };
            if random.one_in(25) { stale_nan() } else { value }
        })
        .collect()
}

fn random_window(random: &mut Random, ts: &[i64]) -> RangeWindow {
    let step = [1000, 15_000, 30_000, 60_000, 7001, 5000, 1][random.below(7) as usize];
    let steps = 1 + random.below(60) as usize;
    let from = ts.first().copied().unwrap_or_default() - 100_000;
    let eval = Grid { start: from + random.below(400_000) as i64, step, steps };
    let range = match random.below(3) {
        0 => step * (1 + random.below(8) as i64),
        1 => 15_000 * (1 + random.below(20) as i64),
        _ => 1 + random.below(300_000) as i64,
    };
    if random.one_in(8) {
        return RangeWindow::fixed(eval, range, eval.start + 60_000);
    }
    RangeWindow::new(eval, range, [0, 0, 60_000, -30_000][random.below(4) as usize])
}

#[test]
fn every_function_equals_the_plain_transcription_bit_for_bit() {
    let mut scratch = Scratch::default();
    for seed in 0..3000 {
        let mut random = Random(seed);
        let ts = random_ts(&mut random);
        let window = random_window(&mut random, &ts);
        let quantiles: Vec<f64> =
            (0..window.ends.steps).map(|_| (random.unit() * 1.4 * 8.0).floor() / 8.0 - 0.2).collect();
        // Series of one target: the same times, other values; geometry must not be kept too long.
        for _ in 0..2 {
            let values = random_values(&mut random, ts.len());
            for function in all() {
                let params = match function {
                    RangeFunction::QuantileOverTime => RangeParams {
                        first: if seed % 2 == 0 { Param::PerStep(&quantiles) } else { Param::Constant(0.9) },
                        ..RangeParams::NONE
                    },
                    _ => RangeParams { first: Param::Constant(0.3), second: Param::Constant(0.7) },
                };
                let got = evaluate(function, &params, &ts, &values, &window, &mut scratch);
                let expected = plain::series(function, &params, &ts, &values, &window);
                for (step, (got, expected)) in got.into_iter().zip(expected).enumerate() {
                    // Which of two zeros an unstable sort puts first is nobody's promise.
                    let either_zero = function == RangeFunction::QuantileOverTime && got == expected;
                    assert!(
                        same_bits(got, expected) || either_zero,
                        "seed {seed}, {function:?}, step {step} of {window:?}: {got:?}, expected {expected:?}\n\
                         {ts:?}\n{values:?}"
                    );
                }
            }
        }
    }
}

/// Samples every 15 s from `start`, in seconds, and one point at `end`.
fn check_one(function: &str, param: f64, values: &[f64], range_s: i64, end_s: i64, expected: Option<f64>) {
    let function = by_name(function);
    let ts: Vec<i64> = (1..).map(|i| i * 15_000).take(values.len()).collect();
    let params = RangeParams { first: Param::Constant(param), second: Param::Constant(param) };
    let window = RangeWindow::new(Grid::instant(end_s * 1000), range_s * 1000, 0);
    let got = evaluate(function, &params, &ts, values, &window, &mut Scratch::default())[0];
    let near = match (got, expected) {
        (Some(got), Some(expected)) => (got - expected).abs() <= 1e-12 * expected.abs().max(1.0),
        (got, expected) => got == expected,
    };
    assert!(near, "{function:?}: {got:?}, expected {expected:?}");
}

#[test]
fn rates_are_extrapolated_to_the_window_but_not_below_zero() {
    // Samples at 15, 30, 45, 60; the window (0, 60] begins one interval before the first sample.
    check_one("increase", 0.0, &[100.0, 110.0, 120.0, 130.0], 60, 60, Some(40.0));
    check_one("rate", 0.0, &[100.0, 110.0, 120.0, 130.0], 60, 60, Some(40.0 / 60.0));
    // From 5 at 15 s the slope reaches zero 7.5 s before: 45 s become 52.5 s.
    check_one("increase", 0.0, &[5.0, 15.0, 25.0, 35.0], 60, 60, Some(30.0 * 52.5 / 45.0));
    // A reset adds what was lost: 100 -> 110 -> 10 -> 20.
    check_one("increase", 0.0, &[100.0, 110.0, 10.0, 20.0], 60, 60, Some(30.0 * 60.0 / 45.0));
    // delta neither knows resets nor zero.
    check_one("delta", 0.0, &[5.0, 15.0, 5.0, 35.0], 60, 60, Some(40.0));
    // Far from both ends of (-300, 300]: half an interval on each side.
    check_one("increase", 0.0, &[100.0, 110.0, 120.0, 130.0], 600, 300, Some(40.0));
    check_one("rate", 0.0, &[1.0], 60, 60, None);
}

#[test]
fn windows_are_open_on_the_left_and_closed_on_the_right() {
    let values = [1.0, 2.0, 4.0, 8.0];
    check_one("sum_over_time", 0.0, &values, 30, 60, Some(12.0));
    check_one("sum_over_time", 0.0, &values, 31, 60, Some(14.0));
    check_one("sum_over_time", 0.0, &values, 45, 60, Some(14.0));
    check_one("count_over_time", 0.0, &values, 15, 75, None);
    check_one("first_over_time", 0.0, &values, 46, 61, Some(2.0));
    check_one("last_over_time", 0.0, &values, 46, 59, Some(4.0));
    check_one("ts_of_last_over_time", 0.0, &values, 46, 59, Some(45.0));
}

#[test]
fn known_results_of_single_functions() {
    let nan = f64::NAN;
    check_one("irate", 0.0, &[1.0, 5.0, 35.0], 60, 60, Some(2.0));
    check_one("irate", 0.0, &[1.0, 50.0, 30.0], 60, 60, Some(2.0));
    check_one("idelta", 0.0, &[1.0, 50.0, 30.0], 60, 60, Some(-20.0));
    check_one("changes", 0.0, &[1.0, 1.0, nan, nan, 2.0], 100, 75, Some(2.0));
    check_one("resets", 0.0, &[3.0, 1.0, 2.0, 1.0, 1.0], 100, 75, Some(2.0));
    check_one("max_over_time", 0.0, &[nan, 3.0, 1.0, nan], 100, 60, Some(3.0));
    check_one("min_over_time", 0.0, &[nan, 3.0, 1.0, nan], 100, 60, Some(1.0));
    check_one("ts_of_max_over_time", 0.0, &[3.0, 1.0, 3.0, nan], 100, 60, Some(45.0));
    check_one("stdvar_over_time", 0.0, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 200, 120, Some(4.0));
    check_one("stddev_over_time", 0.0, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 200, 120, Some(2.0));
    check_one("quantile_over_time", 0.25, &[4.0, 1.0, 3.0, 2.0], 100, 60, Some(1.75));
    check_one("mad_over_time", 0.0, &[4.0, 6.0, 2.0, 1.0, 999.0, 1.0, 2.0], 200, 105, Some(1.0));
    check_one("deriv", 0.0, &[0.0, 30.0, 60.0], 60, 45, Some(2.0));
    // At 60 s the line through (15, 0), (30, 30), (45, 60) is at 90; ten seconds later at 110.
    check_one("predict_linear", 10.0, &[0.0, 30.0, 60.0], 60, 60, Some(110.0));
    check_one("double_exponential_smoothing", 0.5, &[1.0, 2.0, 3.0], 60, 60, Some(3.0));
    check_one("sum_over_time", 0.0, &[1.0, 1e100, 1.0, -1e100], 100, 60, Some(2.0));
    check_one("avg_over_time", 0.0, &[f64::MAX, f64::MAX], 100, 60, Some(f64::MAX));
}

#[test]
fn predictions_refer_to_the_evaluation_time_not_to_the_shifted_window() {
    let ts = [0, 10_000, 20_000];
    let params = RangeParams { first: Param::Constant(0.0), ..RangeParams::NONE };
    let eval = Grid { start: 80_000, step: 10_000, steps: 2 };
    for window in
        [RangeWindow::new(Grid::instant(80_000), 40_000, 60_000), RangeWindow::fixed(eval, 40_000, 20_000)]
    {
        let got = evaluate(
            RangeFunction::PredictLinear,
            &params,
            &ts,
            &[0.0, 10.0, 20.0],
            &window,
            &mut Scratch::default(),
        );
        for (step, got) in got.into_iter().enumerate() {
            let expected = 80.0 + 10.0 * step as f64;
            assert!((got.unwrap() - expected).abs() < 1e-9, "{got:?}");
        }
    }
}

#[test]
fn smoothing_factors_outside_the_domain_fail_only_where_samples_are() {
    let window = RangeWindow::new(Grid::instant(20_000), 20_000, 0);
    let run = |ts: &[i64], first, second| {
        let values = vec![1.0; ts.len()];
        eval_range(
            RangeFunction::DoubleExponentialSmoothing,
            &RangeParams { first: Param::Constant(first), second: Param::Constant(second) },
            FloatsView::new(ts, &values),
            &window,
            &mut Scratch::default(),
            &mut [0.0],
            &mut [false],
        )
    };
    let text = |result: Result<usize, KernelError>| result.unwrap_err().0;
    assert_eq!(run(&[], 2.0, 2.0), Ok(0));
    assert_eq!(run(&[10_000], 0.5, 0.5), Ok(0));
    assert_eq!(
        text(run(&[10_000], 0.0, 0.5)),
        "invalid smoothing factor. Expected: 0 < sf < 1, got: 0.000000"
    );
    assert_eq!(
        text(run(&[10_000, 11_000], 0.5, 1.5)),
        "invalid trend factor. Expected: 0 < tf < 1, got: 1.500000"
    );
}

#[test]
fn lengths_that_disagree_are_an_error() {
    let window = RangeWindow::new(Grid::instant(0), 1, 0);
    let result = eval_range(
        RangeFunction::Rate,
        &RangeParams::NONE,
        FloatsView::new(&[1, 2], &[1.0, 2.0]),
        &window,
        &mut Scratch::default(),
        &mut [0.0, 0.0],
        &mut [false],
    );
    assert!(result.is_err());
}

#[test]
fn times_at_the_ends_of_the_clock_do_not_overflow() {
    let ts = [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1, i64::MAX];
    let values = [1.0, 2.0, 3.0, 4.0, 5.0];
    for start in [i64::MIN, i64::MAX - 5, 0] {
        let window = RangeWindow::new(Grid { start, step: 1 << 61, steps: 4 }, i64::MAX, 0);
        let mut scratch = Scratch::default();
        for function in all() {
            let params = RangeParams { first: Param::Constant(0.5), second: Param::Constant(0.5) };
            evaluate(function, &params, &ts, &values, &window, &mut scratch);
        }
    }
}

/// The shape of the design's table: 20,000 series of 260 samples, 241 steps of 15 s.
///
/// `cargo test -p promontory-promql --lib kernels::range -- --ignored --nocapture speed`
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn speed_of_range_functions() {
    let series = 2000;
    let window = RangeWindow::new(Grid { start: 300_000, step: 15_000, steps: 241 }, 300_000, 0);
    let mut random = Random(1);
    let (mut out, mut valid) = (vec![0.0; 241], vec![false; 241]);
    for layout in ["same times", "own phase", "own jitter"] {
        let all_ts: Vec<Vec<i64>> = (0..series)
            .map(|s| {
                let phase = if layout == "same times" { 7 } else { (s * 7) % 15_000 };
                (0..260)
                    .map(|i| {
                        i * 15_000 + phase + if layout == "own jitter" { random.below(20) as i64 } else { 0 }
                    })
                    .collect()
            })
            .collect();
        for kind in ["whole", "fraction", "resets"] {
            let all_values: Vec<Vec<f64>> = (0..series)
                .map(|_| {
                    let mut counter = 1000.0;
                    (0..260)
                        .map(|_| {
                            counter += if kind == "fraction" {
                                random.unit()
                            } else {
                                (random.unit() * 50.0).floor()
                            };
                            if kind == "resets" && random.one_in(50) {
                                counter = 0.0;
                            }
                            counter
                        })
                        .collect()
                })
                .collect();
            for name in [
                "rate",
                "sum_over_time",
                "avg_over_time",
                "max_over_time",
                "stddev_over_time",
                "quantile_over_time",
                "deriv",
                "changes",
                "last_over_time",
            ] {
                let function = by_name(name);
                let params = RangeParams { first: Param::Constant(0.9), second: Param::Constant(0.5) };
                let mut scratch = Scratch::default();
                let mut best = f64::INFINITY;
                let mut sum = 0.0;
                for _ in 0..5 {
                    let begin = std::time::Instant::now();
                    for (ts, values) in all_ts.iter().zip(&all_values) {
                        eval_range(
                            function,
                            &params,
                            FloatsView::new(ts, values),
                            &window,
                            &mut scratch,
                            &mut out,
                            &mut valid,
                        )
                        .unwrap();
                        sum += out[100];
                    }
                    best = best.min(begin.elapsed().as_secs_f64());
                }
                let points = (series * 241) as f64;
                eprintln!("{layout:10} {kind:8} {name:20} {:6.2} ns/point ({sum:e})", best / points * 1e9);
            }
        }
    }
}
