//! Every name by which a statement can call something.

use std::collections::BTreeSet;

use datafusion::execution::SessionStateBuilder;

use super::lists::{TABLES, WINDOWS, growth_of, is_aggregate, is_plain};

/// The names of all functions, aggregates and window functions that a statement may call, sorted.
#[must_use]
pub fn sql_functions() -> Vec<String> {
    let state = SessionStateBuilder::new().with_default_features().build();
    let scalar = state.scalar_functions().iter();
    let scalar =
        scalar.filter(|(_, function)| is_plain(function.name()) || growth_of(function.name()).is_some());
    let aggregates = state.aggregate_functions().iter().filter(|(_, function)| is_aggregate(function.name()));
    let windows = state.window_functions().iter().filter(|(_, function)| WINDOWS.contains(&function.name()));
    let names = scalar.map(|(name, _)| name.clone());
    let names =
        names.chain(aggregates.map(|(name, _)| name.clone())).chain(windows.map(|(name, _)| name.clone()));
    let ours = ["at_time_zone", "unnest"].iter().chain(TABLES).map(|name| (*name).to_owned());
    names.chain(ours).collect::<BTreeSet<_>>().into_iter().collect()
}
