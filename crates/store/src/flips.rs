//! One flipped bit anywhere in a bucket: an error or a warning that names the object and the bytes,
//! or no effect; never a wrong value, and never a missing one without a word.
//!
//! Words: a *region* is a part of an object that the format gives a meaning: a field, a section, a
//! page, a footer; a *probe* is one way of reading a bucket that nobody has opened yet.
//!
//! 1. [`history`] writes a bucket with every kind of object in it, and what must come back.
//! 2. [`regions`] cuts each object into its regions, from its bytes and `docs/format.md` alone.
//! 3. For a few bits of each region, for bits in equal steps over the whole object, and for all bits
//!    of a small one: flip it in the store, try every [`probe`], judge, flip it back.
//!
//! The bits are drawn from a seed that every failure prints.

mod history;
mod probe;
mod regions;
mod vanish;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use history::History;
use probe::{ProbeAnswer, Rows};
use regions::regions;

const SEED: u64 = 4;

/// Every bit of an object up to this size is flipped.
const SMALL_BYTES: usize = 80;

/// Bits of each region of a larger object, at least its first and last byte.
const BITS_PER_REGION: usize = 3;

/// Bits in equal steps over a larger object.
const BITS_PER_OBJECT: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Flip<'a> {
    key: &'a str,
    byte: usize,
    /// Bytes of the object.
    size: usize,
}

/// What one flip did to all probes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// Every value is right and nothing is said.
    None,
    /// A warning names object and bytes.
    Warning,
    /// An error names object and bytes.
    Error,
}

/// How many flips of each region had which effect, and how many of them the check of the bucket found.
#[derive(Debug, Default)]
struct Tally {
    effects: BTreeMap<Effect, usize>,
    found: usize,
    flips: usize,
}

impl Tally {
    fn of(&self, effect: Effect) -> usize {
        self.effects.get(&effect).copied().unwrap_or_default()
    }
}

/// Flips bits in all objects whose keys begin with one of `prefixes`; tallies by kind of region.
async fn flip_all(history: &History, prefixes: &[&str]) -> BTreeMap<String, Tally> {
    let expected = history.expected();
    let clean = probe::all(&history.world, &probe::CONFIGS).await;
    assert!(clean.answers.iter().all(|answer| answer.warnings.is_empty()), "{:?}", clean.answers);
    assert_eq!(clean.problems, Vec::<String>::new());
    judge(Flip { key: "nothing", byte: 0, size: 0 }, &clean.answers, &expected);
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut tallies = BTreeMap::<String, Tally>::new();
    for key in history.keys(prefixes).await {
        let whole = get(history, &key).await;
        for (region, place) in regions(&key, &whole, history.footer_size(&key)) {
            for bit in bits(&whole, &place, &mut random) {
                let tally = tallies.entry(format!("{} {region}", regions::kind(&key))).or_default();
                try_flip(history, &key, &whole, bit, &expected, tally).await;
            }
        }
    }
    tallies
}

async fn try_flip(
    history: &History,
    key: &Path,
    whole: &Bytes,
    bit: usize,
    expected: &BTreeMap<String, Rows>,
    tally: &mut Tally,
) {
    let mut flipped = whole.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    history.world.store.inner.put(key, flipped.into()).await.unwrap();
    let flip = Flip { key: key.as_ref(), byte: bit / 8, size: whole.len() };
    // How blocks are fetched matters to damaged blocks only.
    let configs = if flip.is_in_block() { &probe::CONFIGS[..] } else { &probe::CONFIGS[..1] };
    let outcome = probe::all(&history.world, configs).await;
    history.world.store.inner.put(key, whole.clone().into()).await.unwrap();
    let effect = judge(flip, &outcome.answers, expected);
    let what = format!("seed {SEED}, bit {bit} of {key}");
    for problem in &outcome.problems {
        assert!(flip.is_named_by(problem), "{what}: the check says {problem}");
    }
    let found = !outcome.problems.is_empty();
    assert!(found || effect == Effect::None, "{what}: {effect:?}, but the check found nothing");
    *tally.effects.entry(effect).or_default() += 1;
    tally.found += usize::from(found);
    tally.flips += 1;
}

