//! A selection equals what a map of maps would answer.

use object_store::memory::InMemory;
use promontory_block::{SeriesRun, TenantRows};
use promontory_model::samples::value_order;
use promontory_model::{MatchOp, stale_nan};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::object::bucket::Bucket;
use crate::read::blocks::BlockReaderSettings;
use crate::read::blocks::tests::{put_block, tenant};
use crate::read::reader::Tail;
use crate::write::shared_head::SharedHead;

type Model = BTreeMap<Labels, BTreeMap<i64, f64>>;

fn any_labels(random: &mut SmallRng) -> Labels {
    let name = *["up", "down", "a", ""].choose(random).unwrap();
    let job = *["api", "db", "", "x\0y"].choose(random).unwrap();
    let instance = *["1", "2", "3", "4", "5"].choose(random).unwrap();
    Labels::from_pairs([("__name__", name), ("job", job), ("instance", instance)])
}

fn any_run(random: &mut SmallRng) -> SeriesRun {
    let mut series: Model = BTreeMap::new();
    for _ in 0..random.random_range(1..8) {
        let start = random.random_range(-3_000..3_000);
        let samples = (0..random.random_range(1..12)).map(|i| {
            let value = if random.random_bool(0.1) { stale_nan() } else { random.random_range(-3..3).into() };
            (start + i * *[1, 7, 500].choose(random).unwrap(), value)
        });
        let samples: BTreeMap<i64, f64> = samples.collect();
        series.entry(any_labels(random)).or_default().extend(samples);
    }
    let mut run = SeriesRun::default();
    for (key, samples) in series {
        run.push_floats(key, samples);
    }
    run
}

fn learn(model: &mut Model, run: &SeriesRun) {
    for (key, samples) in run.iter() {
        for (ts, value) in samples.floats.iter() {
            let kept = model.entry(key.clone()).or_default().entry(ts).or_insert(value);
            if value_order(value, *kept).is_gt() {
                *kept = value;
            }
        }
    }
}

fn any_matchers(random: &mut SmallRng) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    for _ in 0..random.random_range(0..3) {
        let name = *["__name__", "job", "instance", "missing"].choose(random).unwrap();
        let value = *["up", "a|up", "", "api", "d.*", "1", "[2-4]", ".+"].choose(random).unwrap();
        let op =
            *[MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex].choose(random).unwrap();
        matchers.push(Matcher::new(name, op, value).unwrap());
    }
    matchers
}

/// All of these blocks, for the tenant `t`.
fn view(blocks: Vec<Arc<BlockEntry>>) -> View {
    View {
        tenant: tenant("t"),
        blocks,
        tails: Vec::new(),
        retained_from: None,
        epochs: None,
        expires: None,
        warnings: Vec::new(),
    }
}

/// Blocks of all levels and heads that overlap in series and time, beside another tenant's rows.
async fn any_view(random: &mut SmallRng) -> (ViewSnapshot, Model) {
    let (store, mut model) = (Arc::new(InMemory::new()), Model::new());
    let mut blocks = Vec::new();
    for unique in 0..random.random_range(0..5) {
        let level = *[Level::L1, Level::L2, Level::L3].choose(random).unwrap();
        let run = any_run(random);
        learn(&mut model, &run);
        let mut rows: Vec<TenantRows> = vec![(tenant("me"), run)];
        if level == Level::L1 && random.random_bool(0.7) {
            rows =
                vec![(tenant("before"), any_run(random)), rows.remove(0), (tenant("other"), any_run(random))];
        }
        blocks.push(put_block(&store, level, unique, &rows).await);
    }
    let mut tails = Vec::new();
    for _ in 0..random.random_range(0..3) {
        let head = Arc::<SharedHead>::default();
        let seqs = 3..6;
        for seq in 1..8 {
            let run = any_run(random);
            if seqs.contains(&seq) {
                learn(&mut model, &run);
            }
            head.publish(seq, Arc::new(vec![(tenant("me"), run), (tenant("other"), any_run(random))]), 0);
        }
        tails.push(Tail { head, after: seqs.start - 1, last: seqs.end - 1 });
    }
    let retained_from = random.random_bool(0.3).then(|| random.random_range(-3_000..0));
    let view = View {
        epochs: None,
        tenant: tenant("me"),
        blocks,
        tails,
        retained_from,
        expires: None,
        warnings: vec!["w".into()],
    };
    (ViewSnapshot::new(view, BlockReader::new(Bucket::single(store), BlockReaderSettings::default())), model)
}

