//! The first request to a store.
//!
//! It lists, because the answer to a list has a body that says what is wrong, where that of a HEAD is a bare
//! status, and because a list fails where the bucket does not exist, where a read of an object may not. What may
//! not be listed cannot be opened either way: adoption, sweeps and the look for what is missing list.

use futures::TryStreamExt as _;
use object_store::path::Path;

use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::requests::{unavailable, within};
use crate::object::verified::READ_TIMEOUT_BASE;

/// A folder with few objects, so that the answer is small.
const FOLDER: &str = "selftest";

/// Asks whether the store is there and lets us in.
///
/// # Errors
/// [`Error::Unavailable`], whose [`Error::trouble`] says why not.
pub async fn ask_first(bucket: &Bucket) -> Result<(), Error> {
    let folder = Path::from(FOLDER);
    let first = async { bucket.metadata.list(Some(&folder)).try_next().await };
    within(READ_TIMEOUT_BASE, first).await.map(drop).map_err(|source| unavailable("list", &folder, source))
}
