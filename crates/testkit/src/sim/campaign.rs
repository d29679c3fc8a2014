//! Many seeds: on all cores, until one fails, with a sum of what happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use promontory_model::MutexExt as _;
use promontory_store::Planted;

use crate::sim::run::{Log, Report, run};
use crate::sim::scenario::Scenario;

/// What the runs of many seeds gave together.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Number of runs that ended, those with violations included.
    pub runs: u64,
    /// Sums of [`Report::coverage`].
    pub coverage: BTreeMap<String, u64>,
    /// Requests to the simulated store in all runs.
    pub requests: u64,
    /// Runs with violations, in order of their seeds; runs stop at the first.
    pub failures: Vec<Report>,
}

/// Runs seeds `first..first + count` on `threads` threads, each run on a runtime of its own, until
/// one fails.
///
/// # Panics
/// If a run panics.
#[must_use]
pub fn campaign(first: u64, count: u64, threads: usize, planted: Planted) -> Campaign {
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let sum = Mutex::new(Campaign::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= count || failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let report = run(Scenario::of(seed), planted, Log::Off);
                    if !report.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    sum.locked().add(report);
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.failures.sort_by_key(|report| report.seed);
    sum
}

impl Campaign {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.requests += report.requests;
        for (name, count) in &report.coverage {
            *self.coverage.entry(name.clone()).or_default() += count;
        }
        if !report.violations.is_empty() {
            self.failures.push(report);
        }
    }

    /// What happened, one line per name.
    #[must_use]
    pub fn coverage_table(&self) -> String {
        let mut table = format!("{:>12}  runs\n{:>12}  requests\n", self.runs, self.requests);
        for (name, count) in &self.coverage {
            let _ = writeln!(table, "{count:>12}  {name}");
        }
        table
    }
}

impl Report {
    /// The violations, one per line, with the command that replays the run.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("seed {} breaks its promises:\n", self.seed);
        for (at, violation) in &self.violations {
            let _ = writeln!(text, "  at {at:?}: {violation}");
        }
        let _ = write!(text, "replay: {}", replay_command(self.seed));
        text
    }
}

/// The one command that replays a seed with its log.
#[must_use]
pub fn replay_command(seed: u64) -> String {
    format!(
        "PROMONTORY_SIM_SEED={seed} cargo test --locked -p promontory-testkit --test simulator replay -- --nocapture"
    )
}
