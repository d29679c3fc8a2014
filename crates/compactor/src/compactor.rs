//! The loops of the compactor: look for dead writers and for L1 blocks that are old enough every few
//! seconds, sweep now and then.
//!
//! An error of one round is logged and the next round goes on: every machine behind these calls can
//! be stopped and started at any point.

use std::sync::Arc;
use std::time::Duration;

use promontory_store::{
    Adopter, AdopterSettings, Chain, Compaction, Error, MergerSettings, PlanSettings, Round, Sweep, Sweeper,
    SweeperSettings,
};
use tokio::time::sleep;

/// How often live writers are looked at, unless `adopt_after` is so short that more is needed.
const ADOPT_TICK_MAX: Duration = Duration::from_secs(5);

/// How often L1 blocks are looked at, unless `l2_after` is so short that more is needed.
const COMPACT_TICK_MAX: Duration = Duration::from_secs(15);

/// When a compactor adopts, merges and sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactorSettings {
    /// A writer without a new segment for this long is taken over: `--compactor.adopt-after`.
    pub adopt_after: Duration,
    /// L1 blocks become L2 blocks at this age: `--compactor.l2-after`.
    pub l2_after: Duration,
    /// Time between sweeps: `--compactor.sweep-interval`.
    pub sweep_interval: Duration,
}

impl Default for CompactorSettings {
    fn default() -> Self {
        Self {
            adopt_after: Duration::from_secs(90),
            l2_after: PlanSettings::default().l2_after,
            sweep_interval: Duration::from_secs(15 * 60),
        }
    }
}

/// The compactor role: adopts dead writers, merges L1 blocks and sweeps.
#[derive(Debug)]
pub struct Compactor {
    settings: CompactorSettings,
    adopter: Adopter,
    compaction: Compaction,
    sweeper: Sweeper,
}

impl Compactor {
    /// A compactor over a catalog; [`Self::run`] must run for anything to happen.
    #[must_use]
    pub fn new(chain: Arc<Chain>, settings: CompactorSettings) -> Self {
        let adopter = AdopterSettings { dead_after: settings.adopt_after, ..AdopterSettings::default() };
        let adopter = Adopter::new(chain.clone(), adopter);
        let plan = PlanSettings { l2_after: settings.l2_after, ..PlanSettings::default() };
        let compaction = Compaction::new(chain.clone(), MergerSettings::default(), plan);
        let sweeper = Sweeper::new(chain, SweeperSettings::default());
        Self { settings, adopter, compaction, sweeper }
    }

    /// Adopts, merges and sweeps until `shutdown` resolves. What is under way is dropped then: each machine
    /// goes on at the next start, here or elsewhere.
    ///
    /// # Errors
    /// None today; the signature is that of every role.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let adopt_pause = (self.settings.adopt_after / 4).clamp(Duration::from_millis(100), ADOPT_TICK_MAX);
        let compact_pause = (self.settings.l2_after / 4).clamp(Duration::from_millis(250), COMPACT_TICK_MAX);
        let sweep_pause = self.settings.sweep_interval;
        tokio::select! {
            biased;
            () = shutdown => {}
            () = every(Duration::ZERO, adopt_pause, || self.adopt()) => {}
            () = every(Duration::ZERO, compact_pause, || self.compact()) => {}
            // Not at the start: a process that starts again and again would list the store each time.
            () = every(sweep_pause, sweep_pause, || self.sweep()) => {}
        }
        Ok(())
    }

    async fn adopt(&self) {
        // The adopter logs each adoption itself.
        if let Err(error) = self.adopter.tick().await {
            tracing::warn!(%error, "cannot look for dead writers; the next round tries again");
        }
    }

    async fn compact(&self) {
        match self.compaction.round().await {
            Ok(round) => log_round(&round),
            Err(error) => {
                tracing::warn!(%error, "cannot look for L1 blocks to merge; the next round tries again");
            }
        }
    }

    async fn sweep(&self) {
        match self.sweeper.sweep().await {
            Ok(Sweep { skew_ms: Some(skew_ms), .. }) => tracing::warn!(
                skew_ms,
                "nothing is swept while this machine's clock differs from the store's by more than a minute"
            ),
            Ok(sweep) => tracing::info!(
                block_objects = sweep.block_objects,
                segments = sweep.segments,
                catalog_objects = sweep.catalog_objects,
                bytes = sweep.bytes,
                floor = sweep.floor,
                "swept"
            ),
            Err(error) => tracing::warn!(%error, "cannot sweep; the next round goes on"),
        }
    }
}

/// Does `round` again and again, with a pause after each.
async fn every<F: Future<Output = ()>>(first_after: Duration, pause: Duration, round: impl Fn() -> F) {
    sleep(first_after).await;
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
