//! The label sets of one tenant's series, by id and in order, shared with cuts that are sorted outside of the
//! intake's lock.
//!
//! Invariants:
//! - An id keeps its label set; label sets are only added.
//! - While the intake is locked nothing takes time by the number of series: a cut takes [`Keys`] by their parts, and
//!   new series that come while it is sorted copy one part at most. The order is found by who sorts.

use std::sync::Arc;

use promontory_model::Labels;

/// Label sets of one part. The last one is copied once for each cut that is sorted while new series come.
const PART_KEYS: usize = 1 << 12;

/// Label sets by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// All but the last have [`PART_KEYS`].
    parts: Vec<Arc<Vec<Labels>>>,
}

/// Ids in the order of their keys, brought up to date by whoever sorts a cut.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    order: Vec<u32>,
    /// The position of each id in `order`.
    ranks: Vec<u32>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.parts.last().map_or(0, |last| (self.parts.len() - 1) * PART_KEYS + last.len())
    }

    pub(super) fn get(&self, id: u32) -> &Labels {
        &self.parts[id as usize / PART_KEYS][id as usize % PART_KEYS]
    }

    /// In the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Labels> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    /// Adds a label set and answers its id.
    pub(super) fn push(&mut self, labels: Labels) -> u32 {
        let id = self.len() as u32;
        match self.parts.last_mut() {
            Some(last) if last.len() < PART_KEYS => Arc::make_mut(last).push(labels),
            _ => self.parts.push(Arc::new(vec![labels])),
        }
        id
    }
}

impl Ranking {
    /// The position of each id in the order of `keys`; those of more keys are as good, because keys are only
    /// added.
    pub(super) fn of(&mut self, keys: &Keys) -> &[u32] {
        if self.ranks.len() < keys.len() {
            self.add(keys);
        }
        &self.ranks
    }

    fn add(&mut self, keys: &Keys) {
        let mut fresh: Vec<u32> = (self.ranks.len() as u32..keys.len() as u32).collect();
        fresh.sort_unstable_by(|a, b| keys.get(*a).cmp(keys.get(*b)));
        let mut order = Vec::with_capacity(keys.len());
        let mut rest = self.order.as_slice();
        for id in fresh {
            // Keys are compared as often as the new ones need; the others are copied.
            let (before, after) = rest.split_at(rest.partition_point(|old| keys.get(*old) < keys.get(id)));
            order.extend_from_slice(before);
            order.push(id);
            rest = after;
        }
        order.extend_from_slice(rest);
        self.ranks.resize(order.len(), 0);
        for (rank, id) in (0..).zip(&order) {
            self.ranks[*id as usize] = rank;
        }
        self.order = order;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Labels {
        Labels::from_pairs([("__name__", format!("m{number}").as_str())])
    }

    #[test]
    fn ids_keep_their_keys_while_a_cut_holds_them() {
        let mut keys = Keys::default();
        let mut held = Vec::new();
        for number in 0..3 * PART_KEYS as u64 + 7 {
            assert_eq!(u64::from(keys.push(key(number))), number);
            if number % 1_000 == 0 {
                held.push(keys.clone());
            }
        }
        for (number, held) in (0..).step_by(1_000).zip(&held) {
            assert_eq!(held.len(), number + 1);
            assert!(held.iter().eq(keys.iter().take(number + 1)));
        }
        assert_eq!(keys.get(PART_KEYS as u32), &key(PART_KEYS as u64));
    }

    #[test]
    fn a_new_key_copies_one_part_at_most() {
        let mut keys = Keys::default();
        for number in 0..2 * PART_KEYS as u64 + 1 {
            keys.push(key(number));
        }
        let held = keys.clone();
        keys.push(key(1 << 40));
        let shared = held.parts.iter().zip(&keys.parts).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), 2);
    }

    #[test]
    fn ranks_are_those_of_sorting_all_whenever_keys_came() {
        let (mut keys, mut ranking) = (Keys::default(), Ranking::default());
        let mut older = Keys::default();
        for step in 0..40_u64 {
            // Scattered, and now and then none or many.
            for number in 0..[0, 1, 7, 90][step as usize % 4] {
                keys.push(key((step * 1_000 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            }
            let ranks = ranking.of(&keys).to_vec();
            let mut sorted: Vec<u32> = (0..keys.len() as u32).collect();
            sorted.sort_by_key(|id| keys.get(*id).clone());
            assert!(sorted.iter().zip(0..).all(|(id, rank)| ranks[*id as usize] == rank));
            assert_eq!(ranking.of(&older), ranks);
            older = keys.clone();
        }
    }
}
