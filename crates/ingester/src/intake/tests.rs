//! Rules of the intake, over a toy protocol: `name=value,...` as text.

use bytes::Bytes;
use promontory_model::{BatchSeries, stale_nan};

use super::*;

#[derive(Debug)]
struct Text;

impl LabelsCodec for Text {
    fn decode(&self, encoded: &[u8], out: &mut LabelsBuilder) -> Result<(), String> {
        let text = std::str::from_utf8(encoded).map_err(|error| error.to_string())?;
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=').ok_or("no equals sign")?;
            out.push(name, value);
        }
        Ok(())
    }
}

fn batch(series: &[(&str, &[(i64, f64)])]) -> Batch {
    let mut batch =
        Batch { body: Bytes::new(), codec: &Text, series: vec![], timestamps: vec![], values: vec![] };
    let mut body = Vec::new();
    for (labels, samples) in series {
        let (from, first) = (body.len(), batch.timestamps.len());
        body.extend_from_slice(labels.as_bytes());
        batch.timestamps.extend(samples.iter().map(|s| s.0));
        batch.values.extend(samples.iter().map(|s| s.1));
        batch.series.push(BatchSeries { labels: from..body.len(), samples: first..batch.timestamps.len() });
    }
    batch.body = body.into();
    batch
}

fn tenant() -> TenantId {
    TenantId::anonymous()
}

fn intake() -> Intake {
    Intake::new(IngestLimits { labels_per_series_max: 3, ..IngestLimits::default() }, 7)
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
    let names: Vec<String> = run.keys.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(run.series(1), (&[1, 2][..], &[1.0, 5.0][..]));
    assert!(intake.cut().into_rows().is_empty());
}

#[test]
fn two_encodings_of_one_label_set_are_one_series() {
    let mut intake = intake();
    let two = batch(&[("__name__=m,a=1", &[(1, 1.0)]), ("a=1,__name__=m", &[(2, 2.0)])]);
    intake.add(&tenant(), &two, 0).unwrap();
    assert_eq!(intake.series(), 1);
    assert_eq!(intake.cut().into_rows()[0].1.series(0), (&[1, 2][..], &[1.0, 2.0][..]));
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
    assert_eq!(rows[0].1.keys.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b", "c"]);
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
        rows[0].1.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a", "b", "c", "m", "n", "x"]
    );
}

#[test]
fn a_full_intake_takes_nothing() {
    let mut intake = intake();
    intake.pending_bytes = Intake::PENDING_BYTES_MAX;
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
    let ts: Vec<&[i64]> = (0..4).map(|series| rows[0].1.series(series).0).collect();
    assert_eq!(ts, [&[1, 2, 3, 4, 5][..], &[1, 4, 5], &[1, 2, 3, 5], &[4, 5, 6]]);
}
