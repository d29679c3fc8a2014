//! The label indexes of a decoded series table: made when a label is asked for a second time, as most
//! of what is asked once is never asked again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use promontory_model::Matcher;
use promontory_model::matcher::ValueBounds;

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

    /// The series of `within` whose value passes, ascending; `None` if they are more than `series_max`.
    pub(super) fn series_of<'a>(
        &self,
        matcher: &Matcher,
        text: impl Fn(u32) -> &'a str,
        within: &Range<u32>,
        series_max: usize,
    ) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        let mut add = |value: usize| {
            let all = &self.series[self.ends[value] as usize..self.ends[value + 1] as usize];
            let from = all.partition_point(|series| *series < within.start);
            let to = all.partition_point(|series| *series < within.end);
            found.extend_from_slice(&all[from..to.max(from)]);
            found.len() <= series_max
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
        found.sort_unstable();
        few.then_some(found)
    }

    fn memory_size(&self) -> usize {
        (self.values.len() + self.ends.len() + self.series.len()) * 4
    }
}

/// The indexes of one table, by label; `None` for a label that was asked for once.
#[derive(Debug, Default)]
pub(super) struct LabelIndexes(Mutex<BTreeMap<u32, Option<Arc<LabelIndex>>>>);

impl LabelIndexes {
    /// The index of a label, given by the symbol of its name. Together they take at most `bytes_max`; a
    /// new one takes the place of the others.
    pub(super) fn get(
        &self,
        label: u32,
        bytes_max: usize,
        make: impl FnOnce() -> LabelIndex,
    ) -> Option<Arc<LabelIndex>> {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match indexes.get(&label) {
            Some(Some(index)) => return Some(index.clone()),
            Some(None) => {}
            None => {
                indexes.insert(label, None);
                return None;
            }
        }
        let made = Arc::new(make());
        let bytes = made.memory_size();
        if bytes <= bytes_max {
            let others: usize = indexes.values().flatten().map(|index| index.memory_size()).sum();
            if others + bytes > bytes_max {
                indexes.values_mut().for_each(|index| *index = None);
            }
            indexes.insert(label, Some(made.clone()));
        }
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
        assert!(indexes.get(7, usize::MAX, || unreachable!()).is_none());
        assert!(indexes.get(7, usize::MAX, || index(10)).is_some());
        assert!(indexes.get(7, usize::MAX, || unreachable!()).is_some());
    }

    #[test]
    fn a_new_index_takes_the_place_of_others_where_room_ends() {
        let (indexes, room) = (LabelIndexes::default(), index(10).memory_size() + 1);
        for label in [1, 2, 1, 2] {
            indexes.get(label, room, || index(10));
        }
        assert!(indexes.get(2, room, || unreachable!()).is_some());
        let mut made = false;
        indexes.get(1, room, || {
            made = true;
            index(10)
        });
        assert!(made);
        // One that is too large for itself answers and is not kept.
        indexes.get(3, 10, || unreachable!());
        assert!(indexes.get(3, 10, || index(10)).is_some());
        made = false;
        indexes.get(3, 10, || {
            made = true;
            index(10)
        });
        assert!(made);
    }
}
