//! The loops of the compactor: look for dead writers and for L1 blocks that are old enough every few
//! seconds, sweep now and then.
//!
//! An error of one round goes to the log of outages and the next round goes on: every machine behind these
//! calls can be stopped and started at any point.

use std::sync::Arc;
use std::time::Duration;

use promontory_model::HeadMemory;
use promontory_store::{
    Adopter, AdopterSettings, Chain, Compaction, Error, MergerSettings, OutageLog, PlanSettings, Round,
    Sweep, Sweeper, SweeperSettings,
};
use tokio::time::sleep;

/// How often live writers are looked at, unless `adopt_after` is so short that more is needed.
const ADOPT_TICK_MAX: Duration = Duration::from_secs(5);

/// How often L1 blocks are looked at, unless `l2_after` is so short that more is needed.
const COMPACT_TICK_MAX: Duration = Duration::from_secs(15);

/// A sweep that failed is tried again after this long, or after the time between sweeps if that is shorter.
const SWEEP_RETRY: Duration = Duration::from_secs(60);

/// What the log of outages calls the three.
const ADOPT: &str = "look for dead writers";
const MERGE: &str = "look for L1 blocks to merge";
const SWEEP: &str = "sweep";

/// When a compactor adopts, merges and sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactorSettings {
    /// A writer without a new segment for this long is taken over: `--compactor.adopt-after`.
    pub adopt_after: Duration,
    /// L1 blocks become L2 blocks at this age: `--compactor.l2-after`.
    pub l2_after: Duration,
    /// Time between sweeps: `--compactor.sweep-interval`.
    pub sweep_interval: Duration,
    /// What adoption and merges may take: `--head.max-memory`.
    pub memory: HeadMemory,
}

impl Default for CompactorSettings {
    fn default() -> Self {
        Self {
            adopt_after: Duration::from_secs(90),
            l2_after: PlanSettings::default().l2_after,
            sweep_interval: Duration::from_secs(15 * 60),
            memory: HeadMemory::default(),
        }
    }
}

/// The compactor role: adopts dead writers, merges L1 blocks and sweeps.
#[derive(Debug)]
pub struct Compactor {
    settings: CompactorSettings,
    outages: Arc<OutageLog>,
    adopter: Adopter,
    compaction: Compaction,
    sweeper: Sweeper,
}

impl Compactor {
    /// A compactor over a catalog; [`Self::run`] must run for anything to happen.
    #[must_use]
    pub fn new(chain: Arc<Chain>, settings: CompactorSettings) -> Self {
        let (dead_after, memory) = (settings.adopt_after, settings.memory);
        let adopter = AdopterSettings { dead_after, replay_bytes_max: memory.replay() };
        let adopter = Adopter::new(chain.clone(), adopter);
        let plan = PlanSettings { l2_after: settings.l2_after, ..PlanSettings::default() };
        let merger = MergerSettings { decoded_bytes_max: memory.merges(), ..MergerSettings::default() };
        let compaction = Compaction::new(chain.clone(), merger, plan);
        let outages = chain.context().bucket.outages.clone();
        let sweeper = Sweeper::new(chain, SweeperSettings::default());
        Self { settings, outages, adopter, compaction, sweeper }
    }

    /// Adopts, merges and sweeps until `shutdown` resolves. What is under way is dropped then: each machine
    /// goes on at the next start, here or elsewhere.
    ///
    /// # Errors
    /// None today; the signature is that of every role.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let adopt_pause = (self.settings.adopt_after / 4).clamp(Duration::from_millis(100), ADOPT_TICK_MAX);
        let compact_pause = (self.settings.l2_after / 4).clamp(Duration::from_millis(250), COMPACT_TICK_MAX);
        tokio::select! {
            biased;
            () = shutdown => {}
            () = every(adopt_pause, || self.adopt()) => {}
            () = every(compact_pause, || self.compact()) => {}
            () = self.sweep_on_and_on() => {}
        }
        Ok(())
    }

    async fn adopt(&self) {
        // The adopter logs each adoption itself.
        let adopted = self.adopter.tick().await;
        self.went(ADOPT, adopted.map(drop));
    }

    async fn compact(&self) {
        let round = self.compaction.round().await;
        self.went(MERGE, round.map(|round| log_round(&round)));
    }

    async fn sweep_on_and_on(&self) {
        // Not at the start: a process that starts again and again would list the store each time.
        let mut pause = self.settings.sweep_interval;
        loop {
            sleep(pause).await;
            let swept = self.sweeper.sweep().await;
            pause = match swept {
                Ok(_) => self.settings.sweep_interval,
                Err(_) => self.settings.sweep_interval.min(SWEEP_RETRY),
            };
            self.went(SWEEP, swept.map(|sweep| log_sweep(&sweep)));
        }
    }

    fn went(&self, doing: &'static str, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) => self.outages.succeeded(doing),
            Err(error) => self.outages.failed(doing, &error),
        }
    }
}

fn log_sweep(sweep: &Sweep) {
    if let Some(skew_ms) = sweep.skew_ms {
        return tracing::warn!(
            skew_ms,
            "nothing is swept while this machine's clock differs from the store's by more than a minute"
        );
    }
    tracing::info!(
        block_objects = sweep.block_objects,
        segments = sweep.segments,
        catalog_objects = sweep.catalog_objects,
        bytes = sweep.bytes,
        floor = sweep.floor,
        "swept"
    );
}

/// Does `round` again and again, with a pause after each.
async fn every<F: Future<Output = ()>>(pause: Duration, round: impl Fn() -> F) {
    loop {
        round().await;
        sleep(pause).await;
    }
}

fn log_round(round: &Round) {
    for (tenant, error) in &round.failures {
        tracing::warn!(%tenant, %error, "cannot merge L1 blocks; the next round tries again");
    }
    if round.merges + round.void > 0 {
        let Round { merges, blocks, rows, passed_over, void, .. } = round;
        tracing::info!(merges, blocks, rows, passed_over, void, "merged L1 blocks into L2");
    }
}
