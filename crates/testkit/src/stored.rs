//! A source of samples that are really stored, with a choice of where: segments, L1, L2, or all of
//! them mixed.
//!
//! One process over a store in memory: the product's own writer, merger, reader and Parquet, without a
//! schedule, so that a test decides what lies where.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use promontory_block::{ParquetCodec, SeriesRun};
use promontory_model::{Clock, Labels, TenantId};
use promontory_store::{
    BlockReader, BlockReaderSettings, Bucket, Chain, Context, Error, Format, LEVEL, LocalLives, Merger,
    MergerSettings, Planted, Reader, ReaderSettings, StoredSource, Timing, Writer, WriterSettings,
};

use crate::sim::random::SeededRandom;

/// Where samples lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In a segment, in the head that reader and writer share.
    Fresh,
    /// In a segment that the reader fetches, as a querier in another process does.
    Followed,
    /// In an L1 block, committed and gone from the head.
    L1,
    /// In L2 blocks, merged from L1.
    L2,
    /// The first third of each series in L2, the second in L1, the last in a segment, and every third
    /// sample of the first two again where the next third lies.
    Mixed,
}

impl Placement {
    /// In the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Fresh, Self::Followed, Self::L1, Self::L2, Self::Mixed];
}

/// One series and its samples, ascending in time.
pub type StoredSeries = (Labels, Vec<(i64, f64)>);

/// A store in memory, a writer and a reader.
#[derive(Debug)]
pub struct StoredWorld {
    writer: Arc<Writer>,
    merger: Merger,
    blocks: Arc<BlockReader>,
    source: Arc<StoredSource>,
}

impl StoredWorld {
    /// An empty store whose readers see tails as `placement` wants it. Must be called on a runtime,
    /// which the writer needs as long as the world is used.
    ///
    /// # Errors
    /// Of the protocol; a store in memory gives no reason for any.
    pub async fn new(placement: Placement) -> Result<Self, Error> {
        let context = Arc::new(Context {
            bucket: Bucket::single(Arc::new(InMemory::new())),
            format: Format::default(),
            codec: Arc::new(ParquetCodec),
            clock: Arc::new(Epoch),
            random: Arc::new(SeededRandom::new(1)),
            timing: Timing::default(),
            level: LEVEL,
            block_bytes_max: Context::BLOCK_BYTES_MAX,
            counters: Arc::default(),
            planted: Planted::NONE,
        });
        let chain = Chain::open(context.clone()).await?;
        let locals = Arc::new(LocalLives::default());
        let writer = Writer::open(chain.clone(), locals.clone(), WriterSettings::default()).await?;
        let running = writer.clone();
        tokio::spawn(async move { running.run().await });
        let seen = if placement == Placement::Followed { Arc::default() } else { locals };
        let settings = ReaderSettings { probe_interval: Duration::ZERO, ..ReaderSettings::default() };
        let reader = Reader::new(chain.clone(), seen, settings);
        let blocks = BlockReader::new(context.bucket.clone(), BlockReaderSettings::default());
        let source = Arc::new(StoredSource::new(reader, blocks.clone()));
        let merger = Merger::new(chain, MergerSettings::default());
        Ok(Self { writer, merger, blocks, source })
    }

    /// The door for queries; its snapshots see everything that was loaded before.
    #[must_use]
    pub fn source(&self) -> Arc<StoredSource> {
        self.source.clone()
    }

    /// The reader of blocks, with its counters.
    #[must_use]
    pub fn blocks(&self) -> &Arc<BlockReader> {
        &self.blocks
    }

    /// Stores samples of one tenant where `placement` says.
    ///
    /// # Errors
    /// Of the protocol.
    pub async fn load(
        &self,
        tenant: &TenantId,
        series: &[StoredSeries],
        placement: Placement,
    ) -> Result<(), Error> {
        match placement {
            Placement::Fresh | Placement::Followed => self.segment(tenant, series).await,
            Placement::L1 => {
                self.segment(tenant, series).await?;
                self.writer.flush_l1().await.map(drop)
            }
            Placement::L2 => {
                self.segment(tenant, series).await?;
                self.writer.flush_l1().await?;
                self.merger.merge_l1(tenant).await.map(drop)
            }
            Placement::Mixed => {
                for (part, below) in [(0, Placement::L2), (1, Placement::L1), (2, Placement::Fresh)] {
                    Box::pin(self.load(tenant, &third(series, part), below)).await?;
                }
                Ok(())
            }
        }
    }

    async fn segment(&self, tenant: &TenantId, series: &[StoredSeries]) -> Result<(), Error> {
        let mut sorted: Vec<&StoredSeries> = series.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut run = SeriesRun::default();
        for same in sorted.chunk_by(|a, b| a.0 == b.0) {
            let samples = same.iter().flat_map(|(_, samples)| samples.iter().copied());
            run.push_floats(same[0].0.clone(), samples);
        }
        if run.is_empty() {
            return Ok(());
        }
        self.writer.append_segment(vec![(tenant.clone(), run)]).await.map(drop)
    }
}

/// One third of each series, with some samples of the third before it.
fn third(series: &[StoredSeries], part: usize) -> Vec<StoredSeries> {
    let part_of = |samples: &[(i64, f64)]| {
        let bounds = [0, samples.len() / 3, 2 * samples.len() / 3, samples.len()];
        let before = if part == 0 { 0..0 } else { bounds[part - 1]..bounds[part] };
        let again = samples[before].iter().step_by(3);
        again.chain(&samples[bounds[part]..bounds[part + 1]]).copied().collect()
    };
    series.iter().map(|(labels, samples)| (labels.clone(), part_of(samples))).collect()
}

/// A clock that stands at the epoch: nothing that runs here depends on the time.
#[derive(Debug)]
struct Epoch;

impl Clock for Epoch {
    fn now_ms(&self) -> i64 {
        0
    }
}
