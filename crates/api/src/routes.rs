//! The routes of Prometheus' API: one table, from which router, counters and home page are made.

use axum::routing::on;

use crate::face::{Door, Face, HttpRoute, Methods};
use crate::state::ApiState;
use crate::{absent, cardinality, listing, query, status, write};

#[rustfmt::skip] // A table: one row a line.
pub(crate) const ROUTES: [HttpRoute<ApiState>; 26] = {
    use Door::{Append, Engine};
    use Methods::{Get, GetAndHead, GetAndPost, Post};
    [
        HttpRoute::new(Post, "/api/v1/write", "remote write 1.0", |m| on(m, write::remote_write)).to(Append).for_programs(),
        HttpRoute::new(GetAndPost, "/api/v1/query", "instant query: ?query=up&time=...", |m| on(m, query::instant)).to(Engine),
        HttpRoute::new(GetAndPost, "/api/v1/query_range", "range query: ?query=up&start=...&end=...&step=15s", |m| on(m, query::range)).to(Engine),
        HttpRoute::new(GetAndPost, "/api/v1/query_exemplars", "exemplars: ?query=up", |m| on(m, query::exemplars)).to(Engine),
        HttpRoute::new(GetAndPost, "/api/v1/format_query", "a query in canonical form", |m| on(m, query::format)).to(Engine),
        HttpRoute::new(GetAndPost, "/api/v1/series", "series: ?match[]=up", |m| on(m, listing::series)).to(Engine),
        HttpRoute::new(GetAndPost, "/api/v1/labels", "label names", |m| on(m, listing::labels)).to(Engine),
        HttpRoute::new(Get, "/api/v1/label/{name}/values", "label values", |m| on(m, listing::label_values)).to(Engine),
        HttpRoute::new(Get, "/api/v1/metadata", "metric metadata", |m| on(m, listing::metrics)).to(Engine),
        HttpRoute::new(Get, "/api/v1/rules", "rules: none yet", |m| on(m, absent::rules)),
        HttpRoute::new(Get, "/api/v1/alerts", "alerts: none yet", |m| on(m, absent::alerts)),
        HttpRoute::new(Get, "/api/v1/targets", "targets of scrapes: none yet", |m| on(m, absent::targets)),
        HttpRoute::new(Get, "/api/v1/targets/metadata", "metadata of targets: none yet", |m| on(m, absent::target_metadata)),
        HttpRoute::new(Get, "/api/v1/scrape_pools", "scrape pools: none yet", |m| on(m, absent::scrape_pools)),
        HttpRoute::new(Get, "/api/v1/alertmanagers", "Alertmanagers: none yet", |m| on(m, absent::alertmanagers)),
        HttpRoute::new(Get, "/api/v1/notifications", "notifications for a web page: none yet", |m| on(m, absent::notifications)),
        HttpRoute::new(Get, "/api/v1/status/tsdb", "how many series have which labels", |m| on(m, cardinality::tsdb)).to(Engine),
        HttpRoute::new(Get, "/api/v1/status/walreplay", "progress of a start, which is over", |m| on(m, absent::wal_replay)),
        HttpRoute::new(Get, "/api/v1/features", "what of Prometheus' API there is", |m| on(m, absent::features)),
        HttpRoute::new(Get, "/api/v1/status/buildinfo", "version and build", |m| on(m, status::build_info)),
        HttpRoute::new(Get, "/api/v1/status/runtimeinfo", "facts of this process", |m| on(m, status::runtime_info)),
        HttpRoute::new(Get, "/api/v1/status/flags", "each flag with its value", |m| on(m, status::flags)),
        HttpRoute::new(Get, "/api/v1/status/config", "the configuration file", |m| on(m, status::config)),
        HttpRoute::new(Get, "/version", "version and build, without the envelope", |m| on(m, status::version)).always(),
        HttpRoute::new(GetAndHead, "/-/healthy", "probe: is the process alive?", |m| on(m, status::healthy)).always(),
        HttpRoute::new(GetAndHead, "/-/ready", "probe: does it serve?", |m| on(m, status::ready)),
    ]
};

/// Prometheus' API as a face, to be mounted.
pub fn routes(state: &ApiState) -> Face {
    Face::new(&ROUTES, state, &state.open_doors())
}
