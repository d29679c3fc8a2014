//! Aggregations: states that are merged give what one pass gives.

use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::time::{Duration, Instant};

use promontory_model::Labels;

use datafusion::common::ScalarValue;

use super::*;
use crate::memory::{QueryMemory, TotalMemory};
use crate::table::{GridBuilder, labels_array};

const STEPS: usize = 3;

fn memory() -> Arc<QueryMemory> {
    QueryMemory::new(usize::MAX, &TotalMemory::new(usize::MAX, Arc::default()))
}

fn aggregate(kind: AggregateKind) -> PromqlAggregate {
    let context = Arc::new(QueryContext::new(Instant::now() + Duration::from_secs(60), 1_000, memory()));
    PromqlAggregate::new(kind, Grid { start: 0, step: 1_000, steps: STEPS }, context)
}

fn known(value: f64) -> KnownParam {
    KnownParam(Some(Arc::from([value])))
}

/// Rows of one test: label `le`, and a value or nothing per step.
const ROWS: [(&str, [Option<f64>; STEPS]); 5] = [
    ("0.1", [Some(1.0), None, Some(f64::NAN)]),
    ("0.5", [Some(3.0), None, Some(2.0)]),
    ("1", [Some(3.0), Some(7.0), None]),
    ("2", [Some(8.0), Some(9.0), Some(5.0)]),
    ("+Inf", [Some(9.0), Some(9.0), Some(6.0)]),
];

fn columns(rows: std::ops::Range<usize>, with_labels: bool) -> Vec<ArrayRef> {
    let keys: Vec<Labels> = ROWS[rows.clone()]
        .iter()
        .map(|(le, _)| Labels::from_pairs([("__name__", "b"), ("le", le)]))
        .collect();
    let mut grids = GridBuilder::new(STEPS, rows.len());
    for (_, points) in &ROWS[rows] {
        let (values, valid) = grids.row().unwrap();
        for (step, point) in points.iter().enumerate() {
            (values[step], valid[step]) = (point.unwrap_or(0.0), point.is_some());
        }
    }
    let grids = grids.finish();
    if with_labels { vec![labels_array(keys.iter().map(Labels::key)), grids] } else { vec![grids] }
}

/// Numbers to twelve digits: merged sums may differ in the last bit.
fn rounded(text: &str) -> String {
    let ends_number = |c: char| matches!(c, ',' | ' ' | '[' | ']' | '{' | '}' | '\n');
    text.split_inclusive(ends_number)
        .map(|part| {
            let number = part.trim_end_matches(ends_number);
            match number.parse::<f64>() {
                Ok(value) => part.replacen(number, &format!("{value:.12e}"), 1),
                Err(_) => part.to_owned(),
            }
        })
        .collect()
}

fn shown(array: &ArrayRef) -> String {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::default().with_null("-");
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).unwrap();
    (0..array.len()).map(|row| format!("{}\n", formatter.value(row))).collect()
}

/// All rows in one accumulator.
fn whole(kind: &AggregateKind, with_labels: bool, groups: &[usize]) -> Result<String> {
    let mut accumulator = aggregate(kind.clone()).groups();
    accumulator.update_batch(&columns(0..ROWS.len(), with_labels), groups, None, 2)?;
    Ok(shown(&accumulator.evaluate(EmitTo::All)?))
}

/// Rows in two accumulators and one by one, merged from their states.
fn merged(kind: &AggregateKind, with_labels: bool, groups: &[usize]) -> Result<String> {
    let aggregate = aggregate(kind.clone());
    let mut first = aggregate.groups();
    first.update_batch(&columns(0..2, with_labels), &groups[..2], None, 2)?;
    let mut last = aggregate.groups();
    let unlearned = first.state(EmitTo::All)?;
    last.merge_batch(&unlearned, &[0, 1], 2)?;
    let alone = aggregate.groups().convert_to_state(&columns(2..ROWS.len(), with_labels), None)?;
    last.merge_batch(&alone, &groups[2..], 2)?;
    Ok(shown(&last.evaluate(EmitTo::All)?))
}

fn check_merge(kind: AggregateKind, with_labels: bool) {
    for groups in [[0, 1, 0, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]] {
        let whole = rounded(&whole(&kind, with_labels, &groups).unwrap());
        let merged = rounded(&merged(&kind, with_labels, &groups).unwrap());
        assert_eq!(whole, merged, "{kind:?} {groups:?}");
    }
}

#[test]
fn merged_states_give_what_one_state_gives() {
    use AggregateFunction::{Avg, Count, Group, Max, Min, Stddev, Stdvar, Sum};
    for function in [Sum, Avg, Min, Max, Count, Group, Stddev, Stdvar] {
        check_merge(AggregateKind::Grid(function), false);
    }
    check_merge(AggregateKind::Only, false);
    check_merge(AggregateKind::Quantile(known(0.3)), false);
    check_merge(AggregateKind::CountValues, false);
    check_merge(AggregateKind::TopK(Order::Largest, known(5.0)), true);
    check_merge(AggregateKind::LimitK(known(5.0)), true);
    let bucket = |function, second| {
        AggregateKind::Buckets(BucketArguments {
            function,
            params: [known(0.2), second],
            place: 0,
            named: false,
        })
    };
    check_merge(bucket(BucketFunction::Quantile, KnownParam::default()), true);
    check_merge(bucket(BucketFunction::Fraction, known(1.5)), true);
}

