//! The envelope of every answer of the API, its errors, and plain texts.
//!
//! ```text
//! {"status":"success","data":...,"warnings":[...],"infos":[...]}
//! {"status":"error","errorType":"...","error":"..."}
//! ```
//!
//! Source: prometheus v3.16 `web/api/v1/api.go` (`Response`, `getDefaultErrorCode`).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use promontory_promql::engine::{Annotations, EngineError};

use crate::face::document::{Document, Items};
use crate::face::json;

/// Warnings, and infos, that one answer shows at most; the rest is counted in one more.
const ANNOTATIONS_MAX: usize = 10;

/// What a client that is asked to come back should wait.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// The warning of an answer that `limit` cut.
pub(crate) const TRUNCATED: &str = "results truncated due to limit";

/// The kind of an error, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The time is over.
    Timeout,
    /// The client went away.
    Canceled,
    /// The request is right and cannot be carried out over this data.
    Execution,
    /// The request is wrong.
    BadData,
    /// A bug or damage.
    Internal,
    /// Come back later.
    Unavailable,
    /// There is no such thing here.
    NotFound,
}

impl ErrorType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Execution => "execution",
            Self::BadData => "bad_data",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
        }
    }

    /// `Unavailable` differs from Prometheus, which falls through to 500 there: clients may come back.
    fn status(self) -> StatusCode {
        match self {
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Canceled => client_closed_request(),
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    kind: ErrorType,
    status: StatusCode,
    text: String,
}

impl ApiError {
    /// An error with the status of its kind.
    pub fn new(kind: ErrorType, text: impl Into<String>) -> Self {
        Self { kind, status: kind.status(), text: text.into() }
    }

    /// A wrong request.
    pub fn bad_data(text: impl Into<String>) -> Self {
        Self::new(ErrorType::BadData, text)
    }

    /// `invalid parameter "name": why`.
    pub fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }

    /// No engine in this role.
    #[must_use]
    pub fn no_engine() -> Self {
        let text = "this process answers no queries: ask one that runs with --role=all or --role=querier";
        Self::new(ErrorType::NotFound, text)
    }

    /// The same error with another status than its kind has.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Names the parameter that holds the expression, if the expression is what is wrong.
    pub(crate) fn of_query(error: EngineError) -> Self {
        match error {
            EngineError::Invalid(text) => Self::parameter("query", text),
            other => Self::from(other),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let (kind, text) = match error {
            EngineError::Invalid(text) => (ErrorType::BadData, text),
            // Prometheus has one type for both.
            EngineError::Unanswerable(text) | EngineError::Limited(text) => (ErrorType::Execution, text),
            EngineError::TimedOut(text) => (ErrorType::Timeout, text),
            EngineError::Cancelled(text) => (ErrorType::Canceled, text),
            EngineError::Corrupt(text) | EngineError::Bug(text) => (ErrorType::Internal, text),
            EngineError::Unavailable(text) => (ErrorType::Unavailable, text),
        };
        Self::new(kind, text)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.kind == ErrorType::Internal {
            tracing::error!(error = %self.text, "request failed");
        }
        let mut out = Vec::with_capacity(self.text.len() + 80);
        out.extend_from_slice(b"{\"status\":\"error\",\"errorType\":");
        json::string(&mut out, self.kind.as_str());
        out.extend_from_slice(b",\"error\":");
        json::string(&mut out, &self.text);
        out.push(b'}');
        let mut response = json_response(self.status, Body::from(out));
        if self.kind == ErrorType::Unavailable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

/// A success whose data is written at once.
pub(crate) fn success(annotations: &Annotations, data: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut out = head();
    data(&mut out);
    end(&mut out, annotations);
    json_response(StatusCode::OK, Body::from(out))
}

/// A success whose data is `before`, items, `after`.
pub fn success_parts(
    annotations: &Annotations,
    before: impl FnOnce(&mut Vec<u8>),
    items: Items,
    after: impl FnOnce(&mut Vec<u8>),
) -> Response {
    let mut start = head();
    before(&mut start);
    let mut tail = Vec::new();
    after(&mut tail);
    end(&mut tail, annotations);
    json_response(StatusCode::OK, Document::new(start, items, tail).into_body())
}

/// A plain text with a newline, as Go's `http.Error` writes it.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, format!("{text}\n")).into_response()
}

/// The code of nginx for a client that went away before its answer.
pub(crate) fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

fn head() -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    out
}

fn end(out: &mut Vec<u8>, annotations: &Annotations) {
    annotation_list(out, "warnings", "warning", &annotations.warnings);
    annotation_list(out, "infos", "info", &annotations.infos);
    out.push(b'}');
}

fn annotation_list(out: &mut Vec<u8>, field: &str, kind: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    let omitted = texts.len().saturating_sub(ANNOTATIONS_MAX);
    let more = (omitted > 0).then(|| format!("{omitted} more {kind} annotations omitted"));
    out.push(b',');
    json::string(out, field);
    out.push(b':');
    json::strings(out, texts.iter().take(ANNOTATIONS_MAX).chain(more.as_ref()));
}

fn json_response(status: StatusCode, body: Body) -> Response {
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [content_type], body).into_response()
}
