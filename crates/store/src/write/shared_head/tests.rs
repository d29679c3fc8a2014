//! Who publishes, who settles, who reads.

use promontory_block::SeriesRun;
use promontory_model::{Labels, TenantId, TimeRange};

use super::*;

fn tenant() -> TenantId {
    TenantId::new("a").unwrap()
}

/// One sample at `seq` of each of these series.
fn rows(series: &[&str], seq: u64) -> Vec<TenantRows> {
    let mut run = SeriesRun::default();
    for name in series {
        run.push_floats(Labels::from_pairs([("__name__", *name)]), [(seq as i64, 1.0)]);
    }
    vec![(tenant(), run)]
}

fn publish(head: &SharedHead, seq: u64, series: &[&str]) {
    let rows = rows(series, seq);
    let bytes = decoded_bytes(&rows);
    head.publish(seq, Arc::new(rows), bytes);
}

fn found(head: &Head) -> Vec<String> {
    let selected = head.select(&tenant(), &[], TimeRange::ALL, 0..u64::MAX);
    selected.keys().map(|key| key.get("__name__").unwrap().into_owned()).collect()
}

#[test]
fn whoever_publishes_does_not_wait_for_a_reader_and_the_next_reader_finds_it() {
    let head = Arc::<SharedHead>::default();
    publish(&head, 1, &["b"]);
    let long = head.read();
    publish(&head, 2, &["a"]);
    head.settle();
    assert_eq!((found(&long), head.last_seq()), (vec!["b".to_owned()], Some(2)));
    std::thread::scope(|scope| {
        let next = scope.spawn(|| found(&head.read()));
        drop(long);
        assert_eq!(next.join().unwrap(), ["a", "b"]);
    });
}

#[test]
fn many_readers_and_one_writer_see_each_contribution_once_and_in_order() {
    let head = Arc::<SharedHead>::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=200 {
                publish(&head, seq, &["m"]);
                head.settle();
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let mut before = 0;
                while before < 200 {
                    let published = head.last_seq().unwrap_or(0);
                    let selected = head.read().select(&tenant(), &[], TimeRange::ALL, 0..u64::MAX);
                    let ts: Vec<i64> = match selected.keys().len() {
                        0 => Vec::new(),
                        _ => selected.samples(0).flat_map(|samples| samples.floats.ts().to_vec()).collect(),
                    };
                    assert!(ts.iter().copied().eq(1..=ts.len() as i64), "{ts:?}");
                    assert!(ts.len() as u64 >= published.max(before));
                    before = ts.len() as u64;
                }
            });
        }
    });
}

#[test]
fn memory_is_never_less_than_what_is_held() {
    let head = Arc::<SharedHead>::default();
    publish(&head, 1, &["a", "b"]);
    let unsettled = head.bytes();
    head.settle();
    let settled = head.bytes();
    assert!(0 < settled && settled <= unsettled + 4 * 64, "{settled} of {unsettled}");
    assert_eq!(settled, head.read().bytes());
    head.insert_decoded(2, rows(&["a", "b"], 2));
    assert!(head.bytes() - settled < settled, "label sets lie in memory once");
}

#[test]
fn rebasing_drops_what_a_block_contains_and_leaves_the_old_head_alone() {
    let old = Arc::<SharedHead>::default();
    publish(&old, 1, &["a", "b"]);
    publish(&old, 2, &["b"]);
    publish(&old, 4, &["c"]);
    assert!(old.reaches_below(1) && !old.reaches_below(0));
    let new = old.rebased(2);
    assert_eq!((new.contributions_within(0, u64::MAX).len(), new.last_seq()), (1, Some(4)));
    assert_eq!(
        (found(&new.read()), found(&old.read())),
        (vec!["c".into()], vec!["a".into(), "b".into(), "c".into()])
    );
    assert!(new.bytes() < old.bytes());
    assert_eq!(old.contributions_within(1, 2).len(), 1);
}