/// The strongest effect on the answers, all of which must be right or say what is wrong.
fn judge(flip: Flip<'_>, answers: &[ProbeAnswer], expected: &BTreeMap<String, Rows>) -> Effect {
    let mut strongest = Effect::None;
    for answer in answers {
        let what = format!("seed {SEED}, byte {} of {}, {}", flip.byte, flip.key, answer.probe);
        let effect = match &answer.rows {
            Err(error) => {
                assert!(flip.is_named_by(error), "{what}: the error does not name it: {error}");
                Effect::Error
            }
            Ok(rows) => {
                let right = &expected[&answer.probe];
                for (series, samples) in rows {
                    let known = right.get(series).unwrap_or_else(|| panic!("{what}: invented {series}"));
                    let all = samples.iter().all(|(ts, value)| known.get(ts) == Some(value));
                    assert!(all, "{what}: a wrong value in {series}");
                }
                let told = answer.warnings.iter().any(|warning| flip.is_named_by(warning));
                assert!(rows == right || told, "{what}: samples are missing; {:?}", answer.warnings);
                if told { Effect::Warning } else { Effect::None }
            }
        };
        strongest = strongest.max(effect);
    }
    strongest
}

impl Flip<'_> {
    fn is_in_block(&self) -> bool {
        self.key.starts_with("blocks/")
    }

    /// True if `text` names the object and a range of bytes with the flipped one in it; of a block,
    /// whose parts have checksums of their own, a range that is not the whole file.
    fn is_named_by(&self, text: &str) -> bool {
        let range = |text: &str| -> Option<Range<usize>> {
            let (start, rest) = text.split_once("..")?;
            let end: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(start.parse().ok()?..end.parse().ok()?)
        };
        let size_max = if self.is_in_block() { self.size - 1 } else { self.size };
        let mut ranges = text.split("at bytes ").skip(1).filter_map(range);
        text.contains(self.key) && ranges.any(|range| range.contains(&self.byte) && range.len() <= size_max)
    }
}

/// The bits of one region that are flipped.
fn bits(whole: &Bytes, place: &Range<usize>, random: &mut SmallRng) -> Vec<usize> {
    let all = place.start * 8..place.end * 8;
    if whole.len() <= SMALL_BYTES {
        return all.collect();
    }
    let mut bits = vec![all.start + random.random_range(0..8), all.end - 1 - random.random_range(0..8)];
    bits.extend((2..BITS_PER_REGION).map(|_| random.random_range(all.clone())));
    let step = whole.len() * 8 / BITS_PER_OBJECT + 1;
    bits.extend((all.start.next_multiple_of(step)..all.end).step_by(step));
    bits.sort_unstable();
    bits.dedup();
    bits
}

async fn get(history: &History, key: &Path) -> Bytes {
    history.world.store.inner.get(key).await.unwrap().bytes().await.unwrap()
}

impl History {
    /// The keys that begin with one of `prefixes`, in order.
    async fn keys(&self, prefixes: &[&str]) -> Vec<Path> {
        let listed: Vec<Path> =
            self.world.store.inner.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
        let wanted = |key: &Path| prefixes.iter().any(|prefix| key.as_ref().starts_with(prefix));
        let mut keys: Vec<Path> = listed.into_iter().filter(wanted).collect();
        keys.sort();
        keys
    }
}

/// Asserts of every kind of region that the check of the bucket finds each flip in it, and prints what
/// the flips did.
fn assert_found(tallies: &BTreeMap<String, Tally>) {
    for (region, tally) in tallies {
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stdout(),
            "{region}: {} flips, {} errors, {} warnings, {} without effect",
            tally.flips,
            tally.of(Effect::Error),
            tally.of(Effect::Warning),
            tally.of(Effect::None)
        );
        assert_eq!(tally.found, tally.flips, "{region}: the check of the bucket misses some");
    }
}

/// The tallies whose name begins so, added up: flips and effects.
fn sum(tallies: &BTreeMap<String, Tally>, prefix: &str, effect: Effect) -> (usize, usize) {
    let of = tallies.iter().filter(|(region, _)| region.starts_with(prefix));
    of.fold((0, 0), |(flips, with), (_, tally)| (flips + tally.flips, with + tally.of(effect)))
}

