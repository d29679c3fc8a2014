//! Every object key in one place.
//!
//! ```text
//! format                                              what the bucket was made with
//! catalog/<version>                                   what one version changes
//! checkpoint/<version>                                root of the whole state at a version
//! page/<tenant>/<version>                             one tenant's part of it
//! swept/<epoch>                                       the versions of this epoch are being deleted
//! wal/<writer>/<seq>                                  one slot: a segment or a closed mark
//! blocks/level=1/day=<date>/block=<id>/<object>       rows of many tenants
//! blocks/level=<n>/tenant=<tenant>/day=<date>/block=<id>/<object>
//! clock/<who>                                         asks the store what time it is
//! ```
//!
//! Invariants:
//! - Numbers are 20 decimal digits, so that keys sort as numbers do.
//! - A block id begins with its base, the catalog version that was read before its upload; the
//!   sweeper decides by the name alone whether an upload may still be committed.
//! - A tenant is a checked name; the path encoding of the few characters that stores reserve never
//!   makes two tenants one.

use std::fmt;

use object_store::path::Path;
use promontory_block::{Level, ObjectKind};
use promontory_model::{TenantId, WriterId};

const DAY_MS: i64 = 86_400_000;

/// The name of one block, with the version that its uploader had read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The catalog version that was read before the upload.
    pub base: u64,
    /// Fresh random bits.
    pub unique: u128,
}

impl BlockId {
    /// Reads the form that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (base, unique) = text.split_once('-')?;
        let hex = unique.len() == 32 && unique.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return None;
        }
        Some(Self { base: parse_number(base)?, unique: u128::from_str_radix(unique, 16).ok()? })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:032x}", self.base, self.unique)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub const CATALOG: &str = "catalog";
pub const CHECKPOINT: &str = "checkpoint";
/// Folder of the pages of tenants in checkpoints.
pub const PAGE: &str = "page";
/// Folder of the marks of epochs whose versions are being deleted.
pub const SWEPT: &str = "swept";
/// Folder of the slots of all writers.
pub const WAL: &str = "wal";
/// The folder of all blocks, of every level and tenant, below the bucket's root.
pub const BLOCKS: &str = "blocks";

/// Unresolved slots of a writer, whatever it is set to: with a slot so much further up, one that is not there
/// must have been.
pub(crate) const IN_FLIGHT_MAX: usize = 4;

/// The constants that the bucket was made with.
#[must_use]
pub fn format() -> Path {
    Path::from("format")
}

/// The change that makes `version` from the one before.
#[must_use]
pub fn version(version: u64) -> Path {
    Path::from(format!("{CATALOG}/{version:020}"))
}

/// The root of the state at a version.
#[must_use]
pub fn checkpoint(version: u64) -> Path {
    Path::from(format!("{CHECKPOINT}/{version:020}"))
}

#[must_use]
pub fn pages(tenant: &TenantId) -> Path {
    Path::from(format!("{PAGE}/{tenant}"))
}

/// One tenant's part of the state since `changed`.
#[must_use]
pub fn page(tenant: &TenantId, changed: u64) -> Path {
    Path::from(format!("{PAGE}/{tenant}/{changed:020}"))
}

/// The mark that the versions of an epoch are being deleted.
#[must_use]
pub fn swept(epoch: u64) -> Path {
    Path::from(format!("{SWEPT}/{epoch:020}"))
}

/// The slot that holds a writer's segment or closed mark number `seq`.
#[must_use]
pub fn slot(writer: WriterId, seq: u64) -> Path {
    Path::from(format!("{WAL}/{writer}/{seq:020}"))
}

/// An object that is overwritten to learn the store's time.
#[must_use]
pub fn clock(who: u128) -> Path {
    Path::from(format!("clock/{who:032x}"))
}

