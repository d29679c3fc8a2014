//! Series selected from blocks and heads, and their samples, merged and deduplicated.
//!
//! Words: a *view* is what one snapshot of one tenant consists of: blocks, tails, retention; a
//! *place* is where one source holds samples of a series.
//!
//! Invariants:
//! - Whoever makes a view has applied the L1 watermark and the writers' watermarks: every sample is
//!   in the view, and what is there twice is equal after the merge.
//! - Selected series strictly ascend; a series without a sample in the range may be among them.
//! - Samples are copied once, from the cache or the head into the answer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use promontory_block::parquet::SamplePage;
use promontory_block::{Level, ObjectKind, SeriesMerge};
use promontory_model::labels::metric_key_range;
use promontory_model::samples::{Floats, SampleLists};
use promontory_model::{Labels, METRIC_NAME, Matcher, TenantId, TimeRange};
use tokio::time::Instant;

use crate::catalog::epochs::Epochs;
use crate::catalog::state::BlockEntry;
use crate::error::Error;
use crate::read::blocks::{BlockReader, NameRange, span_of};
use crate::read::reader::View;
use crate::read::source::{Allowance, SampleSnapshot, Selection};
use crate::write::head::HeadSelection;

/// Blocks that one query works on at once; requests have their own bound.
const BLOCKS_AT_ONCE: usize = 16;

/// Series between two questions to the allowance.
const SERIES_PER_QUESTION: usize = 1_024;

/// Bytes that a found series takes beside its key: in the list of its block or head, and merged.
const SERIES_BYTES: usize =
    size_of::<BlockSeries>() + size_of::<Labels>() + size_of::<Place>() + 2 * size_of::<u64>();

/// A view with a reader of its blocks.
#[derive(Debug)]
pub struct ViewSnapshot {
    view: View,
    reader: Arc<BlockReader>,
}

impl ViewSnapshot {
    /// A snapshot that reads `view` through `reader`.
    #[must_use]
    pub fn new(view: View, reader: Arc<BlockReader>) -> Self {
        Self { view, reader }
    }
}

#[async_trait]
impl SampleSnapshot for ViewSnapshot {
    async fn select_within(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        allowance: Arc<dyn Allowance>,
    ) -> Result<Arc<dyn Selection>, Error> {
        check_fresh(self.view.expires)?;
        let range = match self.view.retained_from {
            Some(from) => range.intersect(TimeRange::new(from, i64::MAX)),
            None => range,
        };
        let series_max = self.reader.settings().selected_series_max;
        let search = Search::new(matchers, range, series_max, allowance);
        let mut finds = Vec::new();
        for entry in &self.view.blocks {
            if !range.is_empty() && may_hold(entry, &self.view.tenant, search.names.as_ref(), range) {
                finds.push(self.find(entry, &search).boxed());
            }
        }
        let found = futures::stream::iter(finds).buffered(BLOCKS_AT_ONCE);
        let mut blocks: Vec<BlockSelection> = found.try_collect().await?;
        blocks.retain(|block| !block.series.is_empty());
        let heads = self.heads(&search)?;
        let (reader, expires) = (self.reader.clone(), self.view.expires);
        Ok(Arc::new(ViewSelection::new(reader, expires, search, blocks, heads)))
    }

    fn warnings(&self) -> Vec<String> {
        self.view.warnings.clone()
    }

    fn epochs(&self, range: TimeRange) -> Vec<(TimeRange, u64)> {
        self.view.epochs.as_deref().unwrap_or(&Epochs::default()).within(range)
    }

    fn mutable_from(&self) -> i64 {
        self.view.mutable_from()
    }
}

impl ViewSnapshot {
    /// The series of the tails that pass.
    fn heads(&self, search: &Search<'_>) -> Result<Vec<HeadSelection>, Error> {
        let mut heads = Vec::new();
        for tail in self.view.tails.iter().filter(|_| !search.range.is_empty()) {
            let head = tail.head.read();
            let selected = head.select(&self.view.tenant, search.matchers, search.range, tail.seqs());
            // Keys are shared with the head, and stretches are as many as segments.
            search.count(selected.keys().len())?;
            if !selected.is_empty() {
                heads.push(selected);
            }
        }
        Ok(heads)
    }

