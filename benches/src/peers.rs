//! The programs that are measured, each started fresh over an empty folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::support::clock::wait_for;
use crate::support::http::Client;
use crate::support::program::{Program, free_port};
use crate::support::servers::{Promontory, Store};
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

/// A running program, stopped by its process id when dropped.
pub struct Running {
    /// Speaks to it.
    pub client: Client,
    /// Where it keeps its bytes.
    pub data: PathBuf,
    process: Process,
}

enum Process {
    Product(Box<Promontory>),
    Other(Program),
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

    /// As its log and its folder are called.
    fn short_name(self) -> &'static str {
        match self {
            Self::Promontory => "promontory",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// Starts it below `folder` and waits until it is ready.
    ///
    /// # Errors
    /// If its binary cannot be had.
    ///
    /// # Panics
    /// If it is not ready in time.
    pub fn start(self, folder: &Path, flags: &[&str]) -> Result<Running> {
        let data = folder.join(self.short_name()).join("data");
        std::fs::create_dir_all(&data).with_context(|| data.display().to_string())?;
        let port = free_port();
        let command = match self {
            Self::Promontory => {
                let product = Promontory::start(self.short_name(), folder, &Store::folder(&data), flags);
                let client = product.client.clone();
                let process = Process::Product(Box::new(product));
                return Ok(Running { client, data, process });
            }
            Self::Prometheus => prometheus(&data, port)?,
            Self::VictoriaMetrics => victoria_metrics(&data, port)?,
        };
        self.start_other(command, flags, folder, data, port)
    }

    fn start_other(
        self,
        mut command: Command,
        flags: &[&str],
        folder: &Path,
        data: PathBuf,
        port: u16,
    ) -> Result<Running> {
        command.args(flags);
        let program = Program::start(self.short_name(), command, folder);
        let client = Client::new(port);
        wait_for(&format!("{} to be ready", self.name()), START_DEADLINE, || {
            let answer = client.get("/-/ready", &[])?;
            if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
        });
        Ok(Running { client, data, process: Process::Other(program) })
    }
}

fn prometheus(data: &Path, port: u16) -> Result<Command> {
    let config = data.with_file_name("prometheus.yml");
    std::fs::write(&config, "global: {}\n").with_context(|| config.display().to_string())?;
    let mut command = Command::new(tool("prometheus").map_err(anyhow::Error::msg)?);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.args(["--web.enable-remote-write-receiver", "--web.enable-admin-api"]);
    Ok(command)
}

fn victoria_metrics(data: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new(tool("victoria-metrics").map_err(anyhow::Error::msg)?);
    command.arg(format!("-storageDataPath={}", data.display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}")).arg("-search.disableCache");
    Ok(command)
}

/// The versions of the other programs, from the pins of `scripts/tools`.
pub fn pinned_versions() -> String {
    const PINS: [(&str, &str); 3] = [
        ("prometheus", "github.com/prometheus/prometheus"),
        ("victoriametrics", "github.com/VictoriaMetrics/VictoriaMetrics"),
        ("minio", "github.com/minio/minio"),
    ];
    let pins = PINS.map(|(folder, module)| {
        let text = std::fs::read_to_string(repository().join("scripts/tools").join(folder).join("go.mod"));
        let text = text.unwrap_or_default();
        let words = text.lines().map(|line| line.trim_start_matches("require ").trim().split(' '));
        let found = words.map(Vec::from_iter).find(|words| words.first() == Some(&module));
        format!("{module} {}", found.and_then(|words| words.get(1).copied()).unwrap_or("of unknown version"))
    });
    pins.join(", ")
}

impl Running {
    /// Resident memory in bytes.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn resident_bytes(&mut self) -> Result<u64> {
        self.program().resident_bytes().context("no /proc on this machine")
    }

    /// The most resident memory that it ever had, in bytes.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn resident_peak_bytes(&mut self) -> Result<u64> {
        self.program().resident_peak_bytes().context("no /proc on this machine")
    }

    /// Processor time used so far, user and system.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        self.program().cpu_time().context("no /proc on this machine")
    }

    /// The product, if it is one.
    pub fn product(&self) -> Option<&Promontory> {
        match &self.process {
            Process::Product(product) => Some(product),
            Process::Other(_) => None,
        }
    }

    fn program(&mut self) -> &mut Program {
        match &mut self.process {
            Process::Product(product) => product.program(),
            Process::Other(program) => program,
        }
    }
}
