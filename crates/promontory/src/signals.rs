//! SIGTERM and SIGINT: the first asks for a graceful stop, the second ends the process at once. SIGHUP, which means
//! "read the configuration again" elsewhere, ends nothing.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Whether a stop was asked for.
#[derive(Clone, Debug)]
pub struct StopAsked(watch::Receiver<bool>);

impl StopAsked {
    /// Listens for signals from now on.
    ///
    /// # Errors
    /// If the system does not let this process handle signals.
    pub fn listen() -> anyhow::Result<Self> {
        let cannot_handle = "cannot handle signals";
        let terminate = signal(SignalKind::terminate()).context(cannot_handle)?;
        let interrupt = signal(SignalKind::interrupt()).context(cannot_handle)?;
        tokio::spawn(ignore(signal(SignalKind::hangup()).context(cannot_handle)?));
        let (asked, receiver) = watch::channel(false);
        tokio::spawn(forward(terminate, interrupt, asked));
        Ok(Self(receiver))
    }

    /// Resolves at the first signal.
    ///
    /// # Errors
    /// If nobody listens for signals any more: then only SIGKILL would end the process.
    pub async fn wait(&mut self) -> anyhow::Result<()> {
        self.0.wait_for(|asked| *asked).await.context("cannot wait for signals: the listener has ended")?;
        Ok(())
    }
}

async fn ignore(mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: flags are read at the start only; start the process again to change them");
    }
}

async fn forward(mut terminate: Signal, mut interrupt: Signal, asked: watch::Sender<bool>) {
    for is_second in [false, true] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if is_second {
            tracing::warn!("second signal: ending at once; what was acknowledged is in the store");
            std::process::exit(1);
        }
        asked.send_replace(true);
    }
}
