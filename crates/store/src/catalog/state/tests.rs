//! Preconditions and bytes of every kind of change.

use std::collections::BTreeMap;

use bytes::Bytes;
use promontory_block::{ObjectKind, ObjectMeta, TenantSpan};
use promontory_model::TimeRange;

use super::*;
use crate::catalog::bytes::{CheckpointRoot, Page};
use crate::object::encoding::DecodeError;
use crate::object::format::Format;
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
        other_rows: vec![],
        time_range: TimeRange::new(-5, 1_000),
    };
    let object = |kind: ObjectKind| {
        let rows = if kind == ObjectKind::Series { 1 } else { 2 };
        ObjectMeta { kind, size: 10, rows, checksum: 99, footer_size: 3, footer_crc: 4 }
    };
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
    Change::L1 { writer: WRITER, from, to, rows: addition(entry) }
}

/// The blocks, with the windows that their tenants' rows touch.
fn addition(entries: impl IntoIterator<Item = BlockEntry>) -> Addition {
    let entries: Vec<BlockEntry> = entries.into_iter().collect();
    let tenants: BTreeSet<&TenantId> =
        entries.iter().flat_map(|entry| entry.meta.tenants.iter().map(|span| &span.tenant)).collect();
    let touched = tenants.into_iter().map(|id| Touched::by_samples(id, [-5, 1_000].into_iter())).collect();
    Addition { entries, touched }
}

fn birth() -> Change {
    Change::Birth { writer: WRITER, level: 0 }
}

fn place(version: u64) -> L1Place {
    L1Place::first_of(version)
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
        birth(),
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
        Change::Close { writer: WRITER, from: 4, mark: 5, rows: Addition::default() },
        Change::MergeL1 { tenant: tenant("b"), from: 0, to: 3, passed_over: vec![place(2)], outputs: vec![] },
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
    let birth = birth();
    check(&[l1(0, 1, None)], "is not live");
    check(&[birth.clone(), l1(1, 2, None)], "is 0, not 1");
    check(&[birth.clone(), l1(0, 2, None), l1(0, 3, None)], "is 2, not 0");
    check(&[birth.clone(), l1(0, 0, None)], "does not rise");
    check(&[birth.clone(), birth.clone()], "live already");
    let close = |from, mark| Change::Close { writer: WRITER, from, mark, rows: Addition::default() };
    check(&[birth.clone(), l1(0, 2, None), close(2, 2)], "is not above 2");
    check(&[birth.clone(), l1(0, 2, None), close(1, 4)], "is 2, not 1");
    check(&[birth.clone(), l1(0, 2, None), close(2, 3), l1(2, 3, None)], "is not live");
}

#[test]
fn a_block_below_the_floor_is_void() {
    let old = entry(Level::L1, 0, &["a"]);
    check(&[birth(), Change::Floor { floor: 1 }, l1(0, 1, Some(old))], "below the floor");
    let future = entry(Level::L1, 2, &["a"]);
    check(&[birth(), l1(0, 1, Some(future))], "not older than version 2");
}

#[test]
fn the_floor_only_rises_and_never_beyond_the_version_it_builds_on() {
    let birth = birth();
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
        passed_over: passed_over.into_iter().map(place).collect(),
        outputs: vec![],
    };
    changes.push(merge("a", vec![2]));
    let over = check(&changes, "");
    assert_eq!(over.l1_of(&tenant("a")).map(|(place, _)| place).collect::<Vec<_>>(), [place(2)]);
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
fn answers_change_with_the_windows_that_come_or_go() {
    let mut changes = all_changes()[..2].to_vec();
    let epochs = |catalog: &Catalog, name: &str| {
        let epochs = catalog.epochs.get(&tenant(name)).cloned().unwrap_or_default();
        epochs.runs.iter().map(|run| (run.windows.first, run.windows.last, run.epoch)).collect::<Vec<_>>()
    };
    let added = check(&changes, "");
    assert_eq!(epochs(&added, "a"), [(-1, 0, 2)]);
    assert_eq!(epochs(&added, "b"), [(-1, 0, 2)]);
    changes.push(all_changes().remove(3));
    // A merge changes no answer.
    if let Change::MergeL1 { to, outputs, .. } = &mut changes[2] {
        (*to, *outputs) = (2, vec![entry(Level::L2, 2, &["a"])]);
    }
    assert_eq!(epochs(&check(&changes, ""), "a"), [(-1, 0, 2)]);
    changes.push(Change::Retain { tenant: tenant("a"), from_ts: 0 });
    let retained = check(&changes, "");
    let oldest = i64::MIN.div_euclid(7_200_000);
    assert_eq!(epochs(&retained, "a"), [(oldest, -1, 4), (0, 0, 2)]);
    assert_eq!(epochs(&retained, "b"), [(-1, 0, 2)]);
    changes.push(Change::ForgetBlock { block: entry(Level::L2, 2, &["a"]).id });
    let forgotten = check(&changes, "");
    assert_eq!(epochs(&forgotten, "a"), [(oldest, -2, 4), (-1, 0, 5)]);
    assert_eq!(forgotten.blocks_of(&tenant("a")).count(), 0);
}

