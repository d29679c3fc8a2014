//! The buckets of a native histogram with their bounds.
//!
//! Source: prometheus v3.16 `model/histogram/generic.go` (`getBoundExponential`, `exponentialBounds`,
//! `baseBucketIterator`) and `float_histogram.go` (`allFloatBucketIterator`, `ZeroBucket`).

use std::sync::LazyLock;

use super::{Buckets, Histogram, Layout, SCHEMA_MAX};

/// One bucket of a native histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HistogramBucket {
    /// Lower bound; -Inf for the first custom bucket.
    pub lower: f64,
    /// Upper bound; +Inf for the last custom bucket.
    pub upper: f64,
    /// Does the lower bound belong to the bucket?
    pub lower_inclusive: bool,
    /// Does the upper bound belong to the bucket?
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
}

impl Histogram {
    /// All buckets that the spans name, those without observations among them, and the zero bucket if it
    /// is not empty; bounds ascend. Where the zero bucket overlaps a neighbour, the neighbour gives way.
    pub fn buckets(&self) -> impl Iterator<Item = HistogramBucket> + '_ {
        let parts = self.parts();
        let negative = parts.negative.indexed().rev().map(|(idx, count)| {
            let bucket = parts.layout.bucket(idx, count);
            HistogramBucket {
                lower: -bucket.upper,
                upper: -bucket.lower,
                lower_inclusive: bucket.upper_inclusive,
                upper_inclusive: bucket.lower_inclusive,
                count,
            }
        });
        let positive = parts.positive.indexed().map(|(idx, count)| parts.layout.bucket(idx, count));
        negative.chain(self.zero_bucket()).chain(positive)
    }

    fn zero_bucket(&self) -> Option<HistogramBucket> {
        let parts = self.parts();
        let Layout::Exponential { zero_threshold, .. } = parts.layout else { return None };
        (parts.zero_count > 0.0).then_some(HistogramBucket {
            lower: -zero_threshold,
            upper: zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: parts.zero_count,
        })
    }
}

impl Layout {
    /// The bucket `idx` of the positive side.
    fn bucket(&self, idx: i64, count: f64) -> HistogramBucket {
        let (lower, upper) = (self.upper_bound(idx.saturating_sub(1)), self.upper_bound(idx));
        match self {
            Self::Exponential { zero_threshold, .. } => {
                let lower = if lower > 0.0 { lower.max(*zero_threshold) } else { lower };
                HistogramBucket { lower, upper, lower_inclusive: false, upper_inclusive: true, count }
            }
            Self::Custom { .. } => {
                HistogramBucket { lower, upper, lower_inclusive: idx == 0, upper_inclusive: true, count }
            }
        }
    }

    /// Where the bucket `idx` of the positive side ends.
    ///
    /// The last exponential bucket before the one for infinities ends at the greatest number.
    fn upper_bound(&self, idx: i64) -> f64 {
        match self {
            Self::Custom { bounds } => match usize::try_from(idx) {
                Err(_) => f64::NEG_INFINITY,
                Ok(idx) => bounds.get(idx).copied().unwrap_or(f64::INFINITY),
            },
            Self::Exponential { schema, .. } if *schema < 0 => power_of_two(1.0, idx << -schema, 1_024),
            Self::Exponential { schema, .. } => {
                let within = (idx & ((1 << schema) - 1)) as usize;
                power_of_two(BOUNDS[*schema as usize][within], (idx >> schema) + 1, 1_025)
            }
        }
    }
}

/// `fraction * 2^exponent`, but the greatest number for the power of two that lies just above it, which
/// has the exponent `overflow`.
fn power_of_two(fraction: f64, exponent: i64, overflow: i64) -> f64 {
    let whole = fraction == 0.5 || fraction == 1.0;
    if whole && exponent == overflow {
        return f64::MAX;
    }
    // In two steps: the power alone may be out of range where the product is not.
    let half = (exponent / 2).clamp(-2_000, 2_000) as i32;
    let rest = (exponent - i64::from(half)).clamp(-2_000, 2_000) as i32;
    fraction * 2_f64.powi(half) * 2_f64.powi(rest)
}

impl Buckets {
    /// Index and count of each bucket, in ascending order of the index.
    fn indexed(&self) -> impl DoubleEndedIterator<Item = (i64, f64)> + '_ {
        let starts = self.spans.iter().scan(0_i64, |next, span| {
            let start = *next + i64::from(span.offset);
            *next = start + i64::from(span.length);
            Some(start..*next)
        });
        let indexes: Vec<i64> = starts.flatten().collect();
        indexes.into_iter().zip(self.counts.iter().copied())
    }
}

/// `2^(2^-schema)` by schema, as upstream's generator had them: that of schema 1 is one unit in the last
/// place below the nearest double.
const FACTORS: [f64; SCHEMA_MAX as usize + 1] = [
    2.0,
    std::f64::consts::SQRT_2.next_down(),
    1.189_207_115_002_721,
    1.090_507_732_665_257_7,
    1.044_273_782_427_413_8,
    1.021_897_148_654_116_6,
    1.010_889_286_051_700_5,
    1.005_429_901_112_802_7,
    1.002_711_275_050_202_5,
];

/// Bounds between 0.5 and 1 by schema; bit for bit those of upstream's table, which was made in this way:
/// every second bound is that of the schema below, the others are products of their neighbour.
static BOUNDS: LazyLock<Vec<Vec<f64>>> = LazyLock::new(|| {
    let mut tables: Vec<Vec<f64>> = Vec::with_capacity(FACTORS.len());
    for (schema, factor) in FACTORS.iter().enumerate() {
        let mut bounds = vec![0.5];
        for at in 1..1_usize << schema {
            let coarser = at.is_multiple_of(2).then(|| tables[schema - 1][at / 2]);
            bounds.push(coarser.unwrap_or(bounds[at - 1] * factor));
        }
        tables.push(bounds);
    }
    tables
});

#[cfg(test)]
mod tests;
