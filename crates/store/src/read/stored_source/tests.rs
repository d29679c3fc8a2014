//! Pinned snapshots: found again, cut to what they held, or gone.

use std::sync::atomic::Ordering;

use promontory_block::ParquetCodec;
use promontory_model::TimeRange;

use super::*;
use crate::catalog::chain::Chain;
use crate::object::context::Context;
use crate::read::blocks::BlockReaderSettings;
use crate::read::reader::ReaderSettings;
use crate::testing::{Process, World, sample, tenant};

/// A process whose blocks are Parquet: only these are read selectively.
async fn parquet_process(world: &World) -> Process {
    let context = Context { codec: Arc::new(ParquetCodec), ..(*world.context()).clone() };
    Process { chain: Chain::open(Arc::new(context)).await.unwrap(), locals: Arc::default() }
}

fn source(process: &Process) -> StoredSource {
    source_that_looks(process, Duration::ZERO)
}

fn source_that_looks(process: &Process, probe_interval: Duration) -> StoredSource {
    let settings = ReaderSettings { probe_interval, ..ReaderSettings::default() };
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), settings);
    let bucket = process.chain.context().bucket.clone();
    StoredSource::new(reader, BlockReader::new(bucket, BlockReaderSettings::default()))
}

/// A source that has looked at the store, and will not look again by itself for an hour.
async fn sluggish(process: &Process) -> StoredSource {
    let source = source_that_looks(process, Duration::from_secs(3_600));
    newest(&source).await;
    source
}

#[tokio::test(start_paused = true)]
async fn after_a_standstill_the_store_is_looked_at_or_nothing_is_answered() {
    let world = World::new();
    let (process, other) = (parquet_process(&world).await, parquet_process(&world).await);
    let writer = other.writer().await;
    let source = sluggish(&process).await;
    let before = newest(&source).await;
    writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    assert_eq!(newest(&source).await, before, "it has not looked");
    // An hour of which the process noticed nothing.
    world.clock.0.fetch_add(3_600_000, Ordering::SeqCst);
    world.store.down.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = source.snapshot(&tenant("a").into(), SnapshotWish::default()).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    world.store.down.store(false, Ordering::SeqCst);
    let after = newest(&source).await;
    assert_ne!(after, before);
    writer.append_segment(vec![sample("a", 2)]).await.unwrap();
    assert_eq!(newest(&source).await, after, "one look is enough");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_corrected_or_set_back_is_no_standstill() {
    let world = World::new();
    let (process, other) = (parquet_process(&world).await, parquet_process(&world).await);
    let writer = other.writer().await;
    let source = sluggish(&process).await;
    let before = newest(&source).await;
    writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    for step_ms in [5_000, -3_600_000, 5_000] {
        world.clock.0.fetch_add(step_ms, Ordering::SeqCst);
        assert_eq!(newest(&source).await, before, "{step_ms}");
    }
}

async fn newest(source: &StoredSource) -> SnapshotId {
    source.snapshot(&tenant("a").into(), SnapshotWish::default()).await.unwrap().id
}

/// The timestamps of tenant `a` in a pinned snapshot.
async fn rows(source: &StoredSource, id: &SnapshotId) -> Result<Vec<i64>, Error> {
    let wish = SnapshotWish { must_contain: &[], pinned: Some(id) };
    let pinned = source.snapshot(&tenant("a").into(), wish).await?;
    assert_eq!(pinned.id, *id);
    let selection = pinned.views[0].select(&[], TimeRange::ALL).await?;
    Ok(selection.read(0..selection.series().len()).await?.ts().collect())
}

#[tokio::test(start_paused = true)]
async fn a_pinned_snapshot_is_the_same_in_every_process_that_still_knows_its_version() {
    let world = World::new();
    let (process, other) = (parquet_process(&world).await, parquet_process(&world).await);
    let writer = process.writer().await;
    let (here, there) = (source(&process), source(&other));
    writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    let first = newest(&here).await;
    writer.append_segment(vec![sample("a", 2)]).await.unwrap();
    // One has seen more since, the other nothing yet.
    assert_ne!(newest(&here).await, first);
    for source in [&here, &there] {
        assert_eq!(rows(source, &first).await.unwrap(), [1]);
    }
    let second = newest(&there).await;
    writer.flush_l1().await.unwrap();
    for source in [&here, &there] {
        let third = newest(source).await;
        assert!(third.version > second.version);
        assert_eq!(rows(source, &second).await.unwrap(), [1, 2]);
        assert_eq!(rows(source, &first).await.unwrap(), [1]);
        assert_eq!(rows(source, &third).await.unwrap(), [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_remembered_for_some_versions_and_some_time() {
    let world = World::new();
    let process = parquet_process(&world).await;
    let writer = process.writer().await;
    let source = source(&process);
    let mut ids = Vec::new();
    for ts in 0..5 {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
        ids.push(newest(&source).await);
        writer.flush_l1().await.unwrap();
    }
    assert_eq!(source.remembered.locked().len(), REMEMBERED_VERSIONS);
    assert_eq!(rows(&source, &ids[4]).await.unwrap(), [0, 1, 2, 3, 4]);
    let gone = rows(&source, &ids[0]).await;
    assert!(matches!(&gone, Err(Error::Stale(why)) if why.contains("is gone")), "{gone:?}");

    tokio::time::advance(REMEMBERED_FOR).await;
    newest(&source).await;
    assert_eq!(source.remembered.locked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pinned_snapshot_without_a_wanted_position_is_refused() {
    let world = World::new();
    let process = parquet_process(&world).await;
    let writer = process.writer().await;
    let source = source(&process);
    let before = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    let id = newest(&source).await;
    let after = writer.append_segment(vec![sample("a", 2)]).await.unwrap();
    let ask = async |position| {
        let wish = SnapshotWish { must_contain: &[position], pinned: Some(&id) };
        source.snapshot(&tenant("a").into(), wish).await
    };
    assert!(ask(before).await.is_ok());
    assert!(matches!(ask(after).await, Err(Error::Stale(_))));
}

#[tokio::test(start_paused = true)]
async fn views_come_in_the_order_of_their_tenants_and_say_where_samples_still_come() {
    let world = World::new();
    let process = parquet_process(&world).await;
    let writer = process.writer().await;
    let source = source(&process);
    let tenants = Tenants::new(["b", "a", "c"].map(tenant)).unwrap();
    let edges = async || {
        let pinned = source.snapshot(&tenants, SnapshotWish::default()).await.unwrap();
        pinned.views.iter().map(|view| view.mutable_from()).collect::<Vec<_>>()
    };
    writer.append_segment(vec![sample("a", 10), sample("b", 20)]).await.unwrap();
    writer.append_segment(vec![sample("a", 30)]).await.unwrap();
    assert_eq!(edges().await, [10, 20, i64::MIN]);
    writer.flush_l1().await.unwrap();
    assert_eq!(edges().await, [31, 21, i64::MIN]);
    writer.append_segment(vec![sample("b", 40)]).await.unwrap();
    assert_eq!(edges().await, [31, 40, i64::MIN]);
}
