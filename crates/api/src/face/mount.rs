//! One router out of the faces of a process.
//!
//! Outermost first, a request passes: counters, panics, compression, the gate for strangers, CORS, and
//! readiness where its route asks for it. Unknown paths answer 404 and known ones with another method 405, as Prometheus'
//! router does.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::MethodRouter;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::face::envelope::plain;
use crate::face::gate::{self, Gate};
use crate::face::home;
use crate::face::layers::{self, Cors, Counted};
use crate::face::route::{Face, Mount, Row, Served};
use crate::face::state::FaceState;

/// The router of a process. The home page lists the routes of all faces in their order; a face with a
/// row for `/` takes its place.
///
/// # Panics
/// If two faces answer the same method of the same path, or a path is none that axum can match: a bug
/// in the program's tables, seen when it starts.
pub fn mount(state: &Arc<FaceState>, mut faces: Vec<Face>) -> Router {
    if !faces.iter().flat_map(Face::rows).any(|row| row.path == home::PATH) {
        faces.push(home::face(state, &faces));
    }
    let rows: Vec<Row> = faces.iter().flat_map(Face::rows).copied().collect();
    let mounts = faces.into_iter().flat_map(|face| face.mounts);
    mounts
        .fold(Router::new(), |router, mount| router.route(mount.row.path, guarded(state, mount)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Cors::new(state.clone(), &rows), layers::cors))
        .layer(from_fn_with_state(Gate::new(state.clone(), &rows), gate::gate))
        // The fastest level: the network in a cluster is quicker than a better compression.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(Counted::new(&state.counters, &rows), layers::count))
}

fn guarded(state: &Arc<FaceState>, mount: Mount) -> MethodRouter {
    match mount.row.served {
        Served::Always => mount.handler,
        Served::WhenReady => mount.handler.route_layer(from_fn_with_state(state.clone(), layers::ready)),
    }
}

async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found")
}

async fn method_not_allowed() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
