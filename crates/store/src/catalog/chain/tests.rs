//! Commits, holes and cold starts of the chain.

use object_store::ObjectStoreExt;
use promontory_model::WriterId;

use super::*;
use crate::testing::{Fault, World};

fn birth(id: u128) -> Change {
    Change::Birth { writer: WriterId(id), level: 0 }
}

/// Commits a birth, looking whether it is in already.
async fn commit_birth(chain: &Chain, id: u128) -> Result<bool, Error> {
    let outcome = chain.commit(|catalog| {
        let there = catalog.writers.contains_key(&WriterId(id));
        if there { Next::Stop(()) } else { Next::Try(birth(id)) }
    });
    match outcome.await? {
        Outcome::Committed(_) => Ok(true),
        Outcome::Stopped(()) => Ok(false),
        Outcome::Void(void) => panic!("{void}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_bucket_opens_at_version_zero() {
    let process = World::new().process().await;
    assert_eq!(*process.chain.latest(), Catalog::default());
}

#[tokio::test(start_paused = true)]
async fn start_up_finds_the_newest_version_wherever_it_is() {
    let world = World::new();
    let first = world.process().await;
    for n in 1..=21 {
        commit_birth(&first.chain, n).await.unwrap();
        let opened = world.process().await;
        assert_eq!(opened.chain.latest(), first.chain.latest(), "version {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_answer_a_commit_is_in_once() {
    for fault in [Fault::AnswerLost, Fault::SaysExists, Fault::SaysExistsWithoutEffect, Fault::Fails] {
        let world = World::new();
        let process = world.process().await;
        world.store.next_put("catalog/", fault);
        assert!(commit_birth(&process.chain, 1).await.unwrap(), "{fault:?}");
        assert_eq!(world.process().await.chain.latest().version, 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loser_rebases_and_both_are_in() {
    let world = World::new();
    let (a, b) = (world.process().await, world.process().await);
    let (in_a, in_b) = tokio::join!(commit_birth(&a.chain, 1), commit_birth(&b.chain, 2));
    assert!(in_a.unwrap() && in_b.unwrap());
    let both = a.chain.refresh().await.unwrap();
    assert_eq!((both.version, both.writers.len()), (2, 2));
    assert_eq!(b.chain.refresh().await.unwrap(), both);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_given_up_is_found_by_the_next_try() {
    let world = World::new();
    let process = world.process().await;
    world.store.next_put("catalog/", Fault::AnswerLostAndDown);
    let given_up = commit_birth(&process.chain, 1).await;
    assert!(matches!(given_up, Err(Error::Unavailable { .. })));
    world.store.down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(!commit_birth(&process.chain, 1).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_damaged_checkpoint_costs_a_longer_replay_only() {
    let world = World::new();
    let process = world.process().await;
    for n in 1..=6 {
        commit_birth(&process.chain, n).await.unwrap();
    }
    let key = keys::checkpoint(4);
    let whole = world.store.get(&key).await.unwrap().bytes().await.unwrap();
    world.store.put(&key, whole.slice(..whole.len() - 1).into()).await.unwrap();
    assert_eq!(world.process().await.chain.latest(), process.chain.latest());
    world.store.delete(&key).await.unwrap();
    assert_eq!(world.process().await.chain.latest(), process.chain.latest());
}

#[tokio::test(start_paused = true)]
async fn a_hole_in_the_chain_is_damage_unless_it_was_swept() {
    let world = World::new();
    let process = world.process().await;
    for n in 1..=10 {
        commit_birth(&process.chain, n).await.unwrap();
    }
    let open = || async { Chain::open(world.context()).await.map_err(|error| error.to_string()) };
    for version in 1..8 {
        world.store.delete(&keys::version(version)).await.unwrap();
    }
    let damaged = open().await.unwrap_err();
    assert!(damaged.contains("catalog/00000000000000000001: is missing"), "{damaged}");
    world.store.put(&keys::swept(0), "".into()).await.unwrap();
    assert_eq!(open().await.unwrap().latest().version, 10);
    world.store.delete(&keys::version(9)).await.unwrap();
    let damaged = open().await.unwrap_err();
    assert!(damaged.contains("catalog/00000000000000000009: is missing"), "{damaged}");
    assert!(damaged.contains("catalog/00000000000000000010 is there"), "{damaged}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_committer_notices_that_its_version_fell_into_a_hole() {
    let world = World::new();
    let (stalled, busy) = (world.process().await, world.process().await);
    commit_birth(&stalled.chain, 100).await.unwrap();
    for n in 2..=9 {
        commit_birth(&busy.chain, n).await.unwrap();
    }
    // The stalled one still holds version 1; meanwhile epoch 0 was swept.
    world.store.put(&keys::swept(0), "".into()).await.unwrap();
    for version in 1..8 {
        world.store.delete(&keys::version(version)).await.unwrap();
    }
    assert!(commit_birth(&stalled.chain, 200).await.unwrap());
    let newest = busy.chain.refresh().await.unwrap();
    assert_eq!((newest.version, newest.writers.contains_key(&WriterId(200))), (10, true));
}

#[tokio::test(start_paused = true)]
async fn a_reader_never_publishes_what_lies_in_a_hole() {
    let world = World::new();
    let (reader, busy) = (world.process().await, world.process().await);
    for n in 1..=9 {
        commit_birth(&busy.chain, n).await.unwrap();
    }
    for version in 1..8 {
        world.store.delete(&keys::version(version)).await.unwrap();
    }
    world.store.put(&keys::swept(0), "".into()).await.unwrap();
    // Litter of a committer that stalled before its create.
    let litter = Delta { version: 1, attempt: 1, predecessor: 0, change: birth(666) };
    world.store.put(&keys::version(1), litter.encode().into()).await.unwrap();
    let seen = reader.chain.refresh().await.unwrap();
    assert_eq!(seen, busy.chain.latest());
    assert!(!seen.writers.contains_key(&WriterId(666)));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_breaks_a_precondition_is_damage() {
    let world = World::new();
    let process = world.process().await;
    commit_birth(&process.chain, 1).await.unwrap();
    let broken = Delta { version: 2, attempt: 1, predecessor: 0, change: birth(1) };
    world.store.put(&keys::version(2), broken.encode().into()).await.unwrap();
    assert!(matches!(process.chain.refresh().await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn doubling_and_bisection_find_every_end() {
    for first in [0, 5, 1_024] {
        for last in first..first + 70 {
            let found = last_present(first, |n| async move { Ok(n <= last) }).await.unwrap();
            assert_eq!(found, last);
        }
    }
}
