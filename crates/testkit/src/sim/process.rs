//! A process: tasks that die, freeze and start over together.
//!
//! Invariants:
//! - After [`Process::kill`] no task of the process is polled again and all that it owned is
//!   dropped, between two polls: the crash can lie at any `await`.
//! - While a process is frozen none of its tasks is polled, but the world and its timers go on, as
//!   after SIGSTOP or on a machine that was paused.
//! - A process that is dead stays dead; a restart is a new [`Process`].

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use promontory_model::MutexExt as _;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, Sleep};

/// Where in a store operation a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPhase {
    /// Before the request is sent: it has no effect.
    BeforeEffect,
    /// The store did it, the answer found nobody.
    AfterEffect,
}

/// A group of tasks with one life.
#[derive(Clone, Debug)]
pub struct Process(Arc<Life>);

#[derive(Debug)]
struct Life {
    name: String,
    dead: AtomicBool,
    died: Notify,
    frozen_until: Mutex<Option<Instant>>,
    tasks: Mutex<Vec<AbortHandle>>,
    operations: AtomicU64,
    crash: Mutex<Option<(u64, CrashPhase)>>,
    stall: Mutex<Option<(&'static str, Duration)>>,
}

impl Process {
    /// A living process without tasks; traces call it `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Life {
            name: name.into(),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            frozen_until: Mutex::default(),
            tasks: Mutex::default(),
            operations: AtomicU64::new(0),
            crash: Mutex::default(),
            stall: Mutex::default(),
        }))
    }

    /// The name under which traces show it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs a task of this process. The handle gives `None` if the process died first.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let gated = Gated { process: self.clone(), task: Some(Box::pin(task)), thaw: None };
        let handle = tokio::spawn(gated);
        self.0.tasks.locked().push(handle.abort_handle());
        handle
    }

    /// Ends the process, as SIGKILL does.
    pub fn kill(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
        for task in self.0.tasks.locked().drain(..) {
            task.abort();
        }
        self.0.died.notify_waiters();
    }

    /// True once [`Self::kill`] was called.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }

    /// Waits until the process is dead.
    pub async fn dead(&self) {
        let died = self.0.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }

    /// Stops polling every task for `duration`, as SIGSTOP and later SIGCONT do.
    pub fn freeze(&self, duration: Duration) {
        *self.0.frozen_until.locked() = Some(Instant::now() + duration);
    }

    /// Lets the process die in its `operation`th store operation from now, from 1.
    pub fn crash_at(&self, operation: u64, phase: CrashPhase) {
        let at = self.0.operations.load(Ordering::Relaxed) + operation;
        *self.0.crash.locked() = Some((at, phase));
    }

    /// Freezes the process in its next write to a key that begins with `prefix`: the request is made
    /// up and not sent, the most dangerous place to stand still.
    pub fn freeze_in(&self, prefix: &'static str, duration: Duration) {
        *self.0.stall.locked() = Some((prefix, duration));
    }

    /// Freezes the process if a write to `key` is where it must; true if so.
    pub(crate) fn begin_write(&self, key: &str) -> bool {
        let due = self.0.stall.locked().take_if(|(prefix, _)| key.starts_with(*prefix));
        if let Some((_, duration)) = due {
            self.freeze(duration);
        }
        due.is_some()
    }

    /// Counts one store operation; says where in it the process dies, if it does.
    pub(crate) fn count_operation(&self) -> Option<CrashPhase> {
        let operation = self.0.operations.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.crash.locked().filter(|(at, _)| *at == operation).map(|(_, phase)| phase)
    }

    fn frozen_until(&self) -> Option<Instant> {
        let mut until = self.0.frozen_until.locked();
        *until = until.filter(|until| *until > Instant::now());
        *until
    }
}

/// A task behind the gate of its process.
struct Gated<F: Future> {
    process: Process,
    task: Option<Pin<Box<F>>>,
    thaw: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.process.is_dead() {
            self.task = None;
            return Poll::Ready(None);
        }
        if let Some(until) = self.process.frozen_until() {
            let mut thaw = Box::pin(tokio::time::sleep_until(until));
            if thaw.as_mut().poll(context).is_pending() {
                self.thaw = Some(thaw);
                return Poll::Pending;
            }
        }
        self.thaw = None;
        let Some(task) = self.task.as_mut() else { return Poll::Ready(None) };
        let answer = task.as_mut().poll(context).map(Some);
        if self.process.is_dead() {
            self.task = None;
            return Poll::Ready(None);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_killed_process_drops_what_its_tasks_own_and_never_runs_again() {
        let process = Process::new("p");
        let owned = Arc::new(());
        let ran = Arc::new(AtomicU64::new(0));
        let (held, count) = (owned.clone(), ran.clone());
        let task = process.spawn(async move {
            let _held = held;
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        process.kill();
        process.dead().await;
        let _ = task.await;
        assert_eq!(Arc::strong_count(&owned), 1);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(ran.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_process_does_nothing_until_it_thaws() {
        let process = Process::new("p");
        let task = process.spawn(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Instant::now()
        });
        tokio::task::yield_now().await;
        let begun = Instant::now();
        process.freeze(Duration::from_secs(3_600));
        let woke = task.await.unwrap().unwrap();
        assert_eq!((woke - begun).as_secs(), 3_600);
    }
}