    /// The series of one block that pass.
    async fn find(&self, entry: &Arc<BlockEntry>, search: &Search<'_>) -> Result<BlockSelection, Error> {
        let tables = self.reader.series(entry, &self.view.tenant, search.names.as_ref()).await?;
        let (mut series, mut scratch) = (Vec::new(), Vec::new());
        for table in &tables {
            let found = table.find(search.matchers, search.range);
            search.count(found.len())?;
            for some in found.chunks(SERIES_PER_QUESTION) {
                let before = series.len();
                for series_idx in some {
                    let row = table.row_within(*series_idx, search.range);
                    let key = table.key_with(*series_idx, &mut scratch);
                    series.push(BlockSeries { key, rows: row.rows, scale: row.scale });
                }
                let keys: usize = series[before..].iter().map(|series| series.key.key().len()).sum();
                search.allowance.take(keys as u64)?;
            }
        }
        if let Some(span) = span_of(entry, &self.view.tenant) {
            check_rows(entry, &series, &span.rows)?;
        }
        if !series.is_empty() {
            self.reader.prepare_samples(entry).await?;
        }
        Ok(BlockSelection { entry: entry.clone(), series })
    }
}

/// What is looked for, and how much may still be found.
struct Search<'a> {
    matchers: &'a [Matcher],
    range: TimeRange,
    names: Option<NameRange>,
    series_max: usize,
    series: AtomicUsize,
    allowance: Arc<dyn Allowance>,
}

impl<'a> Search<'a> {
    fn new(
        matchers: &'a [Matcher],
        range: TimeRange,
        series_max: usize,
        allowance: Arc<dyn Allowance>,
    ) -> Self {
        let (names, series) = (name_range(matchers), AtomicUsize::new(0));
        Self { matchers, range, names, series_max, series, allowance }
    }

    /// Counts found series before memory is taken for them.
    fn count(&self, found: usize) -> Result<(), Error> {
        let before = self.series.fetch_add(found, Ordering::Relaxed);
        if before.saturating_add(found) <= self.series_max {
            return self.allowance.take((found * SERIES_BYTES) as u64);
        }
        let max = self.series_max;
        Err(Error::Limited(format!(
            "the selector matches more than {max} series, counted in each block; narrow it or its time range"
        )))
    }
}

/// What one block brings to a selection.
#[derive(Debug)]
struct BlockSelection {
    entry: Arc<BlockEntry>,
    /// Ascending by key.
    series: Vec<BlockSeries>,
}

#[derive(Debug)]
struct BlockSeries {
    key: Labels,
    rows: Range<u64>,
    scale: u8,
}

/// Series of blocks and heads with the places of their samples.
struct ViewSelection {
    reader: Arc<BlockReader>,
    expires: Option<Instant>,
    range: TimeRange,
    blocks: Vec<Arc<BlockEntry>>,
    heads: Vec<HeadSelection>,
    series: Vec<Labels>,
    /// The places of series `i` are `places[place_ends[i]..place_ends[i + 1]]`.
    place_ends: Vec<usize>,
    places: Vec<Place>,
    /// Rows of all series before series `i`, duplicates included.
    rows_before: Vec<u64>,
    /// Holds what all of this takes.
    _allowance: Arc<dyn Allowance>,
}

/// Pages by block, ascending.
type Pages = BTreeMap<usize, Vec<Arc<SamplePage>>>;

/// Where one source holds samples of one series.
#[derive(Clone, Debug)]
enum Place {
    Block { block: usize, rows: Range<u64>, scale: u8 },
    Head { head: usize, series: usize },
}

