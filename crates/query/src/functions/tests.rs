//! Functions are told apart by name and by all that they are called with.

use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use promontory_promql::kernels::{RangeFunction, RangeWindow};
use promontory_promql::{ClampBounds, FUNCTIONS as PROMQL_FUNCTIONS, Grid};

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

fn number(value: f64) -> ExprRef {
    literal(ScalarValue::Float64(Some(value)))
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn labels() -> ExprRef {
    column("labels", 0)
}

fn values() -> ExprRef {
    column("values", 2)
}

fn rate(window: RangeWindow) -> ScalarFunctionExpr {
    let name = name_of(Kernel::Range(RangeFunction::Rate)).unwrap();
    call(name, RangeCall { ts: column("ts", 1), samples: values(), window, params: Vec::new() })
}

/// Each differs from one of the others in one field of its window or grid.
fn calls_over_times() -> Vec<ScalarFunctionExpr> {
    let grid = Grid { start: 0, step: 1_000, steps: 3 };
    let grids = [grid, Grid { start: 1, ..grid }, Grid { step: 2_000, ..grid }, Grid { steps: 4, ..grid }];
    let window = RangeWindow::new(grid, 5_000, 0);
    let lookup =
        |ends, lookback| call(LOOKUP, LookupCall { ts: column("ts", 1), samples: values(), ends, lookback });
    let predict = |seconds| {
        let name = name_of(Kernel::Range(RangeFunction::PredictLinear)).unwrap();
        let params = vec![number(seconds)];
        call(name, RangeCall { ts: column("ts", 1), samples: values(), window, params })
    };
    let mut calls = vec![rate(RangeWindow { range: 6_000, ..window }), predict(60.0), predict(61.0)];
    calls.extend(grids.map(|ends| rate(RangeWindow { ends, ..window })));
    calls.extend(grids[1..].iter().map(|eval| rate(RangeWindow { eval: *eval, ..window })));
    calls.extend(grids.map(|ends| lookup(ends, 300_000)));
    calls.push(lookup(grid, 60_000));
    calls.extend(grids.map(|grid| call(GRID_TS, TimesCall { values: values(), grid })));
    calls
}

/// Each differs from one of the others in one number, flag or column.
fn calls_of_values() -> Vec<ScalarFunctionExpr> {
    let clamp = |lower, upper| {
        let params = vec![number(lower), number(upper)];
        call(name_of(Kernel::Clamp(ClampBounds::Both)).unwrap(), ParamsCall { values: values(), params })
    };
    let compare = |scalar, returns_bool| {
        let scalar = number(scalar);
        call(&values_operator(BinaryOp::Greater), OperatorCall { values: values(), scalar, returns_bool })
    };
    let constant = |scalar, steps| call(CONSTANT_GRID, ConstantCall { scalar: number(scalar), steps });
    let ratio =
        |ratio| call(LIMIT_RATIO, ChoiceCall { labels: labels(), values: values(), scalar: number(ratio) });
    let note = |place| call(NOTE_COUNTER, NoteCall { labels: labels(), values: values(), place });
    let spread = |steps| call(BROADCAST, SpreadCall { values: values(), steps });
    let negate = |values| call(NEGATE, ValuesCall { values });
    vec![
        clamp(0.0, 1.0),
        clamp(0.5, 1.0),
        clamp(0.0, 2.0),
        compare(1.0, false),
        compare(2.0, false),
        compare(1.0, true),
        constant(1.0, 3),
        constant(2.0, 3),
        constant(1.0, 4),
        ratio(0.5),
        ratio(-0.5),
        note(0),
        note(7),
        spread(3),
        spread(4),
        negate(values()),
        negate(column("values", 3)),
    ]
}

/// Each differs from one of the others in one name or text.
fn calls_of_labels() -> Vec<ScalarFunctionExpr> {
    let by = |names: &[&str]| {
        let names = names.iter().map(|name| text(name)).collect();
        call(LABELS_BY, NamesCall { labels: labels(), names })
    };
    let replace = |[to, replacement, from, regex]: [&str; 4]| {
        let (to, replacement, from, regex) = (text(to), text(replacement), text(from), text(regex));
        let name = name_of(Kernel::LabelReplace).unwrap();
        call(name, ReplaceCall { labels: labels(), to, replacement, from, regex })
    };
    let join = |to, separator, from: &[&str]| {
        let (to, separator, from) = (text(to), text(separator), from.iter().map(|name| text(name)).collect());
        call(name_of(Kernel::LabelJoin).unwrap(), JoinCall { labels: labels(), to, separator, from })
    };
    let set = |to, value| call(LABEL_SET, SetCall { labels: labels(), to: text(to), value: text(value) });
    let set_from =
        |to| call(LABEL_SET_FROM, SetFromCall { labels: labels(), to: text(to), values: values() });
    vec![
        by(&["job"]),
        by(&["job", "instance"]),
        replace(["to", "$1", "from", "(.*)"]),
        replace(["other", "$1", "from", "(.*)"]),
        replace(["to", "$2", "from", "(.*)"]),
        replace(["to", "$1", "other", "(.*)"]),
        replace(["to", "$1", "from", "(.+)"]),
        join("to", "-", &["a", "b"]),
        join("other", "-", &["a", "b"]),
        join("to", "+", &["a", "b"]),
        join("to", "-", &["a", "c"]),
        set("to", "value"),
        set("other", "value"),
        set("to", "other"),
        set_from("to"),
        set_from("other"),
    ]
}

#[test]
fn calls_with_unlike_arguments_are_unlike() {
    let make = || {
        let all = calls_over_times().into_iter().chain(calls_of_values()).chain(calls_of_labels());
        all.collect::<Vec<_>>()
    };
    let hash = |call: &ScalarFunctionExpr| BuildHasherDefault::<DefaultHasher>::default().hash_one(call);
    let (calls, again) = (make(), make());
    for (i, one) in calls.iter().enumerate() {
        assert!(*one == again[i] && hash(one) == hash(&again[i]), "{one}");
        for other in &calls[i + 1..] {
            assert!(one != other && hash(one) != hash(other), "{one} and {other}");
        }
    }
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
