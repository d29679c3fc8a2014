//! Adoption closes, contains and never skips; each rule by itself.

use object_store::ObjectStoreExt;
use promontory_block::Slot;

use super::*;
use crate::read::reader::{Reader, ReaderSettings};
use crate::testing::{Fault, Process, World, sample, tenant};

async fn rows(process: &Process) -> Vec<i64> {
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), ReaderSettings::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    reader.read_all(&snapshot, &tenant("a")).await.unwrap().floats().ts().to_vec()
}

fn adopter(process: &Process) -> Adopter {
    Adopter::new(process.chain.clone(), AdopterSettings::default())
}

/// A process that wrote `segments` segments and died.
async fn dead_writer(world: &World, segments: i64) -> WriterId {
    let process = world.process().await;
    let settings = crate::write::writer::WriterSettings::default();
    let writer = crate::write::writer::Writer::open(process.chain, process.locals, settings).await.unwrap();
    let running = writer.clone();
    let run = tokio::spawn(async move { running.run().await });
    for ts in 1..=segments {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
    }
    run.abort();
    writer.status().life.writer
}

#[tokio::test(start_paused = true)]
async fn a_dead_writers_segments_become_a_block() {
    for segments in [0, 1, 20] {
        let world = World::new();
        let writer = dead_writer(&world, segments).await;
        let process = world.process().await;
        let adopter = adopter(&process);
        for _ in 0..20 {
            adopter.tick().await.unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let catalog = process.chain.latest();
        assert!(catalog.writers.is_empty());
        assert_eq!(catalog.l1.len(), usize::from(segments > 0));
        let mark =
            world.store.get(&keys::slot(writer, segments as u64 + 1)).await.unwrap().bytes().await.unwrap();
        assert!(matches!(Slot::decode(&mark), Ok(Slot::Closed(_))));
        assert_eq!(rows(&process).await, (1..=segments).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_shows_new_slots_is_not_dead() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let _alive = process.writer().await;
    let adopter = adopter(&other);
    for _ in 0..60 {
        assert_eq!(adopter.tick().await.unwrap(), []);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn silence_while_our_own_requests_fail_or_we_stand_still_does_not_count() {
    let world = World::new();
    dead_writer(&world, 1).await;
    let process = world.process().await;
    let adopter = adopter(&process);
    adopter.tick().await.unwrap();
    // Standing still for an hour counts as a third of the timeout.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(adopter.tick().await.unwrap(), []);
    for _ in 0..10 {
        world.store.next_get_fails("wal/");
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(adopter.tick().await.unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_whose_answer_is_lost_is_ours() {
    for fault in [Fault::AnswerLost, Fault::SaysExists, Fault::SaysExistsWithoutEffect] {
        let world = World::new();
        let writer = dead_writer(&world, 2).await;
        let process = world.process().await;
        world.store.next_put("wal/", fault);
        assert_eq!(adopter(&process).adopt(writer).await.unwrap(), Adoption::Closed, "{fault:?}");
        assert_eq!(rows(&process).await, [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_adopters_one_closes_and_both_see_it() {
    let world = World::new();
    let writer = dead_writer(&world, 3).await;
    let (a, b) = (world.process().await, world.process().await);
    let (adopter_a, adopter_b) = (adopter(&a), adopter(&b));
    let (in_a, in_b) = tokio::join!(adopter_a.adopt(writer), adopter_b.adopt(writer));
    let mut both = [in_a.unwrap(), in_b.unwrap()];
    both.sort_by_key(|adoption| *adoption == Adoption::Gone);
    assert_eq!(both, [Adoption::Closed, Adoption::Gone]);
    assert_eq!(a.chain.refresh().await.unwrap().l1.len(), 1);
    assert_eq!(rows(&b).await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_in_a_slot_below_the_watermark_closes_nobody() {
    let world = World::new();
    let (process, other) = (world.process().await, world.process().await);
    let writer = process.writer().await;
    for ts in 1..=3 {
        writer.append_segment(vec![sample("a", ts)]).await.unwrap();
    }
    let stalled = other.chain.latest();
    writer.flush_l1().await.unwrap();
    let id = writer.status().life.writer;
    // An adopter that read the old version finds slot 1 swept and puts its mark into the hole.
    world.store.delete(&keys::slot(id, 1)).await.unwrap();
    let adopter = adopter(&other);
    let mut replay = adopter.replay(id, 0).await.unwrap();
    assert!(matches!(replay.end, ReplayEnd::Mark(1)));
    assert!(!adopter.commit(id, 0, &stalled, &mut replay).await.unwrap());
    writer.append_segment(vec![sample("a", 4)]).await.unwrap();
    assert_eq!(writer.status().life.writer, id);
    assert_eq!(rows(&process).await, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn much_is_adopted_in_pieces_that_fit_into_memory() {
    let world = World::new();
    let writer = dead_writer(&world, 7).await;
    let process = world.process().await;
    let settings = AdopterSettings { replay_bytes_max: 1, ..AdopterSettings::default() };
    let adopter = Adopter::new(process.chain.clone(), settings);
    assert_eq!(adopter.adopt(writer).await.unwrap(), Adoption::Closed);
    assert_eq!(process.chain.latest().l1.len(), 7);
    assert_eq!(rows(&process).await, (1..=7).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_slot_is_never_skipped() {
    let world = World::new();
    let writer = dead_writer(&world, 4).await;
    world.store.put(&keys::slot(writer, 3), "damaged".into()).await.unwrap();
    let process = world.process().await;
    let adopted = adopter(&process).adopt(writer).await.unwrap();
    assert!(matches!(adopted, Adoption::Quarantined { seq: 3, .. }), "{adopted:?}");
    let state = process.chain.latest().writers[&writer];
    assert_eq!(state.watermark, 2);
    assert_eq!(rows(&process).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_cannot_be_adopted_now_keeps_no_other_from_it() {
    let world = World::new();
    let mut dead = Vec::new();
    for segments in 1..=3 {
        dead.push(dead_writer(&world, segments).await);
    }
    dead.sort_unstable();
    let process = world.process().await;
    let settings = AdopterSettings { dead_after: Duration::ZERO, ..AdopterSettings::default() };
    let adopter = Adopter::new(process.chain.clone(), settings);
    // The probe of its slot, and the reading.
    (0..2).for_each(|_| world.store.next_get_fails(format!("wal/{}/", dead[0])));
    assert!(matches!(adopter.tick().await, Err(Error::Unavailable { .. })));
    assert_eq!(process.chain.latest().writers.keys().copied().collect::<Vec<_>>(), dead[..1]);
    assert_eq!(process.counter("adoptions_failed"), 1);
    assert_eq!(adopter.tick().await.unwrap(), [(dead[0], Adoption::Closed)]);
}
