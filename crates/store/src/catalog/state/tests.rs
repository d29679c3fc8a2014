//! Preconditions and bytes of every kind of change.

use std::collections::BTreeMap;

use bytes::Bytes;
use promontory_block::{ObjectKind, ObjectMeta, TenantSpan};
use promontory_model::TimeRange;

use super::*;
use crate::catalog::bytes::CheckpointRoot;
use crate::object::keys;

const WRITER: WriterId = WriterId(7);

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn entry(level: Level, base: u64, tenants: &[&str]) -> BlockEntry {
    let id = BlockId { base, unique: 0xabcd };
    let span = |name: &&str| TenantSpan {
        tenant: tenant(name),
        series: 0..1,
        rows: 0..2,
        time_range: TimeRange::new(-5, 1_000),
    };
    let object = |kind| ObjectMeta { kind, size: 10, checksum: 99, footer_size: 3, footer_crc: 4 };
    BlockEntry {
        id,
        path: keys::block(level, None, 0, id),
        applied: base,
        meta: BlockMeta {
            level,
            rows: 2,
            series: 1,
            time_range: TimeRange::new(-5, 1_000),
            first_key: Bytes::from_static(b"a"),
            last_key: Bytes::from_static(b"b"),
            tenants: tenants.iter().map(span).collect(),
            objects: vec![object(ObjectKind::Series), object(ObjectKind::Samples)],
        },
    }
}

fn l1(from: u64, to: u64, entry: Option<BlockEntry>) -> Change {
    Change::L1 { writer: WRITER, from, to, entry }
}

/// Applies all; the last must be void with this text, or fine if it is empty.
#[track_caller]
fn check(changes: &[Change], expected: &str) -> Catalog {
    let mut catalog = Catalog::default();
    for (i, change) in changes.iter().enumerate() {
        match catalog.apply(change, Planted::NONE) {
            Ok(next) => catalog = next,
            Err(Void(why)) => {
                assert!(i + 1 == changes.len() && !expected.is_empty(), "change {i}: {why}");
                assert!(why.contains(expected), "{why:?} does not say {expected:?}");
                return catalog;
            }
        }
    }
    assert_eq!(expected, "", "all changes were applied");
    catalog
}

fn all_changes() -> Vec<Change> {
    let a = tenant("a");
    vec![
        Change::Birth { writer: WRITER },
        l1(0, 3, Some(entry(Level::L1, 1, &["a", "b"]))),
        l1(3, 4, None),
        Change::MergeL1 {
            tenant: a.clone(),
            from: 0,
            to: 3,
            passed_over: vec![],
            outputs: vec![entry(Level::L2, 3, &["a"])],
        },
        Change::Merge {
            tenant: a.clone(),
            inputs: vec![entry(Level::L2, 3, &["a"]).id],
            outputs: vec![entry(Level::L3, 4, &["a"])],
        },
        Change::Floor { floor: 2 },
        Change::Retain { tenant: a, from_ts: -1 },
        Change::Close { writer: WRITER, from: 4, mark: 5, entry: None },
        Change::MergeL1 { tenant: tenant("b"), from: 0, to: 3, passed_over: vec![2], outputs: vec![] },
    ]
}

#[test]
fn a_life_of_every_change_applies() {
    let catalog = check(&all_changes(), "");
    assert_eq!(catalog.version, 9);
    assert!(catalog.writers.is_empty());
    // b has passed the L1 block over, a has passed it.
    assert_eq!(catalog.l1_of(&tenant("a")).count(), 0);
    assert_eq!(catalog.l1_of(&tenant("b")).count(), 1);
    assert_eq!(catalog.tenants_with_rows(), vec![tenant("a"), tenant("b")]);
}

