//! Rules of snapshots: which tails they hold, and what they warn of.

use std::sync::atomic::Ordering;

use super::*;
use crate::testing::{Process, World, run, sample, tenant};

fn reader(process: &Process) -> Arc<Reader> {
    Reader::new(process.chain.clone(), process.locals.clone(), ReaderSettings::default())
}

async fn rows(reader: &Reader, snapshot: &Snapshot) -> Vec<i64> {
    reader.read_all(snapshot, &tenant("a")).await.unwrap().floats().ts().to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_never_changes() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    for reader in [reader(&process), reader(&other)] {
        let first = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
        let snapshot = reader.snapshot(&[first]).await.unwrap();
        let before = rows(&reader, &snapshot).await;
        writer.append_segment(vec![sample("a", 7)]).await.unwrap();
        writer.flush_l1().await.unwrap();
        reader.refresh().await.unwrap();
        assert_eq!(rows(&reader, &snapshot).await, before);
        let newer = reader.snapshot(&[]).await.unwrap();
        assert_eq!(rows(&reader, &newer).await, [1, 7]);
    }
}

#[tokio::test(start_paused = true)]
async fn positions_are_waited_for_whoever_wrote_them() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let reader = reader(&other);
    reader.snapshot(&[]).await.unwrap();
    // Born, acknowledged and closed since the reader looked last.
    let writer = process.writer().await;
    let closed = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    writer.close().await.unwrap();
    let writer = process.writer().await;
    let live = writer.append_segment(vec![sample("a", 2)]).await.unwrap();
    let snapshot = reader.snapshot(&[closed, live]).await.unwrap();
    assert_eq!(rows(&reader, &snapshot).await, [1, 2]);
    let never = Position { writer: live.writer, seq: live.seq + 1 };
    assert!(matches!(reader.snapshot(&[never]).await, Err(Error::Busy(_))));
}

#[tokio::test(start_paused = true)]
async fn without_answers_an_older_snapshot_serves_with_a_warning_until_it_is_stale() {
    let world = World::with_grace(120_000);
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    let reader = reader(&other);
    let snapshot = reader.snapshot(&[]).await.unwrap();
    world.store.down.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(reader.snapshot(&[]).await.unwrap().warnings.is_empty());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let warned = reader.snapshot(&[]).await.unwrap();
    assert!(warned.warnings.iter().any(|text| text.contains("catalog")), "{:?}", warned.warnings);
    assert!(warned.warnings.iter().any(|text| text.contains("writer")), "{:?}", warned.warnings);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(matches!(reader.snapshot(&[]).await, Err(Error::Stale(_))));
    assert!(matches!(reader.read_all(&snapshot, &tenant("a")).await, Err(Error::Stale(_))));
    world.store.down.store(false, Ordering::SeqCst);
    assert!(reader.snapshot(&[]).await.unwrap().warnings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_long_tail_is_followed_in_few_looks_and_dropped_when_blocks_contain_it() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    for ts in 1..=100 {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
    }
    let reader = reader(&other);
    let snapshot = reader.snapshot(&[]).await.unwrap();
    assert_eq!(rows(&reader, &snapshot).await, (1..=100).collect::<Vec<_>>());
    assert_eq!(other.counter("tail_segments"), 100);
    writer.flush_l1().await.unwrap();
    reader.refresh().await.unwrap();
    let snapshot = reader.snapshot(&[]).await.unwrap();
    assert_eq!(
        snapshot.tails.values().map(|tail| tail.head.contributions_within(0, u64::MAX).len()).sum::<usize>(),
        0
    );
    assert_eq!(rows(&reader, &snapshot).await, (1..=100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_tail_over_its_budget_is_refused_by_name() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    for ts in 1..=10 {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
    }
    let settings = ReaderSettings { tail_bytes_max: 100, ..ReaderSettings::default() };
    let reader = Reader::new(other.chain.clone(), other.locals.clone(), settings);
    assert!(matches!(reader.snapshot(&[]).await, Err(Error::Limited(_))));
}

#[tokio::test(start_paused = true)]
async fn retention_hides_samples_at_once() {
    let world = World::new();
    let process = world.process().await;
    let writer = process.writer().await;
    writer.append_segment(vec![(tenant("a"), run(&[1, 2, 3]))]).await.unwrap();
    let retain = crate::catalog::state::Change::Retain { tenant: tenant("a"), from_ts: 2 };
    let outcome = process.chain.commit(|_| crate::catalog::chain::Next::<()>::Try(retain.clone())).await;
    assert!(outcome.is_ok());
    let reader = reader(&process);
    let snapshot = reader.snapshot(&[]).await.unwrap();
    assert_eq!(rows(&reader, &snapshot).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_holds_the_labels_of_a_series_once() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    let wide = |ts| {
        let mut run = promontory_block::SeriesRun::default();
        for number in 0..3 {
            let pairs = [("__name__", format!("m{number}")), ("pad", "x".repeat(10_000))];
            run.push_floats(promontory_model::Labels::from_pairs(pairs), [(ts, 1.0)]);
        }
        vec![(tenant("a"), run)]
    };
    for ts in 1..=20 {
        writer.append_segment(wide(ts)).await.unwrap();
    }
    for (process, reader) in [(&process, reader(&process)), (&other, reader(&other))] {
        let snapshot = reader.snapshot(&[]).await.unwrap();
        let [tail] = snapshot.tails.values().collect::<Vec<_>>()[..] else { panic!("one writer") };
        // In the writer's own process the label sets of each segment are its sender's.
        let sets = if process.locals.views().is_empty() { 3 } else { 60 };
        let bytes = tail.head.bytes();
        assert!((sets * 10_000..sets * 10_000 + 10_000).contains(&bytes), "{bytes}");
        assert_eq!(rows(&reader, &snapshot).await.len(), 60);
    }
}
