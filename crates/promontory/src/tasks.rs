//! Supervision: tasks that run until they are told to stop, and of which none may end before.
//!
//! A task whose loop is gone, by a panic, an error or a plain return, would leave a process that looks
//! healthy and does only part of its duty. So whoever starts tasks also waits for [`Tasks::failure`],
//! and every task that a role starts inside itself must bring its panic up to the task that is
//! registered here.

use std::any::Any;
use std::collections::HashMap;
use std::time::Duration;

use anyhow::anyhow;
use promontory_store::panic_when_asked;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};

/// How often a stop that takes long says what it waits for.
const STOPPING_LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Named tasks with one signal to stop. Dropping it aborts those that still run.
#[derive(Debug)]
pub struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
    stop: watch::Sender<bool>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { running: JoinSet::new(), names: HashMap::new(), stop: watch::Sender::new(false) }
    }
}

impl Tasks {
    /// Resolves when the tasks are told to stop.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the sender is gone, which is a reason to stop as well.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Starts a task on the runtime of the caller; `name` says whose duty it does.
    pub fn spawn<E>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<anyhow::Error> + 'static,
    {
        self.spawn_on(name, task, &Handle::current());
    }

    /// Starts a task on another runtime.
    pub fn spawn_on<E>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
        runtime: &Handle,
    ) where
        E: Into<anyhow::Error> + 'static,
    {
        let task = async move {
            tokio::select! {
                ended = task => ended.map_err(Into::into),
                never = panic_when_asked(name) => match never {},
            }
        };
        let id = self.running.spawn_on(task, runtime).id();
        self.names.insert(id, name);
    }

    /// Resolves when a task ends although it was not told to, with the task and the reason.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.next_end().await {
            Some((name, Ok(()))) => anyhow!("{name} has ended although nothing asked it to"),
            Some((_, Err(error))) => error,
            // Without tasks none can fail.
            None => std::future::pending().await,
        }
    }

    /// The tasks that have not ended, by name.
    #[must_use]
    pub fn running(&self) -> String {
        let mut names: Vec<&str> = self.names.values().copied().collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// Tells every task to stop and waits for their ends; says now and then for which it still waits.
    /// May be dropped and called again.
    ///
    /// # Errors
    /// The first failure, after all have ended.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let mut first = Ok(());
        let begun = Instant::now();
        loop {
            let Ok(ended) = timeout(STOPPING_LINE_INTERVAL, self.next_end()).await else {
                let seconds = begun.elapsed().as_secs();
                tracing::info!(seconds, waits_for = self.running(), "still stopping");
                continue;
            };
            let Some((_, ended)) = ended else { return first };
            if let Err(error) = &ended {
                tracing::error!(error = format!("{error:#}"), "a role did not stop cleanly");
            }
            first = first.and(ended);
        }
    }

    /// The next task that ends, and how; an error names the task.
    async fn next_end(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let (id, ended) = match self.running.join_next_with_id().await? {
            Ok((id, ended)) => (id, Ok(ended)),
            Err(error) => (error.id(), Err(error)),
        };
        let name = self.names.remove(&id).unwrap_or("a task");
        let ended = match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.context(format!("{name} has ended"))),
            Err(error) => Err(anyhow!("{name} {}", without_result(error))),
        };
        Some((name, ended))
    }
}

fn without_result(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => format!("has panicked: {}", panic_text(&*payload)),
        Err(_) => "was cancelled: its runtime has ended".to_owned(),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_a_failure_that_names_it() {
        let mut tasks = Tasks::default();
        let stopping = tasks.stopping();
        tasks.spawn("steady", async move {
            stopping.await;
            Ok::<(), Infallible>(())
        });
        tasks.spawn("brief", async { Ok::<(), Infallible>(()) });
        let failure = tasks.failure().await;
        assert_eq!(failure.to_string(), "brief has ended although nothing asked it to");
        tasks.spawn("broken", async { Err(anyhow!("disk is full")) });
        let failure = tasks.failure().await;
        assert_eq!(format!("{failure:#}"), "broken has ended: disk is full");
        tasks.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_its_message() {
        let mut tasks = Tasks::default();
        let text = String::from("index 3 of 2");
        let panics = async move { if text.is_empty() { Ok(()) } else { panic!("{text}") } };
        tasks.spawn::<Infallible>("fragile", panics);
        assert_eq!(tasks.failure().await.to_string(), "fragile has panicked: index 3 of 2");
    }

    #[tokio::test]
    async fn stopping_waits_for_all_and_tells_the_first_error() {
        let mut tasks = Tasks::default();
        let (first, second) = (tasks.stopping(), tasks.stopping());
        tasks.spawn("one", async move {
            first.await;
            Err(anyhow!("cannot write"))
        });
        tasks.spawn("two", async move {
            second.await;
            Ok::<(), Infallible>(())
        });
        let error = tasks.stop().await.unwrap_err();
        assert_eq!(format!("{error:#}"), "one has ended: cannot write");
        assert!(tasks.running.is_empty());
    }

    #[test]
    fn the_end_of_a_runtime_is_a_failure_of_its_tasks() {
        let builder = || tokio::runtime::Builder::new_multi_thread();
        let (own, other) = (builder().build().unwrap(), builder().build().unwrap());
        let mut tasks = Tasks::default();
        let stopping = tasks.stopping();
        let waits = async move {
            stopping.await;
            Ok::<(), Infallible>(())
        };
        tasks.spawn_on("guest", waits, other.handle());
        other.shutdown_background();
        let failure = own.block_on(tasks.failure());
        assert_eq!(failure.to_string(), "guest was cancelled: its runtime has ended");
    }
}