#[test]
fn several_blocks_of_one_commit_leave_one_by_one() {
    let second = BlockEntry { id: BlockId { base: 1, unique: 2 }, ..entry(Level::L1, 1, &["b"]) };
    let both = [entry(Level::L1, 1, &["a"]), second];
    let mut changes = vec![birth(), Change::L1 { writer: WRITER, from: 0, to: 1, rows: addition(both) }];
    let catalog = check(&changes, "");
    let places: Vec<_> = catalog.l1.keys().map(ToString::to_string).collect();
    assert_eq!(places, ["2/0", "2/1"]);
    let merge = |name: &str| Change::MergeL1 {
        tenant: tenant(name),
        from: 0,
        to: 2,
        passed_over: vec![],
        outputs: vec![],
    };
    changes.push(merge("a"));
    assert_eq!(check(&changes, "").l1.keys().map(|place| place.part).collect::<Vec<_>>(), [1]);
    changes.push(merge("b"));
    assert!(check(&changes, "").l1.is_empty());
}

#[test]
fn what_is_lost_for_ever_is_given_up_by_name() {
    let start = &all_changes()[..2];
    let forget = |block: BlockId| Change::ForgetBlock { block };
    let id = entry(Level::L1, 1, &["a"]).id;
    check(&[start, &[forget(BlockId { base: 9, unique: 9 })]].concat(), "is not there");
    assert!(check(&[start, &[forget(id)]].concat(), "").l1.is_empty());
    let passes = |seq| Change::ForgetSegment { writer: WRITER, seq };
    check(&[start, &[passes(5)]].concat(), "is 3, not 4");
    assert_eq!(check(&[start, &[passes(4)]].concat(), "").writers[&WRITER].watermark, 4);
    check(&[start, &[Change::Lost { checkpoint: 4 }]].concat(), "it was lost");
}

#[test]
fn a_bucket_begins_once_and_its_level_rises_with_its_writers() {
    let genesis = Change::Genesis { bucket: 9 };
    assert_eq!(check(std::slice::from_ref(&genesis), "").bucket, 9);
    check(&[birth(), genesis.clone()], "cannot begin with version 2");
    check(&[Change::Genesis { bucket: 0 }], "cannot begin");
    let raise = |level| Change::Raise { level };
    let newer = Change::Birth { writer: WriterId(8), level: 2 };
    check(&[genesis.clone(), birth(), raise(1)], "knows level 0 only");
    check(&[genesis.clone(), newer.clone(), raise(3)], "knows level 2 only");
    assert_eq!(check(&[genesis.clone(), newer.clone(), raise(2)], "").level, 2);
    check(&[genesis.clone(), raise(2), raise(2)], "does not rise");
    check(&[genesis, raise(2), birth()], "knows level 0 only, the bucket has 2");
}

#[test]
fn a_version_follows_the_one_that_it_names() {
    let delta = |version, attempt, predecessor, id| {
        let change = Change::Birth { writer: WriterId(id), level: 0 };
        Delta { version, attempt, predecessor, change }
    };
    let one = Catalog::default().follow(&delta(1, 11, 0, 1), Planted::NONE).unwrap();
    assert_eq!(one.attempt, 11);
    assert!(one.follow(&delta(2, 22, 11, 2), Planted::NONE).is_ok());
    let other = one.follow(&delta(2, 22, 12, 2), Planted::NONE).unwrap_err();
    assert!(other.to_string().contains("another version 1"), "{other}");
    // The first encoding names none.
    assert!(one.follow(&delta(2, 22, 0, 2), Planted::NONE).is_ok());
}

