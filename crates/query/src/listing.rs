//! Series, label names and label values: selections without samples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use promontory_model::Labels;
use promontory_promql::engine::{Annotations, EngineError, Listing, MetadataQuery};
use promontory_store::{SampleSnapshot, Selection};

use crate::error::store_error;
use crate::table::label_key;

/// The selections of all matcher sets; an empty list of sets selects everything.
async fn selections(
    snapshot: &dyn SampleSnapshot,
    query: &MetadataQuery,
) -> Result<Vec<Arc<dyn Selection>>, EngineError> {
    let all = [Vec::new()];
    let sets: &[Vec<_>] = if query.matcher_sets.is_empty() { &all } else { &query.matcher_sets };
    let selects = sets.iter().map(|matchers| snapshot.select(matchers, query.range));
    futures::future::try_join_all(selects).await.map_err(|error| store_error(&error))
}

/// The label sets of matching series, in Prometheus' order.
pub async fn series(
    snapshot: &dyn SampleSnapshot,
    query: &MetadataQuery,
) -> Result<Listing<Labels>, EngineError> {
    let mut found: BTreeMap<Vec<u8>, Labels> = BTreeMap::new();
    for selection in selections(snapshot, query).await? {
        for labels in selection.series() {
            let mut key = Vec::new();
            label_key(labels.as_ref(), &mut key);
            found.entry(key).or_insert_with(|| labels.clone());
        }
    }
    Ok(listing(found.into_values(), snapshot, query.limit))
}

/// The label names of matching series.
pub async fn label_names(
    snapshot: &dyn SampleSnapshot,
    query: &MetadataQuery,
) -> Result<Listing<String>, EngineError> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for selection in selections(snapshot, query).await? {
        for labels in selection.series() {
            for (name, _) in labels.iter() {
                if !names.contains(name.as_ref()) {
                    names.insert(name.into_owned());
                }
            }
        }
    }
    Ok(listing(names.into_iter(), snapshot, query.limit))
}

/// The values of one label over matching series.
pub async fn label_values(
    snapshot: &dyn SampleSnapshot,
    name: &str,
    query: &MetadataQuery,
) -> Result<Listing<String>, EngineError> {
    let mut values: BTreeSet<String> = BTreeSet::new();
    for selection in selections(snapshot, query).await? {
        for labels in selection.series() {
            if let Some(value) = labels.get(name)
                && !values.contains(value.as_ref())
            {
                values.insert(value.into_owned());
            }
        }
    }
    Ok(listing(values.into_iter(), snapshot, query.limit))
}

fn listing<T>(
    found: impl ExactSizeIterator<Item = T>,
    snapshot: &dyn SampleSnapshot,
    limit: usize,
) -> Listing<T> {
    let truncated = limit > 0 && found.len() > limit;
    let items: Vec<T> = if truncated { found.take(limit).collect() } else { found.collect() };
    let annotations = Annotations { warnings: snapshot.warnings(), infos: Vec::new() };
    Listing { items, truncated, annotations }
}
