//! The tables agree with themselves.

use super::*;

#[test]
fn table_holds_the_90_functions_of_3_14_sorted_by_name() {
    assert_eq!(FUNCTIONS.len(), 90);
    assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
    assert_eq!(FUNCTIONS.iter().filter(|function| function.has(Property::Experimental)).count(), 17);
}

#[test]
fn every_function_is_found_by_name_and_by_kernel() {
    for function in FUNCTIONS {
        assert_eq!(Function::by_name(function.name).map(|found| found.name), Some(function.name));
        assert_eq!(Function::of(function.kernel).map(|found| found.name), Some(function.name));
    }
    assert!(Function::by_name("Rate").is_none());
    assert!(Function::by_name("").is_none());
}

#[test]
fn no_kernel_is_without_a_name() {
    let count = |of: fn(Kernel) -> bool| FUNCTIONS.iter().filter(|function| of(function.kernel)).count();
    assert_eq!(count(|kernel| matches!(kernel, Kernel::Range(_))), 27);
    assert_eq!(count(|kernel| matches!(kernel, Kernel::Unary(_))), 23);
    assert_eq!(count(|kernel| matches!(kernel, Kernel::Date(_))), 8);
}

#[test]
fn arity_bounds_follow_the_variadic_rule() {
    let check = |name: &str, min: usize, max: Option<usize>| {
        let function = Function::by_name(name).unwrap();
        assert_eq!((function.args_min(), function.args_max()), (min, max), "{name}");
    };
    check("rate", 1, Some(1));
    check("time", 0, Some(0));
    check("hour", 0, Some(1));
    check("round", 1, Some(2));
    check("info", 1, Some(2));
    check("label_join", 3, None);
    check("sort_by_label", 1, None);
    check("histogram_quantiles", 3, Some(12));
    check("label_replace", 5, Some(5));
}

#[test]
fn fourteen_aggregations_six_with_a_parameter() {
    assert_eq!(AGGREGATIONS.len(), 14);
    assert_eq!(AGGREGATIONS.iter().filter(|op| op.param.is_some()).count(), 6);
    for aggregation in AGGREGATIONS {
        assert_eq!(Aggregation::by_name(aggregation.name), Some(aggregation));
        assert_eq!(Aggregation::of(aggregation.kernel).map(|found| found.name), Some(aggregation.name));
    }
}
