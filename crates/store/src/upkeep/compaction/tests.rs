//! Who is due and in which order, as a function of values; and rounds that lose nothing.

use promontory_block::TenantRows;

use super::*;
use crate::read::reader::{Reader, ReaderSettings};
use crate::testing::{Fault, Process, World, sample, tenant};

const MINUTE: Duration = Duration::from_secs(60);

async fn l1(process: &Process, blocks: Vec<Vec<TenantRows>>) {
    let writer = process.writer().await;
    for rows in blocks {
        writer.append_segment(rows).await.unwrap();
        writer.flush_l1().await.unwrap();
    }
}

async fn rows(process: &Process, name: &str) -> Vec<i64> {
    let reader = Reader::new(process.chain.clone(), process.locals.clone(), ReaderSettings::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    reader.read_all(&snapshot, &tenant(name)).await.unwrap().floats().ts().to_vec()
}

fn compaction(process: &Process, l2_after: Duration) -> Compaction {
    let settings = PlanSettings { l2_after, ..PlanSettings::default() };
    Compaction::new(process.chain.clone(), MergerSettings::default(), settings)
}

fn names(merges: &[L1Merge]) -> Vec<&str> {
    merges.iter().map(|merge| merge.tenant.as_str()).collect()
}

/// Every L1 version of the catalog with this age.
fn all_aged(catalog: &Catalog, age: Duration) -> BTreeMap<u64, Duration> {
    catalog.l1.keys().map(|place| (place.version, age)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_due_when_its_oldest_l1_block_is() {
    let process = World::new().process().await;
    l1(&process, vec![vec![sample("a", 1)], vec![sample("a", 2), sample("b", 2)]]).await;
    let catalog = process.chain.latest();
    let mut ages = all_aged(&catalog, 9 * MINUTE);
    assert_eq!(plan(&catalog, &ages, PlanSettings::default(), 0), []);
    let oldest = catalog.l1.keys().next().unwrap().version;
    ages.insert(oldest, 10 * MINUTE);
    // The younger block comes along, and b is not in the old one.
    let due = plan(&catalog, &ages, PlanSettings::default(), 0);
    assert_eq!(due, [L1Merge { tenant: tenant("a"), rows: 2, newest_ts: 2 }]);
}

#[tokio::test(start_paused = true)]
async fn a_version_of_unknown_age_is_old() {
    let process = World::new().process().await;
    l1(&process, vec![vec![sample("a", 1)]]).await;
    let due = plan(&process.chain.latest(), &BTreeMap::new(), PlanSettings::default(), 0);
    assert_eq!(names(&due), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn many_young_blocks_are_due_too() {
    let process = World::new().process().await;
    l1(&process, vec![vec![sample("a", 1)], vec![sample("a", 2)], vec![sample("b", 3)]]).await;
    let catalog = process.chain.latest();
    let settings = PlanSettings { l1_blocks_max: 1, ..PlanSettings::default() };
    assert_eq!(names(&plan(&catalog, &all_aged(&catalog, MINUTE), settings, 0)), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_busiest_tenant_is_first_whatever_the_salt() {
    let process = World::new().process().await;
    let mut blocks: Vec<Vec<TenantRows>> = (1..=4).map(|ts| vec![sample("busy", ts)]).collect();
    blocks.push(vec![sample("a", 9), sample("z", 9)]);
    l1(&process, blocks).await;
    let catalog = process.chain.latest();
    let order = |salt| {
        let due = plan(&catalog, &BTreeMap::new(), PlanSettings::default(), salt);
        names(&due).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let orders: std::collections::BTreeSet<Vec<String>> = (0..20).map(order).collect();
    assert!(orders.iter().all(|order| order[0] == "busy"), "{orders:?}");
    assert_eq!(orders.len(), 2, "compactors begin at different ends: {orders:?}");
}

#[tokio::test(start_paused = true)]
async fn a_round_merges_every_tenant_that_is_due_and_reads_shared_blocks_once() {
    let world = World::new();
    let process = world.process().await;
    l1(&process, vec![vec![sample("a", 1), sample("b", 1), sample("c", 1)], vec![sample("a", 2)]]).await;
    let compaction = compaction(&process, Duration::ZERO);
    let round = compaction.round().await.unwrap();
    assert_eq!((round.merges, round.blocks, round.rows, round.void), (3, 3, 4, 0));
    assert!(round.failures.is_empty());
    assert!(process.chain.latest().l1.is_empty());
    assert_eq!(rows(&process, "a").await, [1, 2]);
    assert_eq!((rows(&process, "b").await, rows(&process, "c").await), (vec![1], vec![1]));
    let again = compaction.round().await.unwrap();
    assert_eq!((again.merges, again.void), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn young_blocks_wait() {
    let process = World::new().process().await;
    l1(&process, vec![vec![sample("a", 1)]]).await;
    assert_eq!(compaction(&process, 1_000 * MINUTE).round().await.unwrap().merges, 0);
    assert_eq!(process.chain.latest().l1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_tenants_error_does_not_keep_the_others_waiting() {
    let world = World::new();
    let process = world.process().await;
    l1(&process, vec![vec![sample("a", 1)], vec![sample("b", 2)], vec![sample("c", 3)]]).await;
    let compaction = compaction(&process, Duration::ZERO);
    for _ in 0..20 {
        world.store.next_put("blocks/level=2/b/", Fault::Fails);
    }
    let round = compaction.round().await.unwrap();
    assert_eq!(round.merges, 2);
    assert_eq!(round.failures.len(), 1);
    assert_eq!(round.failures[0].0, tenant("b"));
    assert_eq!(rows(&process, "b").await, [2]);
}
