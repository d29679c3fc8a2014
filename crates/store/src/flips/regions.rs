//! The regions of every kind of object, from its bytes.
//!
//! Offsets are written out as `docs/format.md` draws them and not taken from the code that is tested;
//! only where the pages of a Parquet file lie is asked of its footer.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;
use promontory_block::parquet::Footer;
use promontory_block::{ObjectKind, ObjectMeta};

/// So much of a page is called its header; the real one is of about this size.
const PAGE_HEADER_BYTES: u64 = 12;

/// Names and places, in any order, each with at least a byte.
type Regions = Vec<(String, Range<usize>)>;

/// What kind of object lies at a key.
pub(super) fn kind(key: &Path) -> &'static str {
    let key = key.as_ref();
    let file = if key.ends_with("series.parquet") { 0 } else { 1 };
    match key.split('/').next().unwrap_or_default() {
        "catalog" => "delta",
        "checkpoint" => "checkpoint root",
        "page" => "checkpoint page",
        "swept" => "swept mark",
        // The tests put the only closed mark of the tail into slot 3.
        "wal" if key.ends_with('3') => "closed mark",
        "wal" => "segment",
        "selftest" => "self-test mark",
        "blocks" if key.contains("level=1/") => ["L1 series.parquet", "L1 samples.parquet"][file],
        "blocks" if key.contains("level=2/") => ["L2 series.parquet", "L2 samples.parquet"][file],
        "blocks" => ["L3 series.parquet", "L3 samples.parquet"][file],
        _ => "format",
    }
}

/// The regions of the object at `key`; `footer_size` is the length of its tail, if it is a file of a
/// block.
pub(super) fn regions(key: &Path, bytes: &Bytes, footer_size: usize) -> Regions {
    let mut regions = match key.as_ref().split('/').next().unwrap_or_default() {
        "selftest" => vec![("text".to_owned(), 0..bytes.len())],
        "wal" => slot(bytes),
        "blocks" => parquet(key, bytes, footer_size),
        _ => catalog_object(bytes),
    };
    regions.retain(|(_, place)| !place.is_empty());
    let covered: usize = regions.iter().map(|(_, place)| place.len()).sum();
    assert_eq!(covered, bytes.len(), "the regions of {key} cover it");
    regions
}

fn catalog_object(bytes: &[u8]) -> Regions {
    let crc = bytes.len() - 4;
    named(&[("magic", 0..4), ("version", 4..6), ("body", 6..crc), ("checksum", crc..bytes.len())])
}

fn slot(bytes: &[u8]) -> Regions {
    let mut regions = named(&[
        ("magic", 0..8),
        ("version", 8..10),
        ("flags", 10..12),
        ("number of sections", 12..16),
        ("writer id", 16..32),
        ("sequence number", 32..40),
        ("applied version", 40..48),
        ("size", 48..56),
        ("length of the table", 56..60),
        ("checksum of the table", 60..64),
        ("checksum", 64..80),
    ]);
    let n_sections = number(bytes, 12, 4);
    let mut at = 80;
    for _ in 0..n_sections {
        let (tenant, offset, length) =
            (number(bytes, at + 9, 1), number(bytes, at + 16, 8), number(bytes, at + 24, 8));
        let kind = if number(bytes, at, 2) == 1 { "series" } else { "samples" };
        let fields = [
            ("kind", 0..2),
            ("flags", 2..4),
            ("shard", 4..9),
            ("tenant length", 9..10),
            ("zero", 10..12),
            ("checksum", 12..16),
            ("offset", 16..24),
            ("length", 24..32),
            ("raw length", 32..40),
            ("times", 40..56),
            ("counts", 56..72),
            ("tenant", 72..72 + tenant),
        ];
        for (field, place) in fields {
            regions.push((format!("table {field}"), at + place.start..at + place.end));
        }
        regions.push((format!("section {kind}"), offset..offset + length));
        at += 72 + tenant;
    }
    regions
}

/// Magic, the pages of each column, page indexes, footer, its length, magic.
fn parquet(key: &Path, bytes: &Bytes, footer_size: usize) -> Regions {
    let size = bytes.len();
    let tail = size - footer_size;
    let thrift = size - 8 - number(bytes, size - 8, 4);
    let mut regions = named(&[
        ("leading magic", 0..4),
        ("page index", tail..thrift),
        ("footer", thrift..size - 8),
        ("footer length", size - 8..size - 4),
        ("magic", size - 4..size),
    ]);
    let mut before = (String::new(), 0);
    for (column, page) in footer(key, bytes, tail).pages() {
        before = if before.0 == column { (column, before.1 + 1) } else { (column, 0) };
        let body = page.end.min(page.start + PAGE_HEADER_BYTES);
        let place = |range: Range<u64>| range.start as usize..range.end as usize;
        regions.push((format!("page header {} of {}", before.1, before.0), place(page.start..body)));
        regions.push((format!("page {} of {}", before.1, before.0), place(body..page.end)));
    }
    regions
}

fn footer(key: &Path, bytes: &Bytes, tail: usize) -> Footer {
    let kind =
        if key.as_ref().ends_with("series.parquet") { ObjectKind::Series } else { ObjectKind::Samples };
    let tail = bytes.slice(tail..);
    let meta = ObjectMeta {
        kind,
        size: bytes.len() as u64,
        rows: 0,
        checksum: 0,
        footer_size: tail.len() as u32,
        footer_crc: crc32c::crc32c(&tail),
    };
    Footer::read(&meta, tail).expect("the file is whole")
}

fn named(regions: &[(&str, Range<usize>)]) -> Regions {
    regions.iter().map(|(name, place)| ((*name).to_owned(), place.clone())).collect()
}

/// A little-endian number.
fn number(bytes: &[u8], at: usize, n_bytes: usize) -> usize {
    bytes[at..at + n_bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
