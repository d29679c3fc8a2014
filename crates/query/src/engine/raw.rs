//! Samples as they were sent, streamed: little is held at a time, however much is selected.
//!
//! 1. Every matcher set is selected. The series of all, each once, come into Prometheus' order.
//! 2. Neighbours in that order that are neighbours in one selection make a *stretch*; what it needs is
//!    brought near in few requests.
//! 3. A stretch is cut into [`Read`]s of at most so many samples ([`reads`]); a series that alone holds more is
//!    cut in time, at the two-hour windows of blocks.
//! 4. What one read gives is sent in chunks before the next read begins; the samples that a request holds
//!    meanwhile count against its limit.

use std::ops::Range;
use std::sync::Arc;

use promontory_model::time::EPOCH_WINDOW_MS;
use promontory_model::{Labels, Samples, SamplesView, TimeRange};
use promontory_promql::engine::{CHUNK_SAMPLES_MAX, EngineError, SamplesQuery, SeriesChunk};
use promontory_store::Selection;
use tokio::sync::mpsc;

use crate::context::QueryContext;
use crate::error::{engine_error_of, store_error, to_engine_error};
use crate::listing::distinct;
use crate::session::{Outlet, Session};
use crate::table::label_key;

/// Samples of a stretch: their stored bytes are a few megabytes, which is what an object store is good at.
const STRETCH_SAMPLES: u64 = 2 << 20;

/// Bytes of a sample: its timestamp and its value, read and in the chunk that is sent.
const SAMPLE_BYTES: u64 = 2 * 16;

/// One series in the order of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    selection: usize,
    series: usize,
}

/// Some series of a selection in some part of time, to be read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read {
    of: Range<usize>,
    within: TimeRange,
}

