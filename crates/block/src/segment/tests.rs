//! A slot comes back bit by bit or not at all.

use proptest::prelude::*;

use promontory_model::Labels;
use promontory_model::samples::Floats;

use super::*;
use crate::fixtures::{any_tenants, awkward, bits, regular, tenant};

const WRITER: WriterId = WriterId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

fn segment(sections: Vec<TenantRows>) -> Slot {
    Slot::Segment(Segment { writer: WRITER, seq: 7, applied: 41, sections })
}

fn rows(slot: &Slot) -> &[TenantRows] {
    match slot {
        Slot::Segment(segment) => &segment.sections,
        Slot::Closed(_) => panic!("a closed mark has no rows"),
    }
}

/// Makes checksums right again after a change, as somebody who forges a slot would.
fn reseal(bytes: &mut [u8]) {
    let table = u32::from_le_bytes(array(bytes, 56)) as usize;
    if let Some(table) = bytes.get(HEADER_BYTES..HEADER_BYTES + table) {
        let crc = crc32c::crc32c(table).to_le_bytes();
        bytes[60..64].copy_from_slice(&crc);
    }
    let size = (bytes.len() as u64).to_le_bytes();
    bytes[48..56].copy_from_slice(&size);
    let sum = checksum(bytes).to_le_bytes();
    bytes[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum);
}

#[test]
fn awkward_rows_come_back_bit_by_bit() {
    let slot = segment(awkward());
    let decoded = Slot::decode(&slot.encode().unwrap()).unwrap();
    assert_eq!((decoded.writer(), decoded.seq(), decoded.applied()), (WRITER, 7, 41));
    assert_eq!(bits(rows(&decoded)), bits(&awkward()));
}

#[test]
fn an_empty_segment_and_a_closed_mark_differ() {
    let empty = segment(Vec::new());
    let closed = Slot::Closed(Closed { writer: WRITER, seq: 7, applied: 41 });
    for (slot, is_mark) in [(empty, false), (closed, true)] {
        let bytes = slot.encode().unwrap();
        assert_eq!(bytes.len() == CLOSED_BYTES, is_mark, "{} bytes", bytes.len());
        assert_eq!(Slot::decode(&bytes).unwrap(), slot);
    }
}

#[test]
fn a_segment_without_any_section_is_read() {
    let bytes = seal(WRITER, 7, 41, 0, &mut [], &[]);
    assert_eq!(Slot::decode(&bytes).unwrap(), segment(Vec::new()));
}

#[test]
fn an_empty_run_has_no_section() {
    let slot = segment(vec![(tenant("a"), SeriesRun::default()), awkward()[1].clone()]);
    assert_eq!(bits(rows(&Slot::decode(&slot.encode().unwrap()).unwrap())), bits(&awkward()[1..]));
}

#[test]
fn the_checksum_stands_for_the_bytes() {
    let (a, b) = (segment(awkward()), segment(awkward()[1..].to_vec()));
    let sum = |slot: &Slot| slot_checksum(&slot.encode().unwrap()).unwrap();
    assert_eq!(sum(&a), sum(&a));
    assert_ne!(sum(&a), sum(&b));
}

#[test]
fn any_flipped_bit_and_any_truncation_is_found() {
    let bytes = segment(awkward()).encode().unwrap().to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Slot::decode(&damaged).is_err(), "bit {bit}");
        assert!(slot_checksum(&damaged).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Slot::decode(&bytes[..length]).is_err(), "length {length}");
    }
}

#[test]
fn a_forged_slot_is_an_error_or_keeps_the_invariants() {
    let bytes = segment(awkward()).encode().unwrap().to_vec();
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut forged = bytes.clone();
            forged[at] ^= change;
            reseal(&mut forged);
            if let Ok(Slot::Segment(segment)) = Slot::decode(&forged) {
                assert!(segment.sections.iter().all(|(_, run)| run.check().is_ok()), "byte {at}");
            }
        }
    }
}

