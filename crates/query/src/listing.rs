//! Series, label names, label values and exemplars: selections without samples.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use promontory_model::{Labels, Matcher, TimeRange};
use promontory_promql::engine::{Annotations, EngineError, Listing, ListingQuery, SeriesExemplars};
use promontory_store::Selection;

use crate::error::store_error;
use crate::table::label_key;
use crate::view::{RequestView, TENANT_LABEL};

/// The matcher sets; an empty list of sets selects everything.
fn alternatives(query: &ListingQuery) -> Cow<'_, [Vec<Matcher>]> {
    if query.matcher_sets.is_empty() {
        return Cow::Owned(vec![Vec::new()]);
    }
    Cow::Borrowed(&query.matcher_sets)
}

async fn selections(
    view: &RequestView,
    query: &ListingQuery,
) -> Result<Vec<Arc<dyn Selection>>, EngineError> {
    let sets = alternatives(query);
    let selects = sets.iter().map(|matchers| view.select(matchers, query.range));
    futures::future::try_join_all(selects).await.map_err(|error| store_error(&error))
}

/// The label sets of matching series, in Prometheus' order.
pub async fn series(view: &RequestView, query: &ListingQuery) -> Result<Listing<Labels>, EngineError> {
    let mut found: BTreeMap<Vec<u8>, Labels> = BTreeMap::new();
    for selection in selections(view, query).await? {
        for labels in selection.series() {
            let mut key = Vec::new();
            label_key(labels.as_ref(), &mut key);
            found.entry(key).or_insert_with(|| labels.clone());
        }
    }
    Ok(listing(found.into_values(), view, query.limit))
}

/// The label names of matching series.
pub async fn label_names(view: &RequestView, query: &ListingQuery) -> Result<Listing<String>, EngineError> {
    // As in Mimir, where several tenants are asked, also where they have no series.
    let mut names: BTreeSet<String> = view.federates().then(|| TENANT_LABEL.to_owned()).into_iter().collect();
    for selection in selections(view, query).await? {
        for labels in selection.series() {
            for (name, _) in labels.iter() {
                if !names.contains(name.as_ref()) {
                    names.insert(name.into_owned());
                }
            }
        }
    }
    Ok(listing(names.into_iter(), view, query.limit))
}

/// The values of one label over matching series.
pub async fn label_values(
    view: &RequestView,
    name: &str,
    query: &ListingQuery,
) -> Result<Listing<String>, EngineError> {
    if let Some(tenants) = view.tenant_values(name, &alternatives(query)) {
        return Ok(listing(tenants.into_iter(), view, query.limit));
    }
    let mut values: BTreeSet<String> = BTreeSet::new();
    for selection in selections(view, query).await? {
        for labels in selection.series() {
            if let Some(value) = labels.get(name)
                && !values.contains(value.as_ref())
            {
                values.insert(value.into_owned());
            }
        }
    }
    Ok(listing(values.into_iter(), view, query.limit))
}

/// The exemplars of the series that any of the selectors matches, in Prometheus' order.
pub async fn exemplars(
    view: &RequestView,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
) -> Result<Vec<SeriesExemplars>, EngineError> {
    let mut found: BTreeMap<Vec<u8>, SeriesExemplars> = BTreeMap::new();
    for matchers in selectors {
        let of_one = view.exemplars(matchers, range).await.map_err(|error| store_error(&error))?;
        for (labels, exemplars) in of_one {
            let mut key = Vec::new();
            label_key(labels.as_ref(), &mut key);
            found.entry(key).or_insert(SeriesExemplars { labels, exemplars });
        }
    }
    Ok(found.into_values().collect())
}

fn listing<T>(found: impl ExactSizeIterator<Item = T>, view: &RequestView, limit: usize) -> Listing<T> {
    let truncated = limit > 0 && found.len() > limit;
    let items: Vec<T> = if truncated { found.take(limit).collect() } else { found.collect() };
    let annotations = Annotations { warnings: view.warnings(), infos: Vec::new() };
    Listing { items, truncated, annotations }
}