impl fmt::Debug for ViewSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewSelection")
            .field("series", &self.series.len())
            .field("blocks", &self.blocks.len())
            .field("heads", &self.heads.len())
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl ViewSelection {
    fn new(
        reader: Arc<BlockReader>,
        expires: Option<Instant>,
        search: Search<'_>,
        blocks: Vec<BlockSelection>,
        heads: Vec<HeadSelection>,
    ) -> Self {
        let (entries, lists): (Vec<_>, Vec<_>) =
            blocks.into_iter().map(|block| (block.entry, block.series)).unzip();
        let mut sources: Vec<Box<dyn Iterator<Item = (Labels, Place, u64)> + '_>> = Vec::new();
        for (block, series) in lists.into_iter().enumerate() {
            sources.push(Box::new(series.into_iter().map(move |BlockSeries { key, rows, scale }| {
                let n_rows = rows.end - rows.start;
                (key, Place::Block { block, rows, scale }, n_rows)
            })));
        }
        for (head, selected) in heads.iter().enumerate() {
            sources.push(Box::new(selected.keys().enumerate().map(move |(series, key)| {
                (key.clone(), Place::Head { head, series }, selected.rows(series) as u64)
            })));
        }
        let mut merged =
            MergedSeries { series: Vec::new(), place_ends: vec![0], places: Vec::new(), rows: vec![0] };
        merged.take_all(sources);
        Self {
            reader,
            expires,
            range: search.range,
            blocks: entries,
            heads,
            series: merged.series,
            place_ends: merged.place_ends,
            places: merged.places,
            rows_before: merged.rows,
            _allowance: search.allowance,
        }
    }

    /// The part of `of` that exists.
    fn known(&self, of: Range<usize>) -> Range<usize> {
        let all = self.series.len();
        of.start.min(all)..of.end.min(all)
    }

    fn places_of(&self, series: Range<usize>) -> &[Place] {
        &self.places[self.place_ends[series.start]..self.place_ends[series.end]]
    }

    /// The rows of `series` in blocks with samples in `range`, by block.
    fn block_rows(&self, series: Range<usize>, range: TimeRange) -> BTreeMap<usize, Vec<Range<u64>>> {
        let mut rows: BTreeMap<usize, Vec<Range<u64>>> = BTreeMap::new();
        for place in self.places_of(series) {
            if let Place::Block { block, rows: wanted, .. } = place
                && self.blocks[*block].meta.time_range.overlaps(range)
            {
                let rows = rows.entry(*block).or_default();
                match rows.last_mut().filter(|last| last.end == wanted.start) {
                    Some(last) => last.end = wanted.end,
                    None => rows.push(wanted.clone()),
                }
            }
        }
        rows
    }

    /// Room for what is read of series within `within`. All of it is known without a walk over the places.
    fn room(&self, of: Range<usize>, within: TimeRange) -> u64 {
        if within == TimeRange::ALL { self.samples_max(of) } else { self.samples_max_within(of, within) }
    }

    /// Upper bound of the samples at `place` in `range`.
    fn place_rows(&self, place: &Place, range: TimeRange) -> u64 {
        match place {
            Place::Block { block, rows, .. } if self.blocks[*block].meta.time_range.overlaps(range) => {
                rows.end - rows.start
            }
            Place::Block { .. } => 0,
            Place::Head { head, series } => {
                let of_head = self.heads[*head].samples(*series);
                of_head.map(|samples| samples.clip(range).len() as u64).sum()
            }
        }
    }

    /// The pages that `series` need for `range`, by block.
    async fn pages(&self, series: Range<usize>, range: TimeRange) -> Result<Pages, Error> {
        let rows = self.block_rows(series, range);
        let mut reads = Vec::with_capacity(rows.len());
        for (block, rows) in rows {
            let read = async move { Ok((block, self.reader.pages(&self.blocks[block], &rows).await?)) };
            reads.push(read.boxed());
        }
        futures::stream::iter(reads).buffer_unordered(BLOCKS_AT_ONCE).try_collect().await
    }
}

#[async_trait]
impl Selection for ViewSelection {
    fn series(&self) -> &[Labels] {
        &self.series
    }

    fn samples_max(&self, of: Range<usize>) -> u64 {
        let last = self.rows_before.len() - 1;
        self.rows_before[of.end.min(last)] - self.rows_before[of.start.min(of.end).min(last)]
    }

