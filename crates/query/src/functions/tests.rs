//! Functions are told apart by name and by all that they are called with.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use promontory_promql::kernels::{RangeFunction, RangeWindow};
use promontory_promql::{FUNCTIONS as PROMQL_FUNCTIONS, Grid};

use super::*;
use crate::table::values_field;

fn column(name: &str, index: usize) -> ExprRef {
    Arc::new(Column::new(name, index))
}

fn call(name: &str, call: impl Write) -> ScalarFunctionExpr {
    let function = scalar_function(name).unwrap();
    let config = Arc::new(ConfigOptions::new());
    ScalarFunctionExpr::new(name, function, call.write(), values_field(), config)
}

fn rate(window: RangeWindow) -> ScalarFunctionExpr {
    let (ts, samples) = (column("ts", 1), column("values", 2));
    let name = name_of(Kernel::Range(RangeFunction::Rate)).unwrap();
    call(name, RangeCall { ts, samples, window, params: Vec::new() })
}

fn by(names: &[&str]) -> ScalarFunctionExpr {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    call(LABELS_BY, NamesCall { labels: column("labels", 0), names })
}

#[test]
fn calls_with_unlike_windows_or_labels_are_unlike() {
    let grid = Grid { start: 0, step: 1_000, steps: 3 };
    let window = RangeWindow::new(grid, 5_000, 0);
    assert!(rate(window) == rate(window));
    assert!(rate(window) != rate(RangeWindow { range: 6_000, ..window }));
    assert!(rate(window) != rate(RangeWindow::new(grid, 5_000, 1_000)));
    assert!(rate(window) != rate(RangeWindow::new(Grid { steps: 4, ..grid }, 5_000, 0)));
    assert!(by(&["job"]) == by(&["job"]));
    assert!(by(&["job"]) != by(&["job", "instance"]));
}

#[test]
fn functions_are_equal_by_name() {
    let all: Vec<_> = FUNCTIONS.values().collect();
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| one != other), "{}", one.name());
    }
}

/// Each name is registered once: a second registration would silently replace the first.
#[test]
fn names_of_promql_and_our_own_do_not_meet() {
    let own = [
        NEGATE,
        EVALUATION_TIME,
        INVERT,
        BROADCAST,
        CONSTANT_GRID,
        LIMIT_RATIO,
        LOOKUP,
        LOOKUP_TIMESTAMP,
        GRID_TS,
        GRID_SAMPLES,
        NOTE_COUNTER,
        DROP_NAME,
        MARK_NAME,
        FINISH_NAME,
        LABELS_BY,
        LABELS_WITHOUT,
        LABEL_SET,
        LABEL_SET_FROM,
        VALUE_KEY,
        LABEL_KEY,
        NATURAL_KEY,
    ];
    for name in own {
        assert!(FUNCTIONS.contains_key(name), "{name}");
        assert!(!PROMQL_FUNCTIONS.iter().any(|function| function.name == name), "{name}");
    }
    // 27 of windows, 23 of values, 8 of dates, round, clamp, max_of, min_of, label_replace, label_join,
    // and two for each operator.
    assert_eq!(FUNCTIONS.len(), own.len() + 27 + 23 + 8 + 6 + 2 * BinaryOp::ALL.len());
}
