//! From a checked query to operators: what all of running, explaining and pricing it need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use promontory_model::Matcher;
use promontory_plan::{
    Estimate, LabelProjection, Plan, PlanRoot, QuerySettings, ScalarArg, ScanFacts, ScanSpec, admit,
    all_counters, estimate, for_each_vector, lower, name_fact, prune, prune_counter_notes, push_labels,
};
use promontory_promql::engine::{Dependencies, EngineError};
use promontory_store::Selection;

use super::question::Query;
use crate::error::{plan_error, store_error, to_engine_error};
use crate::physical::{PhysicalPlanner, PreparedScan, coalesce};
use crate::session::Session;
use crate::view::RequestView;

/// Selectors of one query that are looked up at once: enough to wait for the store once, few enough that one
/// that is refused stops the rest.
const SELECTORS_AT_ONCE: usize = 16;

/// A query whose series are found and whose plan fits them.
pub(super) struct Planned {
    pub(super) root: PlanRoot,
    pub(super) scans: Vec<ScanSpec>,
    /// One for each scan.
    pub(super) selections: Vec<Arc<dyn Selection>>,
    pub(super) view: Arc<RequestView>,
    /// How long pinning the snapshot and looking series up took.
    pub(super) looked_up: Duration,
}

/// Operators that are ready to run.
pub(super) struct Operators {
    /// `None` where nothing is to be done.
    pub(super) plan: Option<Arc<dyn ExecutionPlan>>,
    /// Owns their memory.
    pub(super) task: Arc<TaskContext>,
}

/// Pins a snapshot, lowers the expression, selects the series of all its selectors, and rewrites the plan by
/// what is known of them.
pub(super) async fn plan(session: &Session, query: &Query) -> Result<Planned, EngineError> {
    let entered = Instant::now();
    let view = session.view().await?;
    let pinned = entered.elapsed();
    let settings = QuerySettings { samples_max: session.context.samples_max(), ..query.settings };
    let annotations = session.context.annotations();
    let Plan { mut root, scans } =
        lower(&query.expr, query.grid, settings, annotations).map_err(plan_error)?;
    let selecting = Instant::now();
    let mut selects = Vec::with_capacity(scans.len());
    for scan in &scans {
        selects.push(view.select(&scan.matchers, scan.range).boxed());
    }
    let selections = futures::stream::iter(selects).buffered(SELECTORS_AT_ONCE).try_collect().await;
    let selections: Vec<_> = selections.map_err(|error| store_error(&error))?;
    let looked_up = pinned + selecting.elapsed();
    rewrite(&mut root, &selections);
    Ok(Planned { root, scans, selections, view, looked_up })
}

fn rewrite(root: &mut PlanRoot, selections: &[Arc<dyn Selection>]) {
    let fact = |selection: &Arc<dyn Selection>| ScanFacts {
        name: name_fact(selection.series()),
        empty: selection.series().is_empty(),
    };
    let facts: Vec<ScanFacts> = selections.iter().map(fact).collect();
    let counters: Vec<bool> = selections.iter().map(|selection| all_counters(selection.series())).collect();
    for_each_vector(root, &mut |node| {
        prune(node, &facts);
        prune_counter_notes(node, &counters);
        push_labels(node);
    });
}

impl Planned {
    /// What it will certainly hold.
    pub(super) fn estimate(&self) -> Estimate {
        let series: Vec<u64> =
            self.selections.iter().map(|selection| selection.series().len() as u64).collect();
        estimate(&self.root, &series)
    }

    /// What its answer will depend on.
    pub(super) fn dependencies(&self) -> Dependencies {
        self.view.dependencies(self.scans.iter().map(|scan| (&scan.matchers[..], scan.range)))
    }

    /// Its operators.
    ///
    /// # Errors
    /// `Limited` if it would certainly hold more than it may.
    pub(super) fn operators(&self, session: &Session, steps: usize) -> Result<Operators, EngineError> {
        let settings = &session.shared().settings;
        admit(self.estimate(), settings.memory_bytes_max).map_err(plan_error)?;
        let scans: Vec<PreparedScan> = self.scans.iter().zip(&self.selections).map(prepared).collect();
        let (config, task) = session.shared().task(&session.context, steps);
        let planner = PhysicalPlanner {
            context: Arc::clone(&session.context),
            config,
            scans: &scans,
            partitions_max: settings.partitions_max,
            batch_values: settings.batch_values,
            named_annotations: settings.delayed_name_removal,
        };
        let plan = match &self.root {
            PlanRoot::Vector(node) | PlanRoot::Subquery(node) => Some(planner.vector(node)),
            PlanRoot::Scalar(ScalarArg::Node(node)) => Some(planner.vector(node)),
            PlanRoot::Samples { scan, .. } => Some(planner.samples(*scan, LabelProjection::All, 1)),
            PlanRoot::Scalar(_) | PlanRoot::String(_) => None,
        };
        let plan = plan.transpose().map_err(to_engine_error)?.map(coalesce);
        Ok(Operators { plan, task })
    }
}

fn prepared((scan, selection): (&ScanSpec, &Arc<dyn Selection>)) -> PreparedScan {
    let matchers: Vec<String> = scan.matchers.iter().map(Matcher::to_string).collect();
    PreparedScan { selector: format!("{{{}}}", matchers.join(",")).into(), selection: Arc::clone(selection) }
}
