//! Rules of the intake, over a toy protocol: `name=value,...` as text.

use promontory_model::histogram::{Buckets, CounterResetHint, Flavour, Histogram, Layout, Parts};
use promontory_model::samples::SampleValue;
use promontory_model::{Exemplar, Floats, LabelsCodec, MetricKind, MetricMetadata, stale_nan};

use super::*;

/// Adds the label `source` to what the text says, unless it is empty.
#[derive(Debug)]
struct Text(&'static str);

impl LabelsCodec for Text {
    fn context(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn decode(&self, encoded: &[u8], out: &mut LabelsBuilder) -> Result<(), String> {
        let text = std::str::from_utf8(encoded).map_err(|error| error.to_string())?;
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=').ok_or("no equals sign")?;
            out.push(name, value);
        }
        if !self.0.is_empty() {
            out.push("source", self.0);
        }
        Ok(())
    }
}

fn batch(series: &[(&str, &[(i64, f64)])]) -> Batch {
    batch_of("", series)
}

fn batch_of(source: &'static str, series: &[(&str, &[(i64, f64)])]) -> Batch {
    let (mut body, mut all, mut floats) = (Vec::new(), Vec::new(), Floats::default());
    for (labels, samples) in series {
        let (from, first) = (body.len(), floats.len());
        body.extend_from_slice(labels.as_bytes());
        samples.iter().for_each(|(ts, value)| floats.push(*ts, *value));
        let (labels, floats) = (from..body.len(), first..floats.len());
        all.push(BatchSeries { labels, floats, histograms: 0..0, exemplars: 0..0 });
    }
    let mut batch = Batch::new(body.into(), Arc::new(Text(source)));
    batch.series = all;
    batch.samples = floats.into();
    batch
}

fn floats_of(run: &SeriesRun, series_idx: usize) -> Vec<(i64, f64)> {
    run.series(series_idx).floats.iter().collect()
}

fn names(run: &SeriesRun) -> Vec<String> {
    run.keys().iter().map(ToString::to_string).collect()
}

fn tenant() -> TenantId {
    TenantId::anonymous()
}

fn intake() -> Intake {
    Intake::new(
        IngestLimits { labels_per_series_max: 3, ..IngestLimits::default() },
        HeadMemory::default(),
        7,
    )
}

#[test]
fn a_cut_is_sorted_and_of_equal_timestamps_the_greatest_stays() {
    let mut intake = intake();
    intake
        .add(&tenant(), &batch(&[("__name__=b", &[(2, 2.0), (1, 1.0)]), ("__name__=c", &[(1, 3.0)])]), 0)
        .unwrap();
    let again = batch(&[("__name__=a", &[(1, 0.0)]), ("__name__=b", &[(2, stale_nan()), (2, 5.0)])]);
    intake.add(&tenant(), &again, 0).unwrap();
    let rows = intake.cut().into_rows();
    let run = &rows[0].1;
    let names: Vec<String> = run.keys().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(floats_of(run, 1), [(1, 1.0), (2, 5.0)]);
    assert!(intake.cut().into_rows().is_empty());
}

#[test]
fn two_encodings_of_one_label_set_are_one_series() {
    let mut intake = intake();
    let two = batch(&[("__name__=m,a=1", &[(1, 1.0)]), ("a=1,__name__=m", &[(2, 2.0)])]);
    intake.add(&tenant(), &two, 0).unwrap();
    assert_eq!(intake.series(), 1);
    assert_eq!(floats_of(&intake.cut().into_rows()[0].1, 0), [(1, 1.0), (2, 2.0)]);
}

#[test]
fn each_limit_refuses_its_series_and_takes_the_others() {
    let long_name = format!("__name__=m,{}=1", "n".repeat(1_025));
    let long_value = format!("__name__=m,a={}", "v".repeat(4_097));
    for (labels, reason) in [
        ("__name__=m,a=1,b=2,c=3", RefusalReason::TooManyLabels),
        (long_name.as_str(), RefusalReason::LabelNameTooLong),
        (long_value.as_str(), RefusalReason::LabelValueTooLong),
        ("__name__=m,a=1,a=2", RefusalReason::DuplicateLabel),
        ("a=1", RefusalReason::InvalidLabels),
        ("__name__=", RefusalReason::InvalidLabels),
        ("__name__=m,=1", RefusalReason::InvalidLabels),
        ("nonsense", RefusalReason::InvalidLabels),
    ] {
        let mut intake = intake();
        let both = batch(&[(labels, &[(1, 1.0), (2, 1.0)]), ("__name__=good", &[(1, 1.0)])]);
        let (taken, refused) = intake.add(&tenant(), &both, 0).unwrap();
        assert_eq!((taken, refused.series, refused.samples), (1, 1, 2), "{labels}");
        assert_eq!(refused.examples[0].reason, reason, "{labels}");
        assert_eq!(refused.by_reason[reason as usize], 2, "{labels}");
        assert!(refused.examples[0].text.len() < 400, "{}", refused.examples[0].text);
    }
}

#[test]
fn samples_too_far_in_the_future_are_refused_one_by_one() {
    let mut intake = intake();
    let now = 1_000_000;
    let edge = now + 600_000;
    let (taken, refused) =
        intake.add(&tenant(), &batch(&[("__name__=m", &[(edge, 1.0), (edge + 1, 2.0)])]), now).unwrap();
    assert_eq!((taken, refused.series, refused.samples), (1, 0, 1));
}

#[test]
fn idle_series_are_forgotten_and_come_back() {
    let mut intake = intake();
    let one = |name: &str| batch(&[(name, &[(1, 1.0)])]);
    for name in ["__name__=a", "__name__=b", "__name__=c"] {
        intake.add(&tenant(), &one(name), 0).unwrap();
    }
    intake.cut();
    for _ in 0..5 {
        intake.add(&tenant(), &one("__name__=b"), 0).unwrap();
        intake.cut();
    }
    intake.forget_idle(3);
    assert_eq!(intake.series(), 1);
    intake.add(&tenant(), &batch(&[("__name__=c", &[(1, 1.0)]), ("__name__=b", &[(1, 2.0)])]), 0).unwrap();
    let rows = intake.cut().into_rows();
    assert_eq!(rows[0].1.keys().iter().map(ToString::to_string).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(intake.series(), 2);
}

#[test]
fn ranks_follow_series_that_come_later() {
    let mut intake = intake();
    for name in ["m", "c", "x", "a", "n", "b"] {
        let labels = format!("__name__={name}");
        intake.add(&tenant(), &batch(&[(&labels, &[(1, 1.0)])]), 0).unwrap();
        intake.cut();
    }
    let all: Vec<String> = ["x", "a", "n", "c", "m", "b"].iter().map(|n| format!("__name__={n}")).collect();
    let series: Vec<(&str, &[(i64, f64)])> = all.iter().map(|l| (l.as_str(), &[(2, 2.0)][..])).collect();
    intake.add(&tenant(), &batch(&series), 0).unwrap();
    let rows = intake.cut().into_rows();
    assert_eq!(
        rows[0].1.keys().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a", "b", "c", "m", "n", "x"]
    );
}

#[test]
fn a_full_intake_takes_nothing() {
    let mut intake = intake();
    intake.pending_bytes = HeadMemory::default().pending();
    let answer = intake.add(&tenant(), &batch(&[("__name__=m", &[(1, 1.0)])]), 0);
    assert!(matches!(answer, Err(AppendError::Unavailable(_))));
    assert_eq!(intake.series(), 0);
}

#[test]
fn series_are_known_in_whatever_order_they_come() {
    let mut intake = intake();
    let orders: [&[&str]; 6] = [
        &["__name__=a", "__name__=b", "__name__=c"],
        &["__name__=c", "__name__=a"],
        &["__name__=c", "__name__=a"],
        &["__name__=d", "__name__=b", "__name__=a", "__name__=a"],
        &["__name__=a", "__name__=b", "__name__=c", "__name__=d"],
        &["__name__=d"],
    ];
    for (ts, order) in (1..).zip(orders) {
        let samples = [(ts, ts as f64)];
        let series: Vec<(&str, &[(i64, f64)])> = order.iter().map(|labels| (*labels, &samples[..])).collect();
        let (taken, refused) = intake.add(&tenant(), &batch(&series), 0).unwrap();
        assert_eq!((taken as usize, refused.series), (order.len(), 0));
    }
    assert_eq!(intake.series(), 4);
    let rows = intake.cut().into_rows();
    let ts: Vec<&[i64]> = (0..4).map(|series| rows[0].1.series(series).floats.ts()).collect();
    assert_eq!(ts, [&[1, 2, 3, 4, 5][..], &[1, 4, 5], &[1, 2, 3, 5], &[4, 5, 6]]);
}

fn histogram() -> Arc<Histogram> {
    let parts = Parts {
        flavour: Flavour::Integer,
        reset_hint: CounterResetHint::Unknown,
        layout: Layout::Exponential { schema: 0, zero_threshold: 0.0 },
        count: 1.0,
        sum: 1.0,
        zero_count: 1.0,
        positive: Buckets::default(),
        negative: Buckets::default(),
    };
    Arc::new(Histogram::new(parts).unwrap())
}

#[test]
fn what_is_not_stored_is_refused_by_its_own_reason_and_floats_are_taken() {
    let mut mixed = batch(&[("__name__=f", &[(1, 1.0), (2, 2.0)]), ("__name__=h", &[]), ("__name__=e", &[])]);
    let floats = mixed.samples.floats.clone().with_start_ts(vec![0, 1]);
    mixed.samples = floats.into();
    mixed.samples.push(1, SampleValue::Histogram(histogram()));
    mixed.series[1].histograms = 0..1;
    mixed.exemplars = vec![Exemplar { labels: LabelsBuilder::default().build(), value: 1.0, ts: None }; 2];
    mixed.series[2].exemplars = 0..2;
    let metadata = MetricMetadata { kind: MetricKind::Gauge, help: String::new(), unit: String::new() };
    mixed.metadata = vec![("f".to_owned(), metadata)];
    let mut intake = intake();
    let (taken, refused) = intake.add(&tenant(), &mixed, 0).unwrap();
    assert_eq!((taken, refused.series, refused.samples, intake.series()), (2, 1, 1, 1));
    let counted: Vec<_> =
        RefusalReason::ALL.into_iter().zip(refused.by_reason).filter(|(_, n)| *n > 0).collect();
    let expected = [
        (RefusalReason::HistogramNotStored, 1),
        (RefusalReason::ExemplarNotStored, 2),
        (RefusalReason::MetadataNotStored, 1),
        (RefusalReason::StartTimestampNotStored, 1),
    ];
    assert_eq!(counted, expected);
    assert_eq!(refused.examples[0].text, "1 native histograms: they are not stored yet");
    assert!(!refused.is_empty());
}

#[test]
fn equal_bytes_of_two_sources_are_two_series_in_either_order() {
    for order in [["one", "two"], ["two", "one"]] {
        let mut intake = intake();
        for ts in 1..=3 {
            for source in order {
                let again = batch_of(source, &[("__name__=a", &[(ts, 1.0)]), ("__name__=b", &[(ts, 1.0)])]);
                intake.add(&tenant(), &again, 0).unwrap();
            }
        }
        let rows = intake.cut().into_rows();
        let expected = ["a{source=\"one\"}", "a{source=\"two\"}", "b{source=\"one\"}", "b{source=\"two\"}"];
        assert_eq!(names(&rows[0].1), expected, "{order:?}");
        assert!((0..4).all(|series| rows[0].1.series(series).floats.ts() == [1, 2, 3]));
    }
}

#[test]
fn sources_are_forgotten_with_their_last_series_and_come_back_apart() {
    let mut intake = intake();
    let add = |intake: &mut Intake, source| {
        let one = batch_of(source, &[("__name__=m", &[(1, 1.0)])]);
        intake.add(&tenant(), &one, 0).unwrap();
    };
    for source in ["one", "two", "three"] {
        add(&mut intake, source);
    }
    intake.cut();
    for _ in 0..5 {
        add(&mut intake, "two");
        intake.cut();
    }
    intake.forget_idle(3);
    assert_eq!(intake.tenants[&tenant()].index.sources(), (1, 3));
    for source in ["four", "one", "two"] {
        add(&mut intake, source);
    }
    assert_eq!((intake.series(), intake.tenants[&tenant()].index.sources()), (3, (3, 3)));
    let rows = intake.cut().into_rows();
    assert_eq!(names(&rows[0].1), ["m{source=\"four\"}", "m{source=\"one\"}", "m{source=\"two\"}"]);
}

#[test]
fn an_idle_source_of_a_series_that_others_send_is_forgotten() {
    let mut index = SeriesIndex::new(7);
    let labels = |n: usize| {
        let mut labels = LabelsBuilder::default();
        labels.push("__name__", &format!("m{n}"));
        labels.build()
    };
    for cut in 0..8 {
        let context = [cut as u8];
        let mut walk = index.walk(&context, cut);
        assert_eq!(index.find(&mut walk, b"m"), None);
        assert_eq!(index.insert(&mut walk, b"m", labels(0), room(8)), Some(0));
        assert_eq!(index.insert(&mut walk, b"n", labels(1), room(8)), Some(1));
    }
    index.forget_idle(7, 8);
    assert_eq!((index.len(), index.encodings(), index.sources()), (2, 2, (1, 8)));
}

#[test]
fn a_limit_of_series_refuses_new_ones_only_and_of_its_tenant_only() {
    let mut intake =
        Intake::new(IngestLimits { series_max: 2, ..IngestLimits::default() }, HeadMemory::default(), 7);
    let ml = TenantId::new("ml").unwrap();
    intake.add(&ml, &batch(&[("__name__=a,x=1", &[(1, 1.0)]), ("__name__=b", &[(1, 1.0)])]), 0).unwrap();
    let more = batch(&[
        ("__name__=c", &[(2, 1.0), (3, 1.0)]),
        ("x=1,__name__=a", &[(2, 1.0)]),
        ("__name__=d", &[(2, 1.0)]),
        ("__name__=b", &[(2, 1.0)]),
    ]);
    let (taken, refused) = intake.add(&ml, &more, 0).unwrap();
    assert_eq!((taken, refused.series, refused.samples), (2, 2, 3));
    assert_eq!(refused.by_reason[RefusalReason::SeriesLimit as usize], 3);
    let text = "series limit of 2 reached for tenant \"ml\"; raise --limits.series-max or drop labels";
    assert_eq!(refused.examples[0].text, text);
    let (taken, refused) = intake.add(&tenant(), &batch(&[("__name__=c", &[(1, 1.0)])]), 0).unwrap();
    assert_eq!((taken, refused.is_empty(), intake.series()), (1, true, 3));
    intake.series = Intake::SERIES_MAX + 1;
    let (taken, refused) = intake
        .add(&tenant(), &batch(&[("__name__=e", &[(1, 1.0)]), ("__name__=c", &[(2, 1.0)])]), 0)
        .unwrap();
    assert_eq!((taken, refused.series), (1, 1));
    assert!(refused.examples[0].text.contains("for all tenants"), "{}", refused.examples[0].text);
}

/// Room for so many series, whatever they take.
fn room(series: usize) -> Room {
    Room { series, bytes: usize::MAX }
}

#[test]
fn label_bytes_are_bounded_and_known_series_are_taken_beyond() {
    let memory = HeadMemory { bytes_max: 16 * 5_000 };
    let mut intake = Intake::new(IngestLimits::default(), memory, 7);
    let long = "x".repeat(4_000);
    let series = |number: usize| format!("__name__=m,a={long},n={number}");
    let add = |intake: &mut Intake, number: usize| {
        intake.add(&tenant(), &batch(&[(&series(number), &[(1, 1.0)])]), 0).unwrap()
    };
    // A quarter of the memory is for labels: two sets of 4 kB with the bytes by which they are known again.
    let (mut n_taken, mut text) = (0, String::new());
    for number in 0..50 {
        let (taken, refused) = add(&mut intake, number);
        n_taken += taken;
        assert_eq!(refused.by_reason[RefusalReason::SeriesLimit as usize], 1 - taken);
        text = refused.examples.first().map_or(text, |refusal| refusal.text.clone());
        assert!(intake.index_bytes() <= memory.labels(), "{} bytes", intake.index_bytes());
    }
    assert!((2..=4).contains(&n_taken), "{n_taken}");
    assert!(text.contains("20000 bytes; raise --head.max-memory"), "{text}");
    for number in 0..n_taken as usize {
        assert_eq!(add(&mut intake, number).0, 1, "a known series is taken");
    }
    // What is forgotten makes room again, to the byte.
    intake.cut();
    (0..9).for_each(|_| drop(intake.cut()));
    intake.forget_idle(1);
    assert_eq!((intake.series(), intake.index_bytes()), (0, 0));
    assert_eq!(add(&mut intake, 7).0, 1);
}

#[test]
fn many_encodings_of_one_series_take_no_more_than_is_given() {
    let memory = HeadMemory { bytes_max: 16 * 10_000 };
    let mut intake = Intake::new(IngestLimits::default(), memory, 7);
    for source in 0..2_000 {
        let context: &'static str = format!("source-{source}").leak();
        // One series: the codec of each source adds nothing that its text does not say.
        let (taken, _) =
            intake.add(&tenant(), &batch_of(context, &[("__name__=m", &[(1, 1.0)])]), 0).unwrap();
        assert!(taken <= 1 && intake.index_bytes() <= memory.labels());
    }
}

/// The label set `m` with six labels, in the order with this number.
fn permuted(mut number: usize) -> String {
    let mut left: Vec<&str> = vec!["__name__=m", "a=1", "b=2", "c=3", "d=4", "e=5", "f=6"];
    let mut text = String::new();
    while !left.is_empty() {
        let at = number % left.len();
        number /= left.len();
        text += left.remove(at);
        text.push(',');
    }
    text.pop();
    text
}

#[test]
fn one_series_in_thousands_of_label_orders_keeps_the_last_two() {
    let mut intake = Intake::new(IngestLimits::default(), HeadMemory::default(), 7);
    let orders: Vec<String> = (0..5_040).map(permuted).collect();
    for orders in orders.chunks(720) {
        let series: Vec<(&str, &[(i64, f64)])> =
            orders.iter().map(|o| (o.as_str(), &[(1, 1.0)][..])).collect();
        let (taken, refused) = intake.add(&tenant(), &batch(&series), 0).unwrap();
        assert_eq!((taken, intake.series()), (720, 1), "{:?}", refused.examples);
    }
    let index = &mut intake.tenants.get_mut(&tenant()).unwrap().index;
    assert_eq!((index.encodings(), index.raw_bytes()), (2, 2 * orders[0].len()));
    let mut walk = index.walk(b"", 0);
    let hits: Vec<usize> =
        (0..orders.len()).filter(|at| index.find(&mut walk, orders[*at].as_bytes()).is_some()).collect();
    assert_eq!(hits, [5_038, 5_039]);
    // Of the two, the one that was used last stays.
    index.find(&mut walk, orders[5_038].as_bytes()).unwrap();
    let labels = index.labels(0).clone();
    index.insert(&mut walk, orders[0].as_bytes(), labels, room(0)).unwrap();
    assert_eq!(
        [0, 5_038, 5_039].map(|at| index.find(&mut walk, orders[at].as_bytes())),
        [Some(0), Some(0), None]
    );
}

/// Label sets as text; the context says only from where they come.
#[derive(Debug)]
struct Sourced(String);

impl LabelsCodec for Sourced {
    fn context(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn decode(&self, encoded: &[u8], out: &mut LabelsBuilder) -> Result<(), String> {
        Text("").decode(encoded, out)
    }
}

/// Resident memory of this process; `None` where there is no `/proc`.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib << 10)
}

/// Each batch brings one series in all orders of its labels, from one source; so many encodings are distinct.
/// `PROMONTORY_LONG=1` sends 20 million.
#[test]
fn millions_of_encodings_of_few_series_take_no_more_than_is_given() {
    const SERIES: usize = 4;
    /// Beside the index: the batch, its cut, and what the tests that run meanwhile take.
    const SLACK: usize = 64 << 20;
    let long = std::env::var("PROMONTORY_LONG").is_ok_and(|long| long == "1");
    let orders: Vec<String> = (0..5_040).map(permuted).collect();
    let encodings: usize = if long { 20_000_000 } else { 200_000 };
    let memory = HeadMemory { bytes_max: HeadMemory::BYTES_MIN };
    let mut intake = Intake::new(IngestLimits::default(), memory, 7);
    let (before, mut peak) = (resident_bytes(), None);
    let batches = encodings.div_ceil(orders.len());
    for number in 0..batches {
        let texts = orders.iter().map(|order| format!("{order},series={}", number % SERIES));
        let texts: Vec<String> = texts.collect();
        let series: Vec<(&str, &[(i64, f64)])> =
            texts.iter().map(|text| (text.as_str(), &[(1, 1.0)][..])).collect();
        let mut batch = batch(&series);
        batch.codec = Arc::new(Sourced(format!("source-{}", number / SERIES)));
        let (taken, refused) = intake.add(&tenant(), &batch, 0).unwrap();
        assert_eq!((taken as usize, refused.is_empty()), (orders.len(), true), "batch {number}");
        assert!(intake.index_bytes() <= memory.labels(), "{} bytes", intake.index_bytes());
        peak = peak.max(resident_bytes());
        intake.cut();
    }
    assert_eq!(intake.series(), SERIES);
    let grown = peak.zip(before).map_or(0, |(peak, before)| peak.saturating_sub(before));
    println!(
        "{} encodings of {SERIES} series from {} sources: {} bytes of index, resident memory has grown by {} KiB",
        batches * orders.len(),
        batches.div_ceil(SERIES),
        intake.index_bytes(),
        grown >> 10
    );
    assert!(grown <= memory.labels() + SLACK, "resident memory has grown by {grown} bytes");
}

#[test]
fn an_encoding_that_is_padded_is_decoded_each_time() {
    let padded = format!("__name__=m,{}", "a=,".repeat(400)).trim_end_matches(',').to_owned();
    let index = &mut SeriesIndex::new(7);
    let mut walk = index.walk(b"", 0);
    let labels = {
        let mut labels = LabelsBuilder::default();
        labels.push("__name__", "m");
        labels.build()
    };
    assert_eq!(index.insert(&mut walk, padded.as_bytes(), labels, room(1)), Some(0));
    assert_eq!((index.len(), index.encodings(), index.sources()), (1, 0, (0, 0)));
}
