//! Whose data a request means.

use anyhow::Context;
use clap::Args;
use promontory_model::TenantId;

/// Flags of tenancy.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tenants")]
pub struct TenantFlags {
    /// Take the tenant of each request from the header X-Scope-OrgID, which is then required. Off: every
    /// request belongs to --tenant.default.
    #[arg(long = "auth.multitenancy-enabled")]
    multitenancy: bool,
    /// The tenant of every request where multitenancy is off.
    #[arg(long = "tenant.default", default_value = TenantId::ANONYMOUS, value_name = "TENANT")]
    default_tenant: String,
}

/// Whose data a request means.
#[derive(Clone, Debug)]
pub struct TenantConfig {
    /// Is the tenant taken from the request?
    pub multitenancy: bool,
    /// The tenant where it is not.
    pub default: TenantId,
}

impl TenantFlags {
    /// Checks the name.
    ///
    /// # Errors
    /// If the default is no name of a tenant.
    pub fn check(&self) -> anyhow::Result<TenantConfig> {
        let default = TenantId::new(&self.default_tenant).context("--tenant.default")?;
        Ok(TenantConfig { multitenancy: self.multitenancy, default })
    }
}
