//! The label indexes of a decoded series table: made when a label is asked for a second time, as most
//! of what is asked once is never asked again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use promontory_model::ValueBounds;
use promontory_model::{Matcher, MutexExt as _};

use crate::label_index::Candidates;

/// The values of one label with the series that have each.
#[derive(Debug)]
pub(super) struct LabelIndex {
    /// Symbols of the distinct values, ascending by their text.
    values: Vec<u32>,
    /// The series with value `i` are `series[ends[i]..ends[i + 1]]`, ascending.
    ends: Vec<u32>,
    series: Vec<u32>,
}

impl LabelIndex {
    /// The index of a label with the value `symbol_of(i)` in series `i` of `n_series`.
    pub(super) fn new<'a>(
        n_series: u32,
        symbol_of: impl Fn(u32) -> Option<u32>,
        text: impl Fn(u32) -> &'a str,
    ) -> Self {
        let mut entries: Vec<(u32, u32)> =
            (0..n_series).filter_map(|series| Some((symbol_of(series)?, series))).collect();
        // Within a value the series go on ascending.
        entries.sort_unstable();
        let mut groups: Vec<&[(u32, u32)]> = entries.chunk_by(|a, b| a.0 == b.0).collect();
        groups.sort_unstable_by_key(|group| text(group[0].0));
        let mut index = Self {
            values: Vec::with_capacity(groups.len()),
            ends: Vec::with_capacity(groups.len() + 1),
            series: Vec::with_capacity(entries.len()),
        };
        index.ends.push(0);
        for group in groups {
            index.values.push(group[0].0);
            index.series.extend(group.iter().map(|(_, series)| *series));
            index.ends.push(index.series.len() as u32);
        }
        index
    }

    /// The series of `within` whose value passes, ascending; [`Candidates::Many`] above `series_max`.
    pub(super) fn series_of<'a>(
        &self,
        matcher: &Matcher,
        text: impl Fn(u32) -> &'a str,
        within: &Range<u32>,
        series_max: usize,
    ) -> Candidates {
        let mut found = Vec::new();
        let mut add = |value: usize| {
            let all = &self.series[self.ends[value] as usize..self.ends[value + 1] as usize];
            let from = all.partition_point(|series| *series < within.start);
            let to = all.partition_point(|series| *series < within.end);
            let few = found.len() + (to - from) <= series_max;
            if few {
                found.extend_from_slice(&all[from..to]);
            }
            few
        };
        let exact = |value: &str| self.values.binary_search_by(|symbol| text(*symbol).cmp(value)).ok();
        let few = match matcher.value_bounds() {
            ValueBounds::One(value) => exact(value).is_none_or(&mut add),
            ValueBounds::AnyOf(values) => values.iter().filter_map(|value| exact(value)).all(&mut add),
            ValueBounds::Prefix(prefix) => {
                let first = self.values.partition_point(|symbol| text(*symbol) < prefix);
                let known = (first..self.values.len()).map(|value| (value, text(self.values[value])));
                let mut known = known.take_while(|(_, text)| text.starts_with(prefix));
                known.all(|(value, text)| !matcher.matches(text) || add(value))
            }
        };
        if !few {
            return Candidates::Many;
        }
        found.sort_unstable();
        Candidates::Few(found)
    }

    fn memory_size(&self) -> usize {
        (self.values.len() + self.ends.len() + self.series.len()) * 4
    }

    /// The most that the index of a label takes, if every series has a value of its own.
    pub(super) fn memory_size_max(n_series: usize) -> usize {
        (3 * n_series + 1) * 4
    }
}

/// The indexes of one table, by the symbol of the label's name; `None` for a label that was asked for
/// once. Together they stay within a bound: what finds no room is looked at series by series.
#[derive(Debug, Default)]
pub(super) struct LabelIndexes(Mutex<BTreeMap<u32, Option<Arc<LabelIndex>>>>);

impl LabelIndexes {
    /// The index of a label, if there is one.
    pub(super) fn get(&self, label: u32) -> Option<Arc<LabelIndex>> {
        self.0.locked().get(&label).cloned().flatten()
    }

    /// The index of a label; makes it if it is asked for a second time and `bytes` more, its most, are
    /// within `bytes_max` for all.
    pub(super) fn get_or_make(
        &self,
        label: u32,
        bytes: usize,
        bytes_max: usize,
        make: impl FnOnce() -> LabelIndex,
    ) -> Option<Arc<LabelIndex>> {
        {
            let mut indexes = self.0.locked();
            let asked_before = match indexes.entry(label) {
                Entry::Vacant(entry) => {
                    entry.insert(None);
                    false
                }
                Entry::Occupied(entry) => match entry.get() {
                    Some(index) => return Some(index.clone()),
                    None => true,
                },
            };
            let taken: usize = indexes.values().flatten().map(|index| index.memory_size()).sum();
            if !asked_before || taken + bytes > bytes_max {
                return None;
            }
        }
        // Other labels are looked up meanwhile; two who make the same index make it twice.
        let made = Arc::new(make());
        self.0.locked().insert(label, Some(made.clone()));
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(n_series: u32) -> LabelIndex {
        LabelIndex::new(n_series, Some, |_| "value")
    }

    #[test]
    fn a_label_is_indexed_when_it_is_asked_for_again() {
        let indexes = LabelIndexes::default();
        assert!(indexes.get_or_make(7, 1, usize::MAX, || unreachable!()).is_none());
        assert!(indexes.get(7).is_none());
        assert!(indexes.get_or_make(7, 1, usize::MAX, || index(10)).is_some());
        assert!(indexes.get_or_make(7, 1, usize::MAX, || unreachable!()).is_some());
        assert!(indexes.get(7).is_some());
    }

    #[test]
    fn a_label_without_room_is_not_indexed() {
        let indexes = LabelIndexes::default();
        let (bytes, room) = (index(10).memory_size(), index(10).memory_size() + 1);
        for label in [1, 1, 2, 2] {
            indexes.get_or_make(label, bytes, room, || index(10));
        }
        assert!(indexes.get(1).is_some());
        assert!(indexes.get(2).is_none());
        assert!(indexes.get_or_make(2, bytes, room, || unreachable!()).is_none());
    }
}
