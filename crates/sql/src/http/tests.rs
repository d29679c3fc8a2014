//! The face among others: routed, counted under its own name, listed where there is an engine.

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use promontory_api::{ApiSettings, Readiness, ReadyState, mount};
use tower::ServiceExt as _;

use super::*;

#[tokio::test]
async fn a_statement_is_counted_under_its_own_name() {
    let face = Arc::new(FaceState {
        config: ApiSettings::default(),
        counters: Arc::default(),
        readiness: Readiness::new(ReadyState::Ready),
    });
    let state = SqlState { face: Arc::clone(&face), engine: None, config: SqlSettings::default() };
    let router = mount(&face, vec![routes(&state)]);
    let get = async |uri: &str| {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        (head.status, String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap())
    };
    let (status, text) = get("/api/v1/sql?query=SELECT+1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains("this process answers no queries: ask one that runs with --role=all"), "{text}");
    assert_eq!(face.counters.requests(), [("/api/v1/sql", 404, 1)]);
    // Without an engine the home page does not offer it.
    assert!(!get("/").await.1.contains("sql"));
}
