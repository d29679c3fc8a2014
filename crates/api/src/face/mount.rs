//! One router out of the faces of a process.
//!
//! Outermost first, a request passes: counters, panics, compression, the gate for strangers, CORS, and
//! readiness where its route asks for it. Before all of them its path is looked at ([`paths`]). Unknown paths answer 404
//! and known ones with another method 405, as Prometheus' router does, `HEAD` included where a route does not name it;
//! `OPTIONS` is answered everywhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use tower::ServiceExt as _;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::face::counters::{HandlerCounters, UNKNOWN};
use crate::face::envelope::plain;
use crate::face::gate::{self, Gate};
use crate::face::home;
use crate::face::layers::{self, Cors, Counted};
use crate::face::paths::{self, Way};
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
    let known: Arc<[&'static str]> = rows.iter().map(|row| row.path).collect();
    let allowed: Arc<HashMap<&'static str, &'static str>> =
        Arc::new(rows.iter().map(|row| (row.path, row.methods.allow())).collect());
    let mounts = faces.into_iter().flat_map(|face| face.mounts);
    let routes = mounts
        .fold(Router::new(), |router, mount| router.route(mount.row.path, guarded(state, mount)))
        .fallback(move |method: Method, uri: Uri| not_found(method, uri, known.clone()))
        .method_not_allowed_fallback(move |method: Method, path: MatchedPath| async move {
            method_not_allowed(&method, allowed.get(path.as_str()).copied().unwrap_or_default())
        })
        .layer(from_fn_with_state(Cors::new(state.clone(), &rows), layers::cors))
        .layer(from_fn_with_state(Gate::new(state.clone(), &rows), gate::gate))
        // The fastest level: the network in a cluster is quicker than a better compression.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(Counted::new(&state.counters, &rows), layers::count));
    let redirected = state.counters.handler(UNKNOWN);
    Router::new().fallback(move |request: Request| find(request, routes.clone(), redirected.clone()))
}

/// Takes a path as it is meant, then its route.
async fn find(mut request: Request, routes: Router, redirected: Arc<HandlerCounters>) -> Response {
    match paths::way(request.uri().path()) {
        Way::AsItIs => {}
        Way::Written(path) => *request.uri_mut() = paths::with_path(request.uri(), &path),
        Way::Redirected(path) => {
            let response = paths::redirect(StatusCode::TEMPORARY_REDIRECT, request.uri(), &path);
            redirected.request(response.status().as_u16(), Duration::ZERO);
            return response;
        }
    }
    let answered = routes.oneshot(request).await;
    answered.unwrap_or_else(|never| match never {})
}

fn guarded(state: &Arc<FaceState>, mount: Mount) -> MethodRouter {
    let handler = match mount.row.served {
        Served::Always => mount.handler,
        Served::WhenReady => mount.handler.route_layer(from_fn_with_state(state.clone(), layers::ready)),
    };
    if mount.row.methods.answer_head() {
        return handler;
    }
    let allow = mount.row.methods.allow();
    handler.route_layer(from_fn(move |request: Request, next: Next| async move {
        // axum answers `HEAD` wherever it answers `GET`.
        match *request.method() {
            Method::HEAD => method_not_allowed(&Method::HEAD, allow),
            _ => next.run(request).await,
        }
    }))
}

async fn not_found(method: Method, uri: Uri, known: Arc<[&'static str]>) -> Response {
    if method == Method::OPTIONS && uri.path() == "*" {
        return StatusCode::OK.into_response();
    }
    match paths::near(&method, uri.path(), &known) {
        Some((status, path)) => paths::redirect(status, &uri, &path),
        None => plain(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

fn method_not_allowed(method: &Method, allow: &'static str) -> Response {
    let mut response = match *method {
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
    };
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}
