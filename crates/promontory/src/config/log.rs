//! What is logged, and how log lines look.

use clap::{Args, ValueEnum};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Flags of logging.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogFlags {
    /// Only log messages with the given severity or above: debug, info, warn, error; or a filter such as
    /// info,promontory_store=debug.
    #[arg(long = "log.level", default_value = "info", value_name = "LEVEL")]
    pub level: String,
    /// Output format of log messages.
    #[arg(long = "log.format", value_enum, default_value_t = LogFormat::Logfmt)]
    pub format: LogFormat,
}
