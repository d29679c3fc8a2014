//! Quantiles and fractions of classic histograms.
//!
//! Source: `BucketQuantile`, `BucketFraction` and their helpers, prometheus v3.16
//! `promql/quantile.go`; `resetHistograms`, `promql/engine.go`.

use std::cmp::Ordering;

use promontory_model::LabelsRef;

use super::Param;
use crate::go::parse_float;
use crate::grid::GridRow;

/// The label that holds a bucket's upper bound.
pub const BUCKET_LABEL: &str = "le";

/// A function over the buckets of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketFunction {
    /// `histogram_quantile`
    Quantile,
    /// `histogram_fraction`
    Fraction,
}

/// A cumulative bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    /// Upper bound, inclusive.
    pub upper_bound: f64,
    /// Observations at or below it.
    pub count: f64,
}

/// Where and how far counts had to be raised to ascend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedMonotonicity {
    /// Lowest upper bound that was raised.
    pub min_bucket: f64,
    /// Highest upper bound that was raised.
    pub max_bucket: f64,
    /// By how much at most.
    pub max_diff: f64,
}

/// A quantile, and whether the buckets had to be mended for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketQuantile {
    pub value: f64,
    /// Set if counts descended by more than rounding: an info annotation is due.
    pub forced: Option<ForcedMonotonicity>,
}

/// Relative difference of neighbouring counts below which it counts as rounding.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// The upper bound of a series; `None` if `le` is missing, no number or NaN, for which a warning is due.
#[must_use]
pub fn upper_bound(labels: LabelsRef<'_>) -> Option<f64> {
    parse_float(&labels.get(BUCKET_LABEL)?).filter(|bound| !bound.is_nan())
}

/// The `q`-quantile, interpolated linearly inside a bucket; `buckets` is sorted and mended.
///
/// NaN without observations, with fewer than two buckets, without a bucket up to +Inf or for a NaN
/// `q`; -Inf for `q < 0`, +Inf for `q > 1`.
pub fn bucket_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> BucketQuantile {
    let unmended = |value| BucketQuantile { value, forced: None };
    if q.is_nan() || buckets.is_empty() {
        return unmended(f64::NAN);
    }
    if q < 0.0 {
        return unmended(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return unmended(f64::INFINITY);
    }
    sort(buckets);
    if buckets[buckets.len() - 1].upper_bound != f64::INFINITY {
        return unmended(f64::NAN);
    }
    coalesce(buckets);
    let forced = ensure_monotonic(buckets);
    BucketQuantile { value: interpolated_quantile(q, buckets), forced }
}

/// For sorted, ascending buckets up to +Inf.
fn interpolated_quantile(q: f64, buckets: &[ClassicBucket]) -> f64 {
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return f64::NAN;
    }
    let rank = q * observations;
    let found = search(&buckets[..last], |bucket| bucket.count >= rank);
    if found == last {
        return buckets[last - 1].upper_bound;
    }
    let bucket = buckets[found];
    if found == 0 {
        if bucket.upper_bound <= 0.0 {
            return bucket.upper_bound;
        }
        return bucket.upper_bound * (rank / bucket.count);
    }
    let below = buckets[found - 1];
    let within = (rank - below.count) / (bucket.count - below.count);
    below.upper_bound + (bucket.upper_bound - below.upper_bound) * within
}

/// `sort.Search`: the same probes, so that NaN counts, which have no order, mislead it the same way.
fn search(buckets: &[ClassicBucket], holds: impl Fn(&ClassicBucket) -> bool) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = (low + high) / 2;
        if holds(&buckets[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The share of observations between `lower` and `upper`; `buckets` is sorted and coalesced.
///
/// NaN without observations, without a bucket up to +Inf or for NaN bounds; 0 if `lower >= upper`.
pub fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if buckets.is_empty() {
        return f64::NAN;
    }
    sort(buckets);
    if buckets[buckets.len() - 1].upper_bound != f64::INFINITY {
        return f64::NAN;
    }
    coalesce(buckets);
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / count
}

/// How many observations are below `value`, at most `count`.
fn rank_of(value: f64, buckets: &[ClassicBucket], count: f64) -> f64 {
    let mut rank = 0.0;
    // Buckets that begin above zero are taken to hold positive observations only.
    let mut start = if buckets[0].upper_bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets {
        let found = if start >= value {
            Some(rank)
        } else if start < value && bucket.upper_bound > value {
            // A bucket without lower end cannot be interpolated; all of it lies below.
            Some(if start == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - start) / (bucket.upper_bound - start)
            })
        } else {
            None
        };
        if let Some(found) = found {
            return if found > count { count } else { found };
        }
        rank = bucket.count;
        start = bucket.upper_bound;
    }
    count
}

