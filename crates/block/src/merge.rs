//! The deduplicating merge of sorted runs: one meaning for flush, scan, adoption and compaction.
//!
//! Invariants:
//! - The result holds the union of series and of timestamps; of two samples of one series at one
//!   timestamp the greater stays, as `promontory_model::samples` orders them.
//! - So the result depends neither on the order of the inputs nor on how often one is repeated, and
//!   merging in steps equals merging at once.
//!
//! Algorithm for one lane of one series:
//! 1. Views that follow one another in time are appended whole.
//! 2. Otherwise a heap holds the next timestamp of each; the earliest view is copied up to the next
//!    timestamp of any other in one piece, and equal timestamps are settled one by one.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use promontory_model::samples::{
    Column, ColumnView, Floats, FloatsView, Histograms, HistogramsView, Lane, LaneView, SampleLists,
    SamplesView,
};

use crate::codec::TenantRows;
use crate::run::SeriesRun;

/// Merges runs of one tenant into one run; of samples at one timestamp the greatest value stays.
#[must_use]
pub fn merge(runs: &[&SeriesRun]) -> SeriesRun {
    match runs {
        [] => return SeriesRun::default(),
        [run] => return (*run).clone(),
        _ => {}
    }
    let series = runs.iter().map(|run| run.keys().len()).max().unwrap_or_default();
    let mut merged = SeriesRun::with_capacity(series, runs.iter().map(|run| run.floats().len()).sum());
    let next =
        |run: usize, series: usize| runs[run].keys().get(series).map(|key| Reverse((key, run, series)));
    let mut heap: BinaryHeap<_> = (0..runs.len()).filter_map(|run| next(run, 0)).collect();
    let mut sources = SeriesMerge::default();
    while let Some(Reverse((key, run, series))) = heap.pop() {
        sources.add(runs[run].series(series));
        heap.extend(next(run, series + 1));
        while let Some(Reverse((_, run, series))) = heap.peek().filter(|Reverse((k, ..))| *k == key).copied()
        {
            heap.pop();
            sources.add(runs[run].series(series));
            heap.extend(next(run, series + 1));
        }
        merged.push_with(key.clone(), |all| sources.append_to(all));
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

/// Gathers the samples of one series from several sources and merges them.
#[derive(Debug, Default)]
pub struct SeriesMerge<'a> {
    floats: Vec<FloatsView<'a>>,
    histograms: Vec<HistogramsView<'a>>,
}

impl<'a> SeriesMerge<'a> {
    /// Adds a source, whose timestamps strictly ascend in each lane.
    pub fn add(&mut self, samples: SamplesView<'a>) {
        if !samples.floats.is_empty() {
            self.floats.push(samples.floats);
        }
        if !samples.histograms.is_empty() {
            self.histograms.push(samples.histograms);
        }
    }

    /// Adds a source as a sender gives it: in any order, with repetitions.
    pub fn add_unsorted(&mut self, samples: SamplesView<'a>) {
        self.floats.extend(samples.floats.ascending_parts());
        self.histograms.extend(samples.histograms.ascending_parts());
    }

    /// Appends what was added as one series, which may be empty, and begins again; answers the number of
    /// its samples.
    pub fn append_to(&mut self, out: &mut SampleLists) -> usize {
        if self.histograms.is_empty() {
            return out.push_with(|floats| merge_lanes(&mut self.floats, floats), |_| ());
        }
        let (mut floats, mut histograms) = (Floats::default(), Histograms::default());
        merge_lanes(&mut self.floats, &mut floats);
        merge_lanes(&mut self.histograms, &mut histograms);
        // A histogram is greater than any float.
        let stays = |at: &usize| histograms.ts().binary_search(&floats.ts()[*at]).is_err();
        let kept = (0..floats.len()).filter(stays);
        out.push_with(
            |out| kept.for_each(|at| out.extend(floats.view().part(at..at + 1))),
            |out| out.extend(histograms.view()),
        )
    }
}

/// Appends the merged samples of one series to `out`; `lanes`, none of them empty, is empty afterwards.
fn merge_lanes<'a, C: Column + 'a>(lanes: &mut Vec<LaneView<'a, C::View<'a>>>, out: &mut Lane<C>) {
    if lanes.len() > 1 {
        lanes.sort_by_key(|lane| lane.ts()[0]);
    }
    if lanes.windows(2).all(|two| two[0].ts()[two[0].len() - 1] < two[1].ts()[0]) {
        lanes.iter().for_each(|lane| out.extend(*lane));
    } else {
        interleave(lanes, out);
    }
    lanes.clear();
}

/// The general case of [`merge_lanes`].
fn interleave<'a, C: Column + 'a>(lanes: &mut [LaneView<'a, C::View<'a>>], out: &mut Lane<C>) {
    let mut heap: BinaryHeap<Reverse<(i64, usize)>> =
        lanes.iter().enumerate().map(|(lane, samples)| Reverse((samples.ts()[0], lane))).collect();
    while let Some(Reverse((at, lane))) = heap.pop() {
        let until = match heap.peek() {
            None => lanes[lane].len(),
            Some(Reverse((other, _))) => count_below(lanes[lane].ts(), *other),
        };
        if until > 0 {
            out.extend(take_front(&mut lanes[lane], until));
        } else {
            let mut greatest = take_front(&mut lanes[lane], 1);
            while let Some(Reverse((_, other))) = heap.peek().filter(|Reverse((ts, _))| *ts == at).copied() {
                heap.pop();
                let sample = take_front(&mut lanes[other], 1);
                if sample.compare(0, greatest, 0) == Ordering::Greater {
                    greatest = sample;
                }
                heap.extend(lanes[other].ts().first().map(|ts| Reverse((*ts, other))));
            }
            out.extend(greatest);
        }
        heap.extend(lanes[lane].ts().first().map(|ts| Reverse((*ts, lane))));
    }
}

/// Takes the first `samples` off a lane that has so many.
fn take_front<'a, V: ColumnView>(lane: &mut LaneView<'a, V>, samples: usize) -> LaneView<'a, V> {
    let front = lane.part(0..samples);
    *lane = lane.part(samples..lane.len());
    front
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
