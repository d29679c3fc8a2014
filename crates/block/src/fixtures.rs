//! Rows for the tests of this crate: awkward ones by hand and by proptest, and the shared real
//! samples where they are present.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use promontory_model::{Labels, STALE_NAN_BITS, TenantId};
use proptest::prelude::*;

use crate::codec::TenantRows;
use crate::run::SeriesRun;

/// Values whose bits a careless path would change.
pub const AWKWARD_BITS: [u64; 14] = [
    STALE_NAN_BITS,
    0x7ff8_0000_0000_0000,
    0x7ff8_0000_0000_0001,
    0xfff8_dead_beef_0001,
    0x7ff0_0000_0000_0001,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x3ff0_0000_0000_0000,
    0x4340_0000_0000_0001,
    0xc059_1999_9999_999a,
];

pub fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub fn run_of(series: impl IntoIterator<Item = (Labels, Vec<(i64, f64)>)>) -> SeriesRun {
    let mut series: Vec<_> = series.into_iter().collect();
    series.sort_by(|a, b| a.0.cmp(&b.0));
    let mut run = SeriesRun::default();
    for (key, samples) in series {
        run.push_floats(key, samples);
    }
    run
}

/// Two tenants, awkward labels, awkward values, extreme times.
pub fn awkward() -> Vec<TenantRows> {
    let values = AWKWARD_BITS.iter().enumerate();
    let every_value: Vec<_> = values.map(|(i, bits)| (i as i64 * 1_000, f64::from_bits(*bits))).collect();
    let many = (0..1_000).map(|i| (format!("label_{i:04}"), format!("v{}", i % 7)));
    let first = run_of([
        (Labels::empty(), vec![(0, 1.0)]),
        (Labels::from_pairs([("only", "label")]), vec![(-1, -0.0)]),
        (Labels::from_pairs([("__name__", "up"), ("a", "x\0y"), ("ü", "\0")]), every_value),
        (
            Labels::from_pairs([("__name__", "up"), ("a", "x")]),
            vec![(i64::MIN, 1.0), (0, 2.0), (i64::MAX, 3.0)],
        ),
        (
            Labels::from_pairs([("Foo", "upper"), ("__name__", "z"), ("l_a", "1"), ("sid", "2")]),
            vec![(7, 7.0)],
        ),
        (Labels::from_pairs(many.chain([("__name__".to_owned(), "wide".to_owned())])), vec![(5, 0.5)]),
    ]);
    let second =
        run_of([(Labels::from_pairs([("__name__", "up"), ("a", "x")]), vec![(3, 4.0), (4, f64::NAN)])]);
    vec![(tenant("a"), first), (tenant("b"), second)]
}

/// A scrape-like block: `n_series` series of `n_samples` samples each 15 s.
pub fn regular(n_series: usize, n_samples: usize) -> SeriesRun {
    let series = (0..n_series).map(|i| {
        let key = Labels::from_pairs([
            ("__name__", format!("metric_{:03}", i / 100)),
            ("instance", format!("host-{:03}:9100", i % 100)),
            ("job", format!("job-{}", i % 3)),
        ]);
        let samples = (0..n_samples).map(|s| (1_700_000_000_000 + s as i64 * 15_000, (i * s % 1_009) as f64));
        (key, samples.collect())
    });
    run_of(series)
}

/// Rows of one tenant: name, keys, offsets, timestamps, bits of values.
pub type Bits = (String, Vec<Labels>, Vec<usize>, Vec<i64>, Vec<u64>);

/// Equality of bits: NaN equals itself, -0.0 differs from 0.0.
pub fn bits(tenants: &[TenantRows]) -> Vec<Bits> {
    tenants
        .iter()
        .map(|(tenant, run)| {
            let floats = run.floats();
            let values = floats.values().iter().map(|value| value.to_bits()).collect();
            let offsets = run.samples().floats().offsets().to_vec();
            (tenant.as_str().to_owned(), run.keys().to_vec(), offsets, floats.ts().to_vec(), values)
        })
        .collect()
}

pub fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::sample::select(AWKWARD_BITS.to_vec()).prop_map(f64::from_bits),
        any::<u64>().prop_map(f64::from_bits),
        (-1_000i32..1_000).prop_map(f64::from),
    ]
}

pub fn any_labels() -> impl Strategy<Value = Labels> {
    let name = prop::sample::select(vec!["__name__", "a", "b", "instance", "job", "Z", "é", "l_a"]);
    let value = prop::sample::select(vec!["", "x", "y", "x\0", "\0", "\u{1}", "long value of a label"]);
    prop::collection::vec((name, value), 0..6).prop_map(Labels::from_pairs)
}

/// Runs of few series with times close together, so that merges meet equal keys and timestamps.
pub fn any_run() -> impl Strategy<Value = SeriesRun> {
    let time = prop_oneof![8 => -20i64..20, 1 => any::<i64>()];
    let samples = prop::collection::btree_map(time, any_value(), 1..20);
    prop::collection::btree_map(any_labels(), samples, 1..6).prop_map(run_of_maps)
}

pub fn any_tenants() -> impl Strategy<Value = Vec<TenantRows>> {
    let name = prop::sample::select(vec!["a", "b", "c"]).prop_map(tenant);
    prop::collection::btree_map(name, any_run(), 1..4).prop_map(|tenants| tenants.into_iter().collect())
}

fn run_of_maps<M: IntoIterator<Item = (i64, f64)>>(
    series: impl IntoIterator<Item = (Labels, M)>,
) -> SeriesRun {
    run_of(series.into_iter().map(|(key, samples)| (key, samples.into_iter().collect())))
}

/// What a Prometheus collected from a real machine: `host-metrics.*.parquet` in the folder that
/// `PROMONTORY_DATA` names, by default `../shared/data` beside the checkout. `None` if it is absent.
pub fn real_samples() -> Option<SeriesRun> {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").into();
    let folder: std::path::PathBuf = std::env::var_os("PROMONTORY_DATA").map_or_else(beside, Into::into);
    let labels = read_parquet(&folder.join("host-metrics.series.parquet"))?;
    let samples = read_parquet(&folder.join("host-metrics.samples.parquet"))?;
    let mut series: Vec<(Labels, Vec<(i64, f64)>)> = Vec::new();
    for batch in &labels {
        let maps = batch.column_by_name("labels").unwrap().as_map();
        for row in 0..batch.num_rows() {
            let entry = maps.value(row);
            let (names, values) = (entry.column(0).as_string::<i32>(), entry.column(1).as_string::<i32>());
            let pairs = names.iter().flatten().zip(values.iter().flatten());
            series.push((Labels::from_pairs(pairs), Vec::new()));
        }
    }
    for batch in &samples {
        let column = |name: &str| cast(batch.column_by_name(name).unwrap(), &DataType::Int64).unwrap();
        let (sids, ts) = (column("sid"), column("ts_ms"));
        let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
        let (sids, ts) = (sids.as_primitive::<Int64Type>(), ts.as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            series[sids.value(row) as usize].1.push((ts.value(row), values.value(row)));
        }
    }
    Some(run_of(series))
}

fn read_parquet(path: &std::path::Path) -> Option<Vec<RecordBatch>> {
    let file = std::fs::File::open(path).ok()?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    Some(reader.map(Result::unwrap).collect())
}

/// Says that a test did not run, and why.
pub fn skipped(test: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {test}: no host-metrics data; set PROMONTORY_DATA");
}
