//! `query`, `query_range`, `query_exemplars` and `format_query`.

mod result;

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use promontory_model::float::push_integer;
use promontory_model::labels::quote;
use promontory_model::{Exemplar, TenantId, TimeRange};
use promontory_promql::engine::{
    Answer, ExemplarQuery, InstantQuery, RangeQuery, RequestContext, SeriesExemplars, Statistics, UntilRead,
    Value,
};

use crate::face::{
    ApiError, AskedTenants, Form, TRUNCATED, Time, check_length, json, parse_duration, request_context,
    separated, success, success_parts, while_read,
};
use crate::state::ApiState;

/// `GET` or `POST /api/v1/query`
pub(crate) async fn instant(
    State(api): State<ApiState>,
    tenants: AskedTenants,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    let limit = form.limit()?;
    let time = form.time_or("time", Time::from_ms(api.clock.now_ms()))?.ms();
    let context = request_context(tenants, &form)?;
    let lookback_delta = lookback_delta(&form)?;
    let query = InstantQuery { expr: expression(&api, &form)?, time, lookback_delta };
    let answer = engine.instant(&context, &query).await.map_err(ApiError::of_query)?;
    Ok(respond(&context, answer, limit, form.first("stats")))
}

/// `GET` or `POST /api/v1/query_range`
pub(crate) async fn range(
    State(api): State<ApiState>,
    tenants: AskedTenants,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    let limit = form.limit()?;
    let (start, end) = (form.time("start")?, form.time("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step = step_ms(&form, end.since(start), api.face.config.points_per_series_max)?;
    let context = request_context(tenants, &form)?;
    let lookback_delta = lookback_delta(&form)?;
    let expr = expression(&api, &form)?;
    let query = RangeQuery { expr, start: start.ms(), end: end.ms(), step, lookback_delta };
    let answer = engine.range(&context, &query).await.map_err(ApiError::of_query)?;
    Ok(respond(&context, answer, limit, form.first("stats")))
}

/// `GET` or `POST /api/v1/query_exemplars`: 204 for an expression without a selector.
pub(crate) async fn exemplars(
    State(api): State<ApiState>,
    AskedTenants(tenants): AskedTenants,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    let start = form.time_or("start", Time::MIN)?;
    let end = form.time_or("end", Time::MAX)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let query = ExemplarQuery { expr: expression(&api, &form)?, range: TimeRange::new(start.ms(), end.ms()) };
    let context = RequestContext::new(tenants).with_until_read(UntilRead::default());
    let answer = engine.exemplars(&context, &query).await?;
    if !answer.selects {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let series = separated(answer.series, |out, one| write_exemplars(out, &one));
    let (before, after) = (|out: &mut Vec<u8>| out.push(b'['), |out: &mut Vec<u8>| out.push(b']'));
    Ok(success_parts(&Default::default(), before, while_read(&context, series), after))
}

/// `GET` or `POST /api/v1/format_query`
pub(crate) async fn format(State(api): State<ApiState>, form: Form) -> Result<Response, ApiError> {
    let (engine, text) = (api.engine()?, expression(&api, &form)?);
    // The text says nothing of any tenant.
    let context = RequestContext::new(TenantId::anonymous());
    let pretty = engine.format(&context, &text).await.map_err(ApiError::of_query)?;
    Ok(success(&Default::default(), |out| json::string(out, &pretty)))
}

/// `None` also for a delta that is not positive: Prometheus takes its default then.
fn lookback_delta(form: &Form) -> Result<Option<Duration>, ApiError> {
    let text = form.first("lookback_delta");
    if text.is_empty() {
        return Ok(None);
    }
    let nanos = parse_duration(text)
        .map_err(|error| ApiError::bad_data(format!("error parsing lookback delta duration: {error}")))?;
    Ok(u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos))
}

fn expression(api: &ApiState, form: &Form) -> Result<String, ApiError> {
    let text = form.first("query");
    check_length(&api.face.config, text)?;
    Ok(text.to_owned())
}

fn step_ms(form: &Form, range_nanos: i64, points_max: u64) -> Result<i64, ApiError> {
    let step = parse_duration(form.first("step")).map_err(|error| ApiError::parameter("step", error))?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", why));
    }
    if (range_nanos / step).unsigned_abs() > points_max {
        return Err(ApiError::bad_data(format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            thousands(points_max)
        )));
    }
    // Samples have milliseconds, so a finer grid has no meaning (Prometheus divides by zero here).
    let step = step / 1_000_000;
    if step == 0 {
        return Err(ApiError::parameter("step", "query resolution step widths below 1ms are not accepted"));
    }
    Ok(step)
}

