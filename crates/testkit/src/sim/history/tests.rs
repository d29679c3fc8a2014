//! The checker on histories that are right and on the nearest ones that are not, then on a toy
//! protocol with its bugs.

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn place(tenant_name: &str, ts: i64) -> Place {
    Place { tenant: tenant(tenant_name), series: Labels::from_pairs([("__name__", "m")]), ts }
}

fn sent(place: &Place, number: u64) -> (Place, f64) {
    (place.clone(), identity_value(place, number))
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn sight(tenant_name: &str, begun: u64, samples: &[(Place, f64)]) -> Sight {
    Sight {
        tenant: tenant(tenant_name),
        begun: seconds(begun),
        ended: seconds(begun + 1),
        required: Vec::new(),
        follows_all: true,
        samples: samples.iter().map(|(p, value)| ((p.series.clone(), p.ts), *value)).collect(),
        stored: samples.iter().map(|(p, value)| (p.series.clone(), p.ts, *value)).collect(),
    }
}

#[test]
fn a_value_knows_its_number_and_its_place() {
    let here = place("a", 5);
    let value = identity_value(&here, 77);
    assert_eq!(identity_number(&here, value), Some(77));
    assert_eq!(identity_number(&place("b", 5), value), None);
    assert_eq!(identity_number(&place("a", 6), value), None);
    assert_eq!(identity_number(&here, value + 1.0), None);
    assert_eq!(identity_number(&here, 0.5), None);
    assert_eq!(identity_number(&here, f64::NAN), None);
}

#[test]
fn an_acknowledged_sample_must_be_in_every_later_sight() {
    let mut history = History::default();
    let sample = sent(&place("a", 1), 1);
    let request = history.invoke([sample.clone()]);
    assert!(history.check(&sight("a", 1, &[])).is_empty(), "unknown may be absent");
    history.acknowledge(request, seconds(10));
    assert!(history.check(&sight("a", 9, &[])).is_empty(), "the sight began before");
    let required = Sight { required: vec![request], ..sight("a", 9, &[]) };
    assert!(matches!(history.check(&required)[..], [Violation::Lost { .. }]), "but was asked for it");
    assert!(matches!(history.check(&sight("a", 10, &[]))[..], [Violation::Lost { .. }]));
    assert!(history.check(&sight("a", 10, &[sample])).is_empty());
}

#[test]
fn the_greater_of_two_values_stays_and_the_smaller_alone_is_a_loss() {
    let mut history = History::default();
    let (low, high) = (sent(&place("a", 1), 1), sent(&place("a", 1), 2));
    let first = history.invoke([low.clone()]);
    let second = history.invoke([high.clone()]);
    history.acknowledge(first, seconds(1));
    assert!(history.check(&sight("a", 2, std::slice::from_ref(&low))).is_empty());
    assert!(history.check(&sight("a", 2, std::slice::from_ref(&high))).is_empty(), "unknown may be there");
    history.acknowledge(second, seconds(3));
    assert!(matches!(history.check(&sight("a", 5, &[low]))[..], [Violation::Lost { .. }]));
    assert!(history.check(&sight("a", 5, &[high])).is_empty());
}

#[test]
fn what_nobody_sent_is_a_phantom_and_what_another_tenant_sent_is_foreign() {
    let mut history = History::default();
    let (mine, theirs) = (sent(&place("a", 1), 1), sent(&place("b", 2), 2));
    history.invoke([mine.clone()]);
    history.invoke([theirs.clone()]);
    let check =
        |history: &mut History, sample: (Place, f64)| history.check(&sight("a", 1, &[sample])).remove(0);
    let phantom = check(&mut history, (place("a", 7), 1.0));
    assert!(matches!(phantom, Violation::Phantom { .. }));
    assert!(matches!(check(&mut history, theirs), Violation::Foreign { .. }));
    assert!(matches!(check(&mut history, (mine.0, mine.1 + 1.0)), Violation::Altered { .. }));
}

#[test]
fn a_sample_is_stored_as_often_as_it_was_sent() {
    let mut history = History::default();
    let sample = sent(&place("a", 1), 1);
    history.invoke([sample.clone()]);
    let mut twice = sight("a", 1, std::slice::from_ref(&sample));
    twice.stored.push(twice.stored[0].clone());
    assert!(matches!(history.check(&twice)[..], [Violation::Duplicated { sent: 1, stored: 2, .. }]));
    history.invoke([sample]);
    assert!(history.check(&twice).is_empty(), "the sender sent it again");
}

#[test]
fn what_was_seen_stays_seen() {
    let mut history = History::default();
    let sample = sent(&place("a", 1), 1);
    history.invoke([sample.clone()]);
    assert!(history.check(&sight("a", 1, &[sample])).is_empty());
    assert!(history.check(&sight("a", 1, &[])).is_empty(), "the two sights overlap");
    assert!(matches!(history.check(&sight("a", 2, &[]))[..], [Violation::Vanished { .. }]));
    let beside = Sight { follows_all: false, ..sight("a", 2, &[]) };
    assert!(history.check(&beside).is_empty(), "its writer has not confirmed it yet");
}

#[test]
fn a_snapshot_read_twice_shows_the_same() {
    let sample = sent(&place("a", 1), 1);
    let (full, empty) = (sight("a", 1, &[sample]), sight("a", 1, &[]));
    assert_eq!(History::check_stable(&full, &full), None);
    assert!(matches!(History::check_stable(&full, &empty), Some(Violation::Unstable { .. })));
}

mod toy {
    //! A log of one object per batch with create-if-absent: the smallest protocol that an honest
    //! store's lies can break, with the two classic bugs.

    use std::sync::{Arc, Mutex};

    use futures::TryStreamExt;
    use object_store::path::Path;
    use object_store::{GetOptions, ObjectStore, PutMode, PutPayload};
    use promontory_model::RandomSource;
    use tokio::time::Instant;

    use super::*;
    use crate::sim::process::Process;
    use crate::sim::random::SeededRandom;
    use crate::sim::store::{Faults, Ground, SimStore, World};

    #[derive(Clone, Copy, PartialEq)]
    enum Rule {
        /// Read back after every error, repeat the same bytes under the same name.
        Honest,
        /// An error is a failure: try again under a new name.
        NewName,
        /// Acknowledge before the answer.
        AckEarly,
    }

    const WRITERS: u64 = 3;
    const BATCHES: u64 = 12;

    fn faulty() -> Faults {
        Faults {
            error_before: 500,
            error_after: 500,
            late_landing: 500,
            own_already_exists: 400,
            phantom_already_exists: 300,
            late_ms: 0..=5_000,
            ..Faults::none()
        }
    }

    async fn write(store: &SimStore, writer: u64, rule: Rule, history: &Mutex<History>, begun: Instant) {
        let random = SeededRandom::fork(writer, "names");
        for batch in 0..BATCHES {
            let number = writer * BATCHES + batch;
            let sample = sent(&place("a", number as i64), number);
            let request = history.lock().unwrap().invoke([sample.clone()]);
            if rule == Rule::AckEarly {
                history.lock().unwrap().acknowledge(request, begun.elapsed());
            }
            let mut name = random.next_u64();
            loop {
                let path = Path::from(format!("log/{number}-{name}"));
                let payload = PutPayload::from(format!("{number} {}", sample.1));
                let answer = store.put_opts(&path, payload, PutMode::Create.into()).await;
                match rule {
                    _ if answer.is_ok() => break,
                    Rule::Honest if there(store, &path).await => break,
                    Rule::Honest => {}
                    Rule::NewName => name = random.next_u64(),
                    Rule::AckEarly => break,
                }
            }
            history.lock().unwrap().acknowledge(request, begun.elapsed());
        }
    }

    async fn there(store: &SimStore, path: &Path) -> bool {
        store.get_opts(path, GetOptions::default()).await.is_ok()
    }

    async fn look(store: &SimStore, begun: Instant) -> Sight {
        let mut seen = sight("a", 0, &[]);
        seen.begun = begun.elapsed();
        let metas: Vec<_> = store.list(Some(&Path::from("log"))).try_collect().await.unwrap();
        for meta in metas {
            let got = store.get_opts(&meta.location, GetOptions::default()).await.unwrap();
            let text = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
            let (number, value) = text.split_once(' ').unwrap();
            let (number, value): (u64, f64) = (number.parse().unwrap(), value.parse().unwrap());
            let place = place("a", number as i64);
            seen.samples.insert((place.series.clone(), place.ts), value);
            seen.stored.push((place.series, place.ts, value));
        }
        seen.ended = begun.elapsed();
        seen
    }

    fn run(seed: u64, rule: Rule) -> Vec<Violation> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let world = World::new(seed, Ground::Service, faulty(), 1);
            let begun = Instant::now();
            let history = Arc::new(Mutex::new(History::default()));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let process = Process::new(format!("w{writer}"));
                    let store = SimStore::new(world.clone(), process.clone());
                    let history = history.clone();
                    // One writer dies somewhere, also between a batch's put and its answer.
                    if writer == 0 {
                        let operations = SeededRandom::fork(seed, "crash").within(1..=30);
                        process.crash_at(operations, crate::sim::process::CrashPhase::BeforeEffect);
                    }
                    process.spawn(async move { write(&store, writer, rule, &history, begun).await })
                })
                .collect();
            for writer in writers {
                let _ = writer.await;
            }
            world.set_faults(Faults::none());
            world.land_all();
            let seen = look(&SimStore::new(world, Process::new("reader")), begun).await;
            history.lock().unwrap().check(&seen)
        })
    }

    #[test]
    fn the_honest_toy_passes_and_its_bugs_are_caught() {
        const SEEDS: u64 = 200;
        let failing = |rule| (0..SEEDS).filter(|seed| !run(*seed, rule).is_empty()).count();
        assert_eq!(failing(Rule::Honest), 0);
        let duplicated = |v: &Violation| matches!(v, Violation::Duplicated { .. });
        assert!((0..SEEDS).any(|seed| run(seed, Rule::NewName).iter().any(duplicated)));
        let lost = |v: &Violation| matches!(v, Violation::Lost { .. });
        assert!((0..SEEDS).any(|seed| run(seed, Rule::AckEarly).iter().any(lost)));
    }
}
