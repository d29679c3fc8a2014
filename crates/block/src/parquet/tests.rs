//! A block comes back bit by bit or not at all, whole or page by page.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, UInt32Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::schema::types::ColumnPath;
use promontory_model::samples::Floats;
use promontory_model::{Labels, MatchOp, Matcher, TimeRange, stale_nan};
use proptest::prelude::*;

use super::write::{TableWriter, properties};
use super::*;
use crate::fixtures::{any_tenants, awkward, bits, real_samples, regular, run_of, skipped, tenant};
use crate::run::SeriesRun;

fn objects(block: &EncodedBlock) -> Vec<Bytes> {
    block.objects.iter().map(|object| object.bytes.clone()).collect()
}

fn footer(object: &ObjectMeta, bytes: &Bytes) -> Result<Footer, Error> {
    Footer::read(object, bytes.slice(bytes.len() - object.footer_size as usize..))
}

/// Only the ranges that were planned.
fn fetch(bytes: &Bytes, ranges: &[std::ops::Range<u64>]) -> Fetched {
    let mut fetched = Fetched::default();
    for range in ranges {
        fetched.insert(range.start, bytes.slice(range.start as usize..range.end as usize));
    }
    fetched
}

/// Reads a whole block through the selective path, series by series.
fn read_selectively(meta: &BlockMeta, objects: &[Bytes]) -> Result<Vec<TenantRows>, Error> {
    let series = footer(&meta.objects[0], &objects[0])?;
    let samples = footer(&meta.objects[1], &objects[1])?;
    let samples_table = SamplesTable::new(&samples)?;
    let mut tenants = Vec::new();
    for span in &meta.tenants {
        let plan = SeriesTable::plan(&series, &span.series, 0)?;
        let table = SeriesTable::decode(&series, span.series.clone(), &fetch(&objects[0], &plan))?;
        let mut run = SeriesRun::default();
        for series_idx in 0..table.len() {
            let rows = [table.row(series_idx).rows];
            let fetched = fetch(&objects[1], &samples_table.plan(&rows, 0));
            let floats = samples_table.decode(&rows, &fetched)?;
            run.push(table.key(series_idx), floats.view().into());
        }
        tenants.push((span.tenant.clone(), run));
    }
    Ok(tenants)
}

#[test]
fn awkward_rows_come_back_bit_by_bit_at_every_level() {
    for (level, tenants) in
        [(Level::L1, &awkward()[..]), (Level::L2, &awkward()[..1]), (Level::L3, &awkward()[1..])]
    {
        let block = ParquetCodec.encode(level, tenants).unwrap();
        let decoded = ParquetCodec.decode(&block.meta, &objects(&block)).unwrap();
        assert_eq!(bits(&decoded), bits(tenants), "{level:?}");
        let selected = read_selectively(&block.meta, &objects(&block)).unwrap();
        assert_eq!(bits(&selected), bits(tenants), "{level:?}");
    }
}

#[test]
fn a_block_of_the_first_version_is_still_read() {
    let objects = [
        Bytes::from_static(include_bytes!("../../tests/golden/block-v1.series.parquet")),
        Bytes::from_static(include_bytes!("../../tests/golden/block-v1.samples.parquet")),
    ];
    let mut meta = describe(Level::L1, &awkward()).unwrap();
    for (kind, bytes, footer_size) in [
        (ObjectKind::Series, &objects[0], GOLDEN_FOOTERS[0]),
        (ObjectKind::Samples, &objects[1], GOLDEN_FOOTERS[1]),
    ] {
        meta.objects.push(ObjectMeta {
            kind,
            size: bytes.len() as u64,
            rows: meta.rows_of(kind),
            checksum: xxh3_128(bytes),
            footer_size,
            footer_crc: crc32c::crc32c(&bytes[bytes.len() - footer_size as usize..]),
        });
    }
    assert_eq!(bits(&ParquetCodec.decode(&meta, &objects).unwrap()), bits(&awkward()));
    assert_eq!(bits(&read_selectively(&meta, &objects).unwrap()), bits(&awkward()));
}

