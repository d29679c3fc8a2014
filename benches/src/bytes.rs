//! Bytes per sample at rest, for real samples, everything included.
//!
//! 1. Send the samples to each program by remote write.
//! 2. Promontory: wait until every sample is in a block and no L1 block is left; sum the sizes of the
//!    files that `blocks ls --files` names. The catalog and the log are not blocks and not counted.
//! 3. Prometheus: a snapshot writes its head as a block; sum its files.
//! 4. VictoriaMetrics: force a merge; sum the files of its data and of its index.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::host_metrics::HostMetrics;
use crate::peers::{Peer, Running};
use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::say;
use crate::support::servers::Promontory;
use crate::support::tools::promontory_binary;
use crate::support::workdir::Workdir;
use crate::verdicts::{Bound, Criterion, PeerComparison, Section, number, table};

/// The most bytes per sample that are good enough.
const FLOOR: f64 = 0.70;
/// Until everything is in blocks of the wanted level.
const COMPACTION_DEADLINE: Duration = Duration::from_secs(600);
/// Until VictoriaMetrics has written and merged.
const MERGE_DEADLINE: Duration = Duration::from_secs(120);
/// In a quick run one series of so many is kept.
const QUICK_SHARE: usize = 8;
/// Several L1 blocks, and one compaction after the last of them.
const FLAGS: [&str; 4] = [
    "--ingester.flush-interval=200ms",
    "--ingester.block-interval=5s",
    "--compactor.l2-after=30s",
    "--compactor.sweep-interval=1h",
];

struct Size {
    name: &'static str,
    what: &'static str,
    bytes: u64,
    n_files: usize,
}

/// Measures all programs.
///
/// # Errors
/// If the samples cannot be had, or a program does not do what it is asked.
pub fn measure(quick: bool) -> Result<Section> {
    let mut metrics = HostMetrics::load()?;
    if quick {
        metrics.thin_out(QUICK_SHARE);
    }
    metrics.shift_to(now_ms());
    let sizes = Peer::ALL.map(|peer| {
        say(&format!("bytes: {} samples into {}", metrics.n_samples(), peer.name()));
        size(peer, &metrics).with_context(|| format!("bytes per sample of {}", peer.name()))
    });
    let sizes = sizes.into_iter().collect::<Result<Vec<Size>>>()?;
    let per_sample = |size: &Size| size.bytes as f64 / metrics.n_samples() as f64;
    let ours = per_sample(&sizes[0]);
    let comparison = |size: &Size| PeerComparison {
        what: "bytes per sample".to_owned(),
        peer: size.name,
        ours,
        theirs: per_sample(size),
    };
    let raw = sizes.iter().map(|size| json!({"program": size.name, "what": size.what, "bytes": size.bytes}));
    let raw = json!({"samples": metrics.n_samples(), "sizes": raw.collect::<Vec<_>>()});
    // One eighth of the series under one footer says nothing about all of them.
    let judged = (!quick).then_some(ours);
    let what = "bytes per real sample after the first compaction";
    Ok(Section {
        text: page(&metrics, &sizes, quick),
        criteria: vec![Criterion::at_most(Bound::Floor, what, judged, FLOOR, "bytes")],
        comparisons: sizes[1..].iter().map(comparison).collect(),
        raw,
    })
}

fn size(peer: Peer, metrics: &HostMetrics) -> Result<Size> {
    let workdir = Workdir::new("bench-bytes");
    let flags = if peer == Peer::Promontory { FLAGS.as_slice() } else { &[] };
    let running = peer.start(workdir.path(), flags)?;
    metrics.send(&running.client)?;
    let (what, files) = match running.product() {
        Some(product) => {
            wait_until_compacted(product);
            verify_rows(&running.data, metrics.n_samples())?;
            ("L2 blocks, series and samples", product_files(product))
        }
        None if peer == Peer::Prometheus => ("one block with its index", of_prometheus(&running)?),
        None => ("data and index after a forced merge", of_victoria_metrics(&running)?),
    };
    let sizes = files.iter().map(|file| Ok(std::fs::metadata(file).with_context(|| file.clone())?.len()));
    let bytes = sizes.sum::<Result<u64>>()?;
    Ok(Size { name: peer.name(), what, bytes, n_files: files.len() })
}

