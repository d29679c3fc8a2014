//! The deduplicating merge of sorted runs: one meaning for flush, scan, adoption and compaction.
//!
//! Words: a *column pair* is the timestamps and values of one series from one source.
//!
//! Invariants:
//! - The result holds the union of series and of timestamps; of two samples of one series at one
//!   timestamp the greater by [`value_order`] stays.
//! - So the result depends neither on the order of the inputs nor on how often one is repeated, and
//!   merging in steps equals merging at once.
//!
//! Algorithm for one series:
//! 1. Column pairs that follow one another in time are appended whole.
//! 2. Otherwise a heap holds the next timestamp of each; the earliest pair is copied up to the next
//!    timestamp of any other in one piece, and equal timestamps are settled one by one.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use promontory_model::samples::value_order;

use crate::codec::TenantRows;
use crate::run::SeriesRun;

/// Timestamps and values of one series from one source: the same length, timestamps strictly ascend.
pub type ColumnPair<'a> = (&'a [i64], &'a [f64]);

/// Merges runs of one tenant.
#[must_use]
pub fn merge(runs: &[&SeriesRun]) -> SeriesRun {
    match runs {
        [] => return SeriesRun::default(),
        [run] => return (*run).clone(),
        _ => {}
    }
    let mut merged = SeriesRun::default();
    let rows: usize = runs.iter().map(|run| run.rows()).sum();
    merged.ts.reserve(rows);
    merged.values.reserve(rows);
    let next = |run: usize, series: usize| runs[run].keys.get(series).map(|key| Reverse((key, run, series)));
    let mut heap: BinaryHeap<_> = (0..runs.len()).filter_map(|run| next(run, 0)).collect();
    let mut pairs = Vec::with_capacity(runs.len());
    while let Some(Reverse((key, run, series))) = heap.pop() {
        pairs.clear();
        pairs.push(runs[run].series(series));
        heap.extend(next(run, series + 1));
        while let Some(Reverse((_, run, series))) = heap.peek().filter(|Reverse((k, ..))| *k == key).copied()
        {
            heap.pop();
            pairs.push(runs[run].series(series));
            heap.extend(next(run, series + 1));
        }
        let before = merged.ts.len();
        merge_columns(&mut pairs, &mut merged.ts, &mut merged.values);
        if merged.ts.len() > before {
            merged.keys.push(key.clone());
            merged.offsets.push(merged.ts.len());
        }
    }
    merged
}

/// As [`merge`], without a copy of a single run.
#[must_use]
pub fn merge_owned(mut runs: Vec<SeriesRun>) -> SeriesRun {
    match runs.len() {
        1 => runs.remove(0),
        _ => merge(&runs.iter().collect::<Vec<_>>()),
    }
}

/// Merges the rows of many tenants from many sources; tenants of the result strictly ascend and each
/// has at least one series.
#[must_use]
pub fn merge_tenants(inputs: &[&[TenantRows]]) -> Vec<TenantRows> {
    let mut rows: Vec<&TenantRows> = inputs.iter().flat_map(|input| input.iter()).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.chunk_by(|a, b| a.0 == b.0)
        .map(|same| (same[0].0.clone(), merge(&same.iter().map(|(_, run)| run).collect::<Vec<_>>())))
        .filter(|(_, run)| !run.is_empty())
        .collect()
}

/// Appends the merged samples of one series to `ts` and `values`. `pairs` is left in any order.
pub fn merge_columns(pairs: &mut Vec<ColumnPair<'_>>, ts: &mut Vec<i64>, values: &mut Vec<f64>) {
    pairs.retain(|(ts, _)| !ts.is_empty());
    if pairs.len() > 1 {
        pairs.sort_by_key(|(ts, _)| ts[0]);
    }
    if pairs.windows(2).all(|two| two[0].0[two[0].0.len() - 1] < two[1].0[0]) {
        for (pair_ts, pair_values) in pairs {
            ts.extend_from_slice(pair_ts);
            values.extend_from_slice(pair_values);
        }
    } else {
        interleave(pairs, ts, values);
    }
}

/// The general case of [`merge_columns`]; no pair is empty.
fn interleave(pairs: &mut [ColumnPair<'_>], ts: &mut Vec<i64>, values: &mut Vec<f64>) {
    let mut heap: BinaryHeap<Reverse<(i64, usize)>> =
        pairs.iter().enumerate().map(|(pair, (ts, _))| Reverse((ts[0], pair))).collect();
    while let Some(Reverse((at, pair))) = heap.pop() {
        let (pair_ts, pair_values) = pairs[pair];
        let until = match heap.peek() {
            None => pair_ts.len(),
            Some(Reverse((other, _))) => count_below(pair_ts, *other),
        };
        if until > 0 {
            ts.extend_from_slice(&pair_ts[..until]);
            values.extend_from_slice(&pair_values[..until]);
            pairs[pair] = (&pair_ts[until..], &pair_values[until..]);
        } else {
            let mut greatest = pop_front(&mut pairs[pair]);
            while let Some(Reverse((_, other))) = heap.peek().filter(|Reverse((ts, _))| *ts == at).copied() {
                heap.pop();
                let value = pop_front(&mut pairs[other]);
                if value_order(value, greatest) == Ordering::Greater {
                    greatest = value;
                }
                heap.extend(pairs[other].0.first().map(|ts| Reverse((*ts, other))));
            }
            ts.push(at);
            values.push(greatest);
        }
        heap.extend(pairs[pair].0.first().map(|ts| Reverse((*ts, pair))));
    }
}

/// Takes the first sample off a pair that has one.
fn pop_front(pair: &mut ColumnPair<'_>) -> f64 {
    let value = pair.1[0];
    *pair = (&pair.0[1..], &pair.1[1..]);
    value
}

/// How many leading timestamps are below `bound`, by doubling steps: runs are mostly short.
fn count_below(ts: &[i64], bound: i64) -> usize {
    let mut step = 1;
    while step < ts.len() && ts[step] < bound {
        step *= 2;
    }
    let from = step / 2;
    let to = (step + 1).min(ts.len());
    from + ts[from..to].partition_point(|ts| *ts < bound)
}

#[cfg(test)]
mod tests;
