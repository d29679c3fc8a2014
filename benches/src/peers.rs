//! The programs that are measured, each started fresh over an empty folder.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::support::clock::wait_for;
use crate::support::http::Client;
use crate::support::program::{Program, free_port};
use crate::support::tools::{repository, tool};

const START_DEADLINE: Duration = Duration::from_secs(60);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The product, over a local folder.
    Promontory,
    /// Prometheus 3.14 as a remote write receiver.
    Prometheus,
    /// VictoriaMetrics 1.150, single node.
    VictoriaMetrics,
}

/// A running program.
pub struct Running {
    /// The process.
    pub program: Program,
    /// Speaks to it.
    pub client: Client,
}

impl Peer {
    /// All of them, the product first.
    pub const ALL: [Self; 3] = [Self::Promontory, Self::Prometheus, Self::VictoriaMetrics];

    /// As the reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Promontory => "Promontory",
            Self::Prometheus => "Prometheus 3.14",
            Self::VictoriaMetrics => "VictoriaMetrics 1.150",
        }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If its binary cannot be had.
    pub fn start(self, folder: &Path, flags: &[&str]) -> Result<Running> {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let (mut command, ready) = match self {
            Self::Promontory => {
                let mut command = Command::new(promontory()?);
                command.arg("--store").arg(&data).arg(format!("--web.listen-address={address}"));
                (command, "/-/ready")
            }
            Self::Prometheus => {
                let config = folder.join("prometheus.yml");
                std::fs::write(&config, "global: {}\n")?;
                let mut command = Command::new(tool("prometheus").map_err(anyhow::Error::msg)?);
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.tsdb.path={}", data.display()));
                command.arg(format!("--web.listen-address={address}"));
                command.arg("--web.enable-remote-write-receiver");
                (command, "/-/ready")
            }
            Self::VictoriaMetrics => {
                let mut command = Command::new(tool("victoria-metrics").map_err(anyhow::Error::msg)?);
                command.arg(format!("-storageDataPath={}", data.display()));
                command.arg(format!("-httpListenAddr={address}")).arg("-search.disableCache");
                (command, "/-/ready")
            }
        };
        command.args(flags);
        let log = self.name().split(' ').next().unwrap_or_default().to_lowercase();
        let program = Program::start(&log, command, folder);
        let client = Client::new(port);
        wait_for(&format!("{} to be ready", self.name()), START_DEADLINE, || {
            let answer = client.get(ready, &[])?;
            if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
        });
        Ok(Running { program, client })
    }
}

/// The release build of the product, built here if it is not, or what `PROMONTORY_BINARY` names.
fn promontory() -> Result<std::path::PathBuf> {
    if let Some(binary) = std::env::var_os("PROMONTORY_BINARY") {
        return Ok(binary.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "-p", "promontory"])
        .current_dir(repository())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    let own = std::env::current_exe()?;
    let binary = own.with_file_name("promontory");
    ensure!(binary.exists(), "{} is not there; run this from cargo run --release", binary.display());
    Ok(binary)
}
