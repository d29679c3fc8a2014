//! Every kind of object deleted, alone and with all that are older: an error or a warning that names what is
//! missing, or no effect; never an answer without a word. Nothing is deleted because of it, what was
//! acknowledged is there when the object comes back, and a repair makes of what is left a bucket that opens.

use std::collections::BTreeSet;

use bytes::Bytes;
use promontory_block::ParquetCodec;

use super::history::History;
use super::probe::{self, ProbeAnswer, Rows};
use super::*;
use crate::catalog::chain::Chain;
use crate::object::bucket::Bucket;
use crate::object::context::Context;
use crate::testing::{Process, sample, wait};
use crate::upkeep::adopter::{Adopter, AdopterSettings};
use crate::upkeep::repair::{
    Step, block_steps, chain_steps, find_format, forget_block, forget_segment, mend_chain, segment_steps,
};
use crate::upkeep::sweeper::{Sweeper, SweeperSettings};
use crate::write::writer::WriterSettings;

/// What is deleted, and whether the bucket can do without it.
struct Loss {
    name: String,
    keys: Vec<Path>,
    harmless: bool,
}

type Objects = BTreeMap<Path, Bytes>;

async fn objects(history: &History) -> Objects {
    let mut objects = Objects::new();
    for key in history.keys(&[""]).await {
        objects.insert(key.clone(), get(history, &key).await);
    }
    objects
}

async fn put_all(history: &History, objects: &Objects) {
    for key in history.keys(&[""]).await {
        history.world.store.inner.delete(&key).await.unwrap();
    }
    for (key, bytes) in objects {
        history.world.store.inner.put(key, bytes.clone().into()).await.unwrap();
    }
}

async fn losses(history: &History) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut lose = |name: &str, keys: Vec<Path>, harmless: bool| {
        assert!(!keys.is_empty(), "{name}");
        losses.push(Loss { name: name.to_owned(), keys, harmless });
    };
    lose("format", history.keys(&["format"]).await, false);
    let versions = history.keys(&["catalog/"]).await;
    let newest = versions.len() - 1;
    for at in [0, 1, newest / 2, newest - 1] {
        lose(&format!("version {at}"), vec![versions[at].clone()], false);
        lose(&format!("versions up to {at}"), versions[..=at].to_vec(), false);
    }
    lose("all versions", versions.clone(), false);
    let marks = history.keys(&["swept/"]).await;
    for at in 0..marks.len() {
        lose(&format!("mark {at}"), vec![marks[at].clone()], false);
        lose(&format!("marks up to {at}"), marks[..=at].to_vec(), false);
    }
    let checkpoints = history.keys(&["checkpoint/"]).await;
    let last = checkpoints.len() - 1;
    lose("the newest checkpoint", vec![checkpoints[last].clone()], true);
    lose("all checkpoints", checkpoints.clone(), false);
    let pages = history.keys(&["page/"]).await;
    lose("all pages", pages, false);
    let tail = history.keys(&[&format!("wal/{}", history.writer)]).await;
    lose("the first segment", vec![tail[0].clone()], false);
    lose("the first segments", tail[..3].to_vec(), false);
    for prefix in history.block_prefixes() {
        let files = history.keys(&[prefix]).await;
        lose(&format!("series of {prefix}"), vec![files[1].clone()], false);
        lose(&format!("samples of {prefix}"), vec![files[0].clone()], false);
        lose(&format!("all of {prefix}"), files, false);
    }
    lose("all blocks", history.keys(&["blocks/"]).await, false);
    losses
}

/// True if an answer is right, or says what is missing; never a wrong value.
fn is_honest(answer: &ProbeAnswer, expected: &BTreeMap<String, Rows>) -> bool {
    match &answer.rows {
        Err(error) => {
            ["is missing", "cannot find", "no complete checkpoint"].iter().any(|said| error.contains(said))
        }
        Ok(rows) => {
            let right = &expected[&answer.probe];
            let told = answer.warnings.iter().any(|warning| warning.contains("is missing"));
            let all_known = rows.iter().all(|(series, samples)| {
                let known = right.get(series);
                known.is_some_and(|known| samples.iter().all(|(ts, value)| known.get(ts) == Some(value)))
            });
            all_known && (rows == right || told)
        }
    }
}