/// Lengths of the tails of the golden files.
const GOLDEN_FOOTERS: [u32; 2] = [26_302, 437];

#[test]
fn any_damage_to_the_whole_block_is_found() {
    let block = ParquetCodec.encode(Level::L2, &awkward()[1..]).unwrap();
    let whole = objects(&block);
    for object in 0..2 {
        for at in (0..whole[object].len()).step_by(7) {
            let mut damaged = whole.clone();
            let mut bytes = whole[object].to_vec();
            bytes[at] ^= 1 << (at % 8);
            damaged[object] = bytes.into();
            assert!(matches!(ParquetCodec.decode(&block.meta, &damaged), Err(Error::Corrupt { .. })));
            damaged[object] = whole[object].slice(..at);
            assert!(matches!(ParquetCodec.decode(&block.meta, &damaged), Err(Error::Corrupt { .. })));
        }
    }
}

/// A range read cannot know the object's checksum: pages and tail must guard themselves.
#[test]
fn a_flipped_byte_is_found_by_a_selective_read_or_lies_where_none_reads() {
    let tenants = [(tenant("t"), regular(3, 5))];
    let block = ParquetCodec.encode(Level::L2, &tenants).unwrap();
    let whole = objects(&block);
    let mut found = [0, 0];
    for object in 0..2 {
        for at in 0..whole[object].len() {
            let mut damaged = whole.clone();
            let mut bytes = whole[object].to_vec();
            bytes[at] ^= 1 << (at % 8);
            damaged[object] = bytes.into();
            match read_selectively(&block.meta, &damaged) {
                Ok(rows) => assert_eq!(bits(&rows), bits(&tenants), "object {object} byte {at}"),
                Err(Error::Corrupt { .. }) => found[object] += 1,
                Err(error) => panic!("object {object} byte {at}: {error}"),
            }
        }
    }
    // Unread are the columns for outside readers and the leading magic.
    assert!(found[0] > whole[0].len() / 2, "{found:?} of {}", whole[0].len());
    assert!(found[1] > whole[1].len() * 8 / 10, "{found:?} of {}", whole[1].len());
}

#[test]
fn a_tail_of_another_length_is_refused() {
    let block = ParquetCodec.encode(Level::L2, &awkward()[1..]).unwrap();
    let (object, bytes) = (&block.meta.objects[1], &block.objects[1].bytes);
    for length in [0, 1, object.footer_size as usize - 1, object.footer_size as usize + 1, bytes.len()] {
        assert!(Footer::read(object, bytes.slice(bytes.len() - length..)).is_err(), "{length}");
    }
}

#[test]
fn only_the_pages_of_the_wanted_rows_are_read() {
    let run = regular(2_000, 100);
    let block = ParquetCodec.encode(Level::L2, &[(tenant("t"), run.clone())]).unwrap();
    let samples = footer(&block.meta.objects[1], &block.objects[1].bytes).unwrap();
    let table = SamplesTable::new(&samples).unwrap();
    let pages: Vec<_> = table.pages().collect();
    assert_eq!(pages.len(), 10);
    assert!(pages.iter().all(|page| page.end - page.start == SAMPLES_PAGE_ROWS as u64));
    for rows in
        [vec![0..1], vec![19_999..20_001], vec![5..6, 60_010..60_020, 199_999..200_000], vec![0..200_000]]
    {
        let plan = table.plan(&rows, 0);
        let wanted: usize =
            pages.iter().filter(|page| rows.iter().any(|r| r.start < page.end && page.start < r.end)).count();
        assert_eq!(table.pages_of(&rows).len(), wanted);
        assert!(plan.len() <= 2 * wanted, "one range for each column and run of pages");
        let floats = table.decode(&rows, &fetch(&block.objects[1].bytes, &plan)).unwrap();
        let mut expected = Floats::default();
        rows.iter().for_each(|r| expected.extend(run.floats().view().part(r.start as usize..r.end as usize)));
        assert_eq!(floats, expected);
    }
    assert!(matches!(table.decode(&[0..1], &Fetched::default()), Err(Error::Bug(_))));
}

