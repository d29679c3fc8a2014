//! Listing: `series`, `labels`, `label/NAME/values`; and `metadata`, which is about metrics.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use promontory_model::labels::quote;
use promontory_model::{Labels, MetricMetadata, TimeRange};
use promontory_promql::engine::{Annotations, EngineError, Listing, ListingQuery, RequestContext, UntilRead};

use crate::config::flag_of;
use crate::face::{
    ApiError, AskedTenants, Form, Items, TRUNCATED, Time, json, parse_int, separated, success_parts,
    while_read,
};
use crate::state::ApiState;

/// Most selectors of one request.
const MATCHER_SETS_MAX: usize = 1_000;

/// `GET` or `POST /api/v1/series`
pub(crate) async fn series(
    State(api): State<ApiState>,
    tenants: AskedTenants,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    if let Some(error) = form.malformed() {
        return Err(ApiError::bad_data(format!("error parsing form values: {error}")));
    }
    if form.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let of_matchers = |error| ApiError::parameter("match[]", error);
    let query = listing_query(&api, &form, of_matchers)?;
    let context = context(tenants);
    let listing = engine.series(&context, &query).await.map_err(|error| match error {
        EngineError::Invalid(text) => of_matchers(text),
        other => other.into(),
    })?;
    let (items, annotations) = limited(listing, query.limit);
    let write = |out: &mut Vec<u8>, labels: Labels| json::labels(out, labels.as_ref());
    Ok(array(&context, &annotations, separated(items, write)))
}

/// `GET` or `POST /api/v1/labels`
pub(crate) async fn labels(
    State(api): State<ApiState>,
    tenants: AskedTenants,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    let query = listing_query(&api, &form, ApiError::bad_data)?;
    let context = context(tenants);
    let listing = engine.label_names(&context, &query).await?;
    Ok(strings(&context, listing, query.limit))
}

/// `GET /api/v1/label/NAME/values`
pub(crate) async fn label_values(
    State(api): State<ApiState>,
    tenants: AskedTenants,
    path: Result<Path<String>, PathRejection>,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    let Ok(Path(escaped)) = path else { return Err(ApiError::bad_data("invalid label name: not UTF-8")) };
    let name = unescape_name(&escaped).unwrap_or(escaped);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {}", quote(&name))));
    }
    let query = listing_query(&api, &form, ApiError::bad_data)?;
    let context = context(tenants);
    let listing = engine.label_values(&context, &name, &query).await?;
    Ok(strings(&context, listing, query.limit))
}

/// `GET /api/v1/metadata`
pub(crate) async fn metrics(
    State(api): State<ApiState>,
    tenants: AskedTenants,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    let limit = number(&form, "limit")?;
    let limit_per_metric = number(&form, "limit_per_metric")?;
    let metric = Some(form.first("metric")).filter(|metric| !metric.is_empty());
    let context = context(tenants);
    let mut metrics = engine.metadata(&context, metric).await?;
    // A limit of 0 shows none, a negative one all; per metric, 0 shows all, too. As in Prometheus.
    metrics.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    for (_, entries) in &mut metrics {
        entries.truncate(
            usize::try_from(limit_per_metric).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX),
        );
    }
    let metrics = separated(metrics, |out, (name, entries)| write_metadata(out, &name, &entries));
    let (before, after) = (|out: &mut Vec<u8>| out.push(b'{'), |out: &mut Vec<u8>| out.push(b'}'));
    Ok(success_parts(&Annotations::default(), before, while_read(&context, metrics), after))
}

fn context(AskedTenants(tenants): AskedTenants) -> RequestContext {
    RequestContext::new(tenants).with_until_read(UntilRead::default())
}

