//! Merges lose and double nothing; each rule by itself.

use object_store::ObjectStoreExt as _;
use promontory_block::TenantRows;

use super::*;
use crate::object::keys;
use crate::read::reader::{Reader, ReaderSettings};
use crate::testing::{Fault, Process, World, run, sample, tenant};

const WINDOW: i64 = 2 * HOUR_MS;

async fn rows(process: &Process, name: &str) -> Vec<i64> {
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), ReaderSettings::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    reader.read_all(&snapshot, &tenant(name)).await.unwrap().floats().ts().to_vec()
}

async fn l1(process: &Process, blocks: Vec<Vec<TenantRows>>) {
    let writer = process.writer().await;
    for rows in blocks {
        writer.append_segment(rows).await.unwrap();
        writer.flush_l1().await.unwrap();
    }
}

fn merger(process: &Process) -> Merger {
    Merger::new(process.chain.clone(), MergerSettings::default())
}

#[tokio::test(start_paused = true)]
async fn a_merge_from_l1_takes_one_tenant_and_hides_its_l1_rows_only() {
    let process = World::new().process().await;
    l1(&process, vec![vec![sample("a", 1), sample("b", 1)], vec![sample("a", 2)]]).await;
    let merged = merger(&process).merge_l1(&tenant("a")).await.unwrap();
    assert_eq!(merged, Merged::Committed { blocks: 1, rows: 2, passed_over: 0 });
    let catalog = process.chain.latest();
    assert_eq!(catalog.l1_of(&tenant("a")).count(), 0);
    // The second object held a only; the first is kept for b.
    assert_eq!(catalog.l1.len(), 1);
    assert_eq!(rows(&process, "a").await, [1, 2]);
    assert_eq!(rows(&process, "b").await, [1]);
    assert_eq!(merger(&process).merge_l1(&tenant("a")).await.unwrap(), Merged::Nothing);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_equal_merges_is_void() {
    let world = World::new();
    let (a, b) = (world.process().await, world.process().await);
    l1(&a, vec![vec![sample("a", 1)]]).await;
    // The first stumbles at its commit, so that the second overtakes it.
    world.store.next_put("catalog/", Fault::Fails);
    let (merger_a, merger_b) = (merger(&a), merger(&b));
    let id = tenant("a");
    let (in_a, in_b) = tokio::join!(merger_a.merge_l1(&id), merger_b.merge_l1(&id));
    let committed = Merged::Committed { blocks: 1, rows: 1, passed_over: 0 };
    assert_eq!((in_a.unwrap(), in_b.unwrap()), (Merged::Void, committed));
    assert_eq!(a.chain.refresh().await.unwrap().blocks_of(&id).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_merge_whose_answer_is_lost_is_made_once() {
    for fault in [Fault::AnswerLost, Fault::SaysExists, Fault::SaysExistsWithoutEffect] {
        let world = World::new();
        let process = world.process().await;
        l1(&process, vec![vec![sample("a", 1)]]).await;
        world.store.next_put("catalog/", fault);
        merger(&process).merge_l1(&tenant("a")).await.unwrap();
        assert_eq!(process.chain.latest().blocks_of(&tenant("a")).count(), 1, "{fault:?}");
        assert_eq!(rows(&process, "a").await, [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn blocks_above_l1_are_swapped_for_their_merge() {
    let process = World::new().process().await;
    let merger = merger(&process);
    let id = tenant("a");
    for ts in [1, 2, WINDOW + 1] {
        l1(&process, vec![vec![sample("a", ts)]]).await;
        merger.merge_l1(&id).await.unwrap();
    }
    let inputs: Vec<BlockId> = process.chain.latest().blocks_of(&id).map(|entry| entry.id).collect();
    assert_eq!(inputs.len(), 3);
    let merged = merger.merge(&id, &inputs, Level::L3).await.unwrap();
    assert_eq!(merged, Merged::Committed { blocks: 1, rows: 3, passed_over: 0 });
    assert_eq!(merger.merge(&id, &inputs, Level::L3).await.unwrap(), Merged::Void);
    assert_eq!(rows(&process, "a").await, [1, 2, WINDOW + 1]);
}

#[tokio::test(start_paused = true)]
async fn inputs_beyond_the_row_limit_wait_for_the_next_merge() {
    let process = World::new().process().await;
    l1(&process, (1..=3).map(|ts| vec![sample("a", ts)]).collect()).await;
    let settings = MergerSettings { rows_max: 2, ..MergerSettings::default() };
    let merger = Merger::new(process.chain.clone(), settings);
    let merged = |rows| Merged::Committed { blocks: 1, rows, passed_over: 0 };
    assert_eq!(merger.merge_l1(&tenant("a")).await.unwrap(), merged(2));
    assert_eq!(rows(&process, "a").await, [1, 2, 3]);
    assert_eq!(merger.merge_l1(&tenant("a")).await.unwrap(), merged(1));
    assert_eq!(merger.merge_l1(&tenant("a")).await.unwrap(), Merged::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_l1_block_is_passed_over_and_counts_on() {
    let world = World::new();
    let process = world.process().await;
    let (a, b) = (tenant("a"), tenant("b"));
    l1(&process, vec![vec![sample("a", 1)], vec![sample("a", 2), sample("b", 2)], vec![sample("a", 3)]])
        .await;
    let (version, entry) = {
        let catalog = process.chain.latest();
        let (version, entry) = catalog.l1_of(&a).nth(1).unwrap();
        (version, entry.clone())
    };
    let key = keys::block_object(&entry.path, entry.meta.objects[0].kind);
    let whole = world.store.inner.get(&key).await.unwrap().bytes().await.unwrap();
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 1;
    world.store.inner.put(&key, flipped.into()).await.unwrap();

    let past = |rows, passed_over| Merged::Committed { blocks: 1, rows, passed_over };
    assert_eq!(merger(&process).merge_l1(&a).await.unwrap(), past(2, 1));
    assert_eq!(merger(&process).merge_l1(&a).await.unwrap(), Merged::Nothing);
    // What comes later is merged.
    l1(&process, vec![vec![sample("a", 4)]]).await;
    assert_eq!(merger(&process).merge_l1(&a).await.unwrap(), past(1, 0));
    assert_eq!(process.counter("l1_blocks_passed_over"), 1);

    // It still counts: reading it says what is damaged, and nothing else is missing.
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), ReaderSettings::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    let error = reader.read_all(&snapshot, &a).await.unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { object, .. } if object.contains(entry.path.as_ref())),
        "{error}"
    );
    let merged = Merged::Committed { blocks: 0, rows: 0, passed_over: 1 };
    assert_eq!(merger(&process).merge_l1(&b).await.unwrap(), merged);
    assert_eq!(process.chain.latest().l1.keys().copied().collect::<Vec<_>>(), [version]);

    // Another process finds the same in the catalog; put right, everything is there once.
    world.store.inner.put(&key, whole.into()).await.unwrap();
    let later = world.process().await;
    assert_eq!(rows(&later, "a").await, [1, 2, 3, 4]);
    assert_eq!(rows(&later, "b").await, [2]);
}

#[tokio::test(start_paused = true)]
async fn windows_get_blocks_of_their_own_until_there_are_too_many() {
    let process = World::new().process().await;
    let settings = MergerSettings { windows_max: 3, ..MergerSettings::default() };
    let merger = Merger::new(process.chain.clone(), settings);
    let starts =
        |parts: Vec<SeriesRun>| parts.iter().map(|part| part.floats().ts().to_vec()).collect::<Vec<_>>();
    let three = run(&[-1, 0, WINDOW - 1, WINDOW]);
    assert_eq!(starts(merger.parts(Level::L2, three)), [vec![-1], vec![0, WINDOW - 1], vec![WINDOW]]);
    let five = run(&[0, WINDOW, 2 * WINDOW, 3 * WINDOW, 4 * WINDOW]);
    let expected = [vec![0, WINDOW], vec![2 * WINDOW], vec![3 * WINDOW], vec![4 * WINDOW]];
    assert_eq!(starts(merger.parts(Level::L2, five.clone())), expected);
    assert_eq!(merger.parts(Level::L3, five).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_takes_too_much_memory_ends_with_the_version_that_it_has_read() {
    let process = World { block_bytes_max: 100, ..World::new() }.process().await;
    // Versions of one block, of several and of one again.
    let blocks = [vec![1], (2..=30).collect(), vec![31]].map(|ts: Vec<i64>| vec![(tenant("a"), run(&ts))]);
    l1(&process, blocks.to_vec()).await;
    assert!(process.chain.latest().l1.len() > 5);
    let settings = MergerSettings { decoded_bytes_max: 1, ..MergerSettings::default() };
    let merger = Merger::new(process.chain.clone(), settings);
    let mut merged = Vec::new();
    while let Merged::Committed { rows, .. } = merger.merge_l1(&tenant("a")).await.unwrap() {
        merged.push(rows);
        assert_eq!(rows_of(&process).await, (1..=31).collect::<Vec<_>>());
    }
    assert_eq!(merged, [1, 29, 1]);
}

async fn rows_of(process: &Process) -> Vec<i64> {
    rows(process, "a").await
}

#[tokio::test(start_paused = true)]
async fn tenants_of_blocks_that_do_not_fit_are_merged_from_their_own_parts() {
    // Room for none, for the first, and for as many as come first in memory.
    let roomy = MergerSettings::default();
    let settings = [
        MergerSettings { rows_max: 3, ..roomy },
        MergerSettings { rows_max: 9, ..roomy },
        MergerSettings { decoded_bytes_max: 600, ..roomy },
    ];
    for settings in settings {
        let process = World::new().process().await;
        let block = |from: i64| {
            let tenants = ["a", "b", "c"].iter().zip(0..);
            tenants.map(|(name, at)| (tenant(name), run(&[from + at, from + at + 10]))).collect()
        };
        l1(&process, [100, 200, 300].map(block).to_vec()).await;
        let merger = Merger::new(process.chain.clone(), settings);
        for (name, at) in ["a", "b", "c"].into_iter().zip(0..) {
            while let Merged::Committed { .. } = merger.merge_l1(&tenant(name)).await.unwrap() {}
            let expected: Vec<i64> =
                [100, 200, 300].iter().flat_map(|from| [from + at, from + at + 10]).collect();
            assert_eq!(rows(&process, name).await, expected, "{settings:?}");
        }
        assert!(process.chain.latest().l1.is_empty());
        assert!(!merger.inputs().too_large.is_empty());
        merger.forget_inputs();
        assert!(merger.inputs().too_large.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn outputs_are_cut_by_what_they_take_in_memory() {
    let world = World { block_bytes_max: 10_000, ..World::new() };
    let process = world.process().await;
    let mut wide = SeriesRun::default();
    for number in 0..10 {
        let pairs = [("__name__", format!("m{number}")), ("pad", "x".repeat(4_000))];
        wide.push_floats(Labels::from_pairs(pairs), [(number, 1.0)]);
    }
    l1(&process, vec![vec![(tenant("a"), wide)]]).await;
    let merged = merger(&process).merge_l1(&tenant("a")).await.unwrap();
    assert_eq!(merged, Merged::Committed { blocks: 4, rows: 10, passed_over: 0 });
    assert_eq!(rows_of(&process).await, (0..10).collect::<Vec<_>>());
}
