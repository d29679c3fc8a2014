//! Series, label names, label values and exemplars: selections without samples.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{FutureExt as _, StreamExt as _};
use promontory_model::{Labels, Matcher, TimeRange};
use promontory_promql::engine::{Annotations, EngineError, Listing, ListingQuery, SeriesExemplars};

use crate::context::QueryContext;
use crate::error::{QueryError, engine_error_of, store_error};
use crate::memory::{ANSWER, REGEXES};
use crate::table::label_key;
use crate::view::{RequestView, TENANT_LABEL};

/// Selections that are made at once, while another is merged.
const SELECTIONS_AT_ONCE: usize = 4;

/// Series between two looks at the clock.
const SERIES_PER_LOOK: usize = 1_024;

/// What an element of a set or list takes beside its bytes.
const ELEMENT_BYTES: usize = 64;

/// The query with its selectors parsed and charged.
pub fn parsed(query: ListingQuery, context: &QueryContext) -> Result<ListingQuery, EngineError> {
    let (query, regex_bytes) = query.parsed()?;
    let charged = context.kept().grow(regex_bytes, REGEXES).and_then(|()| context.running());
    charged.map_err(|error| engine_error_of(&error))?;
    Ok(query)
}

/// The matcher sets; an empty list of sets selects everything.
fn alternatives(query: &ListingQuery) -> Cow<'_, [Vec<Matcher>]> {
    if query.matcher_sets.is_empty() {
        return Cow::Owned(vec![Vec::new()]);
    }
    Cow::Borrowed(&query.matcher_sets)
}

/// The sets, each once, whatever the order of their matchers.
pub fn distinct(sets: &[Vec<Matcher>]) -> Vec<&[Matcher]> {
    let mut seen = HashSet::new();
    let mut distinct = Vec::new();
    for set in sets {
        let mut key: Vec<(&str, &str, &str)> =
            set.iter().map(|matcher| (matcher.name(), matcher.op().as_str(), matcher.value())).collect();
        key.sort_unstable();
        if seen.insert(key) {
            distinct.push(set.as_slice());
        }
    }
    distinct
}

/// Gives the series of all selections to `merge`, one selection after the other, so that only a few are there
/// at a time.
async fn merge_all(
    view: &RequestView,
    query: &ListingQuery,
    mut merge: impl FnMut(&Labels) -> Result<(), QueryError>,
) -> Result<(), EngineError> {
    let sets = alternatives(query);
    let mut selects = Vec::new();
    for matchers in distinct(&sets) {
        selects.push(view.select(matchers, query.range).boxed());
    }
    let mut selections = futures::stream::iter(selects).buffered(SELECTIONS_AT_ONCE);
    while let Some(selection) = selections.next().await {
        let selection = selection.map_err(|error| store_error(&error))?;
        for some in selection.series().chunks(SERIES_PER_LOOK) {
            let merged = view.context().running().and_then(|()| some.iter().try_for_each(&mut merge));
            merged.map_err(|error| engine_error_of(&error))?;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Charges an element of the answer.
fn charge(view: &RequestView, bytes: usize) -> Result<(), QueryError> {
    view.context().kept().grow(bytes + ELEMENT_BYTES, ANSWER)
}

/// The label sets of matching series, in Prometheus' order.
pub async fn series(view: &RequestView, query: &ListingQuery) -> Result<Listing<Labels>, EngineError> {
    let mut found: HashSet<Labels> = HashSet::new();
    let merge = |labels: &Labels| {
        if !found.contains(labels) {
            // The labels, and their key while they are sorted.
            charge(view, 2 * labels.key().len())?;
            found.insert(labels.clone());
        }
        Ok(())
    };
    merge_all(view, query, merge).await?;
    let mut found: Vec<Labels> = found.into_iter().collect();
    found.sort_by_cached_key(|labels| {
        let mut key = Vec::new();
        label_key(labels.as_ref(), &mut key);
        key
    });
    Ok(listing(found.into_iter(), view, query.limit))
}

/// The label names of matching series.
pub async fn label_names(view: &RequestView, query: &ListingQuery) -> Result<Listing<String>, EngineError> {
    // As in Mimir, where several tenants are asked, also where they have no series.
    let mut names: BTreeSet<String> = view.federates().then(|| TENANT_LABEL.to_owned()).into_iter().collect();
    let merge = |labels: &Labels| {
        labels.iter().try_for_each(|(name, _)| {
            if !names.contains(name.as_ref()) {
                charge(view, name.len())?;
                names.insert(name.into_owned());
            }
            Ok(())
        })
    };
    merge_all(view, query, merge).await?;
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
    let merge = |labels: &Labels| {
        if let Some(value) = labels.get(name)
            && !values.contains(value.as_ref())
        {
            charge(view, value.len())?;
            values.insert(value.into_owned());
        }
        Ok(())
    };
    merge_all(view, query, merge).await?;
    Ok(listing(values.into_iter(), view, query.limit))
}

/// The exemplars of the series that any of the selectors matches, in Prometheus' order.
pub async fn exemplars(
    view: &RequestView,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
) -> Result<Vec<SeriesExemplars>, EngineError> {
    let mut found: BTreeMap<Vec<u8>, SeriesExemplars> = BTreeMap::new();
    for matchers in distinct(selectors) {
        let of_one = view.exemplars(matchers, range).await.map_err(|error| store_error(&error))?;
        for (labels, exemplars) in of_one {
            let labels_of_all = exemplars.iter().map(|exemplar| exemplar.labels.key().len() + ELEMENT_BYTES);
            let charged = charge(view, 2 * labels.key().len() + labels_of_all.sum::<usize>());
            charged.map_err(|error| engine_error_of(&error))?;
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
