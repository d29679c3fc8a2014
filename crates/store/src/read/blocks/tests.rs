//! What reading a block costs, and what damage does.

use object_store::memory::InMemory;
use object_store::{ObjectStore, PutPayload};
use promontory_block::{BlockCodec, Level, ParquetCodec, SeriesRun, TenantRows};
use promontory_model::Labels;

use super::*;
use crate::testing::Scripted;

/// Encodes and uploads a block; `unique` names it.
pub(crate) async fn put_block(
    store: &InMemory,
    level: Level,
    unique: u128,
    tenants: &[TenantRows],
) -> Arc<BlockEntry> {
    let block = ParquetCodec.encode(level, tenants).unwrap();
    let id = BlockId { base: 1, unique };
    let tenant = (level != Level::L1).then(|| &tenants[0].0);
    let path = keys::block(level, tenant, block.meta.time_range.start, id);
    for object in &block.objects {
        let key = keys::block_object(&path, object.kind);
        store.put(&key, PutPayload::from_bytes(object.bytes.clone())).await.unwrap();
    }
    Arc::new(BlockEntry { id, path, applied: 1, meta: block.meta })
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// `n_metrics` metrics of `n_hosts` series of `n_samples` samples each 15 s.
pub(crate) fn fleet(n_metrics: usize, n_hosts: usize, n_samples: usize) -> SeriesRun {
    let mut run = SeriesRun::default();
    for metric in 0..n_metrics {
        for host in 0..n_hosts {
            let key = Labels::from_pairs([
                ("__name__", format!("metric_{metric:04}_seconds_total")),
                ("cluster", "eu-west-1".to_owned()),
                ("instance", format!("10.0.{:03}.{:03}:9100", host / 100, host % 100)),
                ("job", format!("job-{}", metric % 7)),
            ]);
            let step = |s: usize| (metric * 31 + host * 17 + s * s) % 97;
            let samples =
                (0..n_samples).map(|s| (1_700_000_000_000 + s as i64 * 15_000, step(s) as f64 / 8.0));
            run.push_floats(key, samples);
        }
    }
    run
}

fn cost(reader: &BlockReader) -> (u64, u64) {
    let counters = reader.counters();
    (counters.requests.load(Ordering::Relaxed), counters.request_bytes.load(Ordering::Relaxed))
}

fn names(name: &str) -> Option<NameRange> {
    Some(NameRange { first: name.to_owned(), last: name.to_owned() })
}

#[tokio::test]
async fn a_cold_selector_of_one_percent_takes_six_requests_and_a_megabyte() {
    let store = Arc::new(InMemory::new());
    let run = fleet(100, 200, 500);
    assert_eq!(run.rows(), 10_000_000);
    let entry = put_block(&store, Level::L2, 1, &[(tenant("t"), run)]).await;
    // Metric 40 lies across the edge of two row groups, which is the dearest place.
    for metric in ["metric_0000_seconds_total", "metric_0040_seconds_total", "metric_0077_seconds_total"] {
        let reader = BlockReader::new(Bucket::single(store.clone()), BlockReaderSettings::default());
        let tables = reader.series(&entry, &tenant("t"), names(metric).as_ref()).await.unwrap();
        let matchers = [promontory_model::Matcher::equal("__name__", metric)];
        let mut rows = Vec::new();
        for table in &tables {
            let found = table.find(&matchers, promontory_model::TimeRange::ALL);
            rows.extend(found.into_iter().map(|idx| table.row(idx).rows));
        }
        assert_eq!(rows.len(), 200);
        let pages = reader.pages(&entry, &rows).await.unwrap();
        assert!(pages.iter().map(|page| page.floats.len()).sum::<usize>() >= 100_000);
        let (requests, bytes) = cost(&reader);
        assert!(requests <= 6, "{metric}: {requests} requests");
        assert!(bytes <= 1_000_000, "{metric}: {bytes} bytes");
        // Again, nothing is asked for.
        reader.pages(&entry, &rows).await.unwrap();
        reader.series(&entry, &tenant("t"), names(metric).as_ref()).await.unwrap();
        assert_eq!(cost(&reader), (requests, bytes));
    }
}

#[tokio::test]
async fn a_small_block_takes_two_requests() {
    let store = Arc::new(InMemory::new());
    let run = fleet(5, 20, 8);
    let entry = put_block(&store, Level::L1, 1, &[(tenant("t"), run)]).await;
    let reader = BlockReader::new(Bucket::single(store), BlockReaderSettings::default());
    let tables = reader.series(&entry, &tenant("t"), None).await.unwrap();
    assert_eq!(tables.iter().map(|table| table.len()).sum::<usize>(), 100);
    assert_eq!(reader.pages(&entry, &[0..800]).await.unwrap().len(), 1);
    assert_eq!(cost(&reader).0, 2);
}

#[tokio::test]
async fn a_tenant_sees_only_its_own_rows_of_a_shared_block() {
    let store = Arc::new(InMemory::new());
    let tenants = ["a", "b", "c"].map(|name| (tenant(name), fleet(3, 10, 2)));
    let entry = put_block(&store, Level::L1, 1, &tenants).await;
    let reader = BlockReader::new(Bucket::single(store), BlockReaderSettings::default());
    for (idx, (tenant, run)) in tenants.iter().enumerate() {
        let tables = reader.series(&entry, tenant, None).await.unwrap();
        let keys: Vec<Labels> = tables.iter().flat_map(|t| (0..t.len()).map(|i| t.key(i))).collect();
        assert_eq!(keys, run.keys());
        assert_eq!(tables[0].row(0).rows.start, entry.meta.tenants[idx].rows.start);
    }
    assert!(reader.series(&entry, &tenant("d"), None).await.unwrap().is_empty());
}

#[tokio::test]
async fn damage_is_an_error_that_is_not_cached() {
    let store = Arc::new(InMemory::new());
    let entry = put_block(&store, Level::L2, 1, &[(tenant("t"), fleet(2, 10, 10))]).await;
    let kinds = [ObjectKind::Series, ObjectKind::Samples];
    for (kind, in_tail) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let reader = BlockReader::new(Bucket::single(store.clone()), BlockReaderSettings::default());
        let key = keys::block_object(&entry.path, kind);
        let whole = store.get_opts(&key, Default::default()).await.unwrap().bytes().await.unwrap();
        let object = entry.meta.objects.iter().find(|object| object.kind == kind).unwrap();
        let tail = whole.len() - object.footer_size as usize;
        let mut damaged = whole.to_vec();
        let place = if in_tail { tail + 10..tail + 11 } else { 4..tail };
        damaged[place].iter_mut().for_each(|byte| *byte ^= 4);
        store.put(&key, damaged.into()).await.unwrap();
        let read = async || {
            let tables = reader.series(&entry, &tenant("t"), None).await?;
            let rows: Vec<_> = (0..tables[0].len()).map(|idx| tables[0].row(idx).rows).collect();
            reader.pages(&entry, &rows).await
        };
        let error = read().await.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{kind:?} {in_tail}: {error}");
        assert!(reader.counters().damaged_reads.load(Ordering::Relaxed) > 0);
        store.put(&key, whole.clone().into()).await.unwrap();
        assert_eq!(read().await.unwrap().len(), 1, "{kind:?} {in_tail}");
        store.delete(&key).await.unwrap();
        let fresh = BlockReader::new(Bucket::single(store.clone()), BlockReaderSettings::default());
        let gone = match kind {
            ObjectKind::Series => fresh.series(&entry, &tenant("t"), None).await.map(drop),
            _ => fresh.pages(&entry, &[0..1]).await.map(drop),
        };
        assert!(matches!(gone, Err(Error::Missing { .. })));
        store.put(&key, whole.into()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_too_few_bytes_is_read_again() {
    let store = Arc::new(Scripted::default());
    let entry = put_block(&store.inner, Level::L2, 1, &[(tenant("t"), fleet(2, 10, 10))]).await;
    // A file of few bytes is one request, others are several.
    for small_file_bytes in [0, 1 << 20] {
        let settings = BlockReaderSettings { small_file_bytes, ..BlockReaderSettings::default() };
        let reader = BlockReader::new(Bucket::single(store.clone()), settings);
        for kind in [ObjectKind::Series, ObjectKind::Samples] {
            (0..2).for_each(|_| store.next_get_is_short(keys::block_object(&entry.path, kind)));
        }
        let tables = reader.series(&entry, &tenant("t"), None).await.unwrap();
        let rows: Vec<_> = (0..tables[0].len()).map(|idx| tables[0].row(idx).rows).collect();
        assert_eq!(reader.pages(&entry, &rows).await.unwrap().len(), 1);
        assert_eq!(reader.counters().damaged_reads.load(Ordering::Relaxed), 4);
    }
}

#[tokio::test]
async fn a_large_table_is_read_by_pages_for_a_metric_and_once_for_all() {
    let store = Arc::new(InMemory::new());
    let run = fleet(300, 100, 1);
    let entry = put_block(&store, Level::L2, 1, &[(tenant("t"), run.clone())]).await;
    let reader = BlockReader::new(Bucket::single(store), BlockReaderSettings::default());
    let series = |tables: &[Arc<SeriesTable>]| tables.iter().map(|table| table.len()).sum::<usize>();
    let metric = names("metric_0150_seconds_total");
    let pages = reader.series(&entry, &tenant("t"), metric.as_ref()).await.unwrap();
    assert!((100..=2 * SERIES_PAGE_ROWS).contains(&series(&pages)));
    let all = reader.series(&entry, &tenant("t"), None).await.unwrap();
    assert_eq!((all.len(), series(&all)), (1, run.keys().len()));
    let before = cost(&reader);
    let again = reader.series(&entry, &tenant("t"), metric.as_ref()).await.unwrap();
    assert!(Arc::ptr_eq(&again[0], &all[0]), "what is there whole serves every metric");
    assert_eq!(cost(&reader), before);
}

#[tokio::test]
async fn samples_that_no_longer_fit_decoded_need_no_request() {
    let store = Arc::new(InMemory::new());
    let entry = put_block(&store, Level::L2, 1, &[(tenant("t"), fleet(20, 200, 500))]).await;
    let settings = BlockReaderSettings { samples_bytes_max: 0, ..BlockReaderSettings::default() };
    let reader = BlockReader::new(Bucket::single(store.clone()), settings);
    let read = |rows: Range<u64>| {
        let (reader, entry) = (reader.clone(), entry.clone());
        async move { reader.pages(&entry, &[rows]).await.unwrap() }
    };
    let first = read(0..400_000).await;
    let (requests, bytes) = cost(&reader);
    let again = read(100_000..300_000).await;
    assert_eq!(cost(&reader), (requests, bytes));
    assert_eq!(again[0].floats, first[5].floats);
    // What was not read yet still costs a request.
    read(300_000..500_000).await;
    assert_eq!(cost(&reader).0, requests + 1);
}