#[test]
fn a_metric_prunes_pages_of_the_series_table() {
    let run = regular(30_000, 1);
    let n_series = run.keys().len() as u64;
    let block = ParquetCodec.encode(Level::L2, &[(tenant("t"), run.clone())]).unwrap();
    let series = footer(&block.meta.objects[0], &block.objects[0].bytes).unwrap();
    for name in ["metric_000", "metric_081", "metric_150", "metric_299"] {
        let rows = SeriesTable::prune_by_metric(&series, 0..n_series, name, name);
        assert!(rows.end - rows.start <= 2 * SERIES_PAGE_ROWS as u64, "{name} {rows:?}");
        let plan = SeriesTable::plan(&series, &rows, 0).unwrap();
        let table = SeriesTable::decode(&series, rows, &fetch(&block.objects[0].bytes, &plan)).unwrap();
        let found = table.find(&[Matcher::equal("__name__", name)], TimeRange::ALL);
        let expected: Vec<_> =
            run.keys().iter().filter(|key| key.as_ref().metric_name() == name).cloned().collect();
        assert_eq!(found.into_iter().map(|idx| table.key(idx)).collect::<Vec<_>>(), expected, "{name}");
    }
    for absent in ["a", "metric_0815", "z"] {
        let rows = SeriesTable::prune_by_metric(&series, 0..n_series, absent, absent);
        let plan = SeriesTable::plan(&series, &rows, 0).unwrap();
        let table = SeriesTable::decode(&series, rows, &fetch(&block.objects[0].bytes, &plan)).unwrap();
        assert!(table.find(&[Matcher::equal("__name__", absent)], TimeRange::ALL).is_empty());
    }
}

#[test]
fn matchers_on_the_table_agree_with_matchers_on_labels() {
    let run = awkward()[0].1.clone();
    let block = ParquetCodec.encode(Level::L2, &[(tenant("t"), run.clone())]).unwrap();
    let series = footer(&block.meta.objects[0], &block.objects[0].bytes).unwrap();
    let rows = 0..series.rows();
    let table = SeriesTable::decode(&series, rows, &Fetched::whole(block.objects[0].bytes.clone())).unwrap();
    for name in ["__name__", "a", "only", "Foo", "label_0003", "missing", ""] {
        for value in ["", "up", "x", "x.*", ".*", ".+", "label|upper|", "v3"] {
            for op in [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex] {
                let matcher = [Matcher::new(name, op, value).unwrap()];
                let expected: Vec<usize> = (0..run.keys().len())
                    .filter(|i| matcher[0].matches_labels(run.keys()[*i].as_ref()))
                    .collect();
                assert_eq!(table.find(&matcher, TimeRange::ALL), expected, "{matcher:?}");
            }
        }
    }
    let late = table.find(&[], TimeRange::new(6, 8));
    let meets = |i: &usize| {
        let ts = run.series(*i).floats.ts();
        TimeRange::new(ts[0], ts[ts.len() - 1]).overlaps(TimeRange::new(6, 8))
    };
    assert_eq!(late, (0..run.keys().len()).filter(meets).collect::<Vec<_>>());
}