impl History {
    async fn open(&self) -> Result<Process, String> {
        let format = crate::catalog::founding::find_bucket(&Bucket::single(self.world.store.clone())).await;
        let format = format.map_err(|error| error.to_string())?.ok_or("there is no bucket")?;
        let context = Context { format, codec: Arc::new(ParquetCodec), ..(*self.world.context()).clone() };
        let chain = Chain::open(Arc::new(context)).await.map_err(|error| error.to_string())?;
        Ok(Process { chain, locals: Arc::default() })
    }
}

/// Everything that a compactor does, whatever comes of it.
async fn upkeep(process: &Process) {
    let settings = AdopterSettings { dead_after: std::time::Duration::ZERO, ..AdopterSettings::default() };
    let _ = Adopter::new(process.chain.clone(), settings).tick().await;
    let _ = Sweeper::new(process.chain.clone(), SweeperSettings::default()).sweep().await;
}

/// Deletes, looks, works, restores, looks again.
async fn before_start(history: &History, loss: &Loss, whole: &Objects, expected: &BTreeMap<String, Rows>) {
    let Loss { name, keys, harmless } = loss;
    for key in keys {
        history.world.store.inner.delete(key).await.unwrap();
    }
    let outcome = probe::all(&history.world, &probe::CONFIGS).await;
    for answer in &outcome.answers {
        assert!(is_honest(answer, expected), "{name}, {}: {answer:?}", answer.probe);
    }
    assert_eq!(outcome.problems.is_empty(), *harmless, "{name}: the check says {:?}", outcome.problems);
    if let Ok(process) = history.open().await {
        upkeep(&process).await;
    }
    // Whatever was done meanwhile counts; what was deleted for the test comes back.
    for key in keys {
        history.world.store.inner.put(key, whole[key].clone().into()).await.unwrap();
    }
    let restored = probe::all(&history.world, &probe::CONFIGS[..1]).await;
    for answer in &restored.answers {
        assert_eq!(answer.rows.as_ref(), Ok(&expected[&answer.probe]), "{name}, restored, {}", answer.probe);
    }
    assert_eq!(restored.problems, Vec::<String>::new(), "{name}, restored");
}

/// What a running process acknowledges while objects vanish is there when they are back, and nothing else goes.
async fn under_a_process(history: &History, loss: &Loss, whole: &Objects, expected: &BTreeMap<String, Rows>) {
    let Loss { name, keys, .. } = loss;
    let process = history.open().await.unwrap();
    let settings = WriterSettings {
        acknowledge_timeout: std::time::Duration::from_secs(5),
        ..WriterSettings::default()
    };
    let (writer, life) = process.mortal_writer(settings).await;
    for key in keys {
        history.world.store.inner.delete(key).await.unwrap();
    }
    let mut acknowledged = BTreeSet::new();
    for ts in [1, 2] {
        if writer.append_segment(vec![sample("c", ts)]).await.is_ok() {
            acknowledged.insert(ts);
        }
        let _ = writer.flush_l1().await;
        upkeep(&process).await;
    }
    life.abort();
    let _ = life.await;
    for key in keys {
        let put = history.world.store.put_opts(
            key,
            whole[key].clone().into(),
            object_store::PutMode::Create.into(),
        );
        let _ = put.await;
    }
    let restored = probe::all(&history.world, &probe::CONFIGS[..1]).await;
    for answer in &restored.answers {
        assert_eq!(answer.rows.as_ref(), Ok(&expected[&answer.probe]), "{name}, running, {}", answer.probe);
    }
    let reopened = history.open().await.unwrap();
    let reader = crate::read::reader::Reader::new(reopened.chain, Arc::default(), Default::default());
    let snapshot = reader.snapshot(&[]).await.unwrap();
    let rows = reader.read_all(&snapshot, &crate::testing::tenant("c")).await.unwrap();
    let found: BTreeSet<i64> = rows.samples().ts().collect();
    assert!(
        acknowledged.is_subset(&found),
        "{name}, running: {acknowledged:?} acknowledged, {found:?} there"
    );
}