    fn stored_bytes(&self, of: Range<usize>) -> u64 {
        let share = |(block, rows): (usize, Vec<Range<u64>>)| {
            let meta = &self.blocks[block].meta;
            let object = meta.objects.iter().find(|object| object.kind == ObjectKind::Samples);
            let rows: u64 = rows.iter().map(|rows| rows.end - rows.start).sum();
            let bytes = u128::from(object.map_or(0, |object| object.size)) * u128::from(rows);
            u64::try_from(bytes / u128::from(meta.rows.max(1))).unwrap_or(u64::MAX)
        };
        self.block_rows(self.known(of), self.range).into_iter().map(share).sum()
    }

    async fn prefetch(&self, of: Range<usize>) -> Result<(), Error> {
        check_fresh(self.expires)?;
        let rows = self.block_rows(self.known(of), self.range);
        let reads = rows.into_iter().map(|(block, rows)| {
            let entry = &self.blocks[block];
            async move { self.reader.prefetch_pages(entry, &rows).await }.boxed()
        });
        let reads: Vec<_> = reads.collect();
        futures::stream::iter(reads).buffer_unordered(BLOCKS_AT_ONCE).try_collect().await
    }

    fn samples_max_within(&self, of: Range<usize>, within: TimeRange) -> u64 {
        let range = self.range.intersect(within);
        self.places_of(self.known(of)).iter().map(|place| self.place_rows(place, range)).sum()
    }

    async fn read_within(&self, of: Range<usize>, within: TimeRange) -> Result<SampleLists, Error> {
        let range = self.range.intersect(within);
        check_fresh(self.expires)?;
        if of.start > of.end || of.end > self.series.len() {
            return Err(Error::Bug(format!("series {of:?} of {}", self.series.len())));
        }
        let pages = self.pages(of.clone(), range).await?;
        let rows = self.room(of.clone(), within) as usize;
        let mut samples = SampleLists::with_capacity(of.len(), rows);
        for series in of {
            self.read_series(series, range, &pages, &mut samples);
        }
        Ok(samples)
    }
}

impl ViewSelection {
    /// Appends the samples of one series in `range`, whose pages are there.
    fn read_series(&self, series: usize, range: TimeRange, pages: &Pages, out: &mut SampleLists) {
        let places = self.places_of(series..series + 1);
        // What a decimal column holds does not lie in memory as doubles; it is resolved first.
        let resolved: Vec<Floats> = places.iter().flat_map(|place| resolved_rows(place, pages)).collect();
        let mut sources = SeriesMerge::default();
        for place in places {
            match place {
                Place::Block { block, rows, .. } => {
                    let pages = pages.get(block).map_or(&[][..], Vec::as_slice);
                    let parts = covering(pages, rows).filter_map(|page| page.part(rows));
                    parts.for_each(|floats| sources.add(floats.clip(range).into()));
                }
                Place::Head { head, series } => {
                    let of_head = self.heads[*head].samples(*series);
                    of_head.for_each(|samples| sources.add(samples.clip(range)));
                }
            }
        }
        resolved.iter().for_each(|floats| sources.add(floats.view().clip(range).into()));
        sources.append_to(out);
    }
}

/// The outcome of merging sources by key.
struct MergedSeries {
    series: Vec<Labels>,
    place_ends: Vec<usize>,
    places: Vec<Place>,
    rows: Vec<u64>,
}

impl MergedSeries {
    /// Takes everything from sources that each strictly ascend.
    fn take_all(&mut self, mut sources: Vec<Box<dyn Iterator<Item = (Labels, Place, u64)> + '_>>) {
        if let [only] = &mut sources[..] {
            for (key, place, rows) in only {
                self.begin(key);
                self.add(place, rows);
            }
            return;
        }
        let mut waiting: Vec<Option<(Place, u64)>> = vec![None; sources.len()];
        let mut heap = BinaryHeap::with_capacity(sources.len());
        let mut next = |source: usize, waiting: &mut Vec<Option<(Place, u64)>>| {
            let (key, place, rows) = sources[source].next()?;
            waiting[source] = Some((place, rows));
            Some(Reverse((key, source)))
        };
        for source in 0..waiting.len() {
            heap.extend(next(source, &mut waiting));
        }
        while let Some(Reverse((key, source))) = heap.pop() {
            if self.series.last() != Some(&key) {
                self.begin(key);
            }
            if let Some((place, rows)) = waiting[source].take() {
                self.add(place, rows);
            }
            heap.extend(next(source, &mut waiting));
        }
    }

