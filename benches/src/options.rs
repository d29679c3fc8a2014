//! What the user typed, checked, and the sizes that follow from it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::support::tools::repository;

pub const USAGE: &str = "\
usage: cargo run --release --locked -p promontory-benches -- report [flags]
  --quick            small shapes: tries the harness itself, also in a debug build
  --million          measures ingest with 1,000,000 series too
  --only PART,...    only these parts: ingest, bytes, queries
  --output FOLDER    where report.md and report.json go; benches/results for a whole report,
                     promontory-report below the folder for temporary files for any other
PROMONTORY_BINARY names the binary that is measured; without it the one of this checkout is built.
PROMONTORY_DATA names the folder of host-metrics.*.parquet, by default ../shared/data beside the checkout.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Cost, memory and acknowledgements of remote write.
    Ingest,
    /// Bytes per sample at rest.
    Bytes,
    /// The thirteen queries, and the time to plan them.
    Queries,
}

impl Part {
    const ALL: [Self; 3] = [Self::Ingest, Self::Bytes, Self::Queries];

    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Bytes => "bytes",
            Self::Queries => "queries",
        }
    }

    fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|part| part.name() == name);
        found.with_context(|| format!("no part of the report is called {name:?}"))
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured, in the order of the report.
    pub parts: Vec<Part>,
    /// Small shapes, which try the harness itself: the numbers mean nothing.
    pub quick: bool,
    /// A million series too.
    pub million: bool,
    pub output: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Scale {
    /// One ingest measurement per entry.
    pub ingest: Vec<IngestScale>,
    /// Series of each of the two counters that are queried.
    pub query_series: usize,
    /// How often a warm query is timed.
    pub query_runs: usize,
    /// Several L1 blocks, and a compaction that finds all of them.
    pub store_flags: [&'static str; 2],
}

/// Sizes of one ingest measurement.
///
/// The paced phase is a time lapse of what the defaults give with scrapes each 15 s: a block interval of
/// 2 min and a compaction after 10 min.
#[derive(Clone, Debug)]
pub struct IngestScale {
    pub n_series: usize,
    /// Scrapes sent as fast as they are acknowledged.
    pub load_scrapes: usize,
    /// Shorter than the default of two minutes, so that such a load pays for blocks too.
    pub load_block_interval: Duration,
    /// Scrapes sent at a fixed pace.
    pub paced_scrapes: usize,
    /// Time between the scrapes of the paced phase.
    pub pace: Duration,
}

/// Scrapes per block interval.
const SCRAPES_PER_BLOCK: u32 = 8;
/// Scrapes until L1 blocks become L2.
pub const SCRAPES_PER_COMPACTION: u32 = 40;

impl IngestScale {
    /// Shortens Promontory's intervals as much as the scrapes' are.
    pub fn paced_flags(&self) -> Vec<String> {
        let flag = |name: &str, n_scrapes: u32| format!("{name}={}ms", (self.pace * n_scrapes).as_millis());
        vec![
            flag("--ingester.block-interval", SCRAPES_PER_BLOCK),
            flag("--compactor.l2-after", SCRAPES_PER_COMPACTION),
        ]
    }
}

impl Options {
    /// Checks what comes after the program's name.
    ///
    /// # Errors
    /// If a word is not known or lacks its value.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let mut words = arguments.iter().map(String::as_str);
        ensure!(words.next() == Some("report"), "the only command is report");
        let (mut quick, mut million, mut parts, mut output) = (false, false, Part::ALL.to_vec(), None);
        while let Some(word) = words.next() {
            match word {
                "--quick" => quick = true,
                "--million" => million = true,
                "--only" => parts = parse_parts(words.next().context("--only lacks its parts")?)?,
                "--output" => output = Some(words.next().context("--output lacks its folder")?.into()),
                other => bail!("unknown argument {other:?}"),
            }
        }
        let whole = !quick && parts == Part::ALL;
        let output = output.unwrap_or_else(|| default_output(whole));
        Ok(Self { parts, quick, million, output })
    }

    pub fn scale(&self) -> Scale {
        let seconds = Duration::from_secs;
        let ingest = |n_series, load_scrapes, paced_scrapes, pace| IngestScale {
            n_series,
            load_scrapes,
            load_block_interval: seconds(if self.quick { 5 } else { 30 }),
            paced_scrapes,
            pace,
        };
        if self.quick {
            let ingest = vec![ingest(4_000, 20, 24, Duration::from_millis(500))];
            let store_flags = ["--ingester.block-interval=5s", "--compactor.l2-after=15s"];
            return Scale { ingest, query_series: 1_000, query_runs: 2, store_flags };
        }
        let mut sizes = vec![ingest(100_000, 60, 80, seconds(2))];
        if self.million {
            sizes.push(ingest(1_000_000, 12, 50, seconds(10)));
        }
        let store_flags = ["--ingester.block-interval=15s", "--compactor.l2-after=1m"];
        Scale { ingest: sizes, query_series: 20_000, query_runs: 5, store_flags }
    }
}

fn parse_parts(names: &str) -> Result<Vec<Part>> {
    let named = names.split(',').map(Part::parse).collect::<Result<Vec<Part>>>()?;
    Ok(Part::ALL.into_iter().filter(|part| named.contains(part)).collect())
}

/// Only a whole report replaces the one that is kept.
fn default_output(whole: bool) -> PathBuf {
    match whole {
        true => repository().join("benches/results"),
        false => std::env::temp_dir().join("promontory-report"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn only_a_whole_report_goes_where_the_kept_one_lies() {
        let kept = repository().join("benches/results");
        assert_eq!(parse("report").unwrap().output, kept);
        assert_eq!(parse("report --million --only queries,bytes,ingest").unwrap().output, kept);
        assert_ne!(parse("report --quick").unwrap().output, kept);
        assert_ne!(parse("report --only bytes").unwrap().output, kept);
        assert_eq!(parse("report --quick --output x").unwrap().output, PathBuf::from("x"));
    }

    #[test]
    fn an_unknown_word_is_an_error() {
        for line in
            ["", "first-figures", "report --only", "report --only plans", "report -q", "report --output"]
        {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
