//! Configuration: what the user typed ([`Flags`], raw) becomes what the program runs on ([`Config`],
//! checked), by one function between them.
//!
//! One module per section; each flag is defined once, as a field with its documentation above it. What
//! can be derived from the definitions is: the environment variables ([`CommandLine::read`]), the
//! values that `/api/v1/status/flags` shows, the table of the README and `docs/flags.md` (which a test
//! compares). Defaults are those of the crates that act on them.
//!
//! Rules for a flag:
//! - It carries Prometheus' name where Prometheus has it.
//! - Its environment variable is its name in capitals, `.` and `-` as `_`, after `PROMONTORY_`.
//! - A value that is wrong by itself is refused while it is parsed, with the name of the flag; what is
//!   wrong only beside another value is refused by the section's `check`.
//!
//! In reading order: [`Command`] and [`Flags`], `values` (how values are written), `variables` (of the environment, that
//! are none), then the sections in the order of `--help`.

mod cache;
mod compactor;
mod head;
mod ingester;
mod limits;
mod log;
mod query;
mod roles;
mod shown;
mod sql;
mod store;
mod tenant;
mod values;
mod variables;
mod web;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use promontory_compactor::CompactorSettings;
use promontory_ingester::IngesterSettings;
use promontory_querier::QuerierSettings;
use promontory_sql::SqlSettings;
use promontory_store::{ReaderSettings, StoreUrl, WriterSettings};

use crate::environment::memory_bytes;

pub use log::{LogFlags, LogFormat};
pub use query::QueryConfig;
pub use roles::{Role, Roles};
pub use store::StoreFlags;
pub use tenant::TenantConfig;
pub use web::WebConfig;

/// A Prometheus-compatible time-series database whose only stateful part is an object store.
///
/// Without arguments it runs all roles over the folder ./data and listens on 127.0.0.1:9090.
#[derive(Debug, Parser)]
#[command(name = "promontory", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves; the same as no command.
    Serve(Box<Flags>),
    /// Looks at the blocks of a store.
    Blocks {
        /// What to do with them.
        #[command(subcommand)]
        command: BlocksCommand,
    },
    /// Reads everything that counts and verifies that it is present and whole.
    Fsck(StoreFlags),
    /// Shows what would bring a damaged store back to a state that opens, and what that gives up; does it with
    /// --apply, while no other process uses the store.
    Repair {
        /// Of which store.
        #[command(flatten)]
        store: StoreFlags,
        /// Does what is shown.
        #[arg(long)]
        apply: bool,
    },
    /// Gives up a block that is lost for ever, so that queries do not fail for it.
    ForgetBlock {
        /// Of which store.
        #[command(flatten)]
        store: StoreFlags,
        /// Which block, as `blocks ls` prints it.
        block: String,
    },
    /// Gives up a segment that is lost for ever, so that the rest of its writer can be adopted.
    ForgetSegment {
        /// Of which store.
        #[command(flatten)]
        store: StoreFlags,
        /// Which writer: 32 hexadecimal digits, as under wal/.
        writer: String,
        /// Which of its segments.
        seq: u64,
    },
}

/// Commands on blocks.
#[derive(Debug, Subcommand)]
pub enum BlocksCommand {
    /// Lists the live blocks: what queries read, without what waits for deletion.
    Ls {
        /// Of which store.
        #[command(flatten)]
        store: StoreFlags,
        /// Print the path of each object, one a line, for outside readers.
        #[arg(long)]
        files: bool,
        /// Only blocks that hold samples of this tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// What the user typed to serve.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    roles: roles::RoleFlags,
    #[command(flatten)]
    web: web::WebFlags,
    #[command(flatten)]
    tenant: tenant::TenantFlags,
    #[command(flatten)]
    query: query::QueryFlags,
    #[command(flatten)]
    sql: sql::SqlFlags,
    #[command(flatten)]
    cache: cache::CacheFlags,
    #[command(flatten)]
    head: head::HeadFlags,
    #[command(flatten)]
    ingester: ingester::IngesterFlags,
    #[command(flatten)]
    compactor: compactor::CompactorFlags,
    #[command(flatten)]
    limits: limits::LimitFlags,
    /// How to log, which begins before the configuration is checked.
    #[command(flatten)]
    pub log: LogFlags,
    /// Each flag with its value as it was given.
    #[arg(skip)]
    given: BTreeMap<String, String>,
    /// What of the environment looks like a flag and is none, in words.
    #[arg(skip)]
    odd_variables: Vec<String>,
}

/// The checked configuration: what the program runs on.
#[derive(Clone, Debug)]
pub struct Config {
    pub store: StoreUrl,
    pub roles: Roles,
    /// Longest graceful stop.
    pub shutdown_timeout: Duration,
    pub web: WebConfig,
    pub tenant: TenantConfig,
    pub query: QueryConfig,
    pub sql: SqlSettings,
    pub querier: QuerierSettings,
    pub ingester: IngesterSettings,
    /// The ingester's writer.
    pub writer: WriterSettings,
    /// Most bytes of write requests in flight.
    pub write_in_flight_max: usize,
    pub compactor: CompactorSettings,
    /// Each flag with its value, for `/api/v1/status/flags`; holds no secrets.
    pub shown_flags: BTreeMap<String, String>,
    /// What is odd and no reason not to start.
    pub warnings: Vec<String>,
}

impl CommandLine {
    /// Reads arguments, the program's name first, and the environment variables of flags that are not
    /// among them.
    ///
    /// # Errors
    /// If an argument is not understood, or help or the version is asked for: exit with it.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        let mut line = Self::from_arg_matches(&matches)?;
        let odd_variables = variables::odd(std::env::vars_os().map(|(name, _)| name), &command());
        Ok(match line.command {
            None => {
                (line.flags.given, line.flags.odd_variables) = (shown::given(&matches), odd_variables);
                Command::Serve(Box::new(line.flags))
            }
            Some(Command::Serve(mut flags)) => {
                flags.given = matches.subcommand_matches("serve").map(shown::given).unwrap_or_default();
                flags.odd_variables = odd_variables;
                Command::Serve(flags)
            }
            Some(other) => other,
        })
    }
}

