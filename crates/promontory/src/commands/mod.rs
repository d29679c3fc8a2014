//! What the program does, one module per command: serving, commands that only read a store, and repair.

mod blocks;
mod fsck;
mod repair;
mod serve;

use promontory_store::StoreUrl;

use crate::config::{BlocksCommand, Command, Config, Flags, StoreFlags};
use crate::store::{Opened, open_existing};
use crate::telemetry;

/// Runs a command to its end.
///
/// # Errors
/// If the command could not do what it was asked for.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(flags) => run_server(&flags),
        Command::Blocks { command: BlocksCommand::Ls { store, files, tenant } } => {
            block_on(blocks::ls(&store, files, tenant.as_deref()))
        }
        Command::Fsck(store) => block_on(fsck::run(&store)),
        Command::Repair { store, apply } => block_on(repair::run(&store, apply)),
        Command::ForgetBlock { store, block } => block_on(repair::forget_block(&store, &block)),
        Command::ForgetSegment { store, writer, seq } => {
            block_on(repair::forget_segment(&store, &writer, seq))
        }
    }
}

fn run_server(flags: &Flags) -> anyhow::Result<()> {
    let config = Config::check(flags)?;
    telemetry::start(&flags.log.level, flags.log.format)?;
    serve::run(config)
}

fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

async fn open(store: &StoreFlags) -> anyhow::Result<(StoreUrl, Opened)> {
    let url = store.check()?;
    let opened = open_existing(&url).await?;
    Ok((url, opened))
}