/// A repair leaves a bucket that opens, is clean, and holds nothing that was not there.
async fn repaired(history: &History, loss: &Loss, expected: &BTreeMap<String, Rows>) {
    let Loss { name, keys, .. } = loss;
    for key in keys {
        history.world.store.inner.delete(key).await.unwrap();
    }
    let steps = repair(history).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let outcome = probe::all(&history.world, &probe::CONFIGS[..1]).await;
    for answer in &outcome.answers {
        let rows = answer.rows.as_ref().unwrap_or_else(|error| panic!("{name}, {steps:?}: {error}"));
        let right = &expected[&answer.probe];
        for (series, samples) in rows {
            let all = samples.iter().all(|(ts, value)| right[series].get(ts) == Some(value));
            assert!(all, "{name}, {}: wrong values after {steps:?}", answer.probe);
        }
    }
    assert_eq!(outcome.problems, Vec::<String>::new(), "{name}, repaired by {steps:?}");
}

/// A repair leaves a bucket that opens.
async fn reopened(history: &History, loss: &Loss) {
    for key in &loss.keys {
        history.world.store.inner.delete(key).await.unwrap();
    }
    repair(history).await.unwrap();
    let outcome = probe::all(&history.world, &probe::CONFIGS[..1]).await;
    assert!(outcome.answers.iter().all(|answer| answer.rows.is_ok()), "{outcome:?}");
    // A writer that only those versions knew is missed.
    assert!(outcome.problems.iter().all(|problem| problem.contains("is in no version")), "{outcome:?}");
}

/// A repair that has nothing to begin from says so and changes nothing.
async fn beyond_repair(history: &History, loss: &Loss) {
    for key in &loss.keys {
        history.world.store.inner.delete(key).await.unwrap();
    }
    let before = objects(history).await;
    let error = repair(history).await.unwrap_err();
    assert!(matches!(error, crate::error::Error::Corrupt { .. }), "{}: {error}", loss.name);
    assert_eq!(objects(history).await, before, "{}", loss.name);
}

async fn repair(history: &History) -> Result<Vec<Step>, crate::error::Error> {
    let bucket = Bucket::single(history.world.store.clone());
    let context = |format| {
        Arc::new(Context { format, codec: Arc::new(ParquetCodec), ..(*history.world.context()).clone() })
    };
    let (format, step) = find_format(&bucket, context).await?;
    let context = context(format);
    let mut done: Vec<Step> = step.into_iter().collect();
    done.extend(chain_steps(&context).await?);
    for step in &done {
        mend_chain(&context, step).await?;
    }
    let chain = Chain::open(context).await?;
    loop {
        let mut steps = segment_steps(&chain).await?;
        steps.extend(block_steps(&chain).await?);
        let Some(step) = steps.into_iter().next() else { return Ok(done) };
        match &step {
            Step::ForgetBlock { block, .. } => forget_block(&chain, *block).await?,
            Step::ForgetSegment { writer, seq, .. } => forget_segment(&chain, *writer, *seq).await?,
            other => panic!("{other}"),
        }
        done.push(step);
        chain.refresh().await?;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_vanishes_is_named_and_a_repair_opens_the_bucket() {
    let mut history = History::write(2).await;
    history.longer_tail(8).await;
    wait();
    let expected = history.expected();
    let whole = objects(&history).await;
    for loss in losses(&history).await {
        before_start(&history, &loss, &whole, &expected).await;
        put_all(&history, &whole).await;
        under_a_process(&history, &loss, &whole, &expected).await;
        put_all(&history, &whole).await;
        match loss.name.as_str() {
            // The list of blocks is nowhere else.
            "all checkpoints" | "all pages" => beyond_repair(&history, &loss).await,
            // What the newest versions changed, a retention among it, is in no checkpoint.
            "all versions" => reopened(&history, &loss).await,
            _ => repaired(&history, &loss, &expected).await,
        }
        put_all(&history, &whole).await;
    }
}
