//! What every face of a process stands on. It knows no door.

use std::sync::Arc;

use crate::config::ApiSettings;
use crate::face::counters::Counters;
use crate::readiness::Readiness;

/// Shared by all faces; their own states hold it in an [`Arc`] and hand it out by `FromRef`, which the
/// extractors [`crate::Tenant`] and [`crate::Form`] ask for.
#[derive(Clone, Debug)]
pub struct FaceState {
    /// Limits, tenancy and texts.
    pub config: ApiSettings,
    /// What happened; the binary exports it.
    pub counters: Arc<Counters>,
    /// Whether requests are served yet, or still.
    pub readiness: Readiness,
}
