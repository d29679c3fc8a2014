//! The HTTP server and the pages that may call it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;
use promontory_api::{AllowedHosts, CorsOrigin, HOSTS_FLAG, ORIGIN_FLAG};

use super::values::{PositiveDuration, count};
use crate::server::ServerLimits;

/// Flags of the server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Web")]
pub struct WebFlags {
    /// Address to listen on for the UI, API, and telemetry.
    #[arg(long = "web.listen-address", default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    listen_address: String,
    /// Write the address that is listened on to this file once it is known, for port 0.
    #[arg(long = "web.address-file", value_name = "FILE")]
    address_file: Option<PathBuf>,
    /// Maximum number of simultaneous connections.
    #[arg(
        long = "web.max-connections",
        default_value_t = ServerLimits::default().connections_max,
        value_parser = count
    )]
    max_connections: usize,
    /// Maximum number of these that one peer address may keep open without a request in flight.
    #[arg(
        long = "web.max-idle-connections-per-peer",
        default_value_t = ServerLimits::default().waiting_per_peer_max,
        value_parser = count
    )]
    max_idle_per_peer: usize,
    /// Maximum duration from the begin of a connection to the end of its first request's head.
    #[arg(long = "web.header-timeout", default_value_t = PositiveDuration(ServerLimits::default().header_timeout))]
    header_timeout: PositiveDuration,
    /// Maximum duration before timing out read of the request, and closing idle connections.
    #[arg(long = "web.read-timeout", default_value_t = PositiveDuration(ServerLimits::default().read_timeout))]
    read_timeout: PositiveDuration,
    /// Maximum duration in which a client takes nothing of an answer before the answer is dropped.
    #[arg(
        long = "web.write-stall-timeout",
        default_value_t = PositiveDuration(ServerLimits::default().write_stall_timeout)
    )]
    write_stall_timeout: PositiveDuration,
    /// Names by which requests may call a process that listens on a loopback address, beside those of
    /// loopback: prom.example.com, *.example.com for all below it, * for all. Elsewhere any name is taken.
    #[arg(long = "web.allowed-hosts", value_delimiter = ',', value_name = "HOST")]
    allowed_hosts: Vec<String>,
    /// Regex for CORS origin; it is fully anchored. Web pages of these origins may read answers and write;
    /// Prometheus' default is .*, here it is none.
    #[arg(long = "web.cors.origin", value_name = "REGEX")]
    cors_origin: Option<String>,
}

#[derive(Clone, Debug)]
pub struct WebConfig {
    /// Where to listen: the first of these that is free.
    pub listen_addresses: Vec<SocketAddr>,
    /// Where to write the address that is listened on.
    pub address_file: Option<PathBuf>,
    pub limits: ServerLimits,
    /// By which names requests may call this process, if it listens on a loopback address.
    pub loopback_hosts: AllowedHosts,
    /// Web pages of which other origins may call the API.
    pub cors_origin: CorsOrigin,
}

impl WebFlags {
    /// Resolves the address, reads names and pattern.
    ///
    /// # Errors
    /// If the address does not resolve, a name is none, or RE2 would refuse the pattern.
    pub fn check(&self) -> anyhow::Result<WebConfig> {
        let origin = CorsOrigin::new(self.cors_origin.as_deref().unwrap_or_default());
        let names: Vec<String> = self.allowed_hosts.iter().filter(|name| !name.is_empty()).cloned().collect();
        let hosts = AllowedHosts::loopback(&names);
        Ok(WebConfig {
            listen_addresses: resolve(&self.listen_address)?,
            address_file: self.address_file.clone(),
            limits: self.limits(),
            loopback_hosts: hosts.map_err(|why| anyhow!("{HOSTS_FLAG}: {why}"))?,
            cors_origin: origin.map_err(|why| anyhow!("{ORIGIN_FLAG}: {why}"))?,
        })
    }
}

impl WebFlags {
    fn limits(&self) -> ServerLimits {
        ServerLimits {
            connections_max: self.max_connections,
            waiting_per_peer_max: self.max_idle_per_peer,
            header_timeout: self.header_timeout.0,
            read_timeout: self.read_timeout.0,
            write_stall_timeout: self.write_stall_timeout.0,
        }
    }
}

/// `:9090` means every interface, as in Prometheus.
fn resolve(address: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    let resolved = full.to_socket_addrs().with_context(|| {
        format!("--web.listen-address: cannot understand \"{address}\"; an example is 127.0.0.1:9090")
    })?;
    Ok(resolved.collect())
}
