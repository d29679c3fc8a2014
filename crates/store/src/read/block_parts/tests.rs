//! What one tenant's part of a block brings, and how much of the block it reads.

use promontory_block::{Level, ParquetCodec, PlainCodec, TenantRows};
use promontory_model::Labels;

use super::*;
use crate::read::whole_blocks;
use crate::testing::{World, tenant};
use crate::write::upload::upload_block;

/// `n_series` series with labels of their own, whole numbers in some and fractions in others.
fn rows(n_series: usize, n_samples: i64) -> SeriesRun {
    let mut keys: Vec<Labels> = (0..n_series)
        .map(|series| {
            let (name, host) = (format!("m{}", series % 7), format!("host-{series}"));
            Labels::from_pairs([("__name__", name.as_str()), ("host", host.as_str())])
        })
        .collect();
    keys.sort();
    let mut run = SeriesRun::default();
    for (series, key) in keys.into_iter().enumerate() {
        let value =
            |ts: i64| if series % 3 == 0 { ts as f64 / 8.0 } else { (ts * series as i64 % 1_000) as f64 };
        run.push_floats(key, (0..n_samples).map(|ts| (ts * 1_000, value(ts))));
    }
    run
}

fn tenants() -> Vec<TenantRows> {
    vec![
        (tenant("a"), rows(40, 2_000)),
        (tenant("b"), rows(1, 1)),
        (tenant("c"), rows(300, 700)),
        (tenant("d"), rows(9, 60)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_tenants_part_equals_its_rows_of_the_whole_block() {
    for codec in [Arc::new(ParquetCodec) as Arc<dyn promontory_block::BlockCodec>, Arc::new(PlainCodec)] {
        let process = World { codec, ..World::new() }.process().await;
        let context = process.chain.context();
        let entry = Arc::new(upload_block(context, 0, Level::L1, &tenants()).await.unwrap());
        let whole = whole_blocks::read(context, &entry).await.unwrap();
        let opened = open(context, &entry).await.unwrap();
        for (id, expected) in &whole {
            assert_eq!(&opened.rows_of(context, id).await.unwrap(), expected, "{id}");
        }
        assert!(opened.rows_of(context, &tenant("nobody")).await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_tenant_of_a_large_block_reads_little_of_it() {
    let world = World { codec: Arc::new(ParquetCodec), ..World::new() };
    let process = world.process().await;
    let context = process.chain.context();
    // What does not compress, so that its pages lie further apart than requests join.
    let mut noise = SeriesRun::default();
    let value = |ts: i64| (ts as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / 3.0;
    noise.push_floats(Labels::from_pairs([("__name__", "noise")]), (0..200_000).map(|ts| (ts, value(ts))));
    let tenants = [(tenant("a"), noise), (tenant("d"), rows(9, 60))];
    let entry = Arc::new(upload_block(context, 0, Level::L1, &tenants).await.unwrap());
    let opened = open(context, &entry).await.unwrap();
    let span = span_of(&entry, &tenant("d")).unwrap();
    let plan = opened.rows.plan(span).unwrap();
    let bytes: u64 = plan[1].iter().map(|range| range.end - range.start).sum();
    let all: u64 = entry.meta.objects[1].size;
    assert!(bytes * 4 < all, "{bytes} of {all}");
}

#[tokio::test(start_paused = true)]
async fn damage_in_anothers_part_does_not_concern_a_tenant_and_in_ones_own_is_named() {
    use object_store::ObjectStoreExt as _;
    let world = World { codec: Arc::new(ParquetCodec), ..World::new() };
    let process = world.process().await;
    let context = process.chain.context();
    let entry = Arc::new(upload_block(context, 0, Level::L1, &tenants()).await.unwrap());
    let opened = open(context, &entry).await.unwrap();
    let of = |name: &str| span_of(&entry, &tenant(name)).unwrap();
    // A byte that only the first tenant needs.
    let range = opened.rows.plan(of("a")).unwrap()[1][0].clone();
    assert!(opened.rows.plan(of("d")).unwrap()[1].iter().all(|other| !other.contains(&(range.start + 40))));
    let key = keys::block_object(&entry.path, entry.meta.objects[1].kind);
    let mut bytes = world.store.inner.get(&key).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[range.start as usize + 40] ^= 1;
    world.store.inner.put(&key, bytes.into()).await.unwrap();
    assert_eq!(opened.rows_of(context, &tenant("d")).await.unwrap(), rows(9, 60));
    let error = opened.rows_of(context, &tenant("a")).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { object, .. } if *object == key.to_string()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_too_few_bytes_is_read_again() {
    for codec in [Arc::new(ParquetCodec) as Arc<dyn promontory_block::BlockCodec>, Arc::new(PlainCodec)] {
        let world = World { codec, ..World::new() };
        let process = world.process().await;
        let context = process.chain.context();
        let entry = Arc::new(upload_block(context, 0, Level::L1, &tenants()).await.unwrap());
        world.store.next_get_is_short(&entry.path);
        let opened = open(context, &entry).await.unwrap();
        world.store.next_get_is_short(&entry.path);
        assert_eq!(opened.rows_of(context, &tenant("d")).await.unwrap(), rows(9, 60));
        assert!(process.counter("damaged_reads") > 0);
    }
}
