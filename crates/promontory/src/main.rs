//! The program: reads the command line, starts logging and the runtime, runs one command.

use std::process::ExitCode;

use clap::Parser;
use promontory::config::{BlocksCommand, Command, CommandLine, Config, Flags};
use promontory::{commands, serve, telemetry};

/// Blocks are made of large buffers on many threads, which the system's allocator keeps when they are
/// freed: 11 KiB per active series instead of 2.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let done = match line.command {
        None => run_server(&line.flags),
        Some(Command::Serve(flags)) => run_server(&flags),
        Some(Command::Blocks { command: BlocksCommand::Ls { store, files, tenant } }) => {
            block_on(commands::blocks::ls(&store, files, tenant.as_deref()))
        }
        Some(Command::Fsck { store }) => block_on(commands::fsck::run(&store)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
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

#[expect(clippy::print_stderr, reason = "the last word of a command goes to the terminal")]
fn complain(error: &anyhow::Error) {
    eprintln!("promontory: {error:#}");
}
