//! Whose data a request means.

use anyhow::Context;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use promontory_api::ApiSettings;
use promontory_model::TenantId;

/// Flags of tenancy.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tenants")]
pub struct TenantFlags {
    /// Take the tenant of each request from the header X-Scope-OrgID, which is then required. Off: every
    /// request belongs to --tenant.default.
    #[arg(long = "auth.multitenancy-enabled", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    multitenancy: bool,
    /// The tenant of every request where multitenancy is off.
    #[arg(long = "tenant.default", default_value = TenantId::ANONYMOUS, value_name = "TENANT")]
    default_tenant: String,
    /// Let questions name several tenants in X-Scope-OrgID, as in a|b; their series then carry the label
    /// __tenant_id__. Writes name one.
    #[arg(long = "tenant-federation.enabled", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    federation: bool,
    /// Tenants that one question may name; 0 is no limit.
    #[arg(
        long = "tenant-federation.max-tenants",
        default_value_t = ApiSettings::default().federated_tenants_max
    )]
    federated_max: usize,
}

#[derive(Clone, Debug)]
pub struct TenantConfig {
    /// True: each request names its tenant. False: every request belongs to `default`.
    pub multitenancy: bool,
    pub default: TenantId,
    /// True: a question may name several tenants.
    pub federation: bool,
    /// Most tenants of one question; 0: any number.
    pub federated_max: usize,
}

impl TenantFlags {
    /// Checks the name.
    ///
    /// # Errors
    /// If the default is no name of a tenant.
    pub fn check(&self) -> anyhow::Result<TenantConfig> {
        let default = TenantId::new(&self.default_tenant).context("--tenant.default")?;
        let Self { multitenancy, federation, federated_max, .. } = *self;
        Ok(TenantConfig { multitenancy, default, federation, federated_max })
    }
}