impl Config {
    /// Checks what the user typed.
    ///
    /// # Errors
    /// Names the flag, the value and what would be right.
    pub fn check(flags: &Flags) -> anyhow::Result<Self> {
        let store = flags.store.check()?;
        let (limits, write_in_flight_max) = flags.limits.check()?;
        let blocks = flags.cache.check();
        let (head, query) = (flags.head.check()?, flags.query.check()?);
        let sizes = [
            (head::MAX_MEMORY, head.bytes_max as u64),
            (query::MAX_MEMORY_TOTAL, query.engine.memory_total_bytes_max as u64),
        ];
        let sizes: Vec<(&'static str, u64)> = cache::sizes(&blocks).into_iter().chain(sizes).collect();
        let mut warnings = flags.odd_variables.clone();
        warnings.extend(check_memory(&sizes, memory_bytes())?);
        let compactor = flags.compactor.check(head);
        Ok(Self {
            shown_flags: shown::in_effect(&flags.given, &store, sizes),
            warnings,
            roles: flags.roles.check()?,
            shutdown_timeout: flags.roles.shutdown_timeout(),
            web: flags.web.check()?,
            tenant: flags.tenant.check()?,
            query,
            sql: flags.sql.check(),
            querier: QuerierSettings { reader: ReaderSettings::default().within(head), blocks },
            ingester: flags.ingester.check(limits, head)?,
            writer: flags.ingester.writer(compactor.adopt_after, head)?,
            write_in_flight_max,
            compactor,
            store,
        })
    }
}

/// Holds what flags say about memory against what there is; the answer is a warning, if all together are too much.
///
/// # Errors
/// If one of them alone is more than there is.
fn check_memory(sizes: &[(&'static str, u64)], memory: Option<u64>) -> anyhow::Result<Option<String>> {
    let Some(memory) = memory else { return Ok(None) };
    for (flag, bytes) in sizes {
        ensure!(
            *bytes <= memory,
            "--{flag} is {bytes} bytes, and this process may use {memory} bytes of memory"
        );
    }
    let sum: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    let flags: Vec<String> = sizes.iter().map(|(flag, _)| format!("--{flag}")).collect();
    Ok((sum > memory).then(|| {
        format!(
            "{} are {sum} bytes together, and this process may use {memory} bytes of memory",
            flags.join(", ")
        )
    }))
}

/// The command line as clap knows it, with the environment variable of every flag.
fn command() -> clap::Command {
    let with_variable = |arg: clap::Arg| match arg.get_long() {
        Some(flag) => {
            // Clap wants to keep the name for ever; there are some forty, made once.
            let variable: &'static str = environment_variable(flag).leak();
            arg.env(variable)
        }
        None => arg,
    };
    let command = CommandLine::command().mut_args(with_variable);
    let serve = |serve: clap::Command| serve.mut_args(with_variable);
    let with_store = |command: clap::Command| command.mut_arg("store", with_variable);
    command
        .mut_subcommand("serve", serve)
        .mut_subcommand("fsck", with_store)
        .mut_subcommand("repair", with_store)
        .mut_subcommand("forget-block", with_store)
        .mut_subcommand("forget-segment", with_store)
        .mut_subcommand("blocks", |blocks| blocks.mut_subcommand("ls", with_store))
}

fn environment_variable(flag: &str) -> String {
    format!("PROMONTORY_{}", flag.to_uppercase().replace(['.', '-'], "_"))
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
