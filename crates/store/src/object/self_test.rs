//! Refuses a store that lacks what the protocol rests on.
//!
//! The whole protocol needs one property: of several creators of one key exactly one wins, and all
//! read the winner's bytes from then on. Some stores ignore the condition or check it too early, and
//! nothing but trying tells. In full once per bucket and program version, create-twice at later
//! starts.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use promontory_model::RandomSource;

use crate::error::Error;
use crate::object::bucket::Bucket;

/// How many create one key at once in the full test.
const RACERS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTest {
    /// All of them: the first start of this program version on this bucket.
    Full,
    /// Create-twice only.
    Short,
}

/// Tests the store and leaves nothing behind but the mark `selftest/<version>`.
///
/// # Errors
/// [`Error::Unsupported`] names the property that the store lacks; [`Error::Unavailable`] if it does
/// not answer.
pub async fn self_test(bucket: &Bucket, random: &dyn RandomSource, version: &str) -> Result<SelfTest, Error> {
    let store = &*bucket.metadata;
    let mark = Path::from(format!("selftest/{version}"));
    let folder = format!("selftest/run-{:032x}", random.next_u128());
    // Not its head, whose errors have no body that says what is wrong.
    let done = match store.get(&mark).await {
        Ok(_) => SelfTest::Short,
        Err(StoreError::NotFound { .. }) => SelfTest::Full,
        Err(source) => return Err(unavailable("read the self-test mark", source)),
    };
    let outcome = tests(bucket, &folder, done).await;
    clean_up(store, &Path::from(folder)).await;
    outcome?;
    if done == SelfTest::Full {
        let put = store.put(&mark, Bytes::from_static(b"passed\n").into()).await;
        put.map_err(|source| unavailable("write the self-test mark", source))?;
    }
    Ok(done)
}

async fn tests(bucket: &Bucket, folder: &str, which: SelfTest) -> Result<(), Error> {
    let store = &*bucket.metadata;
    create_twice(store, &Path::from(format!("{folder}/twice"))).await?;
    if which == SelfTest::Full {
        race(store, &Path::from(format!("{folder}/race"))).await?;
        list_after_write(store, folder).await?;
        range_read(&*bucket.reads, store, &Path::from(format!("{folder}/range"))).await?;
        multipart(&*bucket.uploads, &Path::from(format!("{folder}/multipart"))).await?;
    }
    Ok(())
}

async fn create_twice(store: &dyn ObjectStore, path: &Path) -> Result<(), Error> {
    create(store, path, "first").await.map_err(|source| unavailable("create an object", source))?;
    match create(store, path, "second").await {
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
        Ok(()) => return Err(lacks("create-if-absent: a second create of one key succeeded")),
        Err(source) => return Err(unavailable("create an object twice", source)),
    }
    expect_bytes(store, path, b"first", "read-after-write").await
}

async fn race(store: &dyn ObjectStore, path: &Path) -> Result<(), Error> {
    let bodies: Vec<String> = (0..RACERS).map(|racer| format!("racer {racer}")).collect();
    let creates = bodies.iter().map(|body| create(store, path, body));
    let answers = futures::future::join_all(creates).await;
    let winners: Vec<usize> = (0..RACERS).filter(|racer| answers[*racer].is_ok()).collect();
    match winners[..] {
        [winner] => expect_bytes(store, path, bodies[winner].as_bytes(), "one winner of a race").await,
        // Each lost answer may hide the winner: no proof against the store.
        [] => Ok(()),
        _ => Err(lacks(&format!("create-if-absent: {} of {RACERS} racing creators won", winners.len()))),
    }
}

async fn list_after_write(store: &dyn ObjectStore, folder: &str) -> Result<(), Error> {
    let prefix = Path::from(folder);
    let listed: Result<Vec<_>, _> =
        store.list(Some(&prefix)).map_ok(|meta| meta.location).try_collect().await;
    let listed = listed.map_err(|source| unavailable("list a prefix", source))?;
    let wanted = Path::from(format!("{folder}/race"));
    if listed.contains(&wanted) { Ok(()) } else { Err(lacks("list-after-write")) }
}

async fn range_read(reads: &dyn ObjectStore, store: &dyn ObjectStore, path: &Path) -> Result<(), Error> {
    create(store, path, "0123456789").await.map_err(|source| unavailable("create an object", source))?;
    let range = reads.get_range(path, 3..7).await.map_err(|source| unavailable("read a range", source))?;
    if range == "3456".as_bytes() { Ok(()) } else { Err(lacks("range reads")) }
}

async fn multipart(uploads: &dyn ObjectStore, path: &Path) -> Result<(), Error> {
    let failed = |source| unavailable("upload in parts", source);
    let mut upload = uploads.put_multipart(path).await.map_err(failed)?;
    upload.put_part("part".into()).await.map_err(failed)?;
    upload.complete().await.map_err(failed)?;
    expect_bytes(uploads, path, b"part", "multipart uploads").await
}

async fn create(store: &dyn ObjectStore, path: &Path, body: &str) -> Result<(), StoreError> {
    let options = PutOptions::from(PutMode::Create);
    store.put_opts(path, body.to_owned().into(), options).await.map(drop)
}

async fn expect_bytes(
    store: &dyn ObjectStore,
    path: &Path,
    expected: &[u8],
    what: &str,
) -> Result<(), Error> {
    let read = async { store.get(path).await?.bytes().await };
    let bytes = read.await.map_err(|source| unavailable("read an object just written", source))?;
    if bytes == expected { Ok(()) } else { Err(lacks(what)) }
}

/// Best effort: the keys are unique, so what stays behind harms nobody.
async fn clean_up(store: &dyn ObjectStore, folder: &Path) {
    let listed = store.list(Some(folder)).map_ok(|meta| meta.location).try_collect::<Vec<_>>().await;
    for path in listed.unwrap_or_default() {
        if let Err(error) = store.delete(&path).await {
            tracing::debug!(%path, %error, "self-test object stays behind");
        }
    }
}

fn lacks(property: &str) -> Error {
    Error::Unsupported(format!(
        "the object store lacks a property that durability rests on: {property}; use a store with atomic \
         create-if-absent (S3, GCS, Azure, MinIO, a local file system)"
    ))
}

fn unavailable(action: &str, source: StoreError) -> Error {
    Error::Unavailable { action: format!("{action} in the store self-test"), source }
}
