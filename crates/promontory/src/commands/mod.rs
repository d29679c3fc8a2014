//! What the program does, one module per command: serving, and commands that only read a store.

mod blocks;
mod fsck;
mod serve;

use promontory_store::StoreUrl;

use crate::config::{BlocksCommand, Command, CommandLine, Config, Flags};
use crate::store::{Opened, open_existing};
use crate::telemetry;

/// Runs the command that a line names, to its end.
///
/// # Errors
/// If the command could not do what it was asked for.
pub fn run(line: CommandLine) -> anyhow::Result<()> {
    match line.command {
        None => run_server(&line.flags),
        Some(Command::Serve(flags)) => run_server(&flags),
        Some(Command::Blocks { command: BlocksCommand::Ls { store, files, tenant } }) => {
            block_on(blocks::ls(&store, files, tenant.as_deref()))
        }
        Some(Command::Fsck { store }) => block_on(fsck::run(&store)),
    }
}

fn run_server(flags: &Flags) -> anyhow::Result<()> {
    let config = Config::check(flags)?;
    telemetry::start(&flags.log_level, flags.log_format)?;
    serve::run(config)
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// Opens an existing store by the text of its flag.
async fn open(store: &str) -> anyhow::Result<(StoreUrl, Opened)> {
    let url: StoreUrl = store.parse()?;
    let opened = open_existing(&url).await?;
    Ok((url, opened))
}
