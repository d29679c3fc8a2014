//! Aggregations that choose among series: topk, bottomk, limitk, limit_ratio, and count_values.
//!
//! Their result is not a number per group but a set of input series (or of values) per group and
//! step, so they keep series by an id that the caller gives, in the order in which series arrive.
//! Prometheus' choice among equal values depends on that order; feed series in label order.
//!
//! Source: `evaluator.aggregationK` and `aggregationCountValues`, prometheus v3.16
//! `promql/engine.go`, float samples.

use std::collections::HashMap;

use promontory_model::{LabelsRef, float};

use super::{KernelError, Param, math};
use crate::go::format_general;
use crate::grid::GridRow;

/// Which values a [`TopK`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The choice of `topk`.
    Largest,
    /// The choice of `bottomk`.
    Smallest,
}

/// An aggregation that chooses series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SelectFunction {
    /// `topk` and `bottomk`.
    Top(Order),
    /// `limitk`
    Limit,
    /// `limit_ratio`
    LimitRatio,
}

/// A sample that a [`TopK`] keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeptSample {
    /// The id under which the series was given.
    pub series: u64,
    /// Its value at the step.
    pub value: f64,
}

/// `topk` and `bottomk`: a heap per group and step.
///
/// The heap's root is the entry that goes next, and a new value replaces it only if it is strictly
/// better, or if the root is NaN and the new value is not: exactly Prometheus' `container/heap`
/// with the same steps, so that the choice among equal values is the same too.
#[derive(Clone, Debug)]
pub struct TopK {
    order: Order,
    limits: Vec<usize>,
    groups: usize,
    heaps: Vec<Vec<KeptSample>>,
    /// The root's value where the heap is full and the root a number, otherwise NaN: a quick "no".
    roots: Vec<f64>,
}

/// Checks the parameter of topk, bottomk and limitk over a grid and gives the limit per step: zero
/// keeps nothing, and more than `series_max` is never needed.
///
/// # Errors
/// If Prometheus fails the query: NaN, or a value that no 64-bit integer holds.
pub fn limits_per_step(k: Param<'_>, steps: usize, series_max: usize) -> Result<Vec<usize>, KernelError> {
    const INT64_LOW: f64 = -9_223_372_036_854_775_808.0;
    const INT64_HIGH: f64 = 9_223_372_036_854_774_784.0;
    let values = || (0..steps).map(|step| k.at(step));
    // Go's extremes are NaN if any value is, so that NaN is not taken for "keeps nothing".
    let high = values().fold(-f64::MAX, math::max);
    let low = values().fold(f64::MAX, math::min);
    if high < 1.0 {
        return Ok(vec![0; steps]);
    }
    if values().any(f64::is_nan) {
        return Err(KernelError("Parameter value is NaN".to_owned()));
    }
    if low <= INT64_LOW {
        return Err(KernelError(format!("Scalar value {} underflows int64", format_general(low))));
    }
    if high >= INT64_HIGH {
        return Err(KernelError(format!("Scalar value {} overflows int64", format_general(high))));
    }
    Ok(values().map(|value| (value as i64).max(0) as usize).map(|limit| limit.min(series_max)).collect())
}

impl TopK {
    /// Keeps up to `limits[step]` series at each step, see [`limits_per_step`].
    #[must_use]
    pub fn new(order: Order, limits: Vec<usize>) -> Self {
        Self { order, limits, groups: 0, heaps: Vec::new(), roots: Vec::new() }
    }