/// Sends the samples of a selection, chunk by chunk, until nobody takes them.
pub(super) async fn send(
    session: Session,
    query: SamplesQuery,
    outlet: Outlet<SeriesChunk>,
) -> Result<(), EngineError> {
    let view = session.view().await?;
    let mut selections = Vec::new();
    for matchers in distinct(&query.matcher_sets) {
        let selection = view.select(matchers, query.range).await;
        selections.push(selection.map_err(|error| store_error(&error))?);
    }
    let context = &session.context;
    let held = context.held();
    held.grow(bytes_of_order(&selections), "the order of its series")
        .map_err(|error| engine_error_of(&error))?;
    let rows = in_order(&selections);
    let samples_max = (session.shared().settings.batch_values as u64).min(context.samples_max()).max(1);
    context.check().map_err(to_engine_error)?;
    let chunks = outlet.open();
    let mut rest = &rows[..];
    while let [Row { selection, series: first }, ..] = *rest {
        let selection = selections[selection].as_ref();
        let stretch = first..first + stretch_len(rest, selection);
        rest = &rest[stretch.len()..];
        if stretch.len() > 1 {
            selection.prefetch(stretch.clone()).await.map_err(|error| store_error(&error))?;
        }
        for read in reads(selection, stretch, query.range, samples_max) {
            if !send_read(selection, &read, context, &chunks).await? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What [`in_order`] takes while it sorts.
fn bytes_of_order(selections: &[Arc<dyn Selection>]) -> usize {
    let series = selections.iter().flat_map(|selection| selection.series());
    series.map(|labels| labels.key().len() + size_of::<Row>() + size_of::<(Vec<u8>, usize)>()).sum()
}

/// The series of all selections, each once.
fn in_order(selections: &[Arc<dyn Selection>]) -> Vec<Row> {
    let all = selections.iter().enumerate();
    let all =
        all.flat_map(|(selection, of)| (0..of.series().len()).map(move |series| Row { selection, series }));
    let labels = |row: &Row| &selections[row.selection].series()[row.series];
    let mut rows: Vec<Row> = all.collect();
    rows.sort_by_cached_key(|row| {
        let mut key = Vec::new();
        label_key(labels(row).as_ref(), &mut key);
        key
    });
    rows.dedup_by(|a, b| labels(a) == labels(b));
    rows
}

/// How many of `rows` follow each other in the selection of the first and may be brought near together.
fn stretch_len(rows: &[Row], selection: &dyn Selection) -> usize {
    let Some(first) = rows.first() else { return 0 };
    let mut samples = 0;
    let belongs = |(idx, row): (usize, &Row)| {
        samples += selection.samples_max(row.series..row.series + 1);
        let follows = row.selection == first.selection && row.series == first.series + idx;
        follows && (idx == 0 || samples <= STRETCH_SAMPLES)
    };
    rows.iter().enumerate().map(belongs).take_while(|belongs| *belongs).count()
}

/// Reads that together give all samples of `stretch` in `range`, each of at most `samples_max` samples as far
/// as they can be told apart beforehand.
fn reads(selection: &dyn Selection, stretch: Range<usize>, range: TimeRange, samples_max: u64) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    let mut samples = 0;
    for series in stretch {
        let more = selection.samples_max(series..series + 1);
        match reads.last_mut().filter(|last| last.of.end == series && samples + more <= samples_max) {
            Some(last) => last.of.end += 1,
            None if more > samples_max => {
                cut(selection, series, range, samples_max, &mut reads);
                // What comes next begins a read of its own.
                samples = samples_max;
                continue;
            }
            None => {
                reads.push(Read { of: series..series + 1, within: range });
                samples = 0;
            }
        }
        samples += more;
    }
    reads
}

/// Halves the time until a part holds few enough samples, or is one window.
fn cut(selection: &dyn Selection, series: usize, within: TimeRange, samples_max: u64, reads: &mut Vec<Read>) {
    let of = series..series + 1;
    let samples = selection.samples_max_within(of.clone(), within);
    let (first, last) = (within.start.div_euclid(EPOCH_WINDOW_MS), within.end.div_euclid(EPOCH_WINDOW_MS));
    if samples == 0 {
        return;
    }
    if samples <= samples_max || first >= last {
        reads.push(Read { of, within });
        return;
    }
    let middle = (first + (last - first).div_euclid(2) + 1) * EPOCH_WINDOW_MS;
    cut(selection, series, TimeRange::new(within.start, middle - 1), samples_max, reads);
    cut(selection, series, TimeRange::new(middle, within.end), samples_max, reads);
}

/// Reads and sends; false if nobody takes it any more.
async fn send_read(
    selection: &dyn Selection,
    read: &Read,
    context: &QueryContext,
    chunks: &mpsc::Sender<SeriesChunk>,
) -> Result<bool, EngineError> {
    context.check().map_err(to_engine_error)?;
    let held = selection.samples_max_within(read.of.clone(), read.within);
    context.hold(held).map_err(to_engine_error)?;
    let bytes = context.held();
    let wanted = held.saturating_mul(SAMPLE_BYTES) as usize;
    bytes.grow(wanted, "samples on their way").map_err(|error| engine_error_of(&error))?;
    let samples = selection.read_within(read.of.clone(), read.within).await;
    let samples = samples.map_err(|error| store_error(&error))?;
    context.count_read(read.of.len() as u64, samples.samples() as u64);
    for (idx, labels) in selection.series()[read.of.clone()].iter().enumerate() {
        for chunk in chunks_of(labels, samples.series(idx)) {
            if chunks.send(chunk).await.is_err() {
                return Ok(false);
            }
        }
    }
    context.release(held);
    Ok(true)
}

fn chunks_of(labels: &Labels, samples: SamplesView<'_>) -> impl Iterator<Item = SeriesChunk> {
    let longest = samples.floats.len().max(samples.histograms.len());
    (0..longest).step_by(CHUNK_SAMPLES_MAX).map(move |from| {
        let part = |len: usize| from.min(len)..(from + CHUNK_SAMPLES_MAX).min(len);
        let mut chunk = Samples::default();
        chunk.floats.extend(samples.floats.part(part(samples.floats.len())));
        chunk.histograms.extend(samples.histograms.part(part(samples.histograms.len())));
        SeriesChunk { labels: labels.clone(), samples: chunk }
    })
}
