//! Requests built to take memory: each is refused, and the process stays small.
//!
//! One test in one binary, because it reads the peak memory of the whole process.
#![cfg(target_os = "linux")]
// The exemption for tests does not reach helpers of an integration test.
#![allow(clippy::unwrap_used)]

use promontory_model::{IngestLimits, LabelsBuilder, LabelsCodec};
use promontory_wire::remote_write_1::{Decoded, RemoteWrite1Labels, decode};
use promontory_wire::{DecodeError, snappy};

const MESSAGE_BYTES: usize = 32 << 20;
/// The decompressed message, and as much again for everything else.
const PEAK_GROWTH_BYTES_MAX: u64 = 64 << 20;

fn status_bytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Runs `decode` and returns its result with the growth of the peak above the memory held before.
fn peak_growth(body: &[u8]) -> (Result<Decoded, DecodeError>, u64) {
    // 5: the peak becomes what is held now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status_bytes("VmRSS:");
    let result = decode(body, &IngestLimits::default());
    (result, status_bytes("VmHWM:").saturating_sub(before))
}

/// 32 MiB of `unit` in a snappy block.
fn flat(unit: &[u8]) -> Vec<u8> {
    snappy::compress(&unit.repeat(MESSAGE_BYTES / unit.len()))
}

/// One series of 32 MiB that holds only `unit`.
fn one_series(unit: &[u8]) -> Vec<u8> {
    let n = (MESSAGE_BYTES - 8) / unit.len();
    let mut message = vec![0x0a];
    let mut len = n * unit.len();
    while len >= 0x80 {
        message.push(len as u8 | 0x80);
        len >>= 7;
    }
    message.push(len as u8);
    message.extend(unit.repeat(n));
    snappy::compress(&message)
}

#[test]
fn bombs_are_refused_with_little_memory() {
    let refused_by = [
        ("empty series", flat(&[0x0a, 0x00]), "series_per_request_max"),
        ("series of one empty sample", flat(&[0x0a, 0x02, 0x12, 0x00]), "series_per_request_max"),
        ("empty samples of one series", one_series(&[0x12, 0x00]), "samples_per_request_max"),
    ];
    for (what, body, limit) in refused_by {
        let (result, growth) = peak_growth(&body);
        let error = result.map(|decoded| decoded.other).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { name, .. } if name == limit), "{what}: {error}");
        assert!(growth < PEAK_GROWTH_BYTES_MAX, "{what}: peak grew by {} MiB", growth >> 20);
    }

    let taken = [
        ("metadata entries", flat(&[0x1a, 0x00])),
        ("empty labels of one series", one_series(&[0x0a, 0x00])),
        ("empty histograms of one series", one_series(&[0x22, 0x00])),
    ];
    for (what, body) in taken {
        let (result, growth) = peak_growth(&body);
        assert!(result.unwrap().batch.series.is_empty(), "{what}");
        assert!(growth < PEAK_GROWTH_BYTES_MAX, "{what}: peak grew by {} MiB", growth >> 20);
    }

    let (result, growth) = peak_growth(&flat(&[0x4b]));
    assert!(matches!(result, Err(DecodeError::Protobuf(_))), "open groups");
    assert!(growth < PEAK_GROWTH_BYTES_MAX, "open groups: peak grew by {} MiB", growth >> 20);

    let (result, growth) = peak_growth(&[0xff, 0xff, 0xff, 0x0f]);
    assert!(matches!(result, Err(DecodeError::Snappy(_))), "a declared length alone");
    assert!(growth < 1 << 20, "a declared length alone: peak grew by {} KiB", growth >> 10);

    let labels = [0x0a, 0x00].repeat(16 << 20);
    assert!(RemoteWrite1Labels.decode(&labels, &mut LabelsBuilder::default()).is_err());
}
