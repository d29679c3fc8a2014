//! Merges lose and double nothing; each rule by itself.

use promontory_block::TenantRows;

use super::*;
use crate::reader::{Reader, ReaderSettings};
use crate::testing::{Fault, Process, World, run, sample, tenant};

const WINDOW: i64 = 2 * HOUR_MS;

async fn rows(process: &Process, name: &str) -> Vec<i64> {
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), ReaderSettings::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    reader.read_all(&snapshot, &tenant(name)).await.unwrap().ts
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
    assert_eq!(merged, Merged::Committed { blocks: 1, rows: 2 });
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
    let committed = Merged::Committed { blocks: 1, rows: 1 };
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
    assert_eq!(merged, Merged::Committed { blocks: 1, rows: 3 });
    assert_eq!(merger.merge(&id, &inputs, Level::L3).await.unwrap(), Merged::Void);
    assert_eq!(rows(&process, "a").await, [1, 2, WINDOW + 1]);
}

#[tokio::test(start_paused = true)]
async fn inputs_beyond_the_row_limit_wait_for_the_next_merge() {
    let process = World::new().process().await;
    l1(&process, (1..=3).map(|ts| vec![sample("a", ts)]).collect()).await;
    let settings = MergerSettings { rows_max: 2, ..MergerSettings::default() };
    let merger = Merger::new(process.chain.clone(), settings);
    let merged = |rows| Merged::Committed { blocks: 1, rows };
    assert_eq!(merger.merge_l1(&tenant("a")).await.unwrap(), merged(2));
    assert_eq!(rows(&process, "a").await, [1, 2, 3]);
    assert_eq!(merger.merge_l1(&tenant("a")).await.unwrap(), merged(1));
    assert_eq!(merger.merge_l1(&tenant("a")).await.unwrap(), Merged::Nothing);
}

#[tokio::test(start_paused = true)]
async fn windows_get_blocks_of_their_own_until_there_are_too_many() {
    let process = World::new().process().await;
    let settings = MergerSettings { windows_max: 3, ..MergerSettings::default() };
    let merger = Merger::new(process.chain.clone(), settings);
    let starts = |parts: Vec<SeriesRun>| parts.iter().map(|part| part.ts.clone()).collect::<Vec<_>>();
    let three = run(&[-1, 0, WINDOW - 1, WINDOW]);
    assert_eq!(starts(merger.parts(Level::L2, three)), [vec![-1], vec![0, WINDOW - 1], vec![WINDOW]]);
    let five = run(&[0, WINDOW, 2 * WINDOW, 3 * WINDOW, 4 * WINDOW]);
    let expected = [vec![0, WINDOW], vec![2 * WINDOW], vec![3 * WINDOW], vec![4 * WINDOW]];
    assert_eq!(starts(merger.parts(Level::L2, five.clone())), expected);
    assert_eq!(merger.parts(Level::L3, five).len(), 1);
}