/// The folder of one block. `tenant` is `None` for L1, whose objects hold many.
///
/// Every level has the same hive partition keys (level, day, block), so the tenant is a plain folder: with
/// `tenant=` above L1 only, DuckDB and Spark refuse to read files of several levels together.
#[must_use]
pub fn block(level: Level, tenant: Option<&TenantId>, first_ts: i64, id: BlockId) -> Path {
    let level = match level {
        Level::L1 => 1,
        Level::L2 => 2,
        Level::L3 => 3,
    };
    let day = Day(first_ts.div_euclid(DAY_MS));
    Path::from(match tenant {
        None => format!("{BLOCKS}/level={level}/day={day}/block={id}"),
        Some(tenant) => format!("{BLOCKS}/level={level}/{tenant}/day={day}/block={id}"),
    })
}

/// One object of a block, below its folder.
#[must_use]
pub fn block_object(folder: &Path, kind: ObjectKind) -> Path {
    folder.clone().join(kind.file_name())
}

/// The folder that a key lies in.
#[must_use]
pub fn folder(key: &Path) -> Option<Path> {
    let (folder, _) = key.as_ref().rsplit_once('/')?;
    Path::parse(folder).ok()
}

/// The version of a catalog, checkpoint or page key: its last part.
#[must_use]
pub fn parse_version(key: &Path) -> Option<u64> {
    parse_number(key.parts().next_back()?.as_ref())
}

/// Writer and sequence number of a slot's key.
#[must_use]
pub fn parse_slot(key: &Path) -> Option<(WriterId, u64)> {
    let mut parts = key.parts();
    let (folder, writer, seq) = (parts.next()?, parts.next()?, parts.next()?);
    if folder.as_ref() != WAL || writer.as_ref().len() != 32 || parts.next().is_some() {
        return None;
    }
    let writer = u128::from_str_radix(writer.as_ref(), 16).ok()?;
    Some((WriterId(writer), parse_number(seq.as_ref())?))
}

/// The id of the block that an object's key belongs to.
#[must_use]
pub fn parse_block(key: &Path) -> Option<BlockId> {
    let mut parts: Vec<_> = key.parts().collect();
    parts.pop()?;
    BlockId::parse(parts.pop()?.as_ref().strip_prefix("block=")?)
}

fn parse_number(text: &str) -> Option<u64> {
    let digits = text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A UTC day as a date, counted from 1970-01-01.
struct Day(i64);

impl fmt::Display for Day {
    /// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_what_they_were_made_of() {
        let writer = WriterId(0xabc);
        assert_eq!(parse_slot(&slot(writer, 7)), Some((writer, 7)));
        assert_eq!(parse_version(&version(u64::MAX)), Some(u64::MAX));
        let tenant = TenantId::new("a*b'(c)!").unwrap();
        assert_eq!(parse_version(&page(&tenant, 64)), Some(64));
        let id = BlockId { base: 41, unique: u128::MAX };
        let folder = block(Level::L2, Some(&tenant), -1, id);
        assert_eq!(parse_block(&block_object(&folder, ObjectKind::Samples)), Some(id));
        assert_eq!(BlockId::parse(&id.to_string()), Some(id));
    }

    #[test]
    fn foreign_keys_are_not_taken_for_ours() {
        for key in ["wal/x/00000000000000000001", "wal/1", "wal/00000000000000000000000000000abc/1"] {
            assert_eq!(parse_slot(&Path::from(key)), None, "{key}");
        }
        for key in ["blocks/block=7/samples.parquet", "blocks/x", "x"] {
            assert_eq!(parse_block(&Path::from(key)), None, "{key}");
        }
        assert_eq!(parse_version(&Path::from("catalog/+0000000000000000001")), None);
    }

    #[test]
    fn blocks_lie_under_the_day_of_their_first_sample() {
        let id = BlockId { base: 3, unique: 0xf };
        let cases = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000, "2000-02-29"),
            (1_795_478_399_999, "2026-11-23"),
        ];
        for (ts, day) in cases {
            let expected = format!(
                "blocks/level=1/day={day}/block=00000000000000000003-0000000000000000000000000000000f"
            );
            assert_eq!(block(Level::L1, None, ts, id).as_ref(), expected);
        }
        // No panic at the ends of time.
        let _ = (block(Level::L1, None, i64::MIN, id), block(Level::L1, None, i64::MAX, id));
    }
}
