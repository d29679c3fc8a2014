//! `kill -9` at random moments under load: of ingester, compactor, querier and MinIO as separate
//! processes, and of all roles in one process over MinIO, over Azurite and over a folder. Whatever was killed is
//! ready again in less than three seconds (P9), nothing that was acknowledged is missing, nothing is
//! there twice, nothing is altered (P1, P2), by range selector, by `count_over_time` and by SQL.
//!
//! Words: a *strike* is one kill with its restart; its *target* says of whom. [`crate::support::load`]
//! holds the senders and the checker.
//!
//! 1. Senders write, the asker asks; blocks are so short-lived that kills also meet L1 commits,
//!    adoptions and merges to L2.
//! 2. Strike, wait until writes are acknowledged again, wait a random time, strike again.
//! 3. The load ends with every steady request acknowledged. Check; kill every process, check again;
//!    the store holds L2 blocks, SIGTERM ends every process with success, `fsck` finds nothing.
//!
//! | variable | meaning |
//! |---|---|
//! | `PROMONTORY_KILLS` | strikes of all suites together (default 12) |
//! | `PROMONTORY_KILL_SEED` | replays targets and times |
//! | `PROMONTORY_KILL_REPORT` | file for a report in Markdown, written anew as each suite ends |

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::load::{Asked, Findings, Load, SENDERS, check};
use crate::support::site::{Backing, Layout, Site, VISIBLE_AFTER};
use crate::support::tools::tool;
use crate::support::turns;
use crate::support::workdir::Workdir;
use crate::support::{say, setting, skipped};

const KILLS: u64 = 12;
/// P9.
const READY_MAX: Duration = Duration::from_secs(3);
/// Below this the suite would not show what it is for; an emulator's speed is its own.
const SAMPLES_PER_SECOND_MIN: f64 = 20_000.0;
/// Acknowledgements that must have come since the last strike before the next one.
const ACKNOWLEDGED_BEFORE_KILL: u64 = 2 * SENDERS;
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// Longest random time before a strike.
const PAUSE_MAX_MS: u64 = 3_000;
/// No query takes longer, whatever is being killed.
const ANSWER_MAX: Duration = Duration::from_secs(40);
/// Until rows that are old enough have become an L2 block.
const L2_DEADLINE: Duration = Duration::from_secs(90);
/// Short, so that kills also meet the commits of blocks, adoptions and merges.
const FLAGS: [&str; 5] = [
    "--ingester.block-interval=4s",
    "--ingester.idle-interval=1s",
    "--compactor.adopt-after=3s",
    "--compactor.l2-after=8s",
    "--query.timeout=30s",
];

#[test]
fn kill_over_a_folder_loses_nothing_and_doubles_nothing() {
    let _turn = turns::by_the_clock();
    let targets = [Target::Process("all")];
    survive("kill: all in one over a folder", Layout::AllInOne, Backing::Folder, &targets, |kills| kills / 6);
}

#[test]
fn kill_over_minio_loses_nothing_and_doubles_nothing() {
    let _turn = turns::by_the_clock();
    let suite = "kill: all in one over MinIO";
    let targets = [Target::Process("all"), Target::Minio, Target::MinioAnd("all")];
    match tool("minio") {
        Ok(binary) => {
            survive(suite, Layout::AllInOne, Backing::Minio(&binary), &targets, |kills| kills / 4);
        }
        Err(reason) => skipped(suite, &reason),
    }
}

#[test]
fn kill_over_azurite_loses_nothing_and_doubles_nothing() {
    let _turn = turns::by_the_clock();
    let suite = "kill: all in one over Azurite";
    match tool("azurite") {
        Ok(binary) => {
            let (layout, backing) = (Layout::AllInOne, Backing::Azurite(&binary));
            survive(suite, layout, backing, &[Target::Process("all")], |kills| kills / 6);
        }
        Err(reason) => skipped(suite, &reason),
    }
}

#[test]
fn kill_of_separate_processes_loses_nothing_and_doubles_nothing() {
    let _turn = turns::by_the_clock();
    let suite = "kill: separate processes over MinIO";
    let targets = [
        Target::Process("ingester"),
        Target::Process("compactor"),
        Target::Minio,
        Target::MinioAnd("ingester"),
        Target::Process("querier"),
    ];
    match tool("minio") {
        Ok(binary) => {
            let share = |kills: u64| kills - kills / 4 - 2 * (kills / 6);
            survive(suite, Layout::Split, Backing::Minio(&binary), &targets, share);
        }
        Err(reason) => skipped(suite, &reason),
    }
}

