//! How a bucket begins, and what is no beginning.
//!
//! A bucket begins with version 1, a genesis with a fresh id; then `format` is created, which repeats the id.
//! So there is never a `format` without a version, and neither can be replaced by that of another bucket
//! unnoticed.
//!
//! A bucket without `format` is one of these, and only an empty one is begun in:
//! - *Empty*: nothing but traces of the self-test, or a genesis whose founder did not come further.
//! - *Damaged*: there are objects of ours beside.
//! - *Foreign*: there is something else, such as the data folder of a Prometheus.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ListResult, PutMode, PutOptions};
use promontory_model::RandomSource;

use crate::catalog::state::{Change, Delta};
use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::format::Format;
use crate::object::keys;
use crate::object::requests::{unavailable, within};
use crate::object::verified::{READ_TIMEOUT_BASE, read_unopened};

/// How often a step is tried before giving up.
const TRIES_MAX: u32 = 5;

/// Names at the top of a bucket that say nothing: the self-test's and the sweeper's, and what file systems
/// and desktops leave.
const NEUTRAL: [&str; 3] = ["selftest", "clock", "lost+found"];

/// Names at the top of a bucket under which only a store of ours has something.
const OURS: [&str; 5] = [keys::CHECKPOINT, keys::PAGE, keys::SWEPT, keys::BLOCKS, keys::CATALOG];

/// A bucket without `format`.
enum Unbegun {
    Empty,
    Damaged(String),
    Foreign(String),
}

/// What the bucket was made with; `None` if it is empty.
///
/// # Errors
/// [`Error::Corrupt`] if `format` is missing beside objects of ours, [`Error::Unsupported`] if the bucket holds
/// something else, [`Error::Unavailable`] if the store does not answer.
pub async fn find_bucket(bucket: &Bucket) -> Result<Option<Format>, Error> {
    if let Some(format) = Format::load(bucket).await? {
        return Ok(Some(format));
    }
    let unbegun = look(bucket).await?;
    // Another process may have begun it between the two looks.
    if let Some(format) = Format::load(bucket).await? {
        return Ok(Some(format));
    }
    match unbegun {
        Unbegun::Empty => Ok(None),
        Unbegun::Damaged(beside) => Err(formatless(&beside)),
        Unbegun::Foreign(beside) => Err(Error::Unsupported(format!(
            "there is something else already ({beside}), and no store of Promontory; name an empty folder or prefix"
        ))),
    }
}

/// As [`find_bucket`]; begins an empty one with the constants of `wanted`.
///
/// # Errors
/// As [`find_bucket`].
pub async fn find_or_found_bucket(
    bucket: &Bucket,
    wanted: Format,
    random: &dyn RandomSource,
) -> Result<Format, Error> {
    let mut last = None;
    for _ in 0..TRIES_MAX {
        if let Some(format) = find_bucket(bucket).await? {
            return Ok(format);
        }
        last = begin(bucket, wanted, random).await.err();
    }
    match find_bucket(bucket).await? {
        Some(format) => Ok(format),
        None => Err(last.unwrap_or_else(|| {
            Error::Unsupported(format!("the store does not show {} after it was created", keys::format()))
        })),
    }
}

/// Creates what is missing of genesis and format. Whatever the answers, only reading tells what is there.
async fn begin(bucket: &Bucket, wanted: Format, random: &dyn RandomSource) -> Result<(), Error> {
    let key = keys::version(1);
    let id = match genesis(bucket).await? {
        Some(id) => id,
        None => {
            let (id, attempt) = (random.next_u128() | 1, random.next_u128() | 1);
            let genesis = Change::Genesis { bucket: id };
            let delta = Delta { version: 1, attempt, predecessor: 0, change: genesis };
            let created = create(bucket, &key, delta.encode()).await;
            genesis_or(bucket, created).await?
        }
    };
    create(bucket, &keys::format(), Format { bucket: id, ..wanted }.encode()).await
}

async fn genesis_or(bucket: &Bucket, created: Result<(), Error>) -> Result<u128, Error> {
    match (genesis(bucket).await?, created) {
        (Some(id), _) => Ok(id),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => {
            let key = keys::version(1);
            Err(Error::Unsupported(format!("the store does not show {key} after it was created")))
        }
    }
}

/// The id that version 1 gives the bucket.
pub(crate) async fn genesis(bucket: &Bucket) -> Result<Option<u128>, Error> {
    let key = keys::version(1);
    let id = |bytes: &[u8]| match Delta::decode(bytes).map_err(|error| error.about(&key))?.change {
        Change::Genesis { bucket } => Ok(bucket),
        _ => Err(formatless(key.as_ref())),
    };
    read_unopened(bucket, &key, id).await
}

/// `format` is missing beside an object of ours.
fn formatless(beside: &str) -> Error {
    let why = format!("is missing, and {beside} is there; `promontory repair` makes it again");
    Error::Corrupt { object: keys::format().to_string(), why }
}

async fn create(bucket: &Bucket, key: &Path, bytes: bytes::Bytes) -> Result<(), Error> {
    let options = PutOptions { mode: PutMode::Create, ..Default::default() };
    let put = bucket.metadata.put_opts(key, bytes.into(), options);
    within(READ_TIMEOUT_BASE, put).await.map(drop).map_err(|source| unavailable("create", key, source))
}

async fn look(bucket: &Bucket) -> Result<Unbegun, Error> {
    let listed = within(READ_TIMEOUT_BASE, bucket.metadata.list_with_delimiter(None)).await;
    let ListResult { common_prefixes, objects, .. } =
        listed.map_err(|source| unavailable("list", &Path::default(), source))?;
    let mut foreign = objects.iter().map(|meta| meta.location.to_string()).find(|name| says_something(name));
    for folder in common_prefixes {
        match folder.as_ref() {
            name if !says_something(name) => {}
            name if OURS.contains(&name) || name == keys::WAL => match under(bucket, &folder).await? {
                Some(Unbegun::Foreign(key)) => foreign = Some(key),
                Some(damaged) => return Ok(damaged),
                None => {}
            },
            name => foreign = Some(format!("{name}/")),
        }
    }
    Ok(foreign.map_or(Unbegun::Empty, Unbegun::Foreign))
}

fn says_something(name: &str) -> bool {
    !name.starts_with('.') && !NEUTRAL.contains(&name)
}

/// What the keys of one folder whose name is one of ours say; `None` if nothing.
async fn under(bucket: &Bucket, folder: &Path) -> Result<Option<Unbegun>, Error> {
    let mut keys = bucket.metadata.list(Some(folder));
    while let Some(meta) = keys.try_next().await.map_err(|source| unavailable("list", folder, source))? {
        let key = meta.location;
        if key == keys::version(1) {
            continue;
        }
        let slot = keys::parse_slot(&key).is_some();
        let foreign = folder.as_ref() == keys::WAL && !slot;
        let key = key.to_string();
        return Ok(Some(if foreign { Unbegun::Foreign(key) } else { Unbegun::Damaged(key) }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
