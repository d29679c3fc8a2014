//! What a seed means: the weather of the store, the bounds of the machines, who takes part.
//!
//! Everything is small, so that a run of minutes of simulated time meets what production meets in
//! months: epochs of four versions, a grace shorter than a coffee, writers that die each minute.

use std::ops::RangeInclusive;
use std::time::Duration;

use promontory_store::{AdopterSettings, Format, ReaderSettings, Timing, WriterSettings};

use crate::sim::random::SeededRandom;
use crate::sim::store::{Faults, Ground};

/// Shortest time for which the store denies everything, if it does.
const ABSENCE_WINDOW: Duration = Duration::from_millis(500);

/// How the store behaves in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weather {
    /// Nothing goes wrong but processes.
    Clear,
    /// About every twentieth request goes wrong in some way.
    Rain,
    /// More than every fifth write goes wrong, and answers come late or never.
    Storm,
    /// As rain, and bytes that are read may be damaged.
    Radiation,
    /// As rain, and at times the store denies what it holds.
    Fog,
}

/// The codec of a run's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockBytes {
    /// Plain rows: as fast as copying.
    Plain,
    /// Parquet, as production writes it.
    Parquet,
}

/// Everything that is decided about a run before it begins.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What the rest was drawn from, and what the run draws from.
    pub seed: u64,
    /// How often the store's requests go wrong.
    pub weather: Weather,
    /// What the store is: a folder loses its power now and then.
    pub ground: Ground,
    /// The codec of its blocks.
    pub block_bytes: BlockBytes,
    /// The constants that its bucket is made with; the grace is seconds instead of an hour.
    pub format: Format,
    /// Bounds of requests and of waiting between them, in simulated time.
    pub timing: Timing,
    /// Most decoded bytes of one block: often so few that a commit brings several.
    pub block_bytes_max: usize,
    /// What its writers are run with.
    pub writer: WriterSettings,
    /// What its adopters are run with.
    pub adopter: AdopterSettings,
    /// What its readers are run with.
    pub reader: ReaderSettings,
    /// Number of processes with a writer.
    pub ingesters: usize,
    /// Number of processes that adopt, merge and sweep.
    pub keepers: usize,
    /// Number of processes that only read.
    pub onlookers: usize,
    /// Clients that send samples, each one request at a time.
    pub senders: usize,
    /// Number of tenants that samples are sent for; at least 1.
    pub tenants: usize,
    /// Simulated time until the senders stop.
    pub length: Duration,
    /// Resolution of the store's last-modified times, in milliseconds.
    pub resolution_ms: u64,
    /// Wait of a sender between two requests.
    pub send_ms: RangeInclusive<u64>,
    /// Wait of a writer between two L1 blocks.
    pub flush_ms: RangeInclusive<u64>,
    /// Wait of a keeper's machine between two ticks.
    pub tick_ms: RangeInclusive<u64>,
    /// Wait of an onlooker between two snapshots.
    pub look_ms: RangeInclusive<u64>,
    /// Undisturbed life of a process, in milliseconds.
    pub life_ms: RangeInclusive<u64>,
}

