//! Whose data a request is about: settled here, once.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use promontory_model::TenantId;

use crate::face::envelope::plain;
use crate::face::state::FaceState;

/// The header that names the tenant where tenancy is on, as in Mimir, Loki and Thanos.
pub(crate) const TENANT_HEADER: &str = "x-scope-orgid";

/// The tenant of a request.
#[derive(Clone, Debug)]
pub struct Tenant(pub TenantId);

impl<S> FromRequestParts<S> for Tenant
where
    S: Send + Sync,
    Arc<FaceState>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let face = Arc::<FaceState>::from_ref(state);
        if !face.config.multitenancy {
            return Ok(Self(face.config.default_tenant.clone()));
        }
        let mut values = parts.headers.get_all(TENANT_HEADER).iter();
        let Some(value) = values.next() else { return Err(plain(StatusCode::UNAUTHORIZED, "no org id")) };
        // Two names would leave it to chance whose data is meant.
        if values.next().is_some() {
            return Err(plain(StatusCode::BAD_REQUEST, "more than one X-Scope-OrgID header"));
        }
        let name = value.to_str().map_err(|_| plain(StatusCode::BAD_REQUEST, "tenant ID is not ASCII"))?;
        if name.is_empty() {
            return Err(plain(StatusCode::UNAUTHORIZED, "no org id"));
        }
        TenantId::new(name).map(Self).map_err(|invalid| plain(StatusCode::BAD_REQUEST, &invalid.to_string()))
    }
}
