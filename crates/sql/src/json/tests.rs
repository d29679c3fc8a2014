//! Each type as it is shown, and nothing lost on the way.

#![allow(clippy::unwrap_used)] // Helpers of tests fail by panicking, as tests do.

use arrow::array::{
    ArrayRef, Int64Array, MapBuilder, StringArray, StringBuilder, TimestampMillisecondArray, UInt64Array,
};

use super::*;

fn shown(columns: Vec<(&str, ArrayRef)>) -> String {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)));
    let batch = batch.unwrap();
    let mut out = Vec::new();
    write_rows(&batch, 0..batch.num_rows(), &mut true, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn every_double_is_told_apart() {
    let values = vec![
        Some(1.0),
        Some(-0.0),
        Some(0.1),
        Some(1e300),
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(f64::NEG_INFINITY),
        None,
    ];
    let expected = "[1.0],[-0.0],[0.1],[1e+300],[\"NaN\"],[\"+Inf\"],[\"-Inf\"],[null]";
    assert_eq!(shown(vec![("v", Arc::new(Float64Array::from(values)))]), expected);
}

#[test]
fn rows_are_arrays_in_the_order_of_the_columns() {
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"b"), None]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]));
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![0, u64::MAX]));
    let expected = "[\"a\\\"b\",-9223372036854775808,0],[null,9223372036854775807,18446744073709551615]";
    assert_eq!(shown(vec![("name", names), ("i", numbers), ("u", large)]), expected);
}

#[test]
fn timestamps_are_rfc3339_and_maps_are_objects() {
    let ts = TimestampMillisecondArray::from(vec![0, 1_500]).with_timezone("UTC");
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for value in ["x", "y"] {
        labels.keys().append_value("job");
        labels.values().append_value(value);
        labels.append(true).unwrap();
    }
    let shown = shown(vec![("ts", Arc::new(ts)), ("labels", Arc::new(labels.finish()))]);
    assert_eq!(
        shown,
        "[\"1970-01-01T00:00:00Z\",{\"job\":\"x\"}],[\"1970-01-01T00:00:01.500Z\",{\"job\":\"y\"}]"
    );
}

#[test]
fn doubles_inside_lists_keep_their_nan() {
    let list = arrow::array::ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![
        Some(1.5),
        Some(f64::NAN),
    ])]);
    assert_eq!(shown(vec![("l", Arc::new(list))]), "[[1.5,\"NaN\"]]");
}

#[test]
fn every_time_is_shown() {
    let odd = [i64::MIN, -62_135_596_800_001, -1, 0, 253_402_300_799_999, 253_402_300_800_000, i64::MAX];
    let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from(odd.to_vec()).with_timezone("UTC"));
    let expected = "[\"-292275055-05-16T16:47:04.192Z\"],[\"0000-12-31T23:59:59.999Z\"],\
        [\"1969-12-31T23:59:59.999Z\"],[\"1970-01-01T00:00:00Z\"],[\"9999-12-31T23:59:59.999Z\"],\
        [\"+10000-01-01T00:00:00Z\"],[\"+292278994-08-17T07:12:55.807Z\"]";
    assert_eq!(shown(vec![("ts", ts)]), expected);
    let clock: ArrayRef = Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![1, -1_000]));
    assert_eq!(shown(vec![("t", clock)]), "[\"1970-01-01T00:00:00.000001\"],[\"1969-12-31T23:59:59.999\"]");
    let dates: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![i32::MIN, 0, i32::MAX]));
    assert_eq!(shown(vec![("d", dates)]), "[\"-5877641-06-23\"],[\"1970-01-01\"],[\"+5881580-07-11\"]");
    let clock: ArrayRef = Arc::new(arrow::array::Time64MicrosecondArray::from(vec![i64::MAX, 1_500_000]));
    assert_eq!(shown(vec![("c", clock)]), "[null],[\"00:00:01.500\"]");
}