impl Scenario {
    /// The scenario of `seed`: equal seeds give equal scenarios.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let random = SeededRandom::fork(seed, "scenario");
        let grace_ms = *random.pick(&[5_000, 8_000, 14_000]);
        let (epoch_length, checkpoint_spacing) = *random.pick(&[(4, 2), (4, 4), (8, 2), (8, 4)]);
        let weather = match random.within(0..=99) {
            0..15 => Weather::Clear,
            15..55 => Weather::Rain,
            55..75 => Weather::Storm,
            75..88 => Weather::Fog,
            _ => Weather::Radiation,
        };
        // A gateway stands before a service only.
        let folder = weather != Weather::Fog && random.happens(3_000);
        let ground = if folder { Ground::Folder } else { Ground::Service };
        // Parquet costs a hundred times what plain rows cost and adds nothing to the protocol.
        let parquet = random.happens(200);
        let second = Duration::from_secs(1);
        Self {
            seed,
            weather,
            ground,
            block_bytes: if parquet { BlockBytes::Parquet } else { BlockBytes::Plain },
            format: Format { epoch_length, checkpoint_spacing, grace_ms, bucket: 0 },
            timing: Timing {
                metadata_timeout: second,
                transfer_timeout: 2 * second,
                backoff_min: Duration::from_millis(20),
                backoff_max: Duration::from_millis(400),
                absence_window: ABSENCE_WINDOW,
            },
            block_bytes_max: *random.pick(&[600, 4_000, 1 << 30, 1 << 30]),
            writer: WriterSettings {
                in_flight_max: random.within(1..=4) as usize,
                segments_max: random.within(10..=30),
                bytes_max: 1 << 20,
                decoded_bytes_max: *random.pick(&[20_000, 1 << 30]),
                segment_bytes_max: *random.pick(&[1_500, 1 << 20, 1 << 20]),
                segment_decoded_bytes_max: *random.pick(&[300, 2_000, 1 << 20, 1 << 20]),
                idle_interval: random.millis(1_000..=2_000),
                empty_segments_max: random.within(1..=4),
                acknowledge_timeout: random.millis(3_000..=8_000),
            },
            adopter: AdopterSettings {
                dead_after: random.millis(1_500..=4_000),
                replay_bytes_max: *random.pick(&[1, 3_000, 1 << 20]),
            },
            reader: ReaderSettings {
                probe_interval: *random.pick(&[Duration::ZERO, second]),
                warn_after: 2 * second,
                tail_bytes_max: 1 << 20,
                position_timeout: 3 * second,
            },
            ingesters: *random.pick(&[2, 2, 3]),
            keepers: 2,
            onlookers: 1,
            senders: random.within(2..=3) as usize,
            tenants: random.within(1..=3) as usize,
            length: Duration::from_millis(3 * grace_ms) + 12 * second,
            resolution_ms: *random.pick(&[1, 1, 1_000]),
            send_ms: 300..=2_500,
            flush_ms: 2_000..=5_000,
            tick_ms: 1_000..=4_500,
            look_ms: 2_000..=8_000,
            life_ms: 1_000..=25_000,
        }
    }

    /// What the store does wrong in this run.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let of_weather = self.faults_of_weather();
        match self.ground {
            Ground::Service => of_weather,
            // The kernel does not answer that something exists which does not, nor for an attempt of its own.
            Ground::Folder => {
                Faults { unsynced: 300, own_already_exists: 0, phantom_already_exists: 0, ..of_weather }
            }
        }
    }

    fn rain(&self) -> Faults {
        let grace_ms = self.format.grace_ms;
        Faults {
            error_before: 150,
            error_after: 100,
            lost_answer: 30,
            late_landing: 60,
            own_already_exists: 100,
            phantom_already_exists: 60,
            stale_list: 2_000,
            unsynced: 0,
            damage: 0,
            denial: 0,
            slow: 100,
            stall: 5,
            orphan_lands: 5_000,
            latency_ms: 1..=20,
            slow_ms: 100..=1_500,
            stall_ms: grace_ms..=3 * grace_ms,
            silence_ms: 500..=3_000,
            late_ms: 0..=2 * grace_ms,
            stale_list_ms: 0..=grace_ms,
            denial_ms: ABSENCE_WINDOW.as_millis() as u64..=grace_ms / 2,
        }
    }

    fn faults_of_weather(&self) -> Faults {
        let rain = self.rain();
        match self.weather {
            Weather::Clear => {
                Faults { latency_ms: 1..=20, orphan_lands: 5_000, late_ms: 0..=1_000, ..Faults::none() }
            }
            Weather::Rain => rain,
            Weather::Storm => Faults {
                error_before: 600,
                error_after: 400,
                lost_answer: 100,
                late_landing: 400,
                own_already_exists: 400,
                phantom_already_exists: 300,
                slow: 400,
                stall: 20,
                ..rain
            },
            Weather::Radiation => Faults { damage: 200, ..rain },
            Weather::Fog => Faults { denial: 40, ..rain },
        }
    }

    /// How late a sight without warnings may be: what was acknowledged longer ago than this before
    /// the snapshot was asked for must be in it.
    #[must_use]
    pub fn freshness(&self) -> Duration {
        self.reader.probe_interval.max(self.reader.warn_after)
    }
}