#[test]
fn a_watermark_commit_is_void_unless_it_starts_from_the_current_one() {
    let birth = Change::Birth { writer: WRITER };
    check(&[l1(0, 1, None)], "is not live");
    check(&[birth.clone(), l1(1, 2, None)], "is 0, not 1");
    check(&[birth.clone(), l1(0, 2, None), l1(0, 3, None)], "is 2, not 0");
    check(&[birth.clone(), l1(0, 0, None)], "does not rise");
    check(&[birth.clone(), birth.clone()], "live already");
    let close = |from, mark| Change::Close { writer: WRITER, from, mark, entry: None };
    check(&[birth.clone(), l1(0, 2, None), close(2, 2)], "is not above 2");
    check(&[birth.clone(), l1(0, 2, None), close(1, 4)], "is 2, not 1");
    check(&[birth.clone(), l1(0, 2, None), close(2, 3), l1(2, 3, None)], "is not live");
}

#[test]
fn a_block_below_the_floor_is_void() {
    let old = entry(Level::L1, 0, &["a"]);
    check(
        &[Change::Birth { writer: WRITER }, Change::Floor { floor: 1 }, l1(0, 1, Some(old))],
        "below the floor",
    );
    let future = entry(Level::L1, 2, &["a"]);
    check(&[Change::Birth { writer: WRITER }, l1(0, 1, Some(future))], "not older than version 2");
}

#[test]
fn the_floor_only_rises_and_never_beyond_the_version_it_builds_on() {
    let birth = Change::Birth { writer: WRITER };
    check(&[Change::Floor { floor: 1 }], "beyond version 0");
    check(&[birth.clone(), Change::Floor { floor: 1 }, Change::Floor { floor: 1 }], "not above 1");
}

#[test]
fn an_l1_object_stays_until_all_its_tenants_have_passed_it() {
    let mut changes = all_changes()[..2].to_vec();
    let merge = |name: &str, base| Change::MergeL1 {
        tenant: tenant(name),
        from: 0,
        to: 2,
        passed_over: vec![],
        outputs: vec![entry(Level::L2, base, &[name])],
    };
    changes.push(merge("a", 2));
    assert_eq!(check(&changes, "").l1.len(), 1);
    changes.push(merge("b", 2));
    assert_eq!(check(&changes, "").l1.len(), 0);
    changes.push(merge("b", 2));
    check(&changes, "is 2, not 0");
}

#[test]
fn an_l1_object_that_a_tenant_passes_over_counts_for_it_alone() {
    let mut changes = all_changes()[..2].to_vec();
    let merge = |name: &str, passed_over: Vec<u64>| Change::MergeL1 {
        tenant: tenant(name),
        from: 0,
        to: 2,
        passed_over,
        outputs: vec![],
    };
    changes.push(merge("a", vec![2]));
    let over = check(&changes, "");
    assert_eq!(over.l1_of(&tenant("a")).map(|(version, _)| version).collect::<Vec<_>>(), [2]);
    assert_eq!(over.unmerged_l1_of(&tenant("a")).count(), 0);
    // b goes past it in the ordinary way; the object stays for a.
    changes.push(merge("b", vec![]));
    let past = check(&changes, "");
    assert_eq!(past.l1.len(), 1);
    assert_eq!(past.l1_of(&tenant("b")).count(), 0);
    assert_eq!(past.l1_of(&tenant("a")).count(), 1);
    // Until a's retention passes it, too.
    changes.push(Change::Retain { tenant: tenant("a"), from_ts: 0 });
    assert_eq!(check(&changes, "").l1.len(), 1);
    changes.push(Change::Retain { tenant: tenant("a"), from_ts: i64::MAX });
    let retained = check(&changes, "");
    assert_eq!((retained.l1.len(), retained.l1_of(&tenant("a")).count()), (0, 0));

    for passed_over in [vec![1], vec![3], vec![0]] {
        check(&[&all_changes()[..3], &[merge("a", passed_over)]].concat(), "no L1 block of tenant a");
    }
    check(&[&all_changes()[..2], &[merge("c", vec![2])]].concat(), "no L1 block of tenant c");
}