#[test]
fn a_frame_that_promises_too_much_takes_no_memory() {
    let mut bytes = segment(awkward()).encode().unwrap().to_vec();
    let raw_length = HEADER_BYTES + 32;
    bytes[raw_length..raw_length + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    reseal(&mut bytes);
    let error = Slot::decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("bytes decompressed, at most"), "{error}");
}

#[test]
fn an_unknown_kind_is_skipped_if_optional_and_refused_if_required() {
    let whole = awkward();
    let with_kind = |kind: u16, required: bool| {
        let body = compress(b"of a later version").unwrap();
        let mut entries = Vec::new();
        let mut bodies = Vec::new();
        let bytes = segment(whole.clone()).encode().unwrap();
        let header = Header::read(&bytes).unwrap();
        for entry in header.entries(&bytes).unwrap() {
            bodies.push(bytes[entry.offset as usize..(entry.offset + entry.length) as usize].to_vec());
            entries.push(entry);
        }
        let mut later = entries[1].clone();
        (later.kind, later.required) = (kind, required);
        (later.length, later.crc) = (body.len() as u64, crc32c::crc32c(&body));
        entries.insert(2, later);
        bodies.insert(2, body);
        Slot::decode(&seal(WRITER, 7, 41, 0, &mut entries, &bodies))
    };
    for kind in [3, 4, 5, 6, 7, u16::MAX] {
        assert_eq!(bits(rows(&with_kind(kind, false).unwrap())), bits(&whole), "kind {kind}");
        assert!(matches!(with_kind(kind, true), Err(Error::Unsupported { .. })), "kind {kind}");
    }
}

#[test]
fn a_newer_version_is_unsupported_and_not_corrupt() {
    let mut bytes = segment(awkward()).encode().unwrap().to_vec();
    bytes[8] = 2;
    reseal(&mut bytes);
    assert!(matches!(Slot::decode(&bytes), Err(Error::Unsupported { .. })));
    assert!(slot_checksum(&bytes).is_ok());
}

#[test]
fn rows_that_break_an_invariant_are_not_encoded() {
    let of = |key: Labels, floats: Floats| {
        let lists = LaneLists::new(vec![0, floats.len()], floats);
        segment(vec![(tenant("a"), SeriesRun::new(vec![key], lists.into()))])
    };
    let good = regular(1, 1).keys()[0].clone();
    let falling: Floats = [(2, 1.0), (1, 2.0)].into_iter().collect();
    assert!(matches!(of(good.clone(), falling).encode(), Err(Error::Bug(_))));
    let started = Floats::new(vec![1], vec![1.0]).with_start_ts(vec![1]);
    assert!(matches!(of(good.clone(), started).encode(), Err(Error::Bug(_))), "it would be lost");
    let one: Floats = [(1, 1.0)].into_iter().collect();
    assert!(of(good, one.clone()).encode().is_ok());
    let tenants = vec![(tenant("b"), regular(1, 1)), (tenant("a"), regular(1, 1))];
    assert!(matches!(segment(tenants).encode(), Err(Error::Bug(_))));
    let wrong = Labels::from_key_unchecked(*b"\0\x01b\0\x01x\0\x01a\0\x01x\0\x01");
    assert!(matches!(of(wrong, one).encode(), Err(Error::Bug(_))));
}

#[test]
fn shards_of_a_large_tenant_come_back_as_one_run() {
    let run = regular(500, 3);
    let shards = split(&run, 3);
    assert!(shards.iter().filter(|shard| !shard.is_empty()).count() > 4);
    let joined = merge_owned(shards.into_iter().map(Cow::into_owned).collect());
    assert_eq!(joined, run);
    let large = regular(1_100, 1_000);
    assert!(shard_bits(&large) == 1);
    let slot = segment(vec![(tenant("large"), large)]);
    assert_eq!(Slot::decode(&slot.encode().unwrap()).unwrap(), slot);
}