    fn begin(&mut self, key: Labels) {
        self.series.push(key);
        self.place_ends.push(self.places.len());
        self.rows.push(self.rows.last().copied().unwrap_or(0));
    }

    /// Adds a place to the series that was begun last.
    fn add(&mut self, place: Place, rows: u64) {
        self.places.push(place);
        if let (Some(end), Some(total)) = (self.place_ends.last_mut(), self.rows.last_mut()) {
            *end = self.places.len();
            *total += rows;
        }
    }
}

/// Copies of the rows that lie in pages with a decimal column.
fn resolved_rows(place: &Place, pages: &Pages) -> Vec<Floats> {
    let Place::Block { block, rows, scale } = place else { return Vec::new() };
    let pages = pages.get(block).map_or(&[][..], Vec::as_slice);
    let with_decimals = covering(pages, rows).filter(|page| page.decimals.is_some());
    let resolve = |page: &Arc<SamplePage>| {
        let mut floats = Floats::default();
        page.append_rows(rows, *scale, &mut floats);
        floats
    };
    with_decimals.map(resolve).collect()
}

/// The pages that hold any of `rows`; pages ascend.
fn covering<'a>(
    pages: &'a [Arc<SamplePage>],
    rows: &'a Range<u64>,
) -> impl Iterator<Item = &'a Arc<SamplePage>> {
    let first = pages.partition_point(|page| page.rows.end <= rows.start);
    pages[first..].iter().take_while(|page| page.rows.start < rows.end)
}

/// The metric names that matchers leave over, if they name them.
fn name_range(matchers: &[Matcher]) -> Option<NameRange> {
    let by_name = matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME);
    let mut sets = by_name.filter_map(Matcher::set_values);
    let names = sets.next()?;
    // A series without a name has none in the index; an empty name cannot be pruned by it.
    if names.iter().any(String::is_empty) {
        return None;
    }
    Some(NameRange { first: names.iter().min()?.clone(), last: names.iter().max()?.clone() })
}

/// False if the catalog entry alone shows that the block holds nothing wanted.
fn may_hold(entry: &BlockEntry, tenant: &TenantId, names: Option<&NameRange>, range: TimeRange) -> bool {
    let Some(span) = span_of(entry, tenant) else { return false };
    if !span.time_range.overlaps(range) {
        return false;
    }
    // The keys of an entry are those of its first and its last tenant.
    let one_tenant = entry.meta.level != Level::L1 || entry.meta.tenants.len() == 1;
    names.filter(|_| one_tenant).is_none_or(|names| {
        let (first, _) = metric_key_range(&names.first);
        let (_, after) = metric_key_range(&names.last);
        entry.meta.last_key.as_ref() >= first.as_slice() && entry.meta.first_key.as_ref() < after.as_slice()
    })
}

/// A row range outside the tenant's span would read another tenant's samples.
fn check_rows(entry: &BlockEntry, series: &[BlockSeries], span: &Range<u64>) -> Result<(), Error> {
    match series.iter().find(|series| series.rows.start < span.start || series.rows.end > span.end) {
        None => Ok(()),
        Some(series) => Err(Error::Corrupt {
            object: entry.path.to_string(),
            why: format!("rows {:?} of a series lie outside its tenant's rows {span:?}", series.rows),
        }),
    }
}

fn check_fresh(expires: Option<Instant>) -> Result<(), Error> {
    match expires.filter(|expires| Instant::now() >= *expires) {
        None => Ok(()),
        Some(_) => Err(Error::Stale("the snapshot is older than half the grace of the store".into())),
    }
}

#[cfg(test)]
mod tests;
