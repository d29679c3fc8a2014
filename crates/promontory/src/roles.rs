//! The roles of a process: each is started over the shared catalog, registers its tasks and hands out
//! what the faces and `/metrics` need of it.
//!
//! A new role is one variant of [`Role`] and one method of [`Starting`].

use std::sync::Arc;
use std::time::Duration;

use promontory_compactor::Compactor;
use promontory_ingester::Ingester;
use promontory_model::{Append, Clock};
use promontory_querier::Querier;
use promontory_query::QueryEngine;
use promontory_store::{Chain, LocalLives, Writer, WriterSettings};
use tokio::runtime::Handle;

use crate::config::{Config, Role};
use crate::environment::{OsRandom, SystemClock};
use crate::metrics::{Metrics, exports};
use crate::store::{Opened, patiently, unusable};
use crate::tasks::Tasks;

/// What the roles of a process offer to its faces.
#[derive(Default)]
pub struct Doors {
    /// The door for samples; `None` without an ingester.
    pub append: Option<Arc<dyn Append>>,
    /// The door for questions; `None` without a querier.
    pub engine: Option<QueryEngine>,
    pub metrics: Metrics,
}

/// Starts every role of the configuration; queries run on `query_runtime`.
///
/// A store that does not answer meanwhile is waited for.
///
/// # Errors
/// If a role cannot start.
pub async fn start(config: &Config, opened: Opened, query_runtime: Handle) -> anyhow::Result<(Doors, Tasks)> {
    let Opened { context, chain, requests } = opened;
    let mut doors = Doors::default();
    doors.metrics.add(move || exports::object_store(&requests));
    doors.metrics.add(move || exports::protocol(&context.counters));
    let (locals, tasks) = (Arc::default(), Tasks::default());
    let mut starting = Starting { config, chain, locals, query_runtime, doors, tasks };
    for role in config.roles.iter() {
        match role {
            Role::Ingester => starting.ingester().await?,
            Role::Querier => starting.querier()?,
            Role::Compactor => starting.compactor(),
        }
    }
    Ok((starting.doors, starting.tasks))
}

/// What a role starts from, and what it adds to.
struct Starting<'a> {
    config: &'a Config,
    chain: Arc<Chain>,
    /// Writers of this process, which its querier reads in memory.
    locals: Arc<LocalLives>,
    query_runtime: Handle,
    doors: Doors,
    tasks: Tasks,
}

impl Starting<'_> {
    async fn ingester(&mut self) -> anyhow::Result<()> {
        // A cut that is given up on still lies in the writer, and the next one would join it: senders
        // give up after the ingester's append timeout, cuts only hold their places.
        let settings = WriterSettings { acknowledge_timeout: Duration::MAX, ..self.config.writer };
        let outages = &self.chain.context().bucket.outages;
        let open = || Writer::open(self.chain.clone(), self.locals.clone(), settings);
        let writer = patiently("begin a writer", outages, open).await;
        let writer = writer.map_err(|error| unusable(&self.config.store, error))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ingester = Ingester::new(self.config.ingester.clone(), clock, &OsRandom, writer.clone());
        self.tasks.spawn("ingester", ingester.clone().run(self.tasks.stopping()));
        self.doors.append = Some(ingester.clone());
        self.doors.metrics.add(move || exports::ingester(&ingester, &writer));
        Ok(())
    }

    fn querier(&mut self) -> anyhow::Result<()> {
        let querier = Querier::new(self.chain.clone(), self.locals.clone(), self.config.querier);
        let runtime = self.query_runtime.clone();
        let engine = QueryEngine::new(querier.source(), self.config.query.engine.clone(), runtime)?;
        // Nothing else would tell that queries have no threads to run on any more.
        let stopping = self.tasks.stopping();
        let watch_runtime = async move {
            stopping.await;
            Ok::<(), anyhow::Error>(())
        };
        self.tasks.spawn_on("query runtime", watch_runtime, &self.query_runtime);
        let blocks = querier.blocks().clone();
        let (counters, running_max) = (engine.counters(), engine.settings().concurrency_max);
        self.tasks.spawn("querier", querier.run(self.tasks.stopping()));
        self.doors.engine = Some(engine);
        self.doors.metrics.add(move || exports::blocks(&blocks));
        self.doors.metrics.add(move || exports::engine(&counters, running_max));
        Ok(())
    }

    fn compactor(&mut self) {
        let compactor = Compactor::new(self.chain.clone(), self.config.compactor);
        self.tasks.spawn("compactor", compactor.run(self.tasks.stopping()));
    }
}
