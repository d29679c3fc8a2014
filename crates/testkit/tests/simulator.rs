//! The protocol under the simulator: many seeds without a violation, every planted bug caught.
//!
//! `PROMONTORY_SIM_SEEDS` says how many seeds are run (5,000 if it is absent), `PROMONTORY_SIM_SEED`
//! which one is replayed. Both tests share one binary and run one after the other, because each
//! uses all cores.

use std::sync::Mutex;
use std::time::Instant;

use promontory_model::MutexExt as _;
use promontory_store::{Bug, Planted};
use promontory_testkit::sim::campaign::{campaign, replay_command};
use promontory_testkit::sim::run::{Log, run};
use promontory_testkit::sim::scenario::Scenario;

/// Seeds of a usual run; in CI they must take at most 90 seconds on two cores.
const SEEDS: u64 = 5_000;

/// Within so many seeds every planted bug must be caught.
const SEEDS_PER_BUG: u64 = 1_000;

/// Tests that use all cores take turns.
static CORES: Mutex<()> = Mutex::new(());

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// What must have happened in a campaign of many seeds: a simulator that never meets it tests
/// nothing. Names are those of the coverage table.
const MUST_HAPPEN: &[&str] = &[
    "actors.acknowledged",
    "actors.compactions",
    "actors.corrections",
    "actors.crashes",
    "actors.fscks",
    "actors.graceful_closes",
    "actors.kills",
    "actors.long_freezes",
    "actors.merges_above_l1",
    "actors.refused",
    "actors.resends",
    "actors.resends_of_acknowledged",
    "actors.snapshots",
    "actors.snapshots_read_again",
    "actors.snapshots_with_warnings",
    "actors.stale_snapshots",
    "actors.stored_rows_checked",
    "actors.unknown",
    "blocks.Parquet",
    "blocks.Plain",
    "protocol.absences_refused",
    "protocol.adoptions",
    "protocol.adoptions_void",
    "protocol.commit_conflicts",
    "protocol.commits_in_swept_epochs",
    "protocol.damaged_reads",
    "protocol.epochs_swept",
    "protocol.l1_blocks_passed_over",
    "protocol.l1_commits",
    "protocol.merges",
    "protocol.merges_void",
    "protocol.objects_swept",
    "protocol.segments_cut",
    "protocol.slot_unknown_answers",
    "protocol.tail_segments",
    "protocol.writers_closed_by_others",
    "store.crash_in_request",
    "store.damage",
    "store.denial",
    "store.spell",
    "store.error_after",
    "store.error_before",
    "store.freeze_in_write",
    "store.landed_late",
    "store.name_lost",
    "store.power_loss",
    "store.unsynced",
    "store.late_landing",
    "store.lost_answer",
    "store.orphan_lands",
    "store.own_already_exists",
    "store.phantom_already_exists",
    "store.slow",
    "store.stale_list",
    "store.stall",
    "weather.Clear",
    "weather.Fog",
    "weather.Radiation",
    "weather.Rain",
    "weather.Storm",
];

#[test]
fn the_protocol_keeps_its_promises_on_every_seed() {
    let _cores = CORES.locked();
    let seeds = number("PROMONTORY_SIM_SEEDS").unwrap_or(SEEDS);
    let begun = Instant::now();
    let sum = campaign(0, seeds, threads(), Planted::NONE);
    println!("{}", sum.coverage_table());
    println!("{} seeds in {:.1} s", sum.runs, begun.elapsed().as_secs_f64());
    if let Some(report) = sum.failures.first() {
        panic!("{}", report.describe());
    }
    let happened = |name: &&&str| sum.coverage.get(**name).copied().unwrap_or(0) == 0;
    let missing: Vec<_> = MUST_HAPPEN.iter().filter(happened).collect();
    assert!(seeds < SEEDS || missing.is_empty(), "never happened in {seeds} seeds: {missing:?}");
}

#[test]
fn every_planted_bug_is_caught() {
    let _cores = CORES.locked();
    let mut escaped = Vec::new();
    for bug in Bug::ALL {
        let begun = Instant::now();
        let sum = campaign(0, SEEDS_PER_BUG, threads(), Planted::one(bug));
        let seconds = begun.elapsed().as_secs_f64();
        match sum.failures.first() {
            Some(report) => {
                let (_, violation) = &report.violations[0];
                println!("{:<24} seed {:>4}, {seconds:>5.1} s: {violation}", bug.as_str(), report.seed);
            }
            None => escaped.push(bug.as_str()),
        }
    }
    assert!(escaped.is_empty(), "not caught within {SEEDS_PER_BUG} seeds: {escaped:?}");
}

#[test]
fn a_seed_replays_request_by_request() {
    for seed in 0..20 {
        let once = run(Scenario::of(seed), Planted::NONE, Log::Off);
        let again = run(Scenario::of(seed), Planted::NONE, Log::Kept);
        assert_eq!((once.trace, once.requests), (again.trace, again.requests), "{}", replay_command(seed));
    }
}

/// Runs the seed of `PROMONTORY_SIM_SEED` with its log; without it there is nothing to replay.
#[test]
fn replay() {
    let Some(seed) = number("PROMONTORY_SIM_SEED") else { return };
    let planted = std::env::var("PROMONTORY_SIM_BUG").map_or(Planted::NONE, |name| {
        let bug = Bug::ALL.into_iter().find(|bug| bug.as_str() == name);
        Planted::one(bug.unwrap_or_else(|| panic!("no planted bug is called {name:?}")))
    });
    let report = run(Scenario::of(seed), planted, Log::Kept);
    for line in &report.log {
        println!("{line}");
    }
    println!("{} requests, trace {:016x}", report.requests, report.trace);
    assert!(report.violations.is_empty(), "{}", report.describe());
}
