//! Slots, acknowledgements, closings and L1 commits of one writer.

use object_store::ObjectStoreExt;
use promontory_block::Level;
use promontory_model::TenantId;

use super::*;
use crate::read::reader::{Reader, ReaderSettings};
use crate::testing::{Fault, Process, World, run, sample, tenant};
use crate::upkeep::adopter::{Adopter, AdopterSettings, Adoption};

async fn rows(process: &Process, tenant: &TenantId) -> Vec<i64> {
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), ReaderSettings::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    assert_eq!(snapshot.warnings, Vec::<String>::new());
    reader.read_all(&snapshot, tenant).await.unwrap().floats().ts().to_vec()
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_in_the_bucket_and_visible_everywhere() {
    let world = World::new();
    let (process, elsewhere) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    for ts in 1..=5 {
        let position = writer.append_segment(vec![sample("a", ts)]).await.unwrap();
        assert_eq!(position.seq, ts as u64);
        world.store.head(&keys::slot(position.writer, position.seq)).await.unwrap();
    }
    let a = tenant("a");
    assert_eq!(rows(&process, &a).await, [1, 2, 3, 4, 5]);
    assert_eq!(rows(&elsewhere, &a).await, [1, 2, 3, 4, 5]);
    assert_eq!(writer.flush_l1().await.unwrap(), Flushed::Watermark(5));
    writer.append_segment(vec![sample("a", 6)]).await.unwrap();
    assert_eq!(rows(&process, &a).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(rows(&elsewhere, &a).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(writer.status().life.segments, 1);
}

#[tokio::test(start_paused = true)]
async fn whatever_the_answer_a_segment_is_stored_once() {
    for fault in [Fault::AnswerLost, Fault::SaysExists, Fault::SaysExistsWithoutEffect, Fault::Fails] {
        let world = World::new();
        let process = world.process().await;
        let writer = process.writer().await;
        world.store.next_put("wal/", fault);
        let position = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
        assert_eq!(position.seq, 1, "{fault:?}");
        // After a lost answer the bytes are there, and only the next answer says that they are kept.
        let unknown = if fault == Fault::AnswerLost { 2 } else { 1 };
        assert_eq!(process.counter("slot_unknown_answers"), unknown, "{fault:?}");
        assert_eq!(process.counter("writers_quarantined"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_go_out_in_order_although_slots_fill_out_of_order() {
    let world = World::new();
    let process = world.process().await;
    let writer = process.writer().await;
    world.store.next_put("wal/", Fault::Fails);
    let (first, second) = tokio::join!(
        writer.append_segment(vec![sample("a", 1)]),
        writer.append_segment(vec![sample("a", 2)])
    );
    assert_eq!((first.unwrap().seq, second.unwrap().seq), (1, 2));
    assert_eq!(writer.status().life.confirmed, 2);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_writer_moves_what_is_not_acknowledged_under_a_new_id() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    let first = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    let adopter = Adopter::new(other.chain.clone(), AdopterSettings::default());
    assert_eq!(adopter.adopt(first.writer).await.unwrap(), Adoption::Closed);
    let second = writer.append_segment(vec![sample("a", 2)]).await.unwrap();
    assert_ne!(second.writer, first.writer);
    assert_eq!(second.seq, 1);
    assert_eq!(process.counter("writers_closed_by_others"), 1);
    for process in [&process, &other] {
        assert_eq!(rows(process, &tenant("a")).await, [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn foreign_bytes_in_a_slot_quarantine_the_writer_and_nothing_is_lost() {
    let world = World::new();
    let process = world.process().await;
    let writer = process.writer().await;
    let first = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    world.store.put(&keys::slot(first.writer, 2), "not ours".into()).await.unwrap();
    let second = writer.append_segment(vec![sample("a", 2)]).await.unwrap();
    assert_ne!(second.writer, first.writer);
    assert_eq!(process.counter("writers_quarantined"), 1);
    // Elsewhere the quarantined writer's samples are there too, with a warning.
    let elsewhere = world.process().await;
    let reader = Reader::new(elsewhere.chain.clone(), elsewhere.locals.clone(), ReaderSettings::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    assert!(snapshot.warnings[0].contains("quarantined"), "{:?}", snapshot.warnings);
    assert_eq!(reader.read_all(&snapshot, &tenant("a")).await.unwrap(), run(&[1, 2]));
}

#[tokio::test(start_paused = true)]
async fn an_l1_commit_whose_answer_is_lost_is_made_once() {
    let world = World::new();
    let process = world.process().await;
    let writer = process.writer().await;
    for ts in 1..=3 {
        writer
            .append_segment(vec![sample("b", ts), sample("c", ts)].into_iter().take(2).collect())
            .await
            .unwrap();
    }
    for fault in [Fault::AnswerLost, Fault::SaysExists, Fault::SaysExistsWithoutEffect] {
        world.store.next_put("catalog/", fault);
        let watermark = writer.flush_l1().await.unwrap();
        assert!(matches!(watermark, Flushed::Watermark(_)), "{fault:?}: {watermark:?}");
        assert_eq!(writer.flush_l1().await.unwrap(), Flushed::Nothing);
        writer.append_segment(vec![sample("b", 9)]).await.unwrap();
    }
    assert_eq!(process.chain.latest().l1.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_base_fell_below_the_floor_is_made_again() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    // The other process moves on: version 2, then a floor of 2, above the base 1.
    let _second = other.writer().await;
    let floor = other.chain.commit(|_| Next::<()>::Try(Change::Floor { floor: 2 })).await.unwrap();
    assert!(matches!(floor, Outcome::Committed(_)));
    assert_eq!(writer.flush_l1().await.unwrap(), Flushed::Watermark(1));
    let catalog = process.chain.latest();
    assert!(catalog.l1.values().all(|entry| entry.id.base >= 2));
    assert_eq!(rows(&other, &tenant("a")).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_writer_shows_that_it_lives() {
    let world = World::new();
    let process = world.process().await;
    let settings = WriterSettings { empty_segments_max: 3, ..WriterSettings::default() };
    let writer = process.writer_with(settings).await;
    tokio::time::sleep(Duration::from_secs(95)).await;
    assert_eq!(writer.status().life.confirmed, 3);
    assert_eq!(writer.flush_l1().await.unwrap(), Flushed::Watermark(3));
    assert!(process.chain.latest().l1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_much_above_the_watermark_is_refused_until_a_block_is_written() {
    let world = World::new();
    let process = world.process().await;
    let writer = process.writer_with(WriterSettings { segments_max: 2, ..WriterSettings::default() }).await;
    for ts in 1..=2 {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
    }
    let refused = writer.append_segment(vec![sample("a", 3)]).await.unwrap_err();
    assert!(matches!(refused, Error::Busy(_)), "{refused}");
    writer.flush_l1().await.unwrap();
    writer.append_segment(vec![sample("a", 3)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_delays_acknowledgements_and_loses_nothing() {
    let world = World::new();
    let process = world.process().await;
    let settings =
        WriterSettings { acknowledge_timeout: Duration::from_secs(5), ..WriterSettings::default() };
    let writer = process.writer_with(settings).await;
    world.store.down.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = writer.append_segment(vec![sample("a", 1)]).await.unwrap_err();
    assert!(matches!(refused, Error::Busy(_)), "{refused}");
    world.store.down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(writer.append_segment(vec![sample("a", 2)]).await.unwrap().seq, 2);
    assert_eq!(rows(&process, &tenant("a")).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_graceful_end_leaves_one_block_a_mark_and_no_writer() {
    let world = World::new();
    let process = world.process().await;
    let writer = process.writer().await;
    let position = writer.append_segment(vec![sample("a", 1)]).await.unwrap();
    world.store.next_put("catalog/", Fault::AnswerLost);
    writer.close().await.unwrap();
    let catalog = process.chain.latest();
    assert!(catalog.writers.is_empty());
    assert_eq!(catalog.l1.len(), 1);
    let mark = world.store.get(&keys::slot(position.writer, 2)).await.unwrap().bytes().await.unwrap();
    assert!(matches!(Slot::decode(&mark), Ok(Slot::Closed(_))));
    assert!(matches!(writer.append_segment(vec![sample("a", 2)]).await, Err(Error::Busy(_))));
    assert_eq!(rows(&process, &tenant("a")).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_birth_is_followed_by_a_fresh_one() {
    let world = World::new();
    let process = world.process().await;
    for fault in [Fault::AnswerLost, Fault::SaysExistsWithoutEffect] {
        world.store.next_put("catalog/", fault);
        let writer = process.writer().await;
        let id = writer.status().life.writer;
        assert!(process.chain.refresh().await.unwrap().writers.contains_key(&id), "{fault:?}");
    }
}

/// Roles spawn these.
#[test]
fn the_machines_futures_can_be_spawned() {
    fn send<T: Send>(_: &T) {}
    fn check(writer: &Writer, reader: &Reader, adopter: &Adopter, sweeper: &crate::upkeep::sweeper::Sweeper) {
        send(&writer.run());
        send(&writer.append_segment(Vec::new()));
        send(&writer.flush_l1());
        send(&writer.close());
        send(&reader.snapshot(&[]));
        send(&reader.refresh());
        send(&adopter.tick());
        send(&sweeper.sweep());
    }
    fn check_more(merger: &crate::upkeep::merger::Merger, chain: Arc<Chain>, tenant: &TenantId) {
        send(&merger.merge_l1(tenant));
        send(&merger.merge(tenant, &[], Level::L2));
        send(&Writer::open(chain, Arc::default(), WriterSettings::default()));
    }
    let _ = (check, check_more);
}

/// Samples of `n_series` series with label sets of about `label_bytes`, whose values compress badly.
fn large(n_series: usize, label_bytes: usize, ts: &[i64]) -> Vec<TenantRows> {
    let mut run = promontory_block::SeriesRun::default();
    for number in 0..n_series {
        let pairs = [("__name__", format!("m{number:03}")), ("pad", "x".repeat(label_bytes))];
        let value = |ts: &i64| ((*ts * 7_919 + number as i64 * 104_729) as f64).sin();
        run.push_floats(promontory_model::Labels::from_pairs(pairs), ts.iter().map(|ts| (*ts, value(ts))));
    }
    vec![(tenant("a"), run)]
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_one_segment_becomes_several_and_is_acknowledged_once_all_are_stored() {
    let (ts, many): (Vec<i64>, Vec<i64>) = ((1..=50).collect(), (1..=400).collect());
    for (settings, rows, segments_min) in [
        // Ten label sets of 4 kB: a few bytes in the store, much in memory.
        (
            WriterSettings { segment_decoded_bytes_max: 10_000, ..WriterSettings::default() },
            large(10, 4_000, &[1]),
            5,
        ),
        // 500 samples that do not compress.
        (WriterSettings { segment_bytes_max: 2_000, ..WriterSettings::default() }, large(10, 10, &ts), 3),
        // One series alone is too large.
        (WriterSettings { segment_bytes_max: 2_000, ..WriterSettings::default() }, large(1, 10, &many), 2),
    ] {
        let world = World::new();
        let (process, elsewhere) = (world.process().await, world.process().await);
        let writer = process.writer_with(settings).await;
        let before = writer.append_segment(vec![sample("b", 1)]).await.unwrap();
        let expected: Vec<i64> = rows[0].1.floats().ts().to_vec();
        let position = writer.append_segment(rows).await.unwrap();
        assert!(position.seq - before.seq >= segments_min, "{settings:?}: {position:?}");
        assert_eq!(writer.append_segment(vec![sample("b", 2)]).await.unwrap().seq, position.seq + 1);
        let mut found = expected.clone();
        found.sort_unstable();
        let mut read = rows_of(&elsewhere).await;
        read.sort_unstable();
        assert_eq!(read, found);
        for seq in 1..=position.seq {
            let size = world.store.head(&keys::slot(position.writer, seq)).await.unwrap().size;
            assert!(size <= settings.segment_bytes_max as u64, "slot {seq} has {size} bytes");
        }
        assert_eq!(writer.status().waiting_bytes, 0);
    }
}

async fn rows_of(process: &Process) -> Vec<i64> {
    rows(process, &tenant("a")).await
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_segment_move_to_the_next_life_in_order() {
    let world = World::new();
    let (process, elsewhere) = (world.process().await, world.process().await);
    let settings = WriterSettings { segment_decoded_bytes_max: 300, ..WriterSettings::default() };
    let writer = process.writer_with(settings).await;
    writer.append_segment(vec![sample("a", 0)]).await.unwrap();
    let first = writer.status().life.writer;
    let adopter = Adopter::new(elsewhere.chain.clone(), AdopterSettings::default());
    assert_eq!(adopter.adopt(first).await.unwrap(), Adoption::Closed);
    let ts: Vec<i64> = (1..=200).collect();
    let position = writer.append_segment(large(1, 10, &ts)).await.unwrap();
    assert_ne!(position.writer, first);
    assert!(position.seq > 5, "{position:?}");
    assert_eq!(rows_of(&elsewhere).await, (0..=200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn label_bytes_in_memory_are_refused_until_a_block_is_written() {
    let world = World::new();
    let process = world.process().await;
    let settings = WriterSettings { decoded_bytes_max: 20_000, ..WriterSettings::default() };
    let writer = process.writer_with(settings).await;
    let known = large(4, 4_000, &[1]);
    writer.append_segment(known.clone()).await.unwrap();
    // What the head knows takes its samples only.
    for _ in 0..3 {
        writer.append_segment(known.clone()).await.unwrap();
    }
    writer.append_segment(large(9, 4_000, &[2])).await.unwrap();
    let refused = writer.append_segment(vec![sample("a", 3)]).await.unwrap_err();
    assert!(matches!(&refused, Error::Busy(why) if why.contains("--head.max-memory")), "{refused}");
    writer.flush_l1().await.unwrap();
    writer.append_segment(vec![sample("a", 3)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_large_head_becomes_several_blocks_in_one_commit() {
    let world = World { block_bytes_max: 9_000, ..World::new() };
    let process = world.process().await;
    let writer = process.writer().await;
    writer.append_segment(large(10, 4_000, &[1, 2])).await.unwrap();
    let version = process.chain.latest().version;
    assert_eq!(writer.flush_l1().await.unwrap(), Flushed::Watermark(1));
    let catalog = process.chain.latest();
    assert_eq!((catalog.version, catalog.l1.len()), (version + 1, 5));
    let mut read = rows_of(&process).await;
    read.sort_unstable();
    assert_eq!(read, [vec![1; 10], vec![2; 10]].concat());
}
