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

/// The statement of a request, or why there is none.
async fn statement(request: Request<Body>) -> Result<Statement, String> {
    let face = Arc::new(FaceState {
        config: ApiSettings::default(),
        counters: Arc::default(),
        readiness: Readiness::new(ReadyState::Ready),
    });
    let state = SqlState { face, engine: None, config: SqlSettings::default() };
    Statement::from_request(request, &state).await.map_err(|error| format!("{error:?}"))
}

fn form(body: &str) -> Request<Body> {
    let request = Request::post("/api/v1/sql").header("Content-Type", "application/x-www-form-urlencoded");
    request.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn what_is_not_encoded_is_told_what_was_received() {
    for body in ["query=SELECT 1;", "query=SELECT 100 % 7", " query = SELECT 5 %2", "sql=SELECT 1;"] {
        let why = statement(form(body)).await.err().unwrap();
        assert!(why.contains("received") && why.contains("SELECT"), "{body}: {why}");
    }
    let url = Request::get("/api/v1/sql?query=SELECT+100+%+7").body(Body::empty()).unwrap();
    let why = statement(url).await.err().unwrap();
    assert!(why.contains("received") && why.contains("SELECT+100"), "{why}");

    let lost = statement(form("query=SELECT 1 + 1")).await.unwrap();
    assert_eq!(lost.text, "SELECT 1   1");
    let why = lost.received.explain(EngineError::Invalid("no".into())).to_string();
    assert!(why.contains("received \"SELECT 1   1\""), "{why}");
    for (body, text) in [
        ("query=SELECT+1%3B", "SELECT 1;"),
        ("query=SELECT+100+%25+7", "SELECT 100 % 7"),
        ("SELECT 100 % 7", "SELECT 100 % 7"),
        ("SELECT 1;", "SELECT 1;"),
        ("SELECT query = 1", "SELECT query = 1"),
    ] {
        let statement = statement(form(body)).await.unwrap();
        assert_eq!((statement.text.as_str(), statement.received), (text, Received(None)), "{body}");
    }
}