#[test]
fn label_indexes_find_what_looking_at_every_series_finds() {
    let labels = |metric: &str, i: usize| {
        let (host, job) = (format!("h{i}"), ["api", "db", "web"][i % 3]);
        let zone = if i.is_multiple_of(4) { "" } else { "eu" };
        let extra = if i.is_multiple_of(7) { "x" } else { "" };
        Labels::from_pairs([
            ("__name__", metric),
            ("extra", extra),
            ("host", &host),
            ("job", job),
            ("zone", zone),
        ])
    };
    let mut keys: Vec<Labels> =
        ["m", "n"].iter().flat_map(|metric| (0..1_500).map(|i| labels(metric, i))).collect();
    keys.sort();
    let run = run_of(keys.iter().map(|key| (key.clone(), vec![(1, 1.0)])));
    let block = ParquetCodec.encode(Level::L2, &[(tenant("t"), run)]).unwrap();
    let series = footer(&block.meta.objects[0], &block.objects[0].bytes).unwrap();
    let whole = Fetched::whole(block.objects[0].bytes.clone());
    let table = SeriesTable::decode(&series, 0..series.rows(), &whole).unwrap();
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    let by_label = [
        vec![matcher("host", MatchOp::Equal, "h77")],
        vec![matcher("host", MatchOp::Equal, "nobody")],
        vec![matcher("host", MatchOp::Equal, "h77"), matcher("job", MatchOp::Equal, "db")],
        vec![matcher("host", MatchOp::Regex, "h1[0-9]?5|h9")],
        vec![matcher("host", MatchOp::Regex, "h14[0-9]+")],
        vec![matcher("host", MatchOp::Regex, "h149.*")],
        vec![matcher("host", MatchOp::Equal, "h0")],
        vec![matcher("host", MatchOp::Equal, "h999")],
        vec![matcher("host", MatchOp::Regex, "h.*")],
        vec![matcher("host", MatchOp::NotEqual, "h3")],
        vec![matcher("host", MatchOp::NotRegex, "h.*[0-8]")],
        vec![matcher("job", MatchOp::Equal, "db"), matcher("host", MatchOp::Regex, "h[12]")],
        vec![matcher("extra", MatchOp::NotEqual, "")],
        vec![matcher("zone", MatchOp::Equal, "")],
        vec![matcher("zone", MatchOp::Regex, "|eu")],
        vec![matcher("nowhere", MatchOp::Equal, "x")],
    ];
    for names in [vec![], vec![Matcher::equal("__name__", "n")], vec![Matcher::equal("__name__", "o")]] {
        for matchers in &by_label {
            let matchers = [names.clone(), matchers.clone()].concat();
            let passes = |i: &usize| matchers.iter().all(|m| m.matches_labels(keys[*i].as_ref()));
            let expected: Vec<usize> = (0..keys.len()).filter(passes).collect();
            // One index is made by each selection that asks for its label again.
            for _ in 0..4 {
                assert_eq!(table.find(&matchers, TimeRange::ALL), expected, "{matchers:?}");
                assert!(table.find(&matchers, TimeRange::new(2, 3)).is_empty());
            }
        }
    }
    for (matchers, found) in [(&by_label[0], 2), (&by_label[1], 0), (&by_label[3], 24)] {
        assert_eq!(
            table.indexed(matchers, &(0..3_000)).map(|series| series.len()),
            Some(found),
            "{matchers:?}"
        );
    }
}

#[test]
fn a_days_block_narrows_rows_to_buckets_of_two_hours() {
    let day = 1_700_006_400_000;
    let samples = |step: i64| (0..86_400_000 / step).map(|i| (day + i * step, i as f64)).collect::<Vec<_>>();
    let labels = |name: &str| Labels::from_pairs([("__name__", name)]);
    let run = run_of([
        (labels("a"), samples(15_000)),
        (labels("b"), vec![(day + 50_000_000, 1.0)]),
        (labels("c"), samples(3_600_000)),
    ]);
    let block = ParquetCodec.encode(Level::L3, &[(tenant("t"), run.clone())]).unwrap();
    let series = footer(&block.meta.objects[0], &block.objects[0].bytes).unwrap();
    let table = SeriesTable::decode(&series, 0..3, &Fetched::whole(block.objects[0].bytes.clone())).unwrap();
    for start in (-8_000_000..95_000_000).step_by(1_777_777) {
        for length in [0, 1, 300_000, 7_200_000, 30_000_000, i64::MAX / 2] {
            let range = TimeRange::new(day + start, day + start + length);
            for series_idx in 0..3 {
                let rows = table.row_within(series_idx, range).rows;
                let ts = run.series(series_idx).floats.ts();
                let first = run.samples().floats().offsets()[series_idx] as u64;
                let held = &ts[(rows.start - first) as usize..(rows.end - first) as usize];
                let count = |ts: &[i64]| ts.iter().filter(|ts| range.contains(**ts)).count();
                assert_eq!(count(held), count(ts), "series {series_idx} {range:?}");
                let spare = held.iter().filter(|ts| !range.contains(**ts)).count();
                assert!(spare <= 2 * 480, "series {series_idx} {range:?}: {spare} rows too many");
            }
        }
    }
    for range in [TimeRange::ALL, TimeRange::new(i64::MIN, day), TimeRange::new(day, i64::MAX)] {
        assert!(!table.row_within(0, range).rows.is_empty());
    }
}