fn expected(model: &Model, matchers: &[Matcher], range: TimeRange) -> Vec<(Labels, Vec<(i64, u64)>)> {
    let passes = |key: &Labels| matchers.iter().all(|matcher| matcher.matches_labels(key.as_ref()));
    let mut series = Vec::new();
    for (key, samples) in model.iter().filter(|(key, _)| passes(key)) {
        let inside: Vec<(i64, u64)> =
            samples.iter().filter(|(ts, _)| range.contains(**ts)).map(|(ts, v)| (*ts, v.to_bits())).collect();
        if !inside.is_empty() {
            series.push((key.clone(), inside));
        }
    }
    series
}

#[tokio::test]
async fn a_selection_holds_each_sample_of_the_view_once_and_nothing_else() {
    for seed in 0..150 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (snapshot, model) = any_view(&mut random).await;
        for _ in 0..6 {
            let matchers = any_matchers(&mut random);
            let start = random.random_range(-4_000..4_000);
            let range = *[TimeRange::ALL, TimeRange::new(start, start + random.random_range(-5..4_000))]
                .choose(&mut random)
                .unwrap();
            let selection = snapshot.select(&matchers, range).await.unwrap();
            let keys = selection.series().to_vec();
            assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}");
            assert!(keys.iter().all(|key| matchers.iter().all(|m| m.matches_labels(key.as_ref()))));
            let middle = random.random_range(0..=keys.len());
            let mut found = Vec::new();
            for part in [0..middle, middle..keys.len()] {
                let samples = selection.read(part.clone()).await.unwrap();
                assert_eq!(samples.len(), part.len());
                assert!(samples.samples() as u64 <= selection.samples_max(part.clone()), "seed {seed}");
                for (idx, key) in keys[part].iter().enumerate() {
                    let of_series = samples.series(idx).floats.iter();
                    let bits = of_series.map(|(ts, value)| (ts, value.to_bits()));
                    found.push((key.clone(), bits.collect::<Vec<_>>()));
                }
            }
            found.retain(|(_, samples)| !samples.is_empty());
            let from = snapshot.view.retained_from.unwrap_or(i64::MIN);
            let range = range.intersect(TimeRange::new(from, i64::MAX));
            assert_eq!(found, expected(&model, &matchers, range), "seed {seed} {matchers:?} {range:?}");
        }
        assert_eq!(snapshot.warnings(), ["w"]);
    }
}

/// The samples of each series inside `range`.
fn clipped(samples: &SampleLists, range: TimeRange) -> Vec<Vec<(i64, u64)>> {
    let of_series =
        |idx| samples.series(idx).floats.clip(range).iter().map(|(ts, value)| (ts, value.to_bits()));
    (0..samples.len()).map(|idx| of_series(idx).collect()).collect()
}

#[tokio::test]
async fn a_part_of_the_time_of_a_selection_holds_what_the_whole_has_there() {
    for seed in 0..150 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (snapshot, _) = any_view(&mut random).await;
        let start = random.random_range(-4_000..4_000);
        let range = TimeRange::new(start, start + random.random_range(0..6_000));
        let selection = snapshot.select(&any_matchers(&mut random), range).await.unwrap();
        let all = 0..selection.series().len();
        let whole = selection.read(all.clone()).await.unwrap();
        for _ in 0..4 {
            let start = random.random_range(-5_000..5_000);
            let within = TimeRange::new(start, start + random.random_range(-5..3_000));
            let part = selection.read_within(all.clone(), within).await.unwrap();
            assert_eq!(clipped(&part, TimeRange::ALL), clipped(&whole, within), "seed {seed} {within:?}");
            assert!(
                part.samples() as u64 <= selection.samples_max_within(all.clone(), within),
                "seed {seed}"
            );
        }
    }
}

