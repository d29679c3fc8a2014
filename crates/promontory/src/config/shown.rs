//! The value of every flag, as `/api/v1/status/flags` shows it.

use std::collections::BTreeMap;

use clap::{ArgMatches, Args};
use promontory_store::StoreUrl;

use super::Flags;
use super::values::PositiveDuration;

/// Every flag of serving with its value: durations in Prometheus' notation, lists with commas,
/// everything else as it was given.
pub fn given(matches: &ArgMatches) -> BTreeMap<String, String> {
    let flags = Flags::augment_args(clap::Command::new("serve"));
    let shown = flags.get_arguments().filter_map(|arg| {
        let value = value(matches, arg.get_id().as_str());
        Some((arg.get_long()?.to_owned(), value))
    });
    shown.collect()
}

/// The same with what the process runs on where that is not what was given: a store's address may hold
/// secrets, and sizes depend on the machine.
pub fn in_effect(
    given: &BTreeMap<String, String>,
    store: &StoreUrl,
    sizes: impl IntoIterator<Item = (&'static str, u64)>,
) -> BTreeMap<String, String> {
    let mut shown = given.clone();
    shown.insert("store".to_owned(), store.to_string());
    for (flag, bytes) in sizes {
        shown.insert(flag.to_owned(), bytes.to_string());
    }
    shown
}

fn value(matches: &ArgMatches, id: &str) -> String {
    if let Ok(Some(span)) = matches.try_get_one::<PositiveDuration>(id) {
        return span.to_string();
    }
    if let Ok(Some(is_on)) = matches.try_get_one::<bool>(id) {
        return is_on.to_string();
    }
    let values = matches.get_raw(id).into_iter().flatten();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    values.join(",")
}
