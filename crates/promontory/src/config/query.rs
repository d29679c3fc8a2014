//! PromQL: its bounds and the parts of the language that are on.

use anyhow::bail;
use clap::Args;
use promontory_api::ApiSettings;
use promontory_query::EngineSettings;

use super::values::{MemorySize, PositiveDuration, count, size};
use crate::environment::memory_bytes_or_guess;

pub const MAX_MEMORY_TOTAL: &str = "query.max-memory-total";

/// Flags of queries.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Queries")]
pub struct QueryFlags {
    /// The maximum lookback duration for retrieving metrics during expression evaluations.
    #[arg(long = "query.lookback-delta", default_value_t = PositiveDuration(EngineSettings::default().lookback_delta))]
    lookback_delta: PositiveDuration,
    /// Maximum time a query may take before being aborted.
    #[arg(long = "query.timeout", default_value_t = PositiveDuration(EngineSettings::default().timeout))]
    timeout: PositiveDuration,
    /// Maximum number of queries executed concurrently.
    #[arg(
        long = "query.max-concurrency",
        default_value_t = EngineSettings::default().concurrency_max,
        value_parser = count
    )]
    concurrency: usize,
    /// Maximum number of queries that wait for their turn; one more is answered with 503.
    #[arg(long = "query.max-queue", default_value_t = EngineSettings::default().queue_max)]
    queue: usize,
    /// Maximum number of samples a single query can load into memory.
    #[arg(long = "query.max-samples", default_value_t = EngineSettings::default().samples_max)]
    samples_max: u64,
    /// Maximum memory of a single query, in bytes or such as 2GB.
    #[arg(
        long = "query.max-memory",
        default_value_t = EngineSettings::default().memory_bytes_max,
        value_parser = size
    )]
    memory: usize,
    /// Maximum memory of all queries together, such as 4GB; auto is 3/8 of what this process may use. What would
    /// go beyond it is answered with 503.
    #[arg(long = MAX_MEMORY_TOTAL, default_value_t = MemorySize::Auto, value_name = "SIZE")]
    memory_total: MemorySize,
    /// Maximum length of a query text, in bytes.
    #[arg(
        long = "query.max-length",
        default_value_t = ApiSettings::default().query_text_bytes_max,
        value_parser = size
    )]
    length: usize,
    /// Features that are off by default, as in Prometheus: promql-experimental-functions,
    /// promql-binop-fill-modifiers, promql-delayed-name-removal.
    #[arg(long = "enable-feature", value_delimiter = ',', value_name = "FEATURE")]
    features: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct QueryConfig {
    pub engine: EngineSettings,
    /// Most bytes of a query text.
    pub text_bytes_max: usize,
}

impl QueryFlags {
    /// Switches the features on.
    ///
    /// # Errors
    /// If there is no feature of a name.
    pub fn check(&self) -> anyhow::Result<QueryConfig> {
        let mut engine = EngineSettings {
            lookback_delta: self.lookback_delta.0,
            timeout: self.timeout.0,
            samples_max: self.samples_max,
            memory_bytes_max: self.memory,
            memory_total_bytes_max: self.memory_total(),
            concurrency_max: self.concurrency,
            queue_max: self.queue,
            ..EngineSettings::default()
        };
        for feature in self.features.iter().filter(|feature| !feature.is_empty()) {
            switch_on(&mut engine, feature)?;
        }
        Ok(QueryConfig { engine, text_bytes_max: self.length })
    }
}

impl QueryFlags {
    fn memory_total(&self) -> usize {
        let bytes = match self.memory_total {
            MemorySize::Auto => memory_bytes_or_guess() / 8 * 3,
            MemorySize::Bytes(bytes) => bytes,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

fn switch_on(settings: &mut EngineSettings, feature: &str) -> anyhow::Result<()> {
    match feature {
        "promql-experimental-functions" => settings.experimental_functions = true,
        "promql-binop-fill-modifiers" => settings.fill_modifiers = true,
        "promql-delayed-name-removal" => settings.delayed_name_removal = true,
        // What Prometheus has made permanent; the flag says nothing there either.
        "promql-extended-range-selectors" | "promql-duration-expr" => {}
        unknown => bail!("--enable-feature: unknown feature \"{unknown}\""),
    }
    Ok(())
}
