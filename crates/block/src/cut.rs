//! Rows cut into parts of a bounded size in memory.
//!
//! What is stored of a label set may be a thousand times smaller than the label set, so neither a number of
//! rows nor a number of stored bytes bounds what reading them takes. Segments, blocks and row groups are cut
//! by *decoded bytes*: what rows take in memory, labels included, where nothing is shared.

use promontory_model::samples::SamplesView;
use promontory_model::{Labels, TenantId};

use crate::codec::TenantRows;
use crate::run::{SAMPLE_BYTES, SeriesRun, key_bytes, series_bytes};

/// Decoded bytes of rows.
#[must_use]
pub fn decoded_bytes(rows: &[TenantRows]) -> usize {
    rows.iter().map(|(_, run)| run.decoded_bytes()).sum()
}

/// Cuts rows into parts of at most `bytes_max` decoded bytes; a label set with one sample is never cut, however
/// large it is. A series is cut, by time, only where it does not fit into a part of its own.
///
/// The parts have the order of the rows; rows within the bound are one part and not copied.
#[must_use]
pub fn cut_rows(rows: Vec<TenantRows>, bytes_max: usize) -> Vec<Vec<TenantRows>> {
    if decoded_bytes(&rows) <= bytes_max {
        return if rows.is_empty() { Vec::new() } else { vec![rows] };
    }
    let mut parts = Parts { bytes_max, closed: Vec::new(), open: Vec::new(), bytes: 0 };
    for (tenant, run) in &rows {
        for (key, samples) in run.iter() {
            parts.push(tenant, key, samples);
        }
    }
    parts.close();
    parts.closed
}

struct Parts {
    bytes_max: usize,
    closed: Vec<Vec<TenantRows>>,
    open: Vec<TenantRows>,
    /// Decoded bytes of `open`.
    bytes: usize,
}

impl Parts {
    fn push(&mut self, tenant: &TenantId, key: &Labels, mut left: SamplesView<'_>) {
        let samples_max = self.bytes_max.saturating_sub(key_bytes(key)) / SAMPLE_BYTES;
        while !left.is_empty() {
            if self.bytes > 0 && self.bytes + series_bytes(key, left) > self.bytes_max {
                self.close();
            }
            let (now, later) = first_samples(left, samples_max.max(1));
            self.bytes += series_bytes(key, now);
            match self.open.last_mut().filter(|(last, _)| last == tenant) {
                Some((_, run)) => run.push(key.clone(), now),
                None => {
                    let mut run = SeriesRun::default();
                    run.push(key.clone(), now);
                    self.open.push((tenant.clone(), run));
                }
            }
            left = later;
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.closed.push(std::mem::take(&mut self.open));
        }
        self.bytes = 0;
    }
}

/// The earliest samples, at most about `samples_max` of each kind, and the later ones.
fn first_samples(samples: SamplesView<'_>, samples_max: usize) -> (SamplesView<'_>, SamplesView<'_>) {
    if samples.len() <= samples_max {
        return samples.split_by_time(|_| true);
    }
    let ends = [samples.floats.ts().get(samples_max), samples.histograms.ts().get(samples_max)];
    // Neither lane alone is longer: both together are at most twice as long.
    let Some(end) = ends.into_iter().flatten().min().copied() else {
        return samples.split_by_time(|_| true);
    };
    samples.split_by_time(|ts| ts < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str, value_bytes: usize) -> Labels {
        Labels::from_pairs([("__name__", name), ("pad", &"x".repeat(value_bytes))])
    }

    fn run(series: &[(&str, usize, usize)]) -> SeriesRun {
        let mut run = SeriesRun::default();
        for (name, value_bytes, samples) in series {
            run.push_floats(labels(name, *value_bytes), (0..*samples).map(|at| (at as i64, at as f64)));
        }
        run
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    /// Cuts and holds every part against the bound; answers the rows of each part, after joining them again.
    fn cut(rows: Vec<TenantRows>, bytes_max: usize) -> Vec<usize> {
        let parts = cut_rows(rows.clone(), bytes_max);
        for part in &parts {
            let series: usize = part.iter().map(|(_, run)| run.keys().len()).sum();
            let samples: usize = part.iter().map(|(_, run)| run.rows()).sum();
            part.iter().for_each(|(_, run)| run.check().unwrap());
            let bytes = part.iter().flat_map(|(_, run)| run.keys()).map(key_bytes).sum::<usize>();
            let small = series == 1 && samples == 1;
            assert!(
                bytes + samples * SAMPLE_BYTES <= bytes_max || small,
                "{series} series, {samples} samples"
            );
        }
        let inputs: Vec<&[TenantRows]> = parts.iter().map(Vec::as_slice).collect();
        assert_eq!(crate::merge::merge_tenants(&inputs), rows);
        parts.iter().map(|part| part.iter().map(|(_, run)| run.rows()).sum()).collect()
    }

    #[test]
    fn rows_within_the_bound_stay_one_part() {
        assert_eq!(cut(Vec::new(), 0), Vec::<usize>::new());
        assert_eq!(cut(vec![(tenant("a"), run(&[("m", 3, 5)]))], 1 << 20), [5]);
    }

    #[test]
    fn parts_are_cut_by_label_bytes_between_series_and_tenants() {
        let rows = || {
            vec![(tenant("a"), run(&[("m", 900, 1), ("n", 900, 1)])), (tenant("b"), run(&[("m", 900, 1)]))]
        };
        assert_eq!(cut(rows(), 1_100), [1, 1, 1]);
        assert_eq!(cut(rows(), 2_100), [2, 1]);
        // Not even one series fits: it is a part nevertheless.
        assert_eq!(cut(rows(), 10), [1, 1, 1]);
    }

    #[test]
    fn a_series_is_cut_by_time_only_if_it_does_not_fit_alone() {
        let rows = |samples| vec![(tenant("a"), run(&[("m", 10, 1), ("n", 10, samples)]))];
        let (a, b) = (run(&[("m", 10, 0)]), run(&[("m", 10, 60)]));
        assert!(a.is_empty() && b.decoded_bytes() > 0);
        assert_eq!(cut(rows(55), 1_000), [1, 55]);
        assert_eq!(cut(rows(130), 1_000), [1, 58, 58, 14]);
    }

    #[test]
    fn decoded_bytes_count_labels_and_samples() {
        let one = run(&[("m", 1_000, 1)]).decoded_bytes();
        assert!((1_000..1_200).contains(&one), "{one}");
        let many = run(&[("m", 1_000, 1_000)]).decoded_bytes();
        assert_eq!(many - one, 999 * SAMPLE_BYTES);
    }
}
