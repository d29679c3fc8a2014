//! The first page of a process where no face brings a better one: its routes, one a line.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::on;

use crate::config::BuildInfo;
use crate::face::route::{Face, HttpRoute, Methods, Row};
use crate::face::state::FaceState;

/// Where it is.
pub(crate) const PATH: &str = "/";

const ROUTES: [HttpRoute<Arc<str>>; 1] =
    [HttpRoute::new(Methods::Get, PATH, "this page", |methods| on(methods, home)).always()];

/// The home page over the routes of `faces` that this role can answer, and its own.
pub(crate) fn face(state: &FaceState, faces: &[Face]) -> Face {
    let own = ROUTES.iter().map(|route| &route.row);
    let multitenancy = state.config.multitenancy;
    let text =
        text(&state.config.build_info, multitenancy, faces.iter().flat_map(Face::open_rows).chain(own));
    Face::new(&ROUTES, &Arc::from(text), &[])
}

/// `GET /`
async fn home(State(text): State<Arc<str>>) -> String {
    text.to_string()
}

fn text<'r>(build: &BuildInfo, multitenancy: bool, rows: impl Iterator<Item = &'r Row>) -> String {
    let mut text =
        format!("Promontory ({}), with the HTTP API of Prometheus {}.\n\n", build.branch, build.version);
    if multitenancy {
        text.push_str("Each request names its tenant: curl -H 'X-Scope-OrgID: TENANT' ...\n\n");
    }
    for row in rows {
        let path = for_people(row.path);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<5}{path:<30}{}", row.methods.first(), row.purpose);
    }
    text
}

/// `/api/v1/label/{name}/values` as `/api/v1/label/NAME/values`.
fn for_people(path: &str) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => name.trim_start_matches('*').to_uppercase(),
        None => segment.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}
