//! `GET` and `POST /api/v1/sql`.
//!
//! The statement is the parameter `query`: of the URL, of a form, of a JSON object
//! (`{"query": "SELECT ..."}`); a body of any other type, and one that holds no such parameter, is the
//! statement itself. `timeout` shortens the time as for PromQL.
//!
//! ```text
//! {"status":"success","data":{"columns":[{"name":"n","type":"BIGINT"}],"rows":[[42]]}}
//! {"status":"error","errorType":"bad_data","error":"..."}
//! ```

use std::sync::Arc;

use axum::extract::{FromRef, FromRequest, Request, State};
use axum::http::Method;
use axum::response::Response;
use axum::routing::on;
use promontory_api::{
    ApiError, AskedTenants, Door, Face, FaceState, Form, HttpRoute, Methods, check_length, media_type,
    not_utf8, read_form_body, request_context,
};
use promontory_promql::engine::EngineError;
use promontory_query::QueryEngine;
use promontory_query::SqlQuery;
use serde::Deserialize;

use crate::json;

/// Bounds of one answer in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlSettings {
    /// Most rows of one answer; one more is an error: `--sql.max-rows`.
    pub rows_max: usize,
}

impl Default for SqlSettings {
    fn default() -> Self {
        Self { rows_max: 1_000_000 }
    }
}

/// What the routes of SQL are served with.
#[derive(Clone)]
pub struct SqlState {
    /// Tenancy and limits, as for every face.
    pub face: Arc<FaceState>,
    /// The engine that answers; `None` in a role that answers no questions.
    pub engine: Option<QueryEngine>,
    /// Bounds of one answer.
    pub config: SqlSettings,
}

impl FromRef<SqlState> for Arc<FaceState> {
    fn from_ref(state: &SqlState) -> Self {
        Arc::clone(&state.face)
    }
}

const ROUTES: [HttpRoute<SqlState>; 1] =
    [HttpRoute::new(Methods::GetAndPost, "/api/v1/sql", "SQL over samples: ?query=SELECT ...", |methods| {
        on(methods, answer)
    })
    .to(Door::Engine)];

/// The routes of SQL as a face, to be mounted beside the others.
pub fn routes(state: &SqlState) -> Face {
    let open = state.engine.as_ref().map(|_| Door::Engine);
    Face::new(&ROUTES, state, open.as_slice())
}

async fn answer(
    State(state): State<SqlState>,
    tenants: AskedTenants,
    statement: Statement,
) -> Result<Response, ApiError> {
    let engine = state.engine.as_ref().ok_or_else(ApiError::no_engine)?;
    check_length(&state.face.config, &statement.text)?;
    let context = request_context(tenants, &statement.parameters)?;
    let query = SqlQuery { text: statement.text.clone(), rows_max: state.config.rows_max };
    let answer = engine.sql(&context, &query).await.map_err(|error| statement.received.explain(error))?;
    json::respond(&context, answer)
}

struct Statement {
    text: String,
    parameters: Form,
    received: Received,
}

/// What came, where it was not encoded as a form is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received(Option<String>);

impl Received {
    /// Of the body of a form, and what was made of it.
    fn of(body: &[u8], text: &str) -> Self {
        let is_encoded = !body.iter().any(|byte| matches!(byte, b' ' | b'\n'));
        Self((!is_encoded).then(|| shown(text)))
    }

    /// A statement that is none may have lost its `+` on the way.
    fn explain(&self, error: EngineError) -> EngineError {
        match (error, &self.0) {
            (EngineError::Invalid(why), Some(received)) => EngineError::Invalid(format!(
                "{why}; received {received:?} from a form that is not encoded, where + is a space and & ends the \
                 statement: send the statement alone as the body, or encode it (curl --data-urlencode)"
            )),
            (error, _) => error,
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(RECEIVED_SHOWN).collect()
}

/// The body of a request with JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(alias = "sql")]
    query: String,
    #[serde(default)]
    timeout: Option<String>,
}

impl FromRequest<SqlState> for Statement {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &SqlState) -> Result<Self, ApiError> {
        let url_query = request.uri().query().unwrap_or_default().to_owned();
        let media_type = media_type(&request);
        let body = match *request.method() {
            Method::POST => read_form_body(request.into_body(), &state.face.config).await?,
            _ => Vec::new(),
        };
        let mut parameters = Form::default();
        let is_json = media_type.ends_with("json") || body.trim_ascii_start().starts_with(b"{");
        let text = if is_json && !body.is_empty() {
            let body: Body = serde_json::from_slice(&body)
                .map_err(|error| ApiError::bad_data(format!("error parsing the JSON body: {error}")))?;
            body.timeout.into_iter().for_each(|timeout| parameters.set("timeout", &timeout));
            Some(body.query)
        } else {
            of_other_body(&body, &media_type, &mut parameters)?
        };
        let of_form = parameters.first("query").to_owned();
        parameters.add(url_query.as_bytes()).map_err(not_utf8)?;
        let text = text.unwrap_or_else(|| parameters.first("query").to_owned());
        if text.is_empty() && url_query.split('&').any(|pair| pair.starts_with("query=")) {
            return Err(not_encoded("the URL is not encoded", &url_query));
        }
        let received = if of_form.is_empty() { Received::default() } else { Received::of(&body, &text) };
        Ok(Self { text, parameters, received })
    }
}

/// The statement in a form or in a plain body; `None` if it may still be in the URL.
fn of_other_body(body: &[u8], media_type: &str, parameters: &mut Form) -> Result<Option<String>, ApiError> {
    if media_type == "application/x-www-form-urlencoded" {
        parameters.add(body).map_err(not_utf8)?;
    }
    if body.is_empty() || !parameters.first("query").is_empty() {
        return Ok(None);
    }
    // `curl -d 'SELECT 1'` sends a plain statement and calls it a form.
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(error.to_string()))?;
    check_not_parameter(text)?;
    *parameters = Form::default();
    Ok(Some(text.to_owned()))
}

/// Refuses what was meant as a parameter and is none: `query=SELECT 100 % 7` and `query=SELECT 1;` are no forms, and
/// as a statement they would be told to begin with a keyword.
fn check_not_parameter(text: &str) -> Result<(), ApiError> {
    let trimmed = text.trim_start();
    let is_parameter = ["query", "sql"]
        .iter()
        .any(|name| trimmed.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')));
    if !is_parameter {
        return Ok(());
    }
    Err(not_encoded("the body is no form", trimmed))
}

fn not_encoded(what: &str, received: &str) -> ApiError {
    ApiError::bad_data(format!(
        "{what}: received {:?}, where % or ; is not encoded; send the statement alone as the body, or encode it \
         (curl --data-urlencode)",
        shown(received)
    ))
}

/// Characters of a body that an error shows.
const RECEIVED_SHOWN: usize = 80;

#[cfg(test)]
mod tests;