#[tokio::test(start_paused = true)]
async fn a_flip_in_format_catalog_checkpoint_or_mark_is_named_or_harmless() {
    let history = History::write(2).await;
    let tallies = flip_all(&history, &["format", "catalog/", "checkpoint/", "page/", "swept/"]).await;
    assert_found(&tallies);
    let all_errors = |prefix| {
        let (flips, errors) = sum(&tallies, prefix, Effect::Error);
        assert!(flips > 0 && errors == flips, "{prefix}: {errors} errors of {flips} flips");
    };
    all_errors("format ");
    // Of the chain only what lies above the newest whole checkpoint is read at a cold start; a damaged
    // checkpoint costs a longer replay, and a mark only has to be there.
    let (flips, errors) = sum(&tallies, "delta ", Effect::Error);
    assert!(0 < errors && errors < flips, "{errors} errors of {flips} flips in deltas");
    for harmless in ["checkpoint root ", "checkpoint page ", "swept mark "] {
        let (flips, without) = sum(&tallies, harmless, Effect::None);
        assert!(flips > 0 && without == flips, "{harmless}: {without} without effect of {flips}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flip_in_the_only_checkpoint_is_an_error_that_names_it() {
    let history = History::write(2).await;
    history.drop_newer_checkpoints().await;
    let tallies = flip_all(&history, &["checkpoint/", "page/"]).await;
    assert_found(&tallies);
    let (flips, errors) = sum(&tallies, "checkpoint ", Effect::Error);
    assert!(flips > 0 && errors == flips, "{errors} errors of {flips} flips");
}

#[tokio::test(start_paused = true)]
async fn a_flip_in_a_segment_or_closed_mark_of_the_tail_quarantines_its_writer() {
    let history = History::write(2).await;
    let tail = format!("wal/{}", history.writer);
    let tallies = flip_all(&history, &[&tail]).await;
    assert_found(&tallies);
    for kind in ["segment ", "closed mark "] {
        let (flips, warnings) = sum(&tallies, kind, Effect::Warning);
        assert!(flips > 0 && warnings == flips, "{kind}: {warnings} warnings of {flips} flips");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flip_in_what_nobody_reads_is_harmless() {
    let history = History::write(2).await;
    let tail = format!("wal/{}", history.writer);
    let others = history.keys(&["wal/", "selftest/"]).await;
    let others: Vec<&str> = others.iter().map(Path::as_ref).filter(|key| !key.starts_with(&tail)).collect();
    // Segments that blocks contain, closed marks of writers that have left, the self-test's mark.
    assert!(others.len() >= 4, "{others:?}");
    for (region, tally) in flip_all(&history, &others).await {
        assert_eq!((tally.of(Effect::None), tally.found), (tally.flips, 0), "{region}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flip_in_a_block_is_an_error_that_names_the_page() {
    let history = History::write(2).await;
    let tallies = flip_all(&history, &history.block_prefixes()).await;
    assert_found(&tallies);
    for level in ["L1", "L2", "L3"] {
        for file in ["series.parquet", "samples.parquet"] {
            // A merge or a whole read finds all; so at least one probe fails for every flip.
            let (flips, errors) = sum(&tallies, &format!("{level} {file} "), Effect::Error);
            assert!(flips > 0 && errors == flips, "{level} {file}: {errors} errors of {flips} flips");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flip_in_a_block_of_many_pages_is_an_error_that_names_the_page() {
    let history = History::write(8_000).await;
    let samples = format!("{}/samples.parquet", history.block_prefixes()[1]);
    let tallies = flip_all(&history, &[&samples]).await;
    assert_found(&tallies);
    let pages = tallies.keys().filter(|region| region.contains("samples.parquet page")).count();
    assert!(pages >= 6, "{:?}", tallies.keys());
    let (flips, errors) = sum(&tallies, "L2 ", Effect::Error);
    assert!(flips > 0 && errors == flips, "{errors} errors of {flips} flips");
}