fn listing_query(
    api: &ApiState,
    form: &Form,
    of_matchers: impl Fn(String) -> ApiError,
) -> Result<ListingQuery, ApiError> {
    let limit = form.limit()?;
    let start = form.time_or("start", Time::MIN)?.ms();
    let end = form.time_or("end", Time::MAX)?.ms();
    let selectors = selectors(form, api.face.config.query_text_bytes_max).map_err(of_matchers)?;
    let range = TimeRange::new(start, end);
    Ok(ListingQuery { matcher_sets: Vec::new(), selectors, range, limit })
}

/// The selectors as they were sent: parsing is the engine's work.
fn selectors(form: &Form, text_bytes_max: usize) -> Result<Vec<String>, String> {
    let texts: Vec<&str> = form.all("match[]").collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    if texts.len() > MATCHER_SETS_MAX {
        return Err(format!("{} selectors, at most {MATCHER_SETS_MAX} are accepted", texts.len()));
    }
    if bytes > text_bytes_max {
        return Err(format!(
            "the selectors have {bytes} bytes, at most {text_bytes_max} are accepted (limit {})",
            flag_of("query_text_bytes_max")
        ));
    }
    Ok(texts.into_iter().map(str::to_owned).collect())
}

fn number(form: &Form, name: &str) -> Result<i64, ApiError> {
    match form.first(name) {
        "" => Ok(-1),
        text => parse_int(text).map_err(|_| ApiError::bad_data(format!("{name} must be a number"))),
    }
}

fn limited<T>(listing: Listing<T>, limit: usize) -> (Vec<T>, Annotations) {
    let Listing { mut items, truncated, mut annotations } = listing;
    if truncated || limit > 0 && items.len() > limit {
        items.truncate(if limit > 0 { limit } else { items.len() });
        annotations.warnings.insert(0, TRUNCATED.to_owned());
    }
    (items, annotations)
}

fn strings(context: &RequestContext, listing: Listing<String>, limit: usize) -> Response {
    let (items, annotations) = limited(listing, limit);
    array(context, &annotations, separated(items, |out, item| json::string(out, &item)))
}

fn array(context: &RequestContext, annotations: &Annotations, items: Items) -> Response {
    success_parts(annotations, |out| out.push(b'['), while_read(context, items), |out| out.push(b']'))
}

fn write_metadata(out: &mut Vec<u8>, name: &str, entries: &[MetricMetadata]) {
    json::string(out, name);
    out.extend_from_slice(b":[");
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::string_map(out, [("type", entry.kind.as_str()), ("unit", &entry.unit), ("help", &entry.help)]);
    }
    out.push(b']');
}

/// A name such as `U__http_2e_status` in plain letters; `None` if it is not such a name.
///
/// `__` is an underscore, and `_xx_` the character with the hexadecimal code `xx`, of at most five
/// digits.
///
/// Source: prometheus/common `model/metric.go`, `UnescapeName` with `ValueEncodingEscaping`.
fn unescape_name(name: &str) -> Option<String> {
    const DIGITS_MAX: usize = 5;
    let mut rest = name.strip_prefix("U__")?;
    let mut plain = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('_') {
        plain.push_str(before);
        let (code, behind) = after.split_once('_')?;
        let digits = code.len() <= DIGITS_MAX && code.bytes().all(|byte| byte.is_ascii_hexdigit());
        match code {
            "" => plain.push('_'),
            code if digits => plain.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?),
            _ => return None,
        }
        rest = behind;
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_become_plain() {
        for (escaped, plain) in [
            ("U__http_2e_status", Some("http.status")),
            ("U__a__b", Some("a_b")),
            ("U____", Some("_")),
            ("U___1F60A_x", Some("😊x")),
            ("U__", Some("")),
            ("U__plain", Some("plain")),
            ("U__a_2e", None),
            ("U__a_xyz_", None),
            ("U__a_D800_", None),
            ("U__a_10FFFF_", None),
            ("U__a_+1_", None),
            ("U__trailing_", None),
            ("job", None),
        ] {
            assert_eq!(unescape_name(escaped).as_deref(), plain, "{escaped}");
        }
    }
}
