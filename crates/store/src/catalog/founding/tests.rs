//! Which buckets are begun in, and which are not.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::testing::{Fault, World};

const SMALL: Format = Format { epoch_length: 8, checkpoint_spacing: 4, grace_ms: 10, bucket: 0 };

async fn holding(keys: &[&str]) -> Bucket {
    let store = InMemory::new();
    for key in keys {
        store.put(&Path::from(*key), "x".into()).await.unwrap();
    }
    Bucket::single(Arc::new(store))
}

async fn found_in(bucket: &Bucket) -> Result<Format, Error> {
    find_or_found_bucket(bucket, SMALL, &*World::new().context().random).await
}

#[tokio::test(start_paused = true)]
async fn the_first_format_stays_and_repeats_the_id_of_the_genesis() {
    let bucket = holding(&["selftest/0.1.0", "clock/1", ".hidden"]).await;
    assert_eq!(find_bucket(&bucket).await.unwrap(), None);
    let format = found_in(&bucket).await.unwrap();
    assert_eq!(format, Format { bucket: format.bucket, ..SMALL });
    assert_eq!(genesis(&bucket).await.unwrap(), Some(format.bucket));
    let again = find_or_found_bucket(&bucket, Format::default(), &*World::new().context().random).await;
    assert_eq!(again.unwrap(), format);
}

#[tokio::test(start_paused = true)]
async fn a_founding_that_broke_off_goes_on() {
    for fault in [Fault::Fails, Fault::AnswerLost, Fault::SaysExists, Fault::SaysExistsWithoutEffect] {
        for key in ["catalog/", "format"] {
            let world = World::new();
            world.store.next_put(key, fault);
            let format = found_in(&Bucket::single(world.store.clone())).await.unwrap();
            assert_ne!(format.bucket, 0, "{key} {fault:?}");
        }
    }
    // A founder that died between the two: the id stays.
    let world = World::new();
    let bucket = Bucket::single(world.store.clone());
    let format = found_in(&bucket).await.unwrap();
    world.store.delete(&keys::format()).await.unwrap();
    assert_eq!(found_in(&bucket).await.unwrap(), format);
}

#[tokio::test(start_paused = true)]
async fn a_format_that_is_missing_beside_objects_of_ours_is_damage() {
    for key in [
        "catalog/00000000000000000002",
        "checkpoint/00000000000000000064",
        "page/t/00000000000000000064",
        "swept/00000000000000000000",
        "wal/00000000000000000000000000000abc/00000000000000000001",
        "blocks/level=1/day=1970-01-01/block=1/series.parquet",
    ] {
        let bucket = holding(&[key, "stranger"]).await;
        for outcome in [find_bucket(&bucket).await.map(drop), found_in(&bucket).await.map(drop)] {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{key}: {error}");
            assert!(error.to_string().contains(key), "{error}");
        }
        assert!(bucket.metadata.head(&keys::format()).await.is_err(), "nothing is made");
    }
    // Version 1 of a bucket of the first encoding.
    let bucket = holding(&[]).await;
    let birth = Change::Birth { writer: promontory_model::WriterId(1), level: 0 };
    let delta = Delta { version: 1, attempt: 1, predecessor: 0, change: birth };
    create(&bucket, &keys::version(1), delta.encode()).await.unwrap();
    assert!(matches!(found_in(&bucket).await, Err(Error::Corrupt { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_store_of_ours_is_left_alone() {
    for key in ["wal/00000000", "chunks_head/000001", "lock", "01HX/meta.json", "data.csv"] {
        let bucket = holding(&[key]).await;
        let error = found_in(&bucket).await.unwrap_err().to_string();
        let name = key.split('/').next().unwrap();
        assert!(error.contains(name) && error.contains("empty folder"), "{error}");
        let listed: Vec<_> = bucket.metadata.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
    }
}
