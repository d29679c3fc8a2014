//! The page: what was asked for is measured, part by part, and written with its verdicts on top.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::options::{Options, Part};
use crate::support::say;
use crate::support::tools::tool;
use crate::verdicts::{Criterion, PeerComparison, Section, criteria_table};
use crate::{bytes, ingest, peers, product, queries};

/// Measures, writes `report.md` and `report.json`, and answers the page.
///
/// # Errors
/// If a program is missing, does not do what it is asked, or answers differently than Prometheus.
pub fn write(options: &Options) -> Result<String> {
    require_peers()?;
    let setting = setting(options);
    let sections = measure(options)?;
    let page = page(&setting, options, &sections);
    let raw = json!({
        "setting": setting,
        "parts": sections.iter().map(|section| section.raw.clone()).collect::<Vec<Value>>(),
    });
    let folder = &options.output;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (name, text) in [("report.md", &page), ("report.json", &format!("{raw:#}\n"))] {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        say(&format!("written: {}", path.display()));
    }
    Ok(page)
}

/// A report without a peer compares nothing.
fn require_peers() -> Result<()> {
    for name in ["prometheus", "victoria-metrics", "minio", "duckdb-python"] {
        tool(name).map_err(anyhow::Error::msg).context("the report needs every program")?;
    }
    Ok(())
}

fn measure(options: &Options) -> Result<Vec<Section>> {
    let scale = options.scale();
    let mut sections = Vec::new();
    for part in &options.parts {
        match part {
            Part::Ingest => {
                for ingest in &scale.ingest {
                    sections.push(ingest::measure(ingest)?);
                }
            }
            Part::Bytes => sections.push(bytes::measure(options.quick)?),
            Part::Queries => sections.push(queries::measure(&scale)?),
        }
    }
    Ok(sections)
}

fn page(setting: &[(&str, String)], options: &Options, sections: &[Section]) -> String {
    let criteria: Vec<Criterion> = sections.iter().flat_map(|section| section.criteria.clone()).collect();
    let comparisons = sections.iter().flat_map(|section| &section.comparisons);
    let mut page = String::from(
        "# Report\n\nWritten by `cargo run --release --locked -p promontory-benches -- report`: one run, all \
         programs on the same machine with the same data.\n",
    );
    if options.quick {
        page.push_str(
            "**A quick run with small shapes: it tries the harness and says nothing of the product.**\n",
        );
    }
    page.push('\n');
    for (what, value) in setting {
        let _ = writeln!(page, "- {what}: {value}");
    }
    let missed = criteria.iter().filter(|criterion| criterion.is_missed()).count();
    let _ = write!(
        page,
        "\n## Floors and goals\n\n{} of {} missed.\n\n{}\n",
        missed,
        criteria.len(),
        criteria_table(&criteria)
    );
    let _ = write!(page, "## Where Promontory is worse\n\n{}\n", shortfalls(comparisons));
    for section in sections {
        page.push_str(&section.text);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn shortfalls<'a>(comparisons: impl Iterator<Item = &'a PeerComparison>) -> String {
    let lines: Vec<String> = comparisons.filter_map(PeerComparison::shortfall).collect();
    if lines.is_empty() { "Nowhere in this run.\n".to_owned() } else { format!("{}\n", lines.join("\n")) }
}

/// Machine and versions, one line each.
fn setting(options: &Options) -> Vec<(&'static str, String)> {
    let profile = match (options.quick, options.million) {
        (true, _) => "quick",
        (false, true) => "full, with a million series",
        (false, false) => "full",
    };
    vec![
        ("Date", date()),
        ("Machine", machine()),
        ("Load average before the run", file_line("/proc/loadavg")),
        ("Promontory", product::description()),
        ("Beside it", peers::pinned_versions()),
        ("Shapes", profile.to_owned()),
    ]
}

fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kib: f64 = kib.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default();
    let gib = kib / f64::from(1 << 20);
    format!("{cores} cores, {model}, {gib:.1} GiB, Linux {}", file_line("/proc/sys/kernel/osrelease"))
}

fn file_line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned()).trim().to_owned()
}