#[test]
fn frequent_labels_get_columns_and_the_map_stays_complete() {
    let rare = (0..500).map(|i| {
        let label = format!("rare_{i}");
        let key = [("__name__", "m"), ("job", "j"), ("Job", "J"), (label.as_str(), "x")];
        (Labels::from_pairs(key), vec![(1, 1.0)])
    });
    let block = ParquetCodec.encode(Level::L2, &[(tenant("t"), run_of(rare))]).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(block.objects[0].bytes.clone()).unwrap();
    let names: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(&names[..4], ["sid", "__name__", "l_Job", "labels"], "l_job differs in case only");
    let many = (0..1_000).map(|i| (format!("label_{i:04}"), "v".to_owned()));
    let key = Labels::from_pairs(many.chain([("__name__".to_owned(), "wide".to_owned())]));
    let block = ParquetCodec.encode(Level::L2, &[(tenant("t"), run_of([(key, vec![(1, 1.0)])]))]).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(block.objects[0].bytes.clone()).unwrap();
    let promoted = reader.schema().fields().iter().filter(|field| field.name().starts_with("l_")).count();
    assert_eq!(promoted, PROMOTED_LABELS_MAX);
}

#[test]
fn outside_readers_find_the_columns_of_the_specification() {
    let tenants = awkward();
    let block = ParquetCodec.encode(Level::L1, &tenants).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(block.objects[1].bytes.clone()).unwrap();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let sids = batch.column_by_name("sid").unwrap().as_primitive::<UInt32Type>();
    let ts = batch.column_by_name("ts").unwrap().as_primitive::<Int64Type>();
    let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    let mut row = 0;
    let mut sid = 0;
    for (_, run) in &tenants {
        for (_, samples) in run.iter() {
            for (at, value) in samples.floats.iter() {
                let found = (sids.value(row), ts.value(row), values.value(row).to_bits());
                assert_eq!(found, (sid, at, value.to_bits()));
                row += 1;
            }
            sid += 1;
        }
    }
    assert_eq!(row, batch.num_rows());
    let reader = ParquetRecordBatchReaderBuilder::try_new(block.objects[0].bytes.clone()).unwrap();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let fingerprints = batch.column_by_name("fingerprint").unwrap().as_fixed_size_binary();
    let keys = tenants.iter().flat_map(|(_, run)| run.keys());
    for (row, key) in keys.enumerate() {
        assert_eq!(fingerprints.value(row), xxh3_128(key.key()).to_be_bytes());
    }
    for reserved in
        ["scale", "bucket_offsets", "hist_offset", "hist_count", "exemplar_offset", "exemplar_count"]
    {
        assert_eq!(batch.column_by_name(reserved).unwrap().null_count(), batch.num_rows(), "{reserved}");
    }
}