    /// Points of each grid.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.limits.len()
    }

    /// Grows to `groups` groups; never shrinks.
    pub fn resize(&mut self, groups: usize) {
        if groups > self.groups {
            self.groups = groups;
            self.heaps.resize_with(groups * self.steps(), Vec::new);
            self.roots.resize(groups * self.steps(), f64::NAN);
        }
    }

    /// Offers one series; returns true if it is kept at some step (it may be pushed out later).
    ///
    /// # Panics
    /// If [`Self::resize`] has not made `group` or `values` is shorter than the grid.
    pub fn update(&mut self, group: usize, series: u64, row: GridRow<'_>) -> bool {
        let GridRow { values, valid: validity } = row;
        let first = group * self.steps();
        let mut kept = false;
        for (step, value) in values[..self.steps()].iter().enumerate() {
            let root = self.roots[first + step];
            let is_worse = match self.order {
                Order::Largest => *value <= root,
                Order::Smallest => *value >= root,
            };
            if !is_worse && validity.get(step) {
                kept |= self.offer(group, step, KeptSample { series, value: *value });
            }
        }
        kept
    }

    /// Offers one sample; returns true if it is kept. Merging states offers the other's entries.
    ///
    /// # Panics
    /// If [`Self::resize`] has not made `group` or `step` is outside the grid.
    pub fn offer(&mut self, group: usize, step: usize, entry: KeptSample) -> bool {
        let at = group * self.steps() + step;
        let (order, limit) = (self.order, self.limits[step]);
        let heap = &mut self.heaps[at];
        if limit == 0 {
            return false;
        }
        if heap.len() < limit {
            heap.push(entry);
            sift_up(heap, order);
        } else {
            let root = heap[0].value;
            let better = match order {
                Order::Largest => root < entry.value,
                Order::Smallest => root > entry.value,
            };
            let mends_nan = root.is_nan() && !entry.value.is_nan();
            if !better && !mends_nan {
                return false;
            }
            heap[0] = entry;
            sift_down(heap, order);
        }
        if heap.len() == limit {
            self.roots[at] = heap[0].value;
        }
        true
    }

    /// The entries of one group at one step in no particular order: the state to merge elsewhere.
    #[must_use]
    pub fn entries(&self, group: usize, step: usize) -> &[KeptSample] {
        &self.heaps[group * self.steps() + step]
    }

    /// The entries of one group at one step, best first, NaN last: the order of an instant query.
    #[must_use]
    pub fn ranked(&self, group: usize, step: usize) -> Vec<KeptSample> {
        let mut entries = self.entries(group, step).to_vec();
        if entries.len() <= GO_INSERTION_SORT_MAX {
            // Go sorts few elements by insertion; with its "NaN is less than anything" that is
            // visible for several NaN.
            for sorted in 1..entries.len() {
                let mut at = sorted;
                while at > 0 && goes_first(self.order, entries[at - 1], entries[at]) {
                    entries.swap(at, at - 1);
                    at -= 1;
                }
            }
        } else {
            entries.sort_by(|a, b| {
                let ascending = super::quantile::nan_first(&b.value, &a.value);
                match self.order {
                    Order::Largest => ascending,
                    Order::Smallest if a.value.is_nan() || b.value.is_nan() => ascending,
                    Order::Smallest => ascending.reverse(),
                }
            });
        }
        entries
    }

    /// Bytes that its vectors hold.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let entries: usize = self.heaps.iter().map(|heap| heap.capacity() * size_of::<KeptSample>()).sum();
        entries + self.heaps.capacity() * size_of::<Vec<KeptSample>>() + self.roots.capacity() * 8
    }
}

/// Below this many elements `sort.Sort` is an insertion sort.
const GO_INSERTION_SORT_MAX: usize = 12;

/// `Less` of Prometheus' heaps: what leaves the heap first. A NaN on the left always does.
fn goes_first(order: Order, a: KeptSample, b: KeptSample) -> bool {
    a.value.is_nan()
        || match order {
            Order::Largest => a.value < b.value,
            Order::Smallest => a.value > b.value,
        }
}

/// `container/heap.Push` after the append.
fn sift_up(heap: &mut [KeptSample], order: Order) {
    let mut at = heap.len() - 1;
    while at > 0 {
        let parent = (at - 1) / 2;
        if !goes_first(order, heap[at], heap[parent]) {
            break;
        }
        heap.swap(parent, at);
        at = parent;
    }
}

/// `container/heap.Fix` at the root.
fn sift_down(heap: &mut [KeptSample], order: Order) {
    let mut at = 0;
    loop {
        let left = 2 * at + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child =
            if right < heap.len() && goes_first(order, heap[right], heap[left]) { right } else { left };
        if !goes_first(order, heap[child], heap[at]) {
            break;
        }
        heap.swap(at, child);
        at = child;
    }
}

/// `limitk`: the first series of each group and step.
#[derive(Clone, Debug)]
pub struct LimitK {
    limits: Vec<usize>,
    taken: Vec<usize>,
}

impl LimitK {
    /// Keeps up to `limits[step]` series at each step, see [`limits_per_step`].
    #[must_use]
    pub fn new(limits: Vec<usize>) -> Self {
        Self { limits, taken: Vec::new() }
    }

    /// Clears `valid` where the group has enough series already; returns how many points stay.
    ///
    /// # Panics
    /// If `valid` is shorter than the grid.
    pub fn keep(&mut self, group: usize, valid: &mut [bool]) -> usize {
        let steps = self.limits.len();
        if self.taken.len() < (group + 1) * steps {
            self.taken.resize((group + 1) * steps, 0);
        }
        let taken = &mut self.taken[group * steps..(group + 1) * steps];
        let mut kept = 0;
        for ((valid, taken), limit) in valid[..steps].iter_mut().zip(taken).zip(&self.limits) {
            *valid &= *taken < *limit;
            *taken += usize::from(*valid);
            kept += usize::from(*valid);
        }
        kept
    }
}