/// Every sample must be there, and none twice, or the division means nothing.
fn verify_rows(store: &Path, expected: usize) -> Result<()> {
    let output = Command::new(promontory_binary()).args(["blocks", "ls", "--store"]).arg(store).output();
    let output = output.context("promontory blocks ls")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    let rows: usize = rows.sum();
    ensure!(rows == expected, "the blocks hold {rows} rows of {expected} samples:\n{text}");
    Ok(())
}

/// Waits until every sample is in a block.
pub fn wait_until_in_blocks(product: &Promontory) {
    wait_for("all samples to be in blocks", COMPACTION_DEADLINE, || match product.unflushed_series() {
        0 => Ok(()),
        n_series => Err(format!("{n_series} series have samples outside")),
    });
}

/// Waits until every sample is in a block of L2 or above.
pub fn wait_until_compacted(product: &Promontory) {
    wait_until_in_blocks(product);
    wait_for("no L1 block to be left", COMPACTION_DEADLINE, || {
        let files = product.block_files();
        let left = files.iter().filter(|file| file.contains("/level=1/")).count();
        if left > 0 || files.is_empty() {
            // The command reads the whole catalog each time.
            pause(Duration::from_secs(1));
            return Err(format!("{left} of {} files are of L1", files.len()));
        }
        Ok(())
    });
}

fn product_files(product: &Promontory) -> Vec<String> {
    let files = product.block_files().into_iter();
    files.map(|file| file.strip_prefix("file://").map_or_else(|| file.clone(), str::to_owned)).collect()
}

fn of_prometheus(running: &Running) -> Result<Vec<String>> {
    let answer = running.client.post("/api/v1/admin/tsdb/snapshot", &[], Vec::new());
    let answer = answer.map_err(anyhow::Error::msg)?;
    ensure!(answer.status == 200, "snapshot: status {}: {}", answer.status, answer.text());
    let name = answer.json()["data"]["name"].as_str().context("the name of the snapshot")?.to_owned();
    files_below(&running.data.join("snapshots").join(name))
}

fn of_victoria_metrics(running: &Running) -> Result<Vec<String>> {
    for path in ["/internal/force_flush", "/internal/force_merge"] {
        let answer = running.client.get(path, &[]).map_err(anyhow::Error::msg)?;
        ensure!(answer.status == 200, "{path}: status {}: {}", answer.status, answer.text());
        // Parts in memory are written each five seconds; a merge is begun in the background.
        pause(Duration::from_secs(6));
    }
    wait_for("the forced merge to end", MERGE_DEADLINE, || {
        match running.client.metric("vm_active_force_merges", "") {
            Some(0.0) => Ok(()),
            other => Err(format!("vm_active_force_merges is {other:?}")),
        }
    });
    files_below(&running.data.join("data"))
}

fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path.display().to_string()) }
        }
    }
    Ok(files)
}

fn page(metrics: &HostMetrics, sizes: &[Size], quick: bool) -> String {
    let n_samples = metrics.n_samples() as f64;
    let rows = sizes.iter().map(|size| {
        vec![
            size.name.to_owned(),
            format!("{:.3}", size.bytes as f64 / n_samples),
            number(size.bytes as f64),
            size.n_files.to_string(),
            size.what.to_owned(),
        ]
    });
    let table =
        table(&["", "bytes per sample", "bytes", "files", "what is counted"], &rows.collect::<Vec<_>>());
    let thinned = match quick {
        true => format!("One series of {QUICK_SHARE} was kept, so the index weighs more than it should.\n"),
        false => String::new(),
    };
    format!(
        "## Bytes per sample at rest\n\n\
         `host-metrics` as remote write 1.0: {} series, {} distinct samples, in {} windows of two hours; \
         timestamps moved by {} h, a multiple of those windows.\n{thinned}\n{table}\n\
         Promontory over a folder (`{}`), once no L1 block is left: the files that \
         `blocks ls --files` names, series files included; they hold as many rows as there are samples.\n\
         For these samples the data's own README states as reference, measured elsewhere: a Prometheus block \
         1.285, VictoriaMetrics after a forced merge 0.53.\n\n",
        number(metrics.n_series() as f64),
        number(n_samples),
        metrics.n_windows(),
        metrics.shifted_ms / 3_600_000,
        FLAGS.join(" "),
    )
}
