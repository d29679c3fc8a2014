//! Reading an object until its bytes verify: the one policy for everything that is stored.
//!
//! The way from the store can flip bits too, so bytes that do not verify are read again before their
//! object is called damaged. How bytes verify is the caller's: a checksum from the catalog, a footer, the
//! bytes that a key demands.
//!
//! 1. Read, within [`read_timeout`].
//! 2. Verify. An error that another read would not mend, such as an object of a newer program, is final.
//! 3. Damaged: wait, each time twice as long as before, and begin again, [`READS_MAX`] reads in all.
//!
//! A read that *fails* is final as well: the store's client has repeated it already (`object::bucket`), and
//! those above follow a store that is away at a pace of their own, which another layer of repeats would
//! multiply.

use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::time::sleep;

use crate::counters::add;
use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::requests::{found, unavailable, within};

/// How often an object is read before its bytes are called damaged. Bits flip on the way less than once
/// in many thousand reads, so a fourth damaged read in a row says that the object itself is damaged.
pub(crate) const READS_MAX: u32 = 4;

/// Wait before the second read. What damages bytes on the way passes in milliseconds or not at all, and a
/// query that meets a damaged object is answered a third of a second later for it. Without jitter: those
/// who read one object at the same moment are few.
const PAUSE: Duration = Duration::from_millis(50);

/// Time for a read of few bytes, repeats of the store's client included: METADATA of `object::bucket`
/// takes at most 13 s.
pub(crate) const READ_TIMEOUT_BASE: Duration = Duration::from_secs(15);

/// The slowest link that is still waited for. Below 4 Mbit/s a merge reads its inputs more slowly than an
/// ingester of a few thousand samples a second writes them, so waiting longer would mend nothing.
const BYTES_PER_SECOND_MIN: u64 = 512 << 10;

/// Longest time for one read of `bytes`: `base` and what they take on the slowest link.
pub(crate) fn read_timeout(base: Duration, bytes: u64) -> Duration {
    base + Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_PER_SECOND_MIN)
}

/// What `verify` makes of what `read` brings, for the first read that verifies.
///
/// `read` gets the number of reads before it. [`Error::Corrupt`] from `verify` means to read again;
/// `damaged_reads` counts how often that happened.
///
/// # Errors
/// Of `read` at once, of `verify` if it is final or after [`READS_MAX`] reads, and then says so.
pub(crate) async fn read_verified<B, T, R>(
    damaged_reads: &AtomicU64,
    mut read: impl FnMut(u32) -> R,
    verify: impl Fn(B) -> Result<T, Error>,
) -> Result<T, Error>
where
    R: Future<Output = Result<B, Error>>,
{
    let mut reads = 0;
    loop {
        let bytes = read(reads).await?;
        reads += 1;
        match verify(bytes) {
            Err(Error::Corrupt { object, why }) if reads == READS_MAX => {
                return Err(Error::Corrupt { object, why: format!("{why}, in each of {reads} reads") });
            }
            Err(Error::Corrupt { .. }) => {
                add(damaged_reads, 1);
                sleep(PAUSE * 2u32.pow(reads - 1)).await;
            }
            answer => return answer,
        }
    }
}

/// What `verify` makes of a small object of a bucket that is not opened yet, `None` if there is none. Read once
/// or twice per start: nobody counts its repeats.
pub(crate) async fn read_unopened<T>(
    bucket: &Bucket,
    key: &Path,
    verify: impl Fn(&[u8]) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let read = |_| async {
        let get = async { bucket.metadata.get(key).await?.bytes().await };
        found(within(READ_TIMEOUT_BASE, get).await).map_err(|source| unavailable("read", key, source))
    };
    let verify = |bytes: Option<Bytes>| bytes.map(|bytes| verify(&bytes)).transpose();
    read_verified(&AtomicU64::default(), read, verify).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::Ordering;

    use tokio::time::Instant;

    use super::*;

    fn damaged() -> Error {
        Error::Corrupt { object: "wal/1".into(), why: "the checksum differs".into() }
    }

    /// Reads something that is damaged for `n_damaged` reads: the outcome, the repeats, the time taken.
    async fn check(n_damaged: u32) -> (Result<u32, String>, u64, Duration) {
        let (repeats, begun) = (AtomicU64::default(), Instant::now());
        let verify = |reads| if reads < n_damaged { Err(damaged()) } else { Ok(reads) };
        let read = read_verified(&repeats, |reads| async move { Ok(reads) }, verify).await;
        (read.map_err(|error| error.to_string()), repeats.load(Ordering::Relaxed), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn damage_on_the_way_is_read_away() {
        assert_eq!(check(0).await, (Ok(0), 0, Duration::ZERO));
        assert_eq!(check(1).await, (Ok(1), 1, Duration::from_millis(50)));
        assert_eq!(check(3).await, (Ok(3), 3, Duration::from_millis(350)));
    }

    #[tokio::test(start_paused = true)]
    async fn damage_that_stays_is_an_error_that_says_how_often_it_was_read() {
        let (outcome, repeats, _) = check(4).await;
        assert_eq!(outcome, Err("wal/1: the checksum differs, in each of 4 reads".into()));
        assert_eq!(repeats, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_read_would_not_mend_is_final() {
        for (fails, verifies) in [(true, true), (false, false)] {
            let reads = Cell::new(0);
            let read = |_| {
                reads.set(reads.get() + 1);
                async move { if fails { Err(damaged()) } else { Ok(()) } }
            };
            let newer = || Error::Unsupported("version 2".into());
            let verify = |()| if verifies { Ok(()) } else { Err(newer()) };
            assert!(read_verified(&AtomicU64::default(), read, verify).await.is_err());
            assert_eq!(reads.get(), 1);
        }
    }

    #[test]
    fn large_reads_have_more_time() {
        assert_eq!(read_timeout(READ_TIMEOUT_BASE, 0), Duration::from_secs(15));
        assert_eq!(read_timeout(READ_TIMEOUT_BASE, 128 << 20), Duration::from_secs(15 + 256));
        assert!(read_timeout(READ_TIMEOUT_BASE, u64::MAX) > Duration::from_secs(600));
    }
}