/// The place of a series in [0, 1] by which `limit_ratio` chooses.
///
/// Source: `HashRatioSampler.SampleOffset`: the 64-bit xxHash of the labels as Prometheus' default
/// build lays them out in memory.
#[must_use]
pub fn ratio_offset(labels: LabelsRef<'_>) -> f64 {
    let mut bytes = Vec::new();
    for (name, value) in labels.sorted_pairs() {
        for text in [name, value] {
            match text.len() {
                short @ 0..255 => bytes.push(short as u8),
                long => bytes.extend_from_slice(&[255, long as u8, (long >> 8) as u8, (long >> 16) as u8]),
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh64(&bytes) as f64 / u64::MAX as f64
}

/// Whether `limit_ratio(ratio, ...)` keeps a series at `offset`; `ratio` is capped to [-1, 1].
#[must_use]
pub fn ratio_keeps(ratio: f64, offset: f64) -> bool {
    let ratio = if ratio > 1.0 { 1.0 } else { ratio.max(-1.0) };
    if ratio > 0.0 { offset < ratio } else { ratio < 0.0 && offset >= 1.0 + ratio }
}

/// 64-bit xxHash with seed 0.
///
/// Source: the xxHash specification 0.1.1.
fn xxh64(input: &[u8]) -> u64 {
    const P1: u64 = 0x9E37_79B1_85EB_CA87;
    const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
    const P3: u64 = 0x1656_67B1_9E37_79F9;
    const P4: u64 = 0x85EB_CA77_C2B2_AE63;
    const P5: u64 = 0x27D4_EB2F_1656_67C5;
    let round =
        |acc: u64, lane: u64| acc.wrapping_add(lane.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let mut stripes = input.chunks_exact(32);
    let mut acc = if input.len() >= 32 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, P1.wrapping_neg()];
        for stripe in stripes.by_ref() {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(bytes));
            }
        }
        let rotated = lanes[0]
            .rotate_left(1)
            .wrapping_add(lanes[1].rotate_left(7))
            .wrapping_add(lanes[2].rotate_left(12))
            .wrapping_add(lanes[3].rotate_left(18));
        lanes.iter().fold(rotated, |acc, lane| (acc ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4))
    } else {
        P5
    };
    acc = acc.wrapping_add(input.len() as u64);
    let mut words = stripes.remainder().chunks_exact(8);
    for bytes in words.by_ref() {
        acc = (acc ^ round(0, word(bytes))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let mut halves = words.remainder().chunks_exact(4);
    for bytes in halves.by_ref() {
        acc = (acc ^ word(bytes).wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for byte in halves.remainder() {
        acc = (acc ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    acc = (acc ^ acc >> 33).wrapping_mul(P2);
    acc = (acc ^ acc >> 29).wrapping_mul(P3);
    acc ^ acc >> 32
}

/// `count_values`: how often each value occurs per group and step.
#[derive(Clone, Debug)]
pub struct CountValues {
    steps: usize,
    groups: Vec<HashMap<u64, Vec<f64>>>,
}

impl CountValues {
    /// An accumulator without groups over grids of `steps` points.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { steps, groups: Vec::new() }
    }

    /// How many groups [`Self::resize`] has made.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Grows to `groups` groups; never shrinks.
    pub fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, HashMap::new);
        }
    }

    /// Adds one row.
    ///
    /// # Panics
    /// If `group` is not below [`Self::groups`] or `values` is shorter than the grid.
    pub fn update(&mut self, group: usize, row: GridRow<'_>) {
        let GridRow { values, valid: validity } = row;
        for (step, value) in values[..self.steps].iter().enumerate() {
            if validity.get(step) {
                self.add(group, step, *value, 1.0);
            }
        }
    }

    /// Adds `count` occurrences of `value`: merging states adds the other's counts.
    ///
    /// # Panics
    /// If `group` is not below [`Self::groups`] or `step` is outside the grid.
    pub fn add(&mut self, group: usize, step: usize, value: f64, count: f64) {
        // All NaN print alike and are one value; the zeros print differently and are two.
        let key = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
        let counts = self.groups[group].entry(key).or_insert_with(|| vec![0.0; self.steps]);
        counts[step] += count;
    }

    /// One group's values, ascending with NaN last, each as its label value with its counts; a count
    /// of 0 means that there is no sample at that step.
    #[must_use]
    pub fn finish(&self, group: usize) -> Vec<(String, &[f64])> {
        let mut found: Vec<(f64, &[f64])> = self.groups[group]
            .iter()
            .map(|(bits, counts)| (f64::from_bits(*bits), counts.as_slice()))
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.into_iter().map(|(value, counts)| (float::decimal(value), counts)).collect()
    }

    /// The counts of one group by value, in no particular order: the state to merge elsewhere.
    pub fn counts(&self, group: usize) -> impl Iterator<Item = (f64, &[f64])> {
        self.groups[group].iter().map(|(bits, counts)| (f64::from_bits(*bits), counts.as_slice()))
    }

    /// Memory held, in bytes, without the maps' own.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let values: usize = self.groups.iter().map(HashMap::len).sum();
        values * (self.steps * size_of::<f64>() + 40)
    }
}

#[cfg(test)]
mod tests;
