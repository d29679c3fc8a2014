//! Where the data lies.

use clap::Args;
use promontory_store::StoreUrl;

/// Flags of the store, which every command has.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store and roles")]
pub struct StoreFlags {
    /// Where the data lies: ./data, file:///path, s3://bucket/prefix?endpoint=..., gs://..., az://...,
    /// memory:///. Credentials come from the usual environment of each cloud.
    #[arg(long, default_value = "./data", value_name = "URL")]
    store: String,
}

impl StoreFlags {
    /// The checked address.
    ///
    /// # Errors
    /// If it names no store.
    pub fn check(&self) -> anyhow::Result<StoreUrl> {
        Ok(self.store.parse()?)
    }
}