/// By upper bound; a NaN bound has no place and is taken as equal to its neighbours.
fn sort(buckets: &mut [ClassicBucket]) {
    if buckets.is_sorted_by(|a, b| a.upper_bound <= b.upper_bound) {
        return;
    }
    // Insertion, because it never panics on the missing order of NaN and buckets are few and nearly
    // sorted.
    for sorted in 1..buckets.len() {
        let mut at = sorted;
        while at > 0
            && buckets[at].upper_bound.partial_cmp(&buckets[at - 1].upper_bound) == Some(Ordering::Less)
        {
            buckets.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Adds the counts of buckets with the same upper bound.
fn coalesce(buckets: &mut Vec<ClassicBucket>) {
    buckets.dedup_by(|bucket, kept| {
        let same = bucket.upper_bound == kept.upper_bound;
        if same {
            kept.count += bucket.count;
        }
        same
    });
}

/// Removes differences that are rounding, then every descent.
fn ensure_monotonic(buckets: &mut [ClassicBucket]) -> Option<ForcedMonotonicity> {
    let mut forced: Option<ForcedMonotonicity> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if almost_equal(previous, count) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let bound = bucket.upper_bound;
            let so_far = forced.get_or_insert(ForcedMonotonicity {
                min_bucket: f64::INFINITY,
                max_bucket: f64::NEG_INFINITY,
                max_diff: 0.0,
            });
            if bound < so_far.min_bucket {
                so_far.min_bucket = bound;
            }
            if bound > so_far.max_bucket {
                so_far.max_bucket = bound;
            }
            if previous - count > so_far.max_diff {
                so_far.max_diff = previous - count;
            }
        } else {
            previous = count;
        }
    }
    forced
}

/// Source: `almost.Equal`, prometheus v3.16 `util/almost/almost.go`.
fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return promontory_model::is_stale(a) == promontory_model::is_stale(b);
    }
    if a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SMALL_DELTA_TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SMALL_DELTA_TOLERANCE
}

/// The buckets of one histogram over a grid.
#[derive(Clone, Debug, Default)]
pub struct ClassicHistogram {
    steps: usize,
    upper_bounds: Vec<f64>,
    counts: Vec<f64>,
    valid: Vec<bool>,
    gathered: Vec<ClassicBucket>,
}

impl ClassicHistogram {
    /// A histogram without buckets over a grid of `steps` points.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { steps, ..Self::default() }
    }

    /// Forgets the buckets and keeps the memory.
    pub fn clear(&mut self) {
        self.upper_bounds.clear();
        self.counts.clear();
        self.valid.clear();
    }

    /// Adds one series: its bound, see [`upper_bound`], and its row.
    ///
    /// # Panics
    /// If `counts` is shorter than the grid.
    pub fn add(&mut self, upper_bound: f64, row: GridRow<'_>) {
        let GridRow { values: counts, valid: validity } = row;
        self.upper_bounds.push(upper_bound);
        self.counts.extend_from_slice(&counts[..self.steps]);
        let before = self.valid.len();
        self.valid.resize(before + self.steps, false);
        validity.expand(&mut self.valid[before..]);
    }

    /// Writes the `q`-quantiles; `on_forced` hears of each step whose counts had to be raised.
    /// Returns how many points are valid: those where any bucket has a sample.
    pub fn quantile(
        &mut self,
        q: Param<'_>,
        out: &mut [f64],
        valid: &mut [bool],
        mut on_forced: impl FnMut(usize, ForcedMonotonicity),
    ) -> usize {
        self.each_step(out, valid, |step, buckets| {
            let result = bucket_quantile(q.at(step), buckets);
            if let Some(forced) = result.forced {
                on_forced(step, forced);
            }
            result.value
        })
    }

    /// Writes the fractions between `lower` and `upper`; returns how many points are valid.
    pub fn fraction(
        &mut self,
        lower: Param<'_>,
        upper: Param<'_>,
        out: &mut [f64],
        valid: &mut [bool],
    ) -> usize {
        self.each_step(out, valid, |step, buckets| bucket_fraction(lower.at(step), upper.at(step), buckets))
    }

    fn each_step(
        &mut self,
        out: &mut [f64],
        valid: &mut [bool],
        mut result: impl FnMut(usize, &mut Vec<ClassicBucket>) -> f64,
    ) -> usize {
        self.sort_series();
        let mut found = 0;
        for (step, (out, valid)) in out.iter_mut().zip(valid).take(self.steps).enumerate() {
            self.gathered.clear();
            for (series, upper_bound) in self.upper_bounds.iter().enumerate() {
                let at = series * self.steps + step;
                if self.valid[at] {
                    self.gathered.push(ClassicBucket { upper_bound: *upper_bound, count: self.counts[at] });
                }
            }
            *valid = !self.gathered.is_empty();
            *out = if *valid { result(step, &mut self.gathered) } else { 0.0 };
            found += usize::from(*valid);
        }
        found
    }

    /// Puts the series in order of their bounds once, so that no step has to sort.
    fn sort_series(&mut self) {
        if self.upper_bounds.is_sorted_by(|a, b| a <= b) || self.upper_bounds.iter().any(|b| b.is_nan()) {
            return;
        }
        let mut order: Vec<usize> = (0..self.upper_bounds.len()).collect();
        order.sort_by(|a, b| self.upper_bounds[*a].total_cmp(&self.upper_bounds[*b]));
        let rows = |series: &usize| series * self.steps..(series + 1) * self.steps;
        self.counts = order.iter().flat_map(|s| &self.counts[rows(s)]).copied().collect();
        self.valid = order.iter().flat_map(|s| &self.valid[rows(s)]).copied().collect();
        self.upper_bounds = order.iter().map(|s| self.upper_bounds[*s]).collect();
    }
}

#[cfg(test)]
mod tests;
