//! Routes as data: what is said once here becomes the router, the counters and the home page.
//!
//! A table is a constant slice of [`HttpRoute`]s in the order in which people should read them.

use axum::routing::{MethodFilter, MethodRouter};

/// A row and the handler that answers it; `S` is what the handler stands on.
pub struct HttpRoute<S> {
    pub(crate) row: Row,
    pub(crate) handler: fn(MethodFilter) -> MethodRouter<S>,
}

/// What is known of a route without its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it answers; anything else is 405.
    pub(crate) methods: Methods,
    /// The path as axum matches it, and the name under which its requests are counted.
    pub(crate) path: &'static str,
    /// What somebody would call it for, in a few words of the home page.
    pub(crate) purpose: &'static str,
    /// The door that it leads to, if any. A role without that door does not list the route; its handler
    /// is reached all the same and says which role has the door.
    pub(crate) door: Option<Door>,
    /// When its handler is reached.
    pub(crate) served: Served,
    /// Who calls it.
    pub(crate) callers: Callers,
}

/// Sets of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Reads.
    Get,
    /// The same, also without the answer's body.
    GetAndHead,
    /// Writes.
    Post,
    /// Reads whose parameters may be too long for a URL.
    GetAndPost,
}

/// A door of the house that a route may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `promontory_model::Append`.
    Append,
    /// `promontory_promql::Engine`, and the engine of SQL, which runs in the same roles.
    Engine,
}

/// When a route's handler is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// While the process is ready; 503 before and after.
    WhenReady,
    /// From the moment the process listens until it ends.
    Always,
}

/// Who calls a route; below `/api/v1/` it decides about CORS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Web pages of other origins too: they get CORS headers, and their preflights are answered.
    Pages,
    /// Programs only, as those that send samples.
    Programs,
}

/// What one crate serves: rows, each with a handler that has its state.
pub struct Face {
    pub(crate) mounts: Vec<Mount>,
}

/// A row that knows its role, and its handler with state.
pub(crate) struct Mount {
    pub(crate) row: Row,
    /// Is the route's door, if it leads to one, open in this role?
    open: bool,
    pub(crate) handler: MethodRouter,
}

impl<S> HttpRoute<S> {
    /// A route that leads to no door and is served when the process is ready, also to web pages.
    ///
    /// `handler` is `|methods| axum::routing::on(methods, function)`.
    pub const fn new(
        methods: Methods,
        path: &'static str,
        purpose: &'static str,
        handler: fn(MethodFilter) -> MethodRouter<S>,
    ) -> Self {
        let (served, callers) = (Served::WhenReady, Callers::Pages);
        Self { row: Row { methods, path, purpose, door: None, served, callers }, handler }
    }

    /// The same, leading to `door`.
    #[must_use]
    pub const fn to(self, door: Door) -> Self {
        Self { row: Row { door: Some(door), ..self.row }, handler: self.handler }
    }

    /// The same, served also while the process is not ready.
    #[must_use]
    pub const fn always(self) -> Self {
        Self { row: Row { served: Served::Always, ..self.row }, handler: self.handler }
    }

    /// The same, closed to web pages of other origins.
    #[must_use]
    pub const fn for_programs(self) -> Self {
        Self { row: Row { callers: Callers::Programs, ..self.row }, handler: self.handler }
    }
}

impl Methods {
    /// As axum's routers take it.
    pub(crate) fn filter(self) -> MethodFilter {
        match self {
            Self::Get | Self::GetAndHead => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::GetAndPost => MethodFilter::GET.or(MethodFilter::POST),
        }
    }

    /// Does who is answered change something? Such routes are closed to web pages of other origins.
    pub(crate) fn change(self) -> bool {
        match self {
            Self::Get | Self::GetAndHead | Self::GetAndPost => false,
            Self::Post => true,
        }
    }

    /// What the header `Allow` says of them, as Go's router writes it.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, OPTIONS",
            Self::GetAndHead => "GET, HEAD, OPTIONS",
            Self::Post => "OPTIONS, POST",
            Self::GetAndPost => "GET, OPTIONS, POST",
        }
    }

    /// Is `HEAD` among them?
    pub(crate) fn answer_head(self) -> bool {
        self == Self::GetAndHead
    }

    /// The method that people should try first.
    pub(crate) fn first(self) -> &'static str {
        match self {
            Self::Get | Self::GetAndHead | Self::GetAndPost => "GET",
            Self::Post => "POST",
        }
    }
}

impl Face {
    /// The routes of `table` over `state`; `open` are the doors that this role has.
    pub fn new<S>(table: &[HttpRoute<S>], state: &S, open: &[Door]) -> Self
    where
        S: Clone + Send + Sync + 'static,
    {
        let mount = |route: &HttpRoute<S>| Mount {
            row: route.row,
            open: route.row.door.is_none_or(|door| open.contains(&door)),
            handler: (route.handler)(route.row.methods.filter()).with_state(state.clone()),
        };
        Self { mounts: table.iter().map(mount).collect() }
    }

    /// All rows, in the table's order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.mounts.iter().map(|mount| &mount.row)
    }

    /// The rows that this role can answer.
    pub(crate) fn open_rows(&self) -> impl Iterator<Item = &Row> {
        self.mounts.iter().filter(|mount| mount.open).map(|mount| &mount.row)
    }
}