/// What a newer program adds to a block is kept by one that does not know it, if it may be passed over.
#[test]
fn unknown_objects_are_kept_unless_they_are_required() {
    let mut known = entry(Level::L1, 1, &["a"]);
    let other = ObjectMeta { kind: ObjectKind::Other(200), rows: 0, ..known.meta.objects[0].clone() };
    known.meta.objects.push(other);
    known.meta.tenants[0].other_rows = vec![(ObjectKind::Histograms, 0..4)];
    let delta = Delta { version: 2, attempt: 5, predecessor: 4, change: l1(0, 3, Some(known)) };
    let bytes = delta.encode();
    assert_eq!(Delta::decode(&bytes).unwrap(), delta);
    let required = bytes.windows(2).position(|pair| pair == [200, 0]).unwrap() + 1;
    let mut hostile = bytes[..bytes.len() - 4].to_vec();
    hostile[required] = 1;
    let crc = crc32c::crc32c(&hostile);
    hostile.extend_from_slice(&crc.to_le_bytes());
    assert!(matches!(Delta::decode(&hostile), Err(DecodeError::Unsupported(why)) if why.contains("200")));
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
        let delta = Delta { version: i as u64 + 1, attempt: u128::MAX - i as u128, predecessor: 7, change };
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
    let root = CheckpointRoot::of(&catalog, Format::default());
    let decoded = CheckpointRoot::decode(&root.encode()).unwrap();
    assert_eq!(decoded, root);
    let mut rebuilt = decoded.catalog;
    for (id, changed) in decoded.pages {
        let (page_of, page) = Page::decode(&Page::of(&catalog, &id).encode(&id)).unwrap();
        assert_eq!((&page_of, page.changed()), (&id, changed));
        rebuilt.tenants.extend(page.state.map(|state| (id.clone(), state)));
        rebuilt.epochs.extend(page.epochs.map(|epochs| (id, epochs)));
    }
    assert_eq!(rebuilt, catalog);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Bytes that this version wrote must be readable for ever.
#[test]
fn bytes_are_stable() {
    let delta =
        Delta { version: 2, attempt: 5, predecessor: 3, change: l1(0, 3, Some(entry(Level::L1, 1, &["a"]))) };
    let catalog = check(&all_changes()[..2], "");
    let root = CheckpointRoot::of(&catalog, Format::default());
    let page = Page::of(&catalog, &tenant("a"));
    let found = [delta.encode(), root.encode(), page.encode(&tenant("a"))].map(|bytes| hex(&bytes));
    assert_eq!(found, [GOLDEN_DELTA, GOLDEN_ROOT, GOLDEN_PAGE]);
}

const GOLDEN_DELTA: &str = concat!(
    "504d44450200020500000000000000000000000000000003000000000000000000000000000000020700000000000000000000",
    "000000000000030101cdab000000000000000000000000000059626c6f636b732f6c6576656c3d312f6461793d313937302d30",
    "312d30312f626c6f636b3d30303030303030303030303030303030303030312d30303030303030303030303030303030303030",
    "303030303030303030616263640101020109d00f0161016201016100010102000209d00f0201010a0163000000000000000000",
    "000000000000030000000400000002010a02630000000000000000000000000000000300000004000000010161010101b5717a",
    "c4",
);
const GOLDEN_ROOT: &str = concat!(
    "504d434b020002000000000000000000000000000000000000000000000000000000000000000080084080dddb0100000107",
    "00000000000000000000000000000001030000000001020001cdab000000000000000000000000000059626c6f636b732f6c",
    "6576656c3d312f6461793d313937302d30312d30312f626c6f636b3d30303030303030303030303030303030303030312d30",
    "303030303030303030303030303030303030303030303030303030616263640101020109d00f016101620201610001010200",
    "0209d00f016200010102000209d00f0201010a0163000000000000000000000000000000030000000400000002010a026300",
    "000000000000000000000000000003000000040000000201610002016200022b405bf5",
);
const GOLDEN_PAGE: &str = "504d50470200016100000000000201010102f08ce252";

/// Version 1 knows neither identities nor epochs nor levels.
#[test]
fn bytes_of_the_first_encoding_are_read() {
    let entry = entry(Level::L1, 1, &["a"]);
    let rows = Addition { entries: vec![entry], touched: vec![] };
    let change = Change::L1 { writer: WRITER, from: 0, to: 3, rows };
    let delta = Delta { version: 2, attempt: 5, predecessor: 0, change };
    assert_eq!(Delta::decode(&unhex(GOLDEN_DELTA_V1)).unwrap(), delta);
    let root = CheckpointRoot {
        format: None,
        catalog: Catalog { attempt: 0, ..check(&all_changes()[..1], "") },
        pages: BTreeMap::from([(tenant("a"), 1)]),
    };
    assert_eq!(CheckpointRoot::decode(&unhex(GOLDEN_ROOT_V1)).unwrap(), root);
    let (id, page) = Page::decode(&unhex(GOLDEN_PAGE_V1)).unwrap();
    let state =
        TenantState { changed: 7, l1_watermark: 3, retained_from: Some(-1), ..TenantState::default() };
    let state = TenantState { passed_over: BTreeSet::from([place(2)]), ..state };
    assert_eq!((id, page), (tenant("a"), Page { state: Some(Arc::new(state)), epochs: None }));
}

const GOLDEN_DELTA_V1: &str = concat!(
    "504d444501000205000000000000000000000000000000020700000000000000000000000000000000030101",
    "cdab000000000000000000000000000059626c6f636b732f6c6576656c3d312f6461793d313937302d30312d",
    "30312f626c6f636b3d30303030303030303030303030303030303030312d3030303030303030303030303030",
    "3030303030303030303030303030616263640101020109d00f016101620101610001000209d00f02010a6300",
    "00000000000000000000000000000300000004000000020a6300000000000000000000000000000003000000",
    "04000000cd9fe3e0",
);
const GOLDEN_ROOT_V1: &str = "504d434b01000100010700000000000000000000000000000001000001016101099f39c9";
const GOLDEN_PAGE_V1: &str = "504d504701000161070303010102000000395821f9";

#[test]
fn hostile_bytes_never_panic() {
    let change = all_changes().remove(1);
    let bytes = Delta { version: 2, attempt: 5, predecessor: 4, change }.encode();
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