/// A file as a later level may write it: `vi` and `scale` beside `value`.
#[test]
fn a_decimal_column_is_read_exactly() {
    let expected = run_of([
        (Labels::from_pairs([("__name__", "a")]), vec![(1, 0.1), (2, stale_nan()), (3, -12.5)]),
        (Labels::from_pairs([("__name__", "b")]), vec![(1, 7.0), (2, -0.0), (3, 1e300)]),
    ]);
    let mut block = ParquetCodec.encode(Level::L2, &[(tenant("t"), expected.clone())]).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("sid", DataType::UInt32, false),
        Field::new("ts", DataType::Int64, false),
        Field::new("value", DataType::Float64, true),
        Field::new("vi", DataType::Int64, true),
    ]));
    let sid = UInt32Array::from(vec![0, 0, 0, 1, 1, 1]);
    let ts = Int64Array::from(vec![1, 2, 3, 1, 2, 3]);
    let value = Float64Array::from(vec![None, Some(stale_nan()), None, None, Some(-0.0), Some(1e300)]);
    let vi = Int64Array::from(vec![Some(1), None, Some(-125), Some(7), None, None]);
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(sid), Arc::new(ts), Arc::new(value), Arc::new(vi)];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let no_dictionary = properties(Level::L2).unwrap().set_dictionary_enabled(false).build();
    let mut writer = TableWriter::new(schema, no_dictionary).unwrap();
    writer.write_group([Ok(batch)]).unwrap();
    replace(&mut block, 1, writer.finish("samples", Vec::new()).unwrap());
    // The series table with its scales set.
    let reader = ParquetRecordBatchReaderBuilder::try_new(block.objects[0].bytes.clone()).unwrap();
    let schema = reader.schema().clone();
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let mut columns = batch.columns().to_vec();
    columns[schema.index_of("scale").unwrap()] = Arc::new(Int8Array::from(vec![1, 0]));
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let no_dictionary =
        properties(Level::L2).unwrap().set_column_dictionary_enabled(ColumnPath::from("sid"), false);
    let mut writer = TableWriter::new(schema, no_dictionary.build()).unwrap();
    writer.write_group([Ok(batch)]).unwrap();
    replace(&mut block, 0, writer.finish("series", Vec::new()).unwrap());
    let decoded = ParquetCodec.decode(&block.meta, &objects(&block)).unwrap();
    assert_eq!(bits(&decoded), bits(&[(tenant("t"), expected)]));
}

fn replace(block: &mut EncodedBlock, object: usize, file: super::write::File) {
    let tail = &file.bytes[file.bytes.len() - file.footer_size as usize..];
    let meta = &mut block.meta.objects[object];
    (meta.size, meta.checksum) = (file.bytes.len() as u64, xxh3_128(&file.bytes));
    (meta.footer_size, meta.footer_crc) = (file.footer_size, crc32c::crc32c(tail));
    block.objects[object].bytes = file.bytes;
}

#[test]
fn rows_beyond_one_row_group_come_back() {
    let run = regular(90, 50_000);
    assert!(run.rows() > SAMPLES_GROUP_ROWS);
    let block = ParquetCodec.encode(Level::L2, &[(tenant("t"), run.clone())]).unwrap();
    let samples = footer(&block.meta.objects[1], &block.objects[1].bytes).unwrap();
    assert_eq!(samples.groups.len(), 2);
    let table = SamplesTable::new(&samples).unwrap();
    let edge = SAMPLES_GROUP_ROWS as u64;
    let rows = [edge - 30_000..edge + 30_000];
    // Ends of one group and starts of the next are near: three requests, not four.
    let plan = table.plan(&rows, MERGE_GAP_BYTES);
    assert!(plan.len() <= 3, "{plan:?}");
    let floats = table.decode(&rows, &fetch(&block.objects[1].bytes, &plan)).unwrap();
    let rows = (edge - 30_000) as usize..(edge + 30_000) as usize;
    assert_eq!(floats.view(), run.floats().view().part(rows));
    assert_eq!(ParquetCodec.decode(&block.meta, &objects(&block)).unwrap(), [(tenant("t"), run)]);
}

