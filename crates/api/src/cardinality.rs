//! `status/tsdb`: which metrics and labels have the most series.
//!
//! Prometheus counts what its head holds. Here the series of the last [`WINDOW_MS`] are counted, wherever they lie, of
//! the tenant that asks; it costs what listing them costs and has the same bounds.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use promontory_model::float::push_integer;
use promontory_model::{Labels, METRIC_NAME, TimeRange};
use promontory_promql::engine::{ListingQuery, RequestContext, UntilRead};

use crate::face::{ApiError, AskedTenants, Form, json, parse_int, success};
use crate::state::ApiState;

/// As much as a head of Prometheus holds at most.
const WINDOW_MS: i64 = 3 * 3_600_000;
/// Entries of each list if nothing is asked.
const LIMIT: usize = 10;
/// The most that may be asked.
const LIMIT_MAX: usize = 10_000;

/// `GET /api/v1/status/tsdb`
pub(crate) async fn tsdb(
    State(api): State<ApiState>,
    AskedTenants(tenants): AskedTenants,
    form: Form,
) -> Result<Response, ApiError> {
    let engine = api.engine()?;
    let limit = limit(form.first("limit"))?;
    let now = api.clock.now_ms();
    let range = TimeRange::new(now.saturating_sub(WINDOW_MS), now);
    let selectors = vec![format!("{{{METRIC_NAME}!=\"\"}}")];
    let query = ListingQuery { matcher_sets: Vec::new(), selectors, range, limit: 0 };
    let context = RequestContext::new(tenants).with_until_read(UntilRead::default());
    let listing = engine.series(&context, &query).await?;
    let counts = Counts::of(&listing.items);
    Ok(success(&listing.annotations, |out| counts.write(out, limit, range)))
}

fn limit(text: &str) -> Result<usize, ApiError> {
    if text.is_empty() {
        return Ok(LIMIT);
    }
    let limit = parse_int(text).ok().and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    match limit {
        None => Err(ApiError::bad_data("limit must be a positive number")),
        Some(LIMIT_MAX..) if limit != Some(LIMIT_MAX) => {
            Err(ApiError::bad_data(format!("limit must not exceed {LIMIT_MAX}")))
        }
        Some(limit) => Ok(limit),
    }
}

#[derive(Default)]
struct Counts {
    n_series: u64,
    by_metric: BTreeMap<String, u64>,
    values: BTreeMap<String, BTreeSet<String>>,
    by_pair: BTreeMap<String, u64>,
}

impl Counts {
    fn of(series: &[Labels]) -> Self {
        let mut counts = Self { n_series: series.len() as u64, ..Self::default() };
        for labels in series {
            for (name, value) in labels.as_ref().iter() {
                if name == METRIC_NAME {
                    *counts.by_metric.entry(value.to_string()).or_default() += 1;
                }
                *counts.by_pair.entry(format!("{name}={value}")).or_default() += 1;
                counts.values.entry(name.to_string()).or_default().insert(value.to_string());
            }
        }
        counts
    }

    fn write(&self, out: &mut Vec<u8>, limit: usize, range: TimeRange) {
        let per_label = |count: &dyn Fn(&BTreeSet<String>) -> usize| -> BTreeMap<String, u64> {
            self.values.iter().map(|(name, values)| (name.clone(), count(values) as u64)).collect()
        };
        let bytes = |values: &BTreeSet<String>| values.iter().map(String::len).sum::<usize>();
        out.extend_from_slice(b"{\"headStats\":{\"numSeries\":");
        push_integer(out, self.n_series);
        out.extend_from_slice(b",\"numLabelPairs\":");
        push_integer(out, self.by_pair.len() as u64);
        out.extend_from_slice(
            format!(",\"chunkCount\":0,\"minTime\":{},\"maxTime\":{}}}", range.start, range.end).as_bytes(),
        );
        for (name, counts) in [
            ("seriesCountByMetricName", &self.by_metric),
            ("labelValueCountByLabelName", &per_label(&BTreeSet::len)),
            ("memoryInBytesByLabelName", &per_label(&bytes)),
            ("seriesCountByLabelValuePair", &self.by_pair),
        ] {
            out.push(b',');
            json::string(out, name);
            out.push(b':');
            write_largest(out, counts, limit);
        }
        out.push(b'}');
    }
}

/// The largest counts first, equal ones by name.
fn write_largest(out: &mut Vec<u8>, counts: &BTreeMap<String, u64>, limit: usize) {
    let mut sorted: Vec<(&String, u64)> = counts.iter().map(|(name, count)| (name, *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    out.push(b'[');
    for (at, (name, count)) in sorted.into_iter().take(limit).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        json::string(out, name);
        out.extend_from_slice(b",\"value\":");
        push_integer(out, count);
        out.push(b'}');
    }
    out.push(b']');
}