#[test]
fn slots_of_the_first_version_are_still_read() {
    let slot = Slot::decode(include_bytes!("../../tests/golden/segment-v1.bin")).unwrap();
    assert_eq!((slot.writer(), slot.seq(), slot.applied()), (WRITER, 7, 41));
    assert_eq!(bits(rows(&slot)), bits(&awkward()));
    let mark = Slot::decode(include_bytes!("../../tests/golden/closed-v1.bin")).unwrap();
    assert_eq!(mark, Slot::Closed(Closed { writer: WRITER, seq: 8, applied: 42 }));
}

#[test]
#[ignore = "writes the golden files anew; only for a new format version"]
fn write_golden_files() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mark = Closed { writer: WRITER, seq: 8, applied: 42 };
    std::fs::write(format!("{folder}/segment-v1.bin"), segment(awkward()).encode().unwrap()).unwrap();
    std::fs::write(format!("{folder}/closed-v1.bin"), mark.encode()).unwrap();
}

/// One flush: the last `n_samples` samples of each real series.
#[test]
#[ignore = "prints sizes and speeds"]
fn measure_segments_of_real_samples() {
    use std::io::Write as _;
    use std::time::Instant;
    let Some(real) = crate::fixtures::real_samples() else { return };
    let mut large = SeriesRun::default();
    // As many targets as make 30,000 series.
    let mut series: Vec<_> = (0..10)
        .flat_map(|copy| real.keys().iter().map(move |key| (copy, key)))
        .enumerate()
        .map(|(i, (copy, key))| {
            let mut labels = promontory_model::LabelsBuilder::from(key.as_ref());
            labels.set("instance", &format!("10.0.0.{copy}:9100")).set("cluster", "eu-west-1");
            (labels.build(), i % real.keys().len())
        })
        .collect();
    series.sort();
    series.dedup_by(|a, b| a.0 == b.0);
    for (key, of) in series {
        let floats = real.series(of).floats;
        let middle = floats.len() / 2;
        large.push(key, floats.part(middle..middle + 1).into());
    }
    let last = |n: usize| {
        let mut run = SeriesRun::default();
        for (key, samples) in real.iter() {
            let floats = samples.floats;
            run.push(key.clone(), floats.part(floats.len().saturating_sub(n)..floats.len()).into());
        }
        run
    };
    for run in [last(1), last(8), large] {
        let (series, rows) = (run.keys().len(), run.rows() as f64);
        let slot = segment(vec![(tenant("t"), run)]);
        let start = Instant::now();
        let bytes = slot.encode().unwrap();
        let encode = start.elapsed().as_secs_f64();
        let start = Instant::now();
        Slot::decode(&bytes).unwrap();
        let decode = start.elapsed().as_secs_f64();
        let _ = writeln!(
            std::io::stderr(),
            "{series} series, {rows} samples: {:.2} B/sample; M samples/s: encode {:.2}, decode {:.2}",
            bytes.len() as f64 / rows,
            rows / encode / 1e6,
            rows / decode / 1e6
        );
    }
}

proptest! {
    #[test]
    fn slots_come_back_bit_by_bit(tenants in any_tenants(), writer in any::<u128>(), seq in any::<u64>()) {
        let slot = Segment { writer: WriterId(writer), seq, applied: seq ^ 1, sections: tenants };
        let bytes = Slot::Segment(slot.clone()).encode().unwrap();
        let Slot::Segment(decoded) = Slot::decode(&bytes).unwrap() else { panic!("a closed mark") };
        prop_assert_eq!((decoded.writer, decoded.seq, decoded.applied), (slot.writer, slot.seq, slot.applied));
        prop_assert_eq!(bits(&decoded.sections), bits(&slot.sections));
    }

    #[test]
    fn noise_is_never_a_slot(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Slot::decode(&noise).is_err());
    }
}
