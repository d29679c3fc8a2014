//! What one request sees: the views of its tenants in one snapshot, as one, within its label policy and
//! its limit of series.
//!
//! Everything that reads goes through [`RequestView`]: queries, listings, SQL, exemplars, raw samples. So
//! there is one place at which a policy, a limit or a set of tenants is enforced, and no operator can
//! reach what lies behind it.
//!
//! 1. The policy's matchers join those of the selector.
//! 2. With several tenants, [`federation`] picks those that are meant and labels their series.
//! 3. What is found is charged to the request while it is found, and its time is looked at.
//! 4. The series that were found count against the request's limit.

mod allowance;
mod dependencies;
mod federation;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use promontory_model::{Exemplar, Labels, Matcher, MetricMetadata, SnapshotId, TenantId, TimeRange};
use promontory_promql::engine::{Dependencies, RequestContext, WindowEpochs};
use promontory_store::{Error as StoreError, PinnedViews, SampleSnapshot, Selection};

use self::allowance::Selecting;
use self::dependencies::windows;
use self::federation::{TenantSelection, chosen, labelled};

pub use self::federation::TENANT_LABEL;

use crate::context::QueryContext;

/// A tenant and its view of the snapshot.
type Part = (TenantId, Arc<dyn SampleSnapshot>);

/// The part of one snapshot that one request sees.
#[derive(Debug)]
pub struct RequestView {
    id: SnapshotId,
    /// Ordered by tenant; at least one.
    parts: Vec<Part>,
    policy: Vec<Matcher>,
    series_max: u64,
    series: AtomicU64,
    context: Arc<QueryContext>,
}

impl RequestView {
    /// What `request` sees of the views that were pinned for its tenants.
    pub fn new(request: &RequestContext, pinned: PinnedViews, context: Arc<QueryContext>) -> Self {
        Self {
            context,
            id: pinned.id,
            parts: request.tenants.as_slice().iter().cloned().zip(pinned.views).collect(),
            policy: request.label_policy.matchers.clone(),
            series_max: request.limits.series_max.unwrap_or(u64::MAX),
            series: AtomicU64::new(0),
        }
    }

    /// Selects the series that pass all matchers and that the request may see.
    ///
    /// # Errors
    /// As [`SampleSnapshot::select_within`]; `Limited` if the request has now selected more series than it may.
    pub async fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Arc<dyn Selection>, StoreError> {
        // A request of many selectors gives way between them.
        tokio::task::yield_now().await;
        let matchers = self.with_policy(matchers);
        let allowance = Selecting::of(&self.context);
        let selection = match &self.parts[..] {
            [(_, only)] => only.select_within(&matchers, range, allowance).await?,
            parts => {
                let (parts, matchers) = chosen(parts, &matchers);
                let selects =
                    parts.iter().map(|part| part.1.select_within(&matchers, range, Arc::clone(&allowance)));
                let selections = futures::future::try_join_all(selects).await?;
                let tenants = parts.iter().map(|(tenant, _)| tenant).zip(selections);
                Arc::new(TenantSelection::new(tenants, &*allowance)?)
            }
        };
        self.count(selection.series().len() as u64)?;
        Ok(selection)
    }

    /// What the request holds, and when it ends.
    pub fn context(&self) -> &QueryContext {
        &self.context
    }

    /// The exemplars of the series that pass all matchers and that the request may see, in any order of series.
    ///
    /// # Errors
    /// As [`SampleSnapshot::exemplars`].
    pub async fn exemplars(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, StoreError> {
        let matchers = self.with_policy(matchers);
        if let [(_, only)] = &self.parts[..] {
            return only.exemplars(&matchers, range).await;
        }
        let (parts, matchers) = chosen(&self.parts, &matchers);
        let mut found = Vec::new();
        for (tenant, view) in parts {
            let of_tenant = view.exemplars(&matchers, range).await?;
            found.extend(of_tenant.into_iter().map(|(labels, all)| (labelled(tenant, &labels), all)));
        }
        Ok(found)
    }

    /// What the targets of any tenant say about metrics, each once.
    ///
    /// Metadata belongs to names, not to series: a label policy does not narrow it.
    ///
    /// # Errors
    /// As [`SampleSnapshot::metadata`].
    pub async fn metadata(
        &self,
        metric: Option<&str>,
    ) -> Result<Vec<(String, Vec<MetricMetadata>)>, StoreError> {
        let mut found: BTreeMap<String, Vec<MetricMetadata>> = BTreeMap::new();
        for (_, view) in &self.parts {
            for (name, all) in view.metadata(metric).await? {
                let known = found.entry(name).or_default();
                known.extend(all.into_iter().filter(|new| !known.contains(new)).collect::<Vec<_>>());
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The tenants that series of any of these matcher sets can have, where several are asked and the label
    /// `name` names them: they are known without looking, as in Mimir, also where they have no series.
    pub fn tenant_values(&self, name: &str, matcher_sets: &[Vec<Matcher>]) -> Option<Vec<String>> {
        if !self.federates() || name != TENANT_LABEL {
            return None;
        }
        let meant = |tenant: &TenantId| matcher_sets.iter().any(|matchers| self.asks(tenant, matchers));
        let tenants = self.parts.iter().map(|(tenant, _)| tenant).filter(|tenant| meant(tenant));
        Some(tenants.map(ToString::to_string).collect())
    }

    /// True if several tenants are asked, so that series carry [`TENANT_LABEL`].
    pub fn federates(&self) -> bool {
        self.parts.len() > 1
    }

    /// What is missing or uncertain, each said once.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for warning in self.parts.iter().flat_map(|(_, view)| view.warnings()) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        warnings
    }

    /// What an answer depends on that selected these series in these times.
    pub fn dependencies<'a>(
        &self,
        selectors: impl Iterator<Item = (&'a [Matcher], TimeRange)> + Clone,
    ) -> Dependencies {
        let mut epochs = Vec::new();
        let mut mutable_from = i64::MAX;
        for (tenant, view) in &self.parts {
            let of_tenant = selectors.clone().filter(|(matchers, _)| self.asks(tenant, matchers));
            let runs = windows(tenant, of_tenant.map(|(_, range)| range));
            if !runs.is_empty() {
                mutable_from = mutable_from.min(view.mutable_from());
            }
            let parts = |run: WindowEpochs| {
                let parts = view.epochs(run.windows).into_iter();
                parts.map(move |(windows, epoch)| WindowEpochs { windows, epoch, ..run.clone() })
            };
            epochs.extend(runs.into_iter().flat_map(parts));
        }
        Dependencies { snapshot: self.id.clone(), epochs, mutable_from }
    }

    /// True if a selector looks at the data of `tenant`.
    fn asks(&self, tenant: &TenantId, matchers: &[Matcher]) -> bool {
        let asked = || chosen(&self.parts, &self.with_policy(matchers)).0;
        !self.federates() || asked().iter().any(|(asked, _)| asked == tenant)
    }

    fn with_policy<'a>(&self, matchers: &'a [Matcher]) -> Cow<'a, [Matcher]> {
        if self.policy.is_empty() {
            return Cow::Borrowed(matchers);
        }
        matchers.iter().chain(&self.policy).cloned().collect()
    }

    fn count(&self, found: u64) -> Result<(), StoreError> {
        let all = self.series.fetch_add(found, Ordering::Relaxed).saturating_add(found);
        if all <= self.series_max {
            return Ok(());
        }
        let max = self.series_max;
        Err(StoreError::Limited(format!(
            "the request selects {all} series, at most {max} are allowed to it; narrow its selectors"
        )))
    }
}
