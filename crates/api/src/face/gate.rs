//! Who is let in: see [`crate::callers`]. Refused are requests that call this process by a name that is not
//! its own, whatever they want, and those from foreign web pages that would change something.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use promontory_model::labels::quote;

use crate::callers::{HOSTS_FLAG, ORIGIN_FLAG};
use crate::face::body::discard_body;
use crate::face::counters::add;
use crate::face::envelope::plain;
use crate::face::route::Row;
use crate::face::state::FaceState;

/// Of what a stranger calls itself or us, so much is said back.
const SHOWN_CHARS_MAX: usize = 100;

/// What the gate goes by, found once when the router is made.
#[derive(Clone)]
pub(crate) struct Gate {
    state: Arc<FaceState>,
    /// Paths of routes that change something.
    changing: Arc<[&'static str]>,
}

impl Gate {
    pub(crate) fn new(state: Arc<FaceState>, rows: &[Row]) -> Self {
        let changing = rows.iter().filter(|row| row.methods.change()).map(|row| row.path);
        Self { state, changing: changing.collect() }
    }

    fn would_change(&self, request: &Request) -> bool {
        let path = request.extensions().get::<MatchedPath>();
        path.is_some_and(|path| self.changing.contains(&path.as_str()))
    }

    /// Why the request is not let in.
    fn refusal(&self, request: &Request) -> Option<String> {
        let (config, counters) = (&self.state.config, &self.state.counters);
        if let Some(host) = config.allowed_hosts.foreign(request) {
            add(&counters.foreign_hosts_refused, 1);
            let host = shown(host);
            return Some(format!(
                "this process listens on a loopback address and is not called {host}; if it is, name that in {HOSTS_FLAG}"
            ));
        }
        let page = config.cors_origin.foreign(request).filter(|_| self.would_change(request))?;
        add(&counters.foreign_origins_refused, 1);
        let page = shown(page);
        Some(format!(
            "web pages of other origins ({page}) may not change anything here but those that {ORIGIN_FLAG} names"
        ))
    }
}

/// Lets a request in, or says why not.
pub(crate) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Some(why) = gate.refusal(&request) else { return next.run(request).await };
    tracing::debug!(why, "a request was refused");
    discard_body(request.into_body(), gate.state.config.body_read_timeout).await;
    plain(StatusCode::FORBIDDEN, &why)
}

fn shown(text: &str) -> String {
    quote(&text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
}
