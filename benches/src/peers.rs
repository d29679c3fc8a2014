//! The programs that are measured, each started fresh over an empty folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::support::clock::wait_for;
use crate::support::http::Client;
use crate::support::program::{Program, free_port};
use crate::support::servers::{Promontory, Store};
use crate::support::tools::{repository, tool};

const START_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The product, over a local folder.
    Promontory,
    /// Prometheus as a remote write receiver.
    Prometheus,
    /// VictoriaMetrics, single node.
    VictoriaMetrics,
}

/// A running program, stopped by its process id when dropped.
pub struct Running {
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
    /// The product first.
    pub const ALL: [Self; 3] = [Self::Promontory, Self::Prometheus, Self::VictoriaMetrics];

    /// As the reports call it: with the version that is pinned, and so the version that ran.
    pub fn name(self) -> &'static str {
        static PROMETHEUS: LazyLock<String> = LazyLock::new(|| titled("Prometheus", "prometheus"));
        static VICTORIA: LazyLock<String> = LazyLock::new(|| titled("VictoriaMetrics", "victoriametrics"));
        match self {
            Self::Promontory => "Promontory",
            Self::Prometheus => &PROMETHEUS,
            Self::VictoriaMetrics => &VICTORIA,
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

/// Folders of `scripts/tools` and the module that each pins.
const PINS: [(&str, &str); 3] = [
    ("prometheus", "github.com/prometheus/prometheus"),
    ("victoriametrics", "github.com/VictoriaMetrics/VictoriaMetrics"),
    ("minio", "github.com/minio/minio"),
];

/// The versions of the other programs, from the pins of `scripts/tools`.
pub fn pinned_versions() -> String {
    PINS.map(|(folder, module)| format!("{module} {}", pinned(folder, module))).join(", ")
}

/// A version as a module has it, such as `v0.316.0`.
fn pinned(folder: &str, module: &str) -> String {
    let text = std::fs::read_to_string(repository().join("scripts/tools").join(folder).join("go.mod"));
    let text = text.unwrap_or_default();
    let words = text.lines().map(|line| line.trim_start_matches("require ").trim().split(' '));
    let found = words.map(Vec::from_iter).find(|words| words.first() == Some(&module));
    found.and_then(|words| words.get(1).copied()).unwrap_or("of unknown version").to_owned()
}

/// A program's name with the version that people know it by: two numbers.
fn titled(name: &str, folder: &str) -> String {
    let module = PINS.iter().find(|(known, _)| *known == folder).map_or("", |(_, module)| module);
    format!("{name} {}", spoken_version(&pinned(folder, module)))
}

/// Prometheus' module counts 3.16.0 as v0.316.0, because its library promises nothing.
fn spoken_version(module_version: &str) -> String {
    let mut parts = module_version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(0)), Some(Ok(minor))) if minor >= 100 => format!("{}.{}", minor / 100, minor % 100),
        (Some(Ok(major)), Some(Ok(minor))) => format!("{major}.{minor}"),
        _ => module_version.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_name_the_programs_with_their_pinned_versions() {
        assert_eq!(spoken_version("v0.316.0"), "3.16");
        assert_eq!(spoken_version("v0.305.1"), "3.5");
        assert_eq!(spoken_version("v1.151.0"), "1.151");
        assert_eq!(spoken_version("of unknown version"), "of unknown version");
        for peer in [Peer::Prometheus, Peer::VictoriaMetrics] {
            let (name, version) = peer.name().split_once(' ').unwrap();
            assert!(peer.short_name().contains(&name.to_lowercase()[..8]), "{name}");
            assert!(version.contains('.') && !version.contains("unknown"), "{version}");
        }
    }
}
