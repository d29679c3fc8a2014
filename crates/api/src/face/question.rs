//! What every request that asks an engine says, whatever its language: for whom, how long it may take,
//! in how long a text.

use std::time::Duration;

use promontory_promql::engine::{RequestContext, UntilRead};

use crate::config::{ApiSettings, flag_of};
use crate::face::envelope::ApiError;
use crate::face::form::Form;
use crate::face::params::go_duration;
use crate::face::tenant::AskedTenants;

/// Whose question it is and how long it may take, by the parameter `timeout`; what the engine keeps for the
/// answer goes into the response by [`crate::while_read`].
///
/// # Errors
/// If the parameter is no duration, or none that is longer than nothing.
pub fn request_context(AskedTenants(tenants): AskedTenants, form: &Form) -> Result<RequestContext, ApiError> {
    let timeout = match form.duration("timeout")? {
        None => None,
        Some(nanos @ 1..) => Some(Duration::from_nanos(nanos.unsigned_abs())),
        Some(nanos) => {
            let why = format!("timeout must be positive, got {}", go_duration(nanos));
            return Err(ApiError::parameter("timeout", why));
        }
    };
    Ok(RequestContext::new(tenants).with_timeout(timeout).with_until_read(UntilRead::default()))
}

/// Refuses a query text, in whatever language, above the limit.
///
/// # Errors
/// If it is longer than `--query.max-length`.
pub fn check_length(config: &ApiSettings, text: &str) -> Result<(), ApiError> {
    let limit = config.query_text_bytes_max;
    if text.len() > limit {
        let why = format!(
            "the query has {} bytes, at most {limit} are accepted (limit {})",
            text.len(),
            flag_of("query_text_bytes_max")
        );
        return Err(ApiError::parameter("query", why));
    }
    Ok(())
}