/// Whom a strike kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// The process of one role, or of all.
    Process(&'static str),
    /// The store.
    Minio,
    /// Both; the process starts again while the store is away.
    MinioAnd(&'static str),
}

impl Target {
    fn is_of_the_store(self) -> bool {
        !matches!(self, Self::Process(_))
    }

    fn name(self) -> String {
        match self {
            Self::Process("all") => "all in one".to_owned(),
            Self::Process(role) => role.to_owned(),
            Self::Minio => "MinIO".to_owned(),
            Self::MinioAnd("all") => "MinIO and all in one".to_owned(),
            Self::MinioAnd(role) => format!("MinIO and {role}"),
        }
    }
}

fn survive(
    suite: &'static str,
    layout: Layout,
    backing: Backing<'_>,
    targets: &[Target],
    share: impl Fn(u64) -> u64,
) {
    let seed = setting("PROMONTORY_KILL_SEED", now_ms().unsigned_abs());
    let kills = share(setting("PROMONTORY_KILLS", KILLS)).max(1);
    say(&format!("{suite}: {kills} kills, PROMONTORY_KILL_SEED={seed}"));
    let workdir = Workdir::new("kill");
    let mut site = Site::start(layout, backing, &workdir, &FLAGS);
    let load = Load::new();
    let mut report = Report { suite, seed, ..Report::default() };
    let (writer, reader, questions) = (site.writer(), site.reader(), site.questions(ANSWER_MAX));
    let started = Instant::now();
    let (mut senders, asked) = load.run(&writer, &reader, questions, || {
        strike_repeatedly(&mut site, &load, targets, kills, seed, &mut report);
        load.wait_for_requests(ACKNOWLEDGED_BEFORE_KILL, LOAD_DEADLINE);
        report.took = started.elapsed();
    });
    report.asked = asked;
    report.samples = load.writes().samples;
    say(&format!("{suite}: {}", report.summary()));
    say(&format!("{suite}: queries under load: {}", report.asked));

    pause(VISIBLE_AFTER);
    report.add(check(&mut senders, &reader, &load), "after the load");
    site.kill_all_and_restart();
    report.add(check(&mut senders, &reader, &load), "after a kill of every process");
    report.blocks = wait_for_l2(&site);
    say(&format!("{suite}: live blocks {:?}", report.blocks));
    report.add(check(&mut senders, &reader, &load), "with L2 blocks");
    report.publish();
    report.findings.assert_clean(suite);
    report.asked.assert_right(suite);
    assert!(report.slowest_ready() < READY_MAX, "{suite}: ready after {:?}", report.ready);
    let rate = report.rate_between_kills();
    let least = if matches!(backing, Backing::Azurite(_)) { 0.0 } else { SAMPLES_PER_SECOND_MIN };
    assert!(rate >= least, "{suite}: only {rate:.0} samples acknowledged per second");
    site.terminate();
    say(&format!("{suite}: fsck: {}", site.store.command(&["fsck"]).trim().replace('\n', "; ")));
}

fn strike_repeatedly(
    site: &mut Site,
    load: &Load,
    targets: &[Target],
    kills: u64,
    seed: u64,
    report: &mut Report,
) {
    let mut random = Random(seed);
    let mut deck = Vec::new();
    for _ in 0..kills {
        // Every target comes once before any comes again.
        if deck.is_empty() {
            deck = targets.to_vec();
        }
        let target = deck.swap_remove(random.below(deck.len() as u64) as usize);
        load.wait_for_requests(ACKNOWLEDGED_BEFORE_KILL, LOAD_DEADLINE);
        pause(Duration::from_millis(random.below(PAUSE_MAX_MS)));
        let began = Instant::now();
        if target.is_of_the_store() {
            load.store_is_away();
        }
        let ready = strike(site, target);
        report.down += began.elapsed();
        let writes = load.wait_for_requests(1, LOAD_DEADLINE);
        *report.kills.entry(target.name()).or_default() += 1;
        report.note(target, ready, writes);
    }
}

/// Kills and starts again; answers how long it took from the start, or from the store's own
/// readiness, until everything is ready.
fn strike(site: &mut Site, target: Target) -> Duration {
    match target {
        Target::Process(role) => {
            let process = site.role(role);
            assert!(process.program().is_alive(), "{role} has ended by itself");
            process.kill();
            process.restart();
            process.ready_after
        }
        Target::Minio => {
            site.minio().kill();
            site.minio().restart();
            let answers = Instant::now();
            site.roles().iter_mut().for_each(|role| role.wait_until_ready(answers));
            answers.elapsed()
        }
        Target::MinioAnd(role) => {
            site.minio().kill();
            site.role(role).kill();
            site.role(role).launch();
            site.minio().restart();
            let answers = Instant::now();
            site.role(role).wait_until_ready(answers);
            answers.elapsed()
        }
    }
}

fn wait_for_l2(site: &Site) -> BTreeMap<String, usize> {
    wait_for("an L2 block", L2_DEADLINE, || {
        pause(Duration::from_millis(500));
        let blocks = site.store.blocks_by_level();
        if blocks.contains_key("L2") { Ok(blocks) } else { Err(format!("{blocks:?}")) }
    })
}

/// What one suite did and found.
#[derive(Clone, Default)]
struct Report {
    suite: &'static str,
    seed: u64,
    /// By target.
    kills: BTreeMap<String, u64>,
    /// Slowest readiness by target.
    ready: BTreeMap<String, Duration>,
    /// Slowest first acknowledgement after a readiness, by target.
    writes: BTreeMap<String, Duration>,
    /// Acknowledged.
    samples: u64,
    took: Duration,
    /// Of it, the time from a kill to the readiness after it.
    down: Duration,
    asked: Asked,
    /// Of all checks together; the samples are those of the last.
    findings: Findings,
    checks: u64,
    /// Live blocks by level.
    blocks: BTreeMap<String, usize>,
}

impl Report {
    fn note(&mut self, target: Target, ready: Duration, writes: Duration) {
        for (slowest, took) in [(&mut self.ready, ready), (&mut self.writes, writes)] {
            let entry = slowest.entry(target.name()).or_default();
            *entry = took.max(*entry);
        }
    }

    fn add(&mut self, found: Findings, when: &str) {
        say(&format!("{}: {when}: {found}", self.suite));
        self.checks += 1;
        self.findings.samples = found.samples;
        self.findings.lost += found.lost;
        self.findings.duplicated += found.duplicated;
        self.findings.altered += found.altered;
        self.findings.phantom += found.phantom;
        self.findings.disagreements += found.disagreements;
        self.findings.told.extend(found.told);
    }

    fn slowest_ready(&self) -> Duration {
        self.ready.values().max().copied().unwrap_or_default()
    }

    fn rate(&self) -> f64 {
        self.samples as f64 / self.took.as_secs_f64()
    }

    fn rate_between_kills(&self) -> f64 {
        self.samples as f64 / self.took.saturating_sub(self.down).as_secs_f64()
    }

    fn summary(&self) -> String {
        format!(
            "{} kills in {:.0} s ({:?}), {} samples acknowledged, {:.0} per second, {:.0} without the time in \
             which something was down, ready after {:.2} s at most, writes acknowledged {:.1} s later at most",
            self.kills.values().sum::<u64>(),
            self.took.as_secs_f64(),
            self.kills,
            self.samples,
            self.rate(),
            self.rate_between_kills(),
            self.slowest_ready().as_secs_f64(),
            self.writes.values().max().copied().unwrap_or_default().as_secs_f64(),
        )
    }

    /// Writes the page with what all suites of this process have found so far.
    fn publish(&self) {
        static ALL: Mutex<BTreeMap<&str, Report>> = Mutex::new(BTreeMap::new());
        let Some(path) = std::env::var_os("PROMONTORY_KILL_REPORT") else { return };
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(self.suite, self.clone());
        let page = page(&all.values().collect::<Vec<_>>());
        std::fs::write(&path, page).unwrap_or_else(|error| panic!("cannot write {path:?}: {error}"));
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "| killed | times | slowest readiness, s | slowest first acknowledgement after it, s |\n|---|---|---|---|\n",
        );
        for (target, times) in &self.kills {
            let ready = self.ready.get(target).copied().unwrap_or_default().as_secs_f64();
            let writes = self.writes.get(target).copied().unwrap_or_default().as_secs_f64();
            let _ = writeln!(text, "| {target} | {times} | {ready:.2} | {writes:.2} |");
        }
        text
    }

    fn section(&self) -> String {
        let title = self.suite.trim_start_matches("kill: ");
        let mut text = format!("\n## {title}\n\n{}\n", self.table());
        let _ = writeln!(
            text,
            "{} samples were acknowledged in {:.0} s: {:.0} per second, {:.0} without the time in which something was down.",
            self.samples,
            self.took.as_secs_f64(),
            self.rate(),
            self.rate_between_kills(),
        );
        let _ = writeln!(
            text,
            "The checker read everything {} times by range selector and counted and summed it by PromQL and by SQL: {}.",
            self.checks, self.findings
        );
        for told in &self.findings.told {
            let _ = writeln!(text, "- {told}");
        }
        let _ = writeln!(text, "Live blocks at the end: {:?}.", self.blocks);
        let _ = writeln!(text, "Queries under load: {}.\nSeed: {}.", self.asked, self.seed);
        text
    }
}

fn page(reports: &[&Report]) -> String {
    let kills: u64 = reports.iter().flat_map(|report| report.kills.values()).sum();
    let samples: u64 = reports.iter().map(|report| report.samples).sum();
    let slowest = reports.iter().map(|report| report.slowest_ready()).max().unwrap_or_default();
    let wrong = reports.iter().filter(|report| !report.findings.is_clean()).count();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "# Kill report\n\n\
         `kill -9` at random moments under load, by `tests/kill.rs` (its head says how and what is checked).\n\
         Readiness counts from the start of the process, or from MinIO's own readiness where that was killed.\n\n\
         {kills} kills, {samples} samples acknowledged, ready again after {:.2} s at most, {} of {} suites clean.\n\
         Machine: {threads} processors; programs built with the `{}` profile.\n",
        slowest.as_secs_f64(),
        reports.len() - wrong,
        reports.len(),
        if cfg!(debug_assertions) { "dev" } else { "release" },
    );
    reports.iter().for_each(|report| text.push_str(&report.section()));
    text
}

/// Splitmix: the same seed gives the same strikes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
