//! What of Prometheus' API has nothing to show here yet: the shapes that clients expect, empty, and the same words for
//! parameters that are wrong. Grafana asks for rules, alerts and targets before it shows anything.

use axum::response::Response;
use promontory_promql::engine::Annotations;

use crate::face::{ApiError, Form, parse_int, success};

fn shape(json: &'static str) -> Response {
    success(&Annotations::default(), |out| out.extend_from_slice(json.as_bytes()))
}

/// `GET /api/v1/rules`
pub(crate) async fn rules(form: Form) -> Result<Response, ApiError> {
    let quoted = |text: &str| promontory_model::labels::quote(text);
    match form.first("type").to_ascii_lowercase().as_str() {
        "" | "alert" | "record" => {}
        other => return Err(ApiError::parameter("type", format!("not supported value {}", quoted(other)))),
    }
    let exclude = form.first("exclude_alerts");
    if !["", "1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
        .contains(&exclude)
    {
        let why = format!(
            "error converting exclude_alerts: strconv.ParseBool: parsing {}: invalid syntax",
            quoted(exclude)
        );
        return Err(ApiError::parameter("exclude_alerts", why));
    }
    let limit = form.first("group_limit");
    if !limit.is_empty() && parse_int(limit).is_err() {
        let why = format!(
            "group_limit needs to be a valid number: strconv.ParseInt: parsing {}: invalid syntax",
            quoted(limit)
        );
        return Err(ApiError::parameter("group_limit", why));
    }
    if limit.is_empty() && !form.first("group_next_token").is_empty() {
        let why = "group_limit needs to be present in order to paginate over the groups";
        return Err(ApiError::parameter("group_next_token", why));
    }
    Ok(shape("{\"groups\":[]}"))
}

/// `GET /api/v1/alerts`
pub(crate) async fn alerts() -> Response {
    shape("{\"alerts\":[]}")
}

/// `GET /api/v1/targets`
pub(crate) async fn targets(form: Form) -> Response {
    match form.first("state").to_ascii_lowercase().as_str() {
        "" | "any" | "dropped" => {
            shape("{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":{}}")
        }
        _ => shape("{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":null}"),
    }
}

/// `GET /api/v1/targets/metadata`
pub(crate) async fn target_metadata(form: Form) -> Result<Response, ApiError> {
    let limit = form.first("limit");
    if !limit.is_empty() && parse_int(limit).is_err() {
        return Err(ApiError::bad_data("limit must be a number"));
    }
    Ok(shape("[]"))
}

/// `GET /api/v1/scrape_pools`
pub(crate) async fn scrape_pools() -> Response {
    shape("{\"scrapePools\":[]}")
}

/// `GET /api/v1/alertmanagers`
pub(crate) async fn alertmanagers() -> Response {
    shape("{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}")
}

/// `GET /api/v1/notifications`
pub(crate) async fn notifications() -> Response {
    shape("[]")
}

/// `GET /api/v1/status/walreplay`: whoever is ready has read all that it needs.
pub(crate) async fn wal_replay() -> Response {
    shape("{\"min\":0,\"max\":0,\"current\":0}")
}

/// `GET /api/v1/features`: what there is; whatever is not named is not there.
pub(crate) async fn features() -> Response {
    shape(concat!(
        "{\"api\":{\"admin\":false,\"exclude_alerts\":true,\"label_values_match\":true,\"lifecycle\":false,",
        "\"otlp_write_receiver\":false,\"query_stats\":true,\"query_warnings\":true,\"remote_write_receiver\":true,",
        "\"time_range_labels\":true,\"time_range_series\":true},",
        "\"prometheus\":{\"agent_mode\":false,\"server_mode\":true},",
        "\"promql\":{\"at_modifier\":true,\"bool\":true,\"by\":true,\"duration_expr\":true,\"group_left\":true,",
        "\"group_right\":true,\"ignoring\":true,\"negative_offset\":true,\"offset\":true,\"on\":true,",
        "\"per_query_lookback_delta\":true,\"subqueries\":true,\"without\":true},",
        "\"tsdb\":{\"exemplar_storage\":false,\"native_histograms\":false}}"
    ))
}
