//! The loop of the querier: looks for new catalog versions and segments again and again.
//!
//! A query looks itself where the view is older than the probe interval, so the loop is not needed for
//! a right answer: with it a query seldom waits for a probe, and a tail is fetched while it is short.
//! A look that fails goes to the log of outages and the next one comes as if it had not; what could not be
//! seen for long is named in the warnings of the answers.

use std::sync::Arc;

use promontory_store::{
    BlockReader, BlockReaderSettings, Chain, Error, LocalLives, Reader, ReaderSettings, SampleSource,
    StoredSource,
};
use tokio::time::sleep;

/// What the log of outages calls a look.
const LOOK: &str = "look for new samples";

/// When a querier looks, and what its reading may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuerierSettings {
    /// How often the view is renewed, and how much of the tails it may hold.
    pub reader: ReaderSettings,
    /// Sizes of the caches of blocks, and bounds of requests and selections.
    pub blocks: BlockReaderSettings,
}

/// The querier role: keeps a view of the store fresh and hands it out.
#[derive(Debug)]
pub struct Querier {
    settings: QuerierSettings,
    reader: Arc<Reader>,
    blocks: Arc<BlockReader>,
}

impl Querier {
    /// A querier over a catalog; writers of the same process are read in `locals`, without the store.
    #[must_use]
    pub fn new(chain: Arc<Chain>, locals: Arc<LocalLives>, settings: QuerierSettings) -> Self {
        let blocks = BlockReader::new(chain.context().bucket.clone(), settings.blocks);
        let reader = Reader::new(chain, locals, settings.reader);
        Self { settings, reader, blocks }
    }

    /// The door through which an engine sees everything that was written.
    #[must_use]
    pub fn source(&self) -> Arc<dyn SampleSource> {
        Arc::new(StoredSource::new(self.reader.clone(), self.blocks.clone()))
    }

    /// The reader of blocks, for its counters and caches.
    #[must_use]
    pub fn blocks(&self) -> &Arc<BlockReader> {
        &self.blocks
    }

    /// Looks for new samples until `shutdown` resolves.
    ///
    /// # Errors
    /// None today; the signature is that of every role.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = shutdown => {}
            () = self.follow() => {}
        }
        Ok(())
    }

    async fn follow(&self) {
        let outages = &self.reader.context().bucket.outages;
        loop {
            match self.reader.refresh().await {
                Ok(()) => outages.succeeded(LOOK),
                Err(error) => outages.failed(LOOK, &error),
            }
            sleep(self.settings.reader.probe_interval).await;
        }
    }
}