#[tokio::test]
async fn blocks_that_cannot_hold_the_metric_or_the_time_are_not_asked() {
    let store = Arc::new(InMemory::new());
    let run = |name: &str, ts: i64| {
        let mut run = SeriesRun::default();
        run.push_floats(Labels::from_pairs([("__name__", name)]), [(ts, 1.0)]);
        run
    };
    let mut blocks = Vec::new();
    for (unique, (name, ts)) in
        [("a", 1_000), ("b", 1_000), ("b", 9_000), ("c", 1_000)].into_iter().enumerate()
    {
        blocks.push(put_block(&store, Level::L2, unique as u128, &[(tenant("t"), run(name, ts))]).await);
    }
    let reader = BlockReader::new(Bucket::single(store), BlockReaderSettings::default());
    let snapshot = ViewSnapshot::new(view(blocks), reader.clone());
    let selection =
        snapshot.select(&[Matcher::equal("__name__", "b")], TimeRange::new(0, 2_000)).await.unwrap();
    assert_eq!(selection.series().len(), 1);
    assert_eq!(selection.read(0..1).await.unwrap().floats().lane().ts(), [1_000]);
    assert_eq!(
        reader.counters().requests.load(std::sync::atomic::Ordering::Relaxed),
        2,
        "one block, two files"
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_snapshot_is_stale() {
    let reader = BlockReader::new(Bucket::single(Arc::new(InMemory::new())), BlockReaderSettings::default());
    let expires = Some(Instant::now() + std::time::Duration::from_secs(5));
    let snapshot = ViewSnapshot::new(View { expires, ..view(Vec::new()) }, reader);
    let selection = snapshot.select(&[], TimeRange::ALL).await.unwrap();
    assert!(selection.read(0..0).await.is_ok());
    assert!(matches!(selection.read(0..1).await, Err(Error::Bug(_))));
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert!(matches!(selection.read(0..0).await, Err(Error::Stale(_))));
    assert!(matches!(snapshot.select(&[], TimeRange::ALL).await, Err(Error::Stale(_))));
}

#[tokio::test]
async fn a_selector_that_matches_too_much_is_refused_before_it_takes_memory() {
    let store = Arc::new(InMemory::new());
    let run = crate::read::blocks::tests::fleet(4, 5, 1);
    let blocks = vec![put_block(&store, Level::L2, 1, &[(tenant("t"), run)]).await];
    let settings = BlockReaderSettings { selected_series_max: 19, ..BlockReaderSettings::default() };
    let snapshot = ViewSnapshot::new(view(blocks), BlockReader::new(Bucket::single(store), settings));
    assert!(matches!(snapshot.select(&[], TimeRange::ALL).await, Err(Error::Limited(_))));
    let one = [Matcher::equal("__name__", "metric_0002_seconds_total")];
    assert_eq!(snapshot.select(&one, TimeRange::ALL).await.unwrap().series().len(), 5);
}

#[tokio::test]
async fn a_scan_in_small_parts_asks_for_what_it_prefetched_no_more() {
    let store = Arc::new(InMemory::new());
    let run = crate::read::blocks::tests::fleet(20, 200, 500);
    let (series, rows) = (run.keys().len(), run.rows() as u64);
    let blocks = vec![put_block(&store, Level::L2, 1, &[(tenant("t"), run)]).await];
    let scan = |prefetched: usize| {
        let (store, blocks) = (store.clone(), blocks.clone());
        async move {
            let reader = BlockReader::new(Bucket::single(store), BlockReaderSettings::default());
            let snapshot = ViewSnapshot::new(view(blocks), reader.clone());
            let selection = snapshot.select(&[], TimeRange::ALL).await.unwrap();
            assert_eq!(selection.series().len(), series);
            selection.prefetch(0..prefetched).await.unwrap();
            let mut samples = 0;
            for from in (0..series).step_by(100) {
                samples += selection.read(from..from + 100).await.unwrap().samples() as u64;
            }
            assert_eq!(samples, rows);
            reader.counters().requests.load(Ordering::Relaxed)
        }
    };
    let (without, with) = (scan(0).await, scan(series).await);
    assert!(with <= 6 && without > 5 * with, "{without} requests, {with} with prefetching");
}
