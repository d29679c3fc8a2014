//! What a sweep deletes and what it must leave.

use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::read::reader::{Reader, ReaderSettings};
use crate::testing::{Process, World, sample, tenant, wait};
use crate::upkeep::adopter::{Adopter, AdopterSettings};
use crate::upkeep::fsck::fsck;
use crate::upkeep::merger::{Merger, MergerSettings};

/// A grace that has passed as soon as the store's clock moves by a millisecond.
const GRACE_OVER: u64 = 0;

async fn rows(process: &Process) -> Vec<i64> {
    let settings = ReaderSettings { probe_interval: Duration::ZERO, ..ReaderSettings::default() };
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), settings);
    let snapshot = reader.snapshot(&[]).await.unwrap();
    reader.read_all(&snapshot, &tenant("a")).await.unwrap().floats().ts().to_vec()
}

fn sweeper(process: &Process) -> Sweeper {
    Sweeper::new(process.chain.clone(), SweeperSettings::default())
}

async fn count(world: &World, folder: &str) -> usize {
    world.store.list(Some(&Path::from(folder))).try_collect::<Vec<_>>().await.unwrap().len()
}

/// Forty versions of one tenant: written, flushed, merged.
async fn busy(process: &Process) {
    let writer = process.writer().await;
    let merger = Merger::new(process.chain.clone(), MergerSettings::default());
    for ts in 1..=20 {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
        writer.flush_l1().await.unwrap();
        merger.merge_l1(&tenant("a")).await.unwrap();
    }
    writer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_younger_than_the_grace_is_swept() {
    let world = World::new();
    let process = world.process().await;
    busy(&process).await;
    let before = (count(&world, "blocks").await, count(&world, "wal").await, count(&world, "catalog").await);
    let sweep = sweeper(&process).sweep().await.unwrap();
    assert_eq!(sweep, Sweep::default());
    let after = (count(&world, "blocks").await, count(&world, "wal").await, count(&world, "catalog").await);
    assert_eq!(after, before);
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_only_what_counts_is_left() {
    let mut world = World::with_grace(GRACE_OVER);
    world.format.grace_ms = GRACE_OVER;
    let process = world.process().await;
    busy(&process).await;
    wait();
    let sweep = sweeper(&process).sweep().await.unwrap();
    assert!(sweep.epochs >= 4, "{sweep:?}");
    // The version at the floor still references the last L1 blocks; everything else is gone.
    let first = sweep.epochs * 8;
    assert_eq!(count(&world, "catalog").await as u64, process.chain.latest().version - first + 1);
    // Of 20 segments and a mark the mark stays.
    assert_eq!(count(&world, "wal").await, 1);
    assert_eq!(count(&world, "page").await, 1 + count(&world, "checkpoint").await - 1);
    let opened = world.process().await;
    assert_eq!(opened.chain.latest(), process.chain.latest());
    let report = fsck(opened.chain.context()).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(report.rows, 20);
}

#[tokio::test(start_paused = true)]
async fn live_segments_stay_and_contained_ones_go() {
    let world = World::with_grace(1);
    let process = world.process().await;
    let writer = process.writer().await;
    for ts in 1..=4 {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
        if ts == 2 {
            writer.flush_l1().await.unwrap();
        }
    }
    wait();
    // Another version, so that the one with the watermark is not the newest.
    process.writer().await;
    wait();
    let sweep = sweeper(&process).sweep().await.unwrap();
    assert_eq!(sweep.segments, 2);
    let id = writer.status().life.writer;
    for seq in 3..=4 {
        world.store.head(&keys::slot(id, seq)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_never_committed_goes_once_the_floor_passed_it() {
    let world = World::with_grace(1);
    let process = world.process().await;
    let writer = process.writer().await;
    let rows = [sample("a", 1)];
    let litter =
        crate::write::upload::upload_block(process.chain.context(), 0, promontory_block::Level::L1, &rows);
    litter.await.unwrap();
    wait();
    writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    writer.flush_l1().await.unwrap();
    let sweep = sweeper(&process).sweep().await.unwrap();
    assert_eq!((sweep.floor, sweep.block_objects), (1, 2));
    assert_eq!(count(&world, "blocks").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_wakes_after_its_segments_were_swept_finds_the_mark() {
    let world = World::with_grace(1);
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    let position = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    Adopter::new(other.chain.clone(), AdopterSettings::default()).adopt(position.writer).await.unwrap();
    for _ in 0..3 {
        wait();
        other.writer().await;
        wait();
        sweeper(&other).sweep().await.unwrap();
    }
    assert!(world.store.head(&keys::slot(position.writer, 1)).await.is_err());
    let next = writer.append_segment(vec![sample("a", 2)]).await.unwrap();
    assert_ne!(next.writer, position.writer);
    assert_eq!(process.counter("writers_closed_by_others"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_sweeps_nothing() {
    let world = World::with_grace(1);
    let process = world.process().await;
    busy(&process).await;
    wait();
    for offset in [-61_000, 61_000] {
        world.clock.0.store(offset, Ordering::SeqCst);
        let sweep = sweeper(&process).sweep().await.unwrap();
        assert!(sweep.skew_ms.is_some() && sweep.floor == 0, "{sweep:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_sweepers_at_once_do_no_harm() {
    let world = World::with_grace(1);
    let (a, b) = (world.process().await, world.process().await);
    busy(&a).await;
    wait();
    let (sweeper_a, sweeper_b) = (sweeper(&a), sweeper(&b));
    let (in_a, in_b) = tokio::join!(sweeper_a.sweep(), sweeper_b.sweep());
    assert!(in_a.is_ok() || in_b.is_ok());
    let report = fsck(&world.context()).await.unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let _ = rows;
}
