//! Whose data a request is about: settled here, once.
//!
//! A request that brings samples is about one tenant. A question may be about several where federation is
//! on: their names stand in the same header with `|` between them, as in Mimir.
//!
//! Source of the texts and codes for several tenants: grafana/mimir `pkg/api/tenant.go`, grafana/dskit
//! `tenant/resolver.go`.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use promontory_model::{TenantId, Tenants};

use crate::config::ApiSettings;
use crate::face::envelope::plain;
use crate::face::state::FaceState;

/// The header that names the tenant where tenancy is on, as in Mimir, Loki and Thanos.
pub(crate) const TENANT_HEADER: &str = "x-scope-orgid";

/// The tenant of a request that may be about one only.
#[derive(Clone, Debug)]
pub struct Tenant(pub TenantId);

/// The tenants of a question.
#[derive(Clone, Debug)]
pub struct AskedTenants(pub Tenants);

impl<S> FromRequestParts<S> for Tenant
where
    S: Send + Sync,
    Arc<FaceState>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let tenants = named(parts, &Arc::<FaceState>::from_ref(state).config).map_err(Unnamed::response)?;
        let several =
            || Unnamed::new(StatusCode::UNPROCESSABLE_ENTITY, "multiple org IDs present").response();
        tenants.only().cloned().map(Self).ok_or_else(several)
    }
}

impl<S> FromRequestParts<S> for AskedTenants
where
    S: Send + Sync,
    Arc<FaceState>: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        named(parts, &Arc::<FaceState>::from_ref(state).config).map(Self).map_err(Unnamed::response)
    }
}

/// Why a request has no tenant.
struct Unnamed {
    status: StatusCode,
    text: String,
}

impl Unnamed {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    fn response(self) -> Response {
        plain(self.status, &self.text)
    }
}

/// The tenants that a request names, no more than it may.
fn named(parts: &Parts, config: &ApiSettings) -> Result<Tenants, Unnamed> {
    if !config.multitenancy {
        return Ok(config.default_tenant.clone().into());
    }
    let tenants = header(parts)?;
    let count = tenants.as_slice().len();
    let max = match config.federated_tenants_max {
        _ if !config.federation => 1,
        0 => usize::MAX,
        max => max,
    };
    if count > max {
        let text = format!("too many tenant IDs present in the request. max: {max} actual: {count}");
        return Err(Unnamed::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    Ok(tenants)
}

fn header(parts: &Parts) -> Result<Tenants, Unnamed> {
    let bad = |text: String| Unnamed::new(StatusCode::BAD_REQUEST, text);
    let none = || Unnamed::new(StatusCode::UNAUTHORIZED, "no org id");
    let mut values = parts.headers.get_all(TENANT_HEADER).iter();
    let value = values.next().ok_or_else(none)?;
    // Two headers would leave it to chance whose data is meant.
    if values.next().is_some() {
        return Err(bad("more than one X-Scope-OrgID header".into()));
    }
    let names = value.to_str().map_err(|_| bad("tenant ID is not ASCII".into()))?;
    if names.is_empty() {
        return Err(none());
    }
    Tenants::parse(names).map_err(|invalid| bad(invalid.to_string()))
}