/// `11,000`
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn respond(context: &RequestContext, answer: Answer, limit: usize, stats: &str) -> Response {
    let Answer { mut value, mut annotations, statistics, dependencies: _ } = answer;
    let mut warnings = Vec::new();
    if truncate(&mut value, limit) {
        warnings.push(TRUNCATED.to_owned());
    }
    if !matches!(stats, "" | "true" | "all") {
        warnings.push(format!(
            "value {} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\"",
            quote(stats)
        ));
    }
    // First, so that they are not among those omitted.
    annotations.warnings.splice(0..0, warnings);
    let result_type = match value {
        Value::Matrix(_) => "matrix",
        Value::Vector(_) => "vector",
        Value::Scalar { .. } => "scalar",
        Value::String { .. } => "string",
    };
    let before = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"resultType\":");
        json::string(out, result_type);
        out.extend_from_slice(b",\"result\":[");
    };
    let after = |out: &mut Vec<u8>| {
        out.push(b']');
        if !stats.is_empty() {
            write_statistics(out, &statistics);
        }
        out.push(b'}');
    };
    success_parts(&annotations, before, while_read(context, result::items(value)), after)
}

fn truncate(value: &mut Value, limit: usize) -> bool {
    let (len, cut): (usize, &mut dyn FnMut()) = match value {
        _ if limit == 0 => return false,
        Value::Matrix(series) => (series.len(), &mut || series.truncate(limit)),
        Value::Vector(samples) => (samples.len(), &mut || samples.truncate(limit)),
        Value::Scalar { .. } | Value::String { .. } => return false,
    };
    if len > limit {
        cut();
    }
    len > limit
}

/// Source: prometheus v3.16 `model/exemplar`, `web/api/v1/json_codec.go`.
fn write_exemplars(out: &mut Vec<u8>, series: &SeriesExemplars) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    json::labels(out, series.labels.as_ref());
    for (idx, exemplar) in series.exemplars.iter().enumerate() {
        out.extend_from_slice(if idx == 0 { b",\"exemplars\":[" } else { b"," });
        write_exemplar(out, exemplar);
    }
    out.extend_from_slice(b"]}");
}

fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    out.extend_from_slice(b"{\"labels\":");
    json::labels(out, exemplar.labels.as_ref());
    out.extend_from_slice(b",\"value\":");
    json::value(out, exemplar.value);
    out.extend_from_slice(b",\"timestamp\":");
    json::timestamp(out, exemplar.ts.unwrap_or_default());
    out.push(b'}');
}

/// Source: prometheus v3.16 `util/stats/query_stats.go`; the arrays per step stand behind a feature
/// flag there and are left out.
fn write_statistics(out: &mut Vec<u8>, statistics: &Statistics) {
    let eval_total =
        statistics.query_preparation_seconds + statistics.inner_eval_seconds + statistics.result_sort_seconds;
    let timings = [
        ("{\"timings\":{\"evalTotalTime\":", eval_total),
        (",\"resultSortTime\":", statistics.result_sort_seconds),
        (",\"queryPreparationTime\":", statistics.query_preparation_seconds),
        (",\"innerEvalTime\":", statistics.inner_eval_seconds),
        (",\"execQueueTime\":", statistics.exec_queue_seconds),
        (",\"execTotalTime\":", statistics.exec_total_seconds),
    ];
    out.extend_from_slice(b",\"stats\":");
    for (name, seconds) in timings {
        out.extend_from_slice(name.as_bytes());
        json::number(out, seconds);
    }
    let samples = [
        ("},\"samples\":{\"totalQueryableSamples\":", statistics.total_queryable_samples),
        (",\"samplesRead\":", statistics.samples_read),
        (",\"seriesTouched\":", statistics.series_touched),
        (",\"peakSamples\":", statistics.peak_samples),
    ];
    for (name, count) in samples {
        out.extend_from_slice(name.as_bytes());
        push_integer(out, count);
    }
    out.extend_from_slice(b"}}");
}