#[test]
fn the_first_groups_leave_and_the_others_move_down() {
    for kind in [AggregateKind::Grid(AggregateFunction::Sum), AggregateKind::Quantile(known(0.5))] {
        let mut accumulator = aggregate(kind.clone()).groups();
        accumulator.update_batch(&columns(0..ROWS.len(), false), &[0, 0, 1, 1, 1], None, 2).unwrap();
        let first = shown(&accumulator.evaluate(EmitTo::First(1)).unwrap());
        let second = shown(&accumulator.evaluate(EmitTo::All).unwrap());
        assert_eq!(first + &second, whole(&kind, false, &[0, 0, 1, 1, 1]).unwrap());
    }
}

#[test]
fn equal_labels_fail_only_at_one_step() {
    let mut accumulator = aggregate(AggregateKind::One).groups();
    let mut grids = GridBuilder::new(STEPS, 2);
    for step in [0, 2] {
        let (values, valid) = grids.row().unwrap();
        (values[step], valid[step]) = (1.0, true);
    }
    accumulator.update_batch(&[grids.finish()], &[0, 0], None, 1).unwrap();
    assert_eq!(shown(&accumulator.evaluate(EmitTo::All).unwrap()), "[1.0, -, 1.0]\n");
    assert!(whole(&AggregateKind::One, false, &[0, 0, 1, 1, 1]).is_err());
}

#[test]
fn the_whole_input_is_one_row_even_without_input() {
    let args = aggregate(AggregateKind::Only);
    let mut one = OneGroup { groups: Mutex::new(args.groups()) };
    let ScalarValue::List(list) = one.evaluate().unwrap() else { panic!("a grid is a list") };
    assert_eq!(shown(&list.value(0)), "NaN\nNaN\nNaN\n");
}

/// Kinds that differ in one thing each, and therefore in their results.
#[test]
fn aggregations_with_unlike_parameters_are_unlike() {
    let per_step = KnownParam(Some(Arc::from([1.0, 2.0, 3.0])));
    let bucket = |function, params, place, named| {
        AggregateKind::Buckets(BucketArguments { function, params, place, named })
    };
    let params = |value| [known(value), KnownParam::default()];
    let kinds = [
        AggregateKind::Grid(AggregateFunction::Sum),
        AggregateKind::Grid(AggregateFunction::Avg),
        AggregateKind::One,
        AggregateKind::Only,
        AggregateKind::CountValues,
        AggregateKind::Quantile(known(0.5)),
        AggregateKind::Quantile(known(0.9)),
        AggregateKind::Quantile(known(f64::NAN)),
        AggregateKind::Quantile(KnownParam::default()),
        AggregateKind::TopK(Order::Largest, known(1.0)),
        AggregateKind::TopK(Order::Largest, known(2.0)),
        AggregateKind::TopK(Order::Largest, per_step.clone()),
        AggregateKind::TopK(Order::Smallest, known(1.0)),
        AggregateKind::LimitK(known(1.0)),
        AggregateKind::LimitK(known(2.0)),
        AggregateKind::LimitK(per_step),
        bucket(BucketFunction::Quantile, params(0.5), 0, false),
        bucket(BucketFunction::Quantile, params(0.9), 0, false),
        bucket(BucketFunction::Quantile, params(0.5), 7, false),
        bucket(BucketFunction::Quantile, params(0.5), 0, true),
        bucket(BucketFunction::Fraction, [known(0.5), known(1.0)], 0, false),
        bucket(BucketFunction::Fraction, [known(0.5), known(2.0)], 0, false),
    ];
    let context = Arc::new(QueryContext::new(Instant::now() + Duration::from_secs(60), 1_000, memory()));
    let made = |kind: &AggregateKind, grid| PromqlAggregate::new(kind.clone(), grid, Arc::clone(&context));
    let grid = Grid { start: 0, step: 1_000, steps: STEPS };
    let grids = [grid, Grid { start: 1, ..grid }, Grid { step: 2_000, ..grid }, Grid { steps: 4, ..grid }];
    let of_kind = |kind: &AggregateKind| grids.map(|grid| made(kind, grid));
    let all: Vec<PromqlAggregate> = kinds.iter().flat_map(of_kind).collect();
    let again: Vec<PromqlAggregate> = kinds.iter().flat_map(of_kind).collect();
    let hash = |one: &PromqlAggregate| BuildHasherDefault::<DefaultHasher>::default().hash_one(one);
    for (i, one) in all.iter().enumerate() {
        assert!(!one.name().is_empty(), "{:?}", one.kind);
        assert!(*one == again[i] && hash(one) == hash(&again[i]), "{:?} {:?}", one.kind, one.grid);
        for other in &all[i + 1..] {
            let says = || format!("{:?} {:?} and {:?} {:?}", one.kind, one.grid, other.kind, other.grid);
            assert!(one != other && hash(one) != hash(other), "{}", says());
        }
    }
}
