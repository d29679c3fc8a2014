//! Several tenants as one: their series carry the label [`TENANT_LABEL`].
//!
//! - A series that has a label of that name already keeps its value under [`ORIGINAL_LABEL`].
//! - Matchers on [`TENANT_LABEL`] choose among the tenants and go no further; those on
//!   [`ORIGINAL_LABEL`] become matchers on the label that the series themselves have.
//!
//! Source: grafana/mimir `pkg/querier/tenantfederation/merge_queryable.go`.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use promontory_model::{Labels, LabelsBuilder, Matcher, SampleLists, TenantId, TimeRange};
use promontory_store::{Allowance, Error as StoreError, Selection};

use super::Part;

/// Names the tenant of a series.
pub const TENANT_LABEL: &str = "__tenant_id__";
/// Holds what the series itself calls by that name.
pub(super) const ORIGINAL_LABEL: &str = "original___tenant_id__";

/// The tenants that matchers leave over, and what is asked of each.
pub(super) fn chosen<'p>(parts: &'p [Part], matchers: &[Matcher]) -> (Vec<&'p Part>, Vec<Matcher>) {
    let (of_tenants, others): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|matcher| matcher.name() == TENANT_LABEL);
    let meant = |tenant: &TenantId| of_tenants.iter().all(|matcher| matcher.matches(tenant.as_str()));
    let asked = others.into_iter().map(|matcher| match matcher.name() {
        ORIGINAL_LABEL => matcher.renamed(TENANT_LABEL),
        _ => matcher.clone(),
    });
    (parts.iter().filter(|(tenant, _)| meant(tenant)).collect(), asked.collect())
}

/// The labels of a series of `tenant` among those of others.
pub(super) fn labelled(tenant: &TenantId, labels: &Labels) -> Labels {
    let mut builder = LabelsBuilder::default();
    for (name, value) in labels.iter() {
        builder.push(&name, &value);
    }
    if let Some(original) = labels.get(TENANT_LABEL) {
        builder.set(ORIGINAL_LABEL, &original);
    }
    builder.set(TENANT_LABEL, tenant.as_str()).build()
}

/// The selections of several tenants as one.
pub(super) struct TenantSelection {
    parts: Vec<Arc<dyn Selection>>,
    /// Ascending by key, as all selections.
    series: Vec<Labels>,
    /// Where each lies.
    places: Vec<SeriesPlace>,
    /// Samples of all series before series `i`, duplicates included.
    samples_before: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct SeriesPlace {
    part: usize,
    series: usize,
}

/// Bytes that a labelled series takes beside its key.
const SERIES_BYTES: usize = size_of::<Labels>() + size_of::<SeriesPlace>() + size_of::<u64>();

/// Consecutive series of one part.
type Stretch = (usize, Range<usize>);

impl TenantSelection {
    /// Labels the series of each tenant and brings them into one order.
    ///
    /// # Errors
    /// `Limited` if two series become equal, which takes one that has [`ORIGINAL_LABEL`] itself; those of the
    /// allowance.
    pub(super) fn new<'a>(
        tenants: impl Iterator<Item = (&'a TenantId, Arc<dyn Selection>)>,
        allowance: &dyn Allowance,
    ) -> Result<Self, StoreError> {
        let (mut parts, mut found) = (Vec::new(), Vec::new());
        for (part, (tenant, selection)) in tenants.enumerate() {
            let keys: usize = selection.series().iter().map(|labels| labels.key().len() + SERIES_BYTES).sum();
            allowance.take(keys as u64)?;
            let series = selection.series().iter().enumerate();
            found.extend(
                series.map(|(series, labels)| (labelled(tenant, labels), SeriesPlace { part, series })),
            );
            parts.push(selection);
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(equal) = found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let labels = &equal[0].0;
            return Err(StoreError::Limited(format!(
                "two series become {labels} when their tenants are asked together; ask them one by one"
            )));
        }
        let (series, places): (Vec<Labels>, Vec<SeriesPlace>) = found.into_iter().unzip();
        let mut samples_before = Vec::with_capacity(places.len() + 1);
        let mut samples = 0;
        samples_before.push(samples);
        for SeriesPlace { part, series } in &places {
            let of_one: &Arc<dyn Selection> = &parts[*part];
            samples += of_one.samples_max(*series..*series + 1);
            samples_before.push(samples);
        }
        Ok(Self { parts, series, places, samples_before })
    }

    /// `series()[of]` as stretches of the parts, in order.
    fn stretches(&self, of: Range<usize>) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for SeriesPlace { part, series } in &self.places[of] {
            match stretches.last_mut().filter(|(last, range)| last == part && range.end == *series) {
                Some((_, range)) => range.end += 1,
                None => stretches.push((*part, *series..*series + 1)),
            }
        }
        stretches
    }

    /// The part of `of` that exists.
    fn known(&self, of: Range<usize>) -> Range<usize> {
        let all = self.series.len();
        of.start.min(all)..of.end.min(all)
    }

    fn check(&self, of: &Range<usize>) -> Result<(), StoreError> {
        if of.start <= of.end && of.end <= self.series.len() {
            return Ok(());
        }
        Err(StoreError::Bug(format!("series {of:?} of {}", self.series.len())))
    }
}

impl fmt::Debug for TenantSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantSelection").field("parts", &self.parts).finish_non_exhaustive()
    }
}

#[async_trait]
impl Selection for TenantSelection {
    fn series(&self) -> &[Labels] {
        &self.series
    }

    fn samples_max(&self, of: Range<usize>) -> u64 {
        let last = self.samples_before.len() - 1;
        self.samples_before[of.end.min(last)] - self.samples_before[of.start.min(of.end).min(last)]
    }

    fn stored_bytes(&self, of: Range<usize>) -> u64 {
        self.stretches(self.known(of))
            .into_iter()
            .map(|(part, series)| self.parts[part].stored_bytes(series))
            .sum()
    }

    async fn prefetch(&self, of: Range<usize>) -> Result<(), StoreError> {
        let stretches = self.stretches(self.known(of));
        let reads = stretches.into_iter().map(|(part, series)| self.parts[part].prefetch(series));
        futures::future::try_join_all(reads).await.map(drop)
    }

    fn samples_max_within(&self, of: Range<usize>, within: TimeRange) -> u64 {
        let stretches = self.stretches(self.known(of)).into_iter();
        stretches.map(|(part, series)| self.parts[part].samples_max_within(series, within)).sum()
    }

    async fn read_within(&self, of: Range<usize>, within: TimeRange) -> Result<SampleLists, StoreError> {
        self.check(&of)?;
        let mut all = SampleLists::default();
        for (part, series) in self.stretches(of) {
            let more = self.parts[part].read_within(series, within).await?;
            if all.is_empty() {
                all = more;
            } else {
                all.extend(&more);
            }
        }
        Ok(all)
    }
}
