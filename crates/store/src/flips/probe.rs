//! All ways of reading a bucket that nobody has opened yet.
//!
//! Each probe opens everything anew: nothing is cached when the next bit is flipped.

use std::collections::BTreeMap;
use std::sync::Arc;

use promontory_block::{ParquetCodec, SeriesRun};
use promontory_model::{Labels, MatchOp, Matcher, TimeRange};

use crate::catalog::chain::Chain;
use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::context::Context;
use crate::read::blocks::{BlockReader, BlockReaderSettings};
use crate::read::reader::{Reader, ReaderSettings};
use crate::read::source::{SampleSource as _, SnapshotWish};
use crate::read::stored_source::StoredSource;
use crate::testing::{World, tenant};
use crate::upkeep::fsck::fsck;

/// Samples by series: bits of the value by timestamp.
pub(super) type Rows = BTreeMap<Labels, BTreeMap<i64, u64>>;

/// How the selective path fetches: small files whole, or every page by itself.
pub(super) const CONFIGS: [&str; 2] = ["whole files", "single pages"];

/// What the selective path is asked for.
pub(super) const SELECTORS: [&str; 4] = ["{}", "m", "n on host-1", "neither m nor host-0"];

const TENANTS: [&str; 2] = ["a", "b"];

#[derive(Debug)]
pub(super) struct ProbeAnswer {
    pub probe: String,
    /// The samples, or the text of the error.
    pub rows: Result<Rows, String>,
    /// What was said beside the samples.
    pub warnings: Vec<String>,
}

/// What all probes answered, and what the check of the bucket says.
#[derive(Debug)]
pub(super) struct Outcome {
    pub answers: Vec<ProbeAnswer>,
    pub problems: Vec<String>,
}

/// The name of the probe that reads all rows.
pub(super) fn whole(tenant: &str) -> String {
    format!("all of {tenant}")
}

/// The name of a probe that selects.
pub(super) fn selective(tenant: &str, config: &str, selector: &str) -> String {
    format!("{selector} of {tenant} by {config}")
}

pub(super) fn matchers() -> [Vec<Matcher>; 4] {
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    [
        Vec::new(),
        vec![Matcher::equal("__name__", "m")],
        vec![Matcher::equal("__name__", "n"), matcher("host", MatchOp::Regex, "host-[12]")],
        vec![matcher("__name__", MatchOp::NotEqual, "m"), matcher("host", MatchOp::NotEqual, "host-0")],
    ]
}

/// Tries every probe, selecting by `configs`. If the bucket cannot be opened, that error is every probe's answer and the
/// check's only problem, as it is for the program.
pub(super) async fn all(world: &World, configs: &[&str]) -> Outcome {
    let opened = open(world).await;
    let context = match &opened {
        Ok((context, _)) => context.clone(),
        Err((Some(context), _)) => context.clone(),
        Err((None, error)) => {
            let answer = ProbeAnswer { probe: "open".into(), rows: Err(error.clone()), warnings: Vec::new() };
            return Outcome { answers: vec![answer], problems: vec![error.clone()] };
        }
    };
    let answers = match opened {
        Ok((_, chain)) => read(chain, configs).await,
        Err((_, error)) => {
            vec![ProbeAnswer { probe: "open".into(), rows: Err(error), warnings: Vec::new() }]
        }
    };
    Outcome { answers, problems: fsck(&context).await.unwrap().problems }
}

type Opened = Result<(Arc<Context>, Arc<Chain>), (Option<Arc<Context>>, String)>;

async fn open(world: &World) -> Opened {
    let bucket = Bucket::single(world.store.clone());
    let format =
        crate::catalog::founding::find_bucket(&bucket).await.map_err(|error| (None, error.to_string()))?;
    let format = format.ok_or((None, "there is no bucket".to_owned()))?;
    let context = Context { format, codec: Arc::new(ParquetCodec), ..(*world.context()).clone() };
    let context = Arc::new(context);
    match Chain::open(context.clone()).await {
        Ok(chain) => Ok((context, chain)),
        Err(error) => Err((Some(context), error.to_string())),
    }
}

async fn read(chain: Arc<Chain>, configs: &[&str]) -> Vec<ProbeAnswer> {
    let mut answers = Vec::new();
    for name in TENANTS {
        let reader = Reader::new(chain.clone(), Arc::default(), ReaderSettings::default());
        answers.push(match reader.snapshot(&[]).await {
            Err(error) => {
                ProbeAnswer { probe: whole(name), rows: Err(error.to_string()), warnings: Vec::new() }
            }
            Ok(snapshot) => {
                let rows = reader.read_all(&snapshot, &tenant(name)).await;
                let rows = rows.map(|run| rows_of(&run)).map_err(|error| error.to_string());
                ProbeAnswer { probe: whole(name), rows, warnings: snapshot.warnings.clone() }
            }
        });
    }
    for config in configs {
        for name in TENANTS {
            answers.extend(select(&chain, name, config).await);
        }
    }
    answers
}

async fn select(chain: &Arc<Chain>, name: &str, config: &str) -> Vec<ProbeAnswer> {
    let reader = Reader::new(chain.clone(), Arc::default(), ReaderSettings::default());
    let settings = match config {
        "single pages" => {
            BlockReaderSettings { small_file_bytes: 0, merge_gap_bytes: 0, ..BlockReaderSettings::default() }
        }
        _ => BlockReaderSettings::default(),
    };
    let blocks = BlockReader::new(chain.context().bucket.clone(), settings);
    let source = StoredSource::new(reader, blocks);
    let mut answers = Vec::new();
    for (selector, matchers) in SELECTORS.iter().zip(matchers()) {
        let mut warnings = Vec::new();
        let rows = selected(&source, name, &matchers, &mut warnings).await;
        let rows = rows.map_err(|error| error.to_string());
        answers.push(ProbeAnswer { probe: selective(name, config, selector), rows, warnings });
    }
    answers
}

async fn selected(
    source: &StoredSource,
    name: &str,
    matchers: &[Matcher],
    warnings: &mut Vec<String>,
) -> Result<Rows, Error> {
    let pinned = source.snapshot(&tenant(name).into(), SnapshotWish::default()).await?;
    let view = &pinned.views[0];
    *warnings = view.warnings();
    let selection = view.select(matchers, TimeRange::ALL).await?;
    let samples = selection.read(0..selection.series().len()).await?;
    Ok(rows_of(&SeriesRun::new(selection.series().to_vec(), samples)))
}

fn rows_of(run: &SeriesRun) -> Rows {
    let mut rows = Rows::new();
    for (key, samples) in run.iter().filter(|(_, samples)| !samples.is_empty()) {
        let samples = samples.floats.iter().map(|(ts, value)| (ts, value.to_bits()));
        rows.insert(key.clone(), samples.collect());
    }
    rows
}
