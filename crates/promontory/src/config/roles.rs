//! Which duties a process has.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};

use super::values::PositiveDuration;

/// A duty of a process. Roles start in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Takes samples.
    Ingester,
    /// Answers queries.
    Querier,
    /// Adopts dead writers, merges blocks and sweeps.
    Compactor,
}

/// The duties of one process; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

/// Flags of the roles.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store and roles")]
pub struct RoleFlags {
    /// Which duties this process has, separated by commas; the store is all that processes share.
    #[arg(
        long,
        default_value = ALL,
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(names())
    )]
    role: Vec<String>,
    /// Maximum duration of a graceful stop after SIGTERM or SIGINT: requests in flight have four fifths of it,
    /// the last samples the rest.
    #[arg(long, default_value_t = PositiveDuration(SHUTDOWN_TIMEOUT))]
    shutdown_timeout: PositiveDuration,
}

/// Below the 30 s after which Kubernetes kills a process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

/// Every role in one process.
const ALL: &str = "all";

impl RoleFlags {
    /// The roles that are named.
    ///
    /// # Errors
    /// If there are none.
    pub fn check(&self) -> anyhow::Result<Roles> {
        let mut roles = BTreeSet::new();
        for name in &self.role {
            match Role::from_str(name, false) {
                Ok(role) => drop(roles.insert(role)),
                Err(_) if name == ALL => roles.extend(Role::value_variants()),
                Err(_) => bail!("--role: there is no role \"{name}\""),
            }
        }
        ensure!(!roles.is_empty(), "--role must name at least one role");
        Ok(Roles(roles))
    }

    /// Longest graceful stop.
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout.0
    }
}

impl Role {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Roles {
    /// The roles in the order in which they start.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }

    #[must_use]
    pub fn contains(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == Role::value_variants().len() {
            return f.write_str(ALL);
        }
        let names: Vec<String> = self.iter().map(Role::name).collect();
        f.write_str(&names.join(","))
    }
}

fn names() -> Vec<PossibleValue> {
    let all = PossibleValue::new(ALL).help("Every role in one process");
    let each = Role::value_variants().iter().filter_map(Role::to_possible_value);
    std::iter::once(all).chain(each).collect()
}
