//! Flags of SQL over HTTP.

use clap::Args;
use promontory_sql::SqlSettings;

use super::values::count;

/// Flags of SQL.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Queries")]
pub struct SqlFlags {
    /// Maximum number of rows of one answer in SQL; one more is an error.
    #[arg(long = "sql.max-rows", default_value_t = SqlSettings::default().rows_max, value_parser = count)]
    rows: usize,
}

impl SqlFlags {
    pub fn check(&self) -> SqlSettings {
        SqlSettings { rows_max: self.rows }
    }
}