#[test]
fn a_merge_is_void_without_all_its_inputs() {
    let mut changes = all_changes()[..5].to_vec();
    changes.push(changes[4].clone());
    check(&changes, "is gone");
    let foreign = Change::MergeL1 {
        tenant: tenant("b"),
        from: 0,
        to: 2,
        passed_over: vec![],
        outputs: vec![entry(Level::L2, 2, &["a"])],
    };
    check(&[&all_changes()[..2], &[foreign]].concat(), "not a block of tenant b");
}

#[test]
fn retention_drops_blocks_that_end_before_it() {
    let mut changes = all_changes()[..5].to_vec();
    let retain = |from_ts| Change::Retain { tenant: tenant("a"), from_ts };
    changes.push(retain(1_000));
    assert_eq!(check(&changes, "").blocks_of(&tenant("a")).count(), 1);
    changes.push(retain(1_001));
    assert_eq!(check(&changes, "").blocks_of(&tenant("a")).count(), 0);
    changes.push(retain(5));
    check(&changes, "does not rise");
}

#[test]
fn every_change_survives_its_bytes() {
    for (i, change) in all_changes().into_iter().enumerate() {
        let delta = Delta { version: i as u64 + 1, attempt: u128::MAX - i as u128, change };
        let bytes = delta.encode();
        assert_eq!(Delta::decode(&bytes).unwrap(), delta);
        for end in 0..bytes.len() {
            assert!(Delta::decode(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn root_and_pages_rebuild_the_state() {
    let catalog = check(&all_changes(), "");
    let root = CheckpointRoot::of(&catalog);
    let decoded = CheckpointRoot::decode(&root.encode()).unwrap();
    assert_eq!(decoded, root);
    let mut rebuilt = decoded.catalog;
    for (id, changed) in decoded.pages {
        let (page_of, page) = TenantState::decode(&catalog.tenants[&id].encode(&id)).unwrap();
        assert_eq!((&page_of, page.changed), (&id, changed));
        rebuilt.tenants.insert(id, Arc::new(page));
    }
    assert_eq!(rebuilt, catalog);
}

/// Bytes that version 1 wrote must be readable for ever.
#[test]
fn delta_bytes_are_stable() {
    let delta = Delta { version: 2, attempt: 5, change: l1(0, 3, Some(entry(Level::L1, 1, &["a"]))) };
    let hex: String = delta.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_DELTA);
    let root =
        CheckpointRoot { catalog: check(&all_changes()[..1], ""), pages: BTreeMap::from([(tenant("a"), 1)]) };
    let hex: String = root.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_ROOT);
}

const GOLDEN_DELTA: &str = concat!(
    "504d444501000205000000000000000000000000000000020700000000000000000000000000000000030101",
    "cdab000000000000000000000000000059626c6f636b732f6c6576656c3d312f6461793d313937302d30312d",
    "30312f626c6f636b3d30303030303030303030303030303030303030312d3030303030303030303030303030",
    "3030303030303030303030303030616263640101020109d00f016101620101610001000209d00f02010a6300",
    "00000000000000000000000000000300000004000000020a6300000000000000000000000000000003000000",
    "04000000cd9fe3e0",
);
const GOLDEN_ROOT: &str = "504d434b01000100010700000000000000000000000000000001000001016101099f39c9";

#[test]
fn hostile_bytes_never_panic() {
    let bytes = Delta { version: 2, attempt: 5, change: all_changes().remove(1) }.encode();
    let body = bytes.len() - 4;
    for at in 6..body {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut hostile = bytes[..body].to_vec();
            hostile[at] = value;
            let crc = crc32c::crc32c(&hostile);
            hostile.extend_from_slice(&crc.to_le_bytes());
            // Whatever it says: a value or an error, and no more memory than the input allows.
            let _ = Delta::decode(&hostile);
        }
    }
}