#[test]
fn real_samples_take_at_most_three_quarters_of_a_byte() {
    let Some(run) = real_samples() else {
        return skipped("real_samples_take_at_most_three_quarters_of_a_byte");
    };
    let rows = run.rows();
    let tenants = [(tenant("t"), run)];
    let block = ParquetCodec.encode(Level::L2, &tenants).unwrap();
    let size: usize = block.objects.iter().map(|object| object.bytes.len()).sum();
    let per_sample = size as f64 / rows as f64;
    assert!(per_sample <= 0.75, "{per_sample} B/sample in {size} bytes");
    assert_eq!(bits(&ParquetCodec.decode(&block.meta, &objects(&block)).unwrap()), bits(&tenants));
}

#[test]
#[ignore = "prints sizes and speeds"]
fn measure_blocks_of_real_samples() {
    use std::io::Write as _;
    use std::time::Instant;
    let Some(run) = real_samples() else { return skipped("measure_blocks_of_real_samples") };
    let rows = run.rows() as f64;
    let tenants = [(tenant("t"), run)];
    for level in [Level::L1, Level::L2, Level::L3] {
        let start = Instant::now();
        let block = ParquetCodec.encode(level, &tenants).unwrap();
        let encode = start.elapsed().as_secs_f64();
        let objects = objects(&block);
        let start = Instant::now();
        ParquetCodec.decode(&block.meta, &objects).unwrap();
        let decode = start.elapsed().as_secs_f64();
        let samples = footer(&block.meta.objects[1], &objects[1]).unwrap();
        let table = SamplesTable::new(&samples).unwrap();
        let pages: Vec<usize> = (0..table.pages().count()).collect();
        let start = Instant::now();
        table.decode_pages(&pages, &Fetched::whole(objects[1].clone())).unwrap();
        let scan = start.elapsed().as_secs_f64();
        let sizes: Vec<_> =
            block.meta.objects.iter().map(|o| (o.size as f64 / rows, o.footer_size)).collect();
        let speed = |seconds: f64| rows / seconds / 1e6;
        let _ = writeln!(
            std::io::stderr(),
            "{level:?}: bytes per sample and footer {sizes:?}; M rows/s: encode {:.1}, decode {:.1}, pages {:.1}",
            speed(encode),
            speed(decode),
            speed(scan)
        );
    }
}

#[test]
#[ignore = "writes the golden files anew; only for a new format version"]
fn write_golden_files() {
    let block = ParquetCodec.encode(Level::L1, &awkward()).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    for object in &block.objects {
        let path = format!("{folder}/block-v1.{}", object.kind.file_name());
        std::fs::write(path, &object.bytes).unwrap();
    }
    let footers: Vec<u32> = block.meta.objects.iter().map(|object| object.footer_size).collect();
    assert_eq!(footers, GOLDEN_FOOTERS, "write the new lengths into the test");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_come_back_bit_by_bit(tenants in any_tenants()) {
        let block = ParquetCodec.encode(Level::L1, &tenants).unwrap();
        prop_assert_eq!(bits(&ParquetCodec.decode(&block.meta, &objects(&block)).unwrap()), bits(&tenants));
        prop_assert_eq!(bits(&read_selectively(&block.meta, &objects(&block)).unwrap()), bits(&tenants));
    }
}

#[test]
fn row_groups_of_series_end_where_their_labels_are_many_bytes() {
    let mut run = SeriesRun::default();
    for number in 0..70 {
        let pairs = [("__name__", format!("m{number:02}")), ("pad", format!("{number}").repeat(1 << 19))];
        run.push_floats(Labels::from_pairs(pairs), [(number, 1.0)]);
    }
    let tenants = [(promontory_model::TenantId::anonymous(), run)];
    let block = ParquetCodec.encode(Level::L1, &tenants).unwrap();
    let objects = objects(&block);
    let footer = footer(&block.meta.objects[0], &objects[0]).unwrap();
    let rows: Vec<Range<u64>> = footer.groups.iter().map(|group| group.rows.clone()).collect();
    assert_eq!(rows, [0..69, 69..70]);
    assert!(ParquetCodec.decode(&block.meta, &objects).unwrap() == tenants);
    assert!(read_selectively(&block.meta, &objects).unwrap() == tenants);
}
