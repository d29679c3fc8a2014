//! Remote write 1.0: what decodes, what is refused, and that refusals come before memory.

use promontory_model::{IngestLimits, LabelsBuilder, LabelsCodec, STALE_NAN_BITS};
use proptest::prelude::*;

use super::*;
use crate::protobuf::{FieldWriter, ProtobufErrorKind};

/// A series in plain values: labels, and samples with their bits.
type Plain = (Vec<(String, String)>, Vec<(i64, u64)>);

fn plain(decoded: &Decoded) -> Result<Vec<Plain>, String> {
    let batch = &decoded.batch;
    let mut all = Vec::new();
    for series in &batch.series {
        let mut labels = LabelsBuilder::default();
        batch.codec.decode(&batch.body[series.labels.clone()], &mut labels)?;
        let floats = batch.samples.floats.view().part(series.floats.clone());
        let samples = floats.iter().map(|(ts, value)| (ts, value.to_bits()));
        all.push((labels.pairs().to_vec(), samples.collect()));
    }
    Ok(all)
}

fn encode(series: &[Plain]) -> WriteRequestEncoder {
    let mut encoder = WriteRequestEncoder::new();
    for (labels, samples) in series {
        let labels = labels.iter().map(|(name, value)| (name, value));
        encoder.series(labels, samples.iter().map(|(ts, bits)| (*ts, f64::from_bits(*bits))));
    }
    encoder
}

fn message(message: &FieldWriter) -> Result<Decoded, DecodeError> {
    decode_message(message.as_bytes().to_vec(), &IngestLimits::default())
}

fn label_field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut label = FieldWriter::default();
    label.bytes(1, name).bytes(2, value);
    let mut field = FieldWriter::default();
    field.bytes(1, label.as_bytes());
    field.into_bytes()
}

fn sample_field(timestamp: i64, value: f64) -> Vec<u8> {
    let mut sample = FieldWriter::default();
    sample.fixed64(1, value.to_bits()).varint(2, timestamp as u64);
    let mut field = FieldWriter::default();
    field.bytes(2, sample.as_bytes());
    field.into_bytes()
}

fn one_series(fields: &[Vec<u8>]) -> FieldWriter {
    let mut message = FieldWriter::default();
    message.bytes(1, &fields.concat());
    message
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn series_strategy() -> impl Strategy<Value = Plain> {
    let labels = proptest::collection::vec(("\\PC{0,12}", "\\PC{0,12}"), 0..8);
    let samples = proptest::collection::vec((any::<i64>(), any::<u64>()), 1..6);
    (labels, samples)
}

proptest! {
    #[test]
    fn what_was_encoded_comes_back_with_the_same_bits(series in proptest::collection::vec(series_strategy(), 0..12)) {
        let decoded = decode(&encode(&series).body(), &IngestLimits::default()).unwrap();
        prop_assert_eq!(plain(&decoded).unwrap(), series);
        prop_assert_eq!(decoded.other, OtherContent::default());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes, &IngestLimits::default());
        let mut labels = LabelsBuilder::default();
        let _ = RemoteWrite1Labels.decode(&bytes, &mut labels);
        if let Ok(decoded) = decode_message(bytes, &IngestLimits::default()) {
            let _ = plain(&decoded);
        }
    }

    #[test]
    fn a_changed_byte_gives_an_error_or_a_whole_batch(
        series in proptest::collection::vec(series_strategy(), 1..5), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = encode(&series).message().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(decoded) = decode_message(bytes, &IngestLimits::default()) {
            let batch = &decoded.batch;
            prop_assert!(batch.series.iter().all(|series| !series.floats.is_empty()));
            prop_assert_eq!(batch.series.iter().map(|series| series.floats.len()).sum::<usize>(), batch.samples.len());
            let _ = plain(&decoded);
        }
    }

    #[test]
    fn a_truncated_message_is_an_error_or_the_series_before_the_cut(
        series in proptest::collection::vec(series_strategy(), 1..4),
    ) {
        let bytes = encode(&series).message().to_vec();
        for end in 0..bytes.len() {
            match decode_message(bytes[..end].to_vec(), &IngestLimits::default()) {
                Ok(decoded) => {
                    let kept = plain(&decoded).unwrap();
                    prop_assert_eq!(&kept[..], &series[..kept.len()]);
                    prop_assert!(kept.len() < series.len());
                }
                Err(error) => prop_assert!(matches!(error, DecodeError::Protobuf(_)), "{}", error),
            }
        }
    }

    #[test]
    fn every_truncated_body_is_a_snappy_error(series in proptest::collection::vec(series_strategy(), 1..4)) {
        let body = encode(&series).body();
        for end in 0..body.len() {
            let error = decode(&body[..end], &IngestLimits::default()).unwrap_err();
            prop_assert!(matches!(error, DecodeError::Snappy(_)), "{}", error);
        }
    }
}

#[test]
fn stale_markers_and_other_payloads_keep_their_bits() {
    let bits = [STALE_NAN_BITS, f64::NAN.to_bits(), 0xfff8_0000_0000_beef, 0x8000_0000_0000_0000, 1];
    let series = vec![(vec![pair("__name__", "up")], bits.iter().map(|bits| (-1, *bits)).collect())];
    let decoded = decode(&encode(&series).body(), &IngestLimits::default()).unwrap();
    assert_eq!(plain(&decoded).unwrap(), series);
}

#[test]
fn label_bytes_do_not_depend_on_where_the_samples_lie() {
    let (a, b) = (label_field(b"__name__", b"up"), label_field(b"job", b"x"));
    let (one, two) = (sample_field(1, 1.0), sample_field(2, 2.0));
    let orders = [
        vec![a.clone(), b.clone(), one.clone(), two.clone()],
        vec![one.clone(), two.clone(), a.clone(), b.clone()],
        vec![a.clone(), one.clone(), b.clone(), two.clone()],
        vec![one, a.clone(), two, b.clone()],
    ];
    let mut all = FieldWriter::default();
    for order in &orders {
        all.bytes(1, &order.concat());
    }
    let decoded = message(&all).unwrap();
    let expected = (
        vec![pair("__name__", "up"), pair("job", "x")],
        vec![(1, 1.0_f64.to_bits()), (2, 2.0_f64.to_bits())],
    );
    assert_eq!(plain(&decoded).unwrap(), vec![expected; 4]);
    for series in &decoded.batch.series {
        assert_eq!(decoded.batch.body[series.labels.clone()], [a.clone(), b.clone()].concat());
    }
}

#[test]
fn gathered_labels_of_a_series_without_samples_are_forgotten() {
    let exemplar = FieldWriter::default().bytes(3, b"").as_bytes().to_vec();
    let interleaved = vec![label_field(b"a", b"1"), exemplar, label_field(b"b", b"2")];
    let mut all = one_series(&interleaved);
    let mut with_sample = interleaved;
    with_sample.push(sample_field(5, 5.0));
    all.bytes(1, &with_sample.concat());
    let decoded = message(&all).unwrap();
    assert_eq!(decoded.other, OtherContent { exemplars: 2, ..OtherContent::default() });
    let expected = vec![(vec![pair("a", "1"), pair("b", "2")], vec![(5, 5.0_f64.to_bits())])];
    assert_eq!(plain(&decoded).unwrap(), expected);
    let gathered = label_field(b"a", b"1").len() * 2;
    assert_eq!(decoded.batch.body.len(), all.as_bytes().len() + gathered);
}

#[test]
fn of_a_repeated_scalar_the_last_counts() {
    let mut sample = FieldWriter::default();
    sample.varint(2, 7).fixed64(1, 1).varint(2, 8).fixed64(1, 3.0_f64.to_bits());
    let mut label = FieldWriter::default();
    label.bytes(2, b"old").bytes(1, b"x").bytes(2, b"new");
    let mut series = FieldWriter::default();
    series.bytes(1, label.as_bytes()).bytes(2, sample.as_bytes());
    let mut all = FieldWriter::default();
    all.bytes(1, series.as_bytes());
    let expected = vec![(vec![pair("x", "new")], vec![(8, 3.0_f64.to_bits())])];
    assert_eq!(plain(&message(&all).unwrap()).unwrap(), expected);
}

#[test]
fn absent_scalars_are_zero() {
    let mut series = FieldWriter::default();
    series.bytes(1, b"").bytes(2, b"");
    let mut all = FieldWriter::default();
    all.bytes(1, series.as_bytes());
    assert_eq!(plain(&message(&all).unwrap()).unwrap(), vec![(vec![pair("", "")], vec![(0, 0)])]);
}

#[test]
fn unknown_fields_are_skipped_at_every_depth() {
    let mut sample = FieldWriter::default();
    sample.fixed64(1, 2.0_f64.to_bits()).varint(2, 4).bytes(9, b"later");
    let mut label = FieldWriter::default();
    label.bytes(1, b"a").varint(7, 1).bytes(2, b"b");
    let mut series = FieldWriter::default();
    series.bytes(1, label.as_bytes()).fixed64(100, 1).bytes(2, sample.as_bytes());
    let mut all = FieldWriter::default();
    all.varint(2, 5).bytes(1, series.as_bytes()).bytes(77, b"x");
    let expected = vec![(vec![pair("a", "b")], vec![(4, 2.0_f64.to_bits())])];
    assert_eq!(plain(&message(&all).unwrap()).unwrap(), expected);
}

#[test]
fn input_that_is_not_stored_is_counted() {
    let mut fields = label_field(b"__name__", b"h");
    fields.extend(FieldWriter::default().bytes(4, b"").bytes(4, b"").bytes(3, b"").as_bytes());
    let mut all = FieldWriter::default();
    all.bytes(1, &fields).bytes(1, b"").bytes(1, &label_field(b"__name__", b"no_samples"));
    all.raw(WriteRequestEncoder::new().metadata(1, "up", "help", "").message());
    let decoded = message(&all).unwrap();
    assert_eq!(decoded.other, OtherContent { empty_series: 2, histograms: 2, exemplars: 1, metadata: 1 });
    assert!(decoded.batch.series.is_empty());
}

#[test]
fn wrong_wire_types_are_errors() {
    let kind = |writer: &FieldWriter| match message(writer) {
        Err(DecodeError::Protobuf(error)) => error.kind,
        other => panic!("{other:?}"),
    };
    let mut request = FieldWriter::default();
    request.varint(1, 3);
    assert_eq!(kind(&request), ProtobufErrorKind::FieldType(1));
    let mut metadata = FieldWriter::default();
    metadata.varint(3, 3);
    assert_eq!(kind(&metadata), ProtobufErrorKind::FieldType(3));
    for field in 1..=4 {
        let wrong = FieldWriter::default().varint(field, 3).as_bytes().to_vec();
        assert_eq!(kind(&one_series(&[wrong])), ProtobufErrorKind::FieldType(field));
    }
    let mut value_as_varint = FieldWriter::default();
    value_as_varint.varint(1, 3);
    let wrong = FieldWriter::default().bytes(2, value_as_varint.as_bytes()).as_bytes().to_vec();
    assert_eq!(kind(&one_series(&[wrong])), ProtobufErrorKind::FieldType(1));
}

#[test]
fn labels_that_are_not_utf8_or_not_labels_are_errors_of_their_series_only() {
    let decode = |bytes: &[u8]| RemoteWrite1Labels.decode(bytes, &mut LabelsBuilder::default());
    assert_eq!(decode(&label_field(b"a", b"\xff")), Err("label value is not UTF-8: \\xff".to_owned()));
    assert_eq!(decode(&label_field(b"\xc3", b"")), Err("label name is not UTF-8: \\xc3".to_owned()));
    assert!(decode(&sample_field(1, 1.0)).is_err());
    assert!(decode(&label_field(b"a", b"b")[..5]).is_err());
    let mut all = one_series(&[label_field(b"a", b"\xff"), sample_field(1, 1.0)]);
    all.bytes(1, &[label_field(b"a", b"ok"), sample_field(1, 1.0)].concat());
    let decoded = message(&all).unwrap();
    assert_eq!(decoded.batch.series.len(), 2);
    assert!(plain(&decoded).is_err());
}

#[test]
fn duplicate_labels_are_left_for_the_limits_to_see() {
    let decoded =
        message(&one_series(&[label_field(b"a", b"1"), label_field(b"a", b"2"), sample_field(1, 1.0)]));
    let expected = vec![pair("a", "1"), pair("a", "2")];
    assert_eq!(plain(&decoded.unwrap()).unwrap()[0].0, expected);
}

#[test]
fn series_and_samples_are_refused_at_their_limits_by_name() {
    let limits =
        IngestLimits { series_per_request_max: 2, samples_per_request_max: 3, ..IngestLimits::default() };
    let check = |series: usize, samples: usize| {
        let mut encoder = WriteRequestEncoder::new();
        for _ in 0..series {
            encoder.series([("__name__", "x")], (0..samples as i64).map(|ts| (ts, 1.0)));
        }
        decode(&encoder.body(), &limits).map(|decoded| decoded.batch.samples.len())
    };
    assert_eq!(check(2, 1), Ok(2));
    assert_eq!(check(1, 3), Ok(3));
    let text = |series, samples| check(series, samples).unwrap_err().to_string();
    assert_eq!(text(3, 0), "request has 3 series, at most 2 are accepted (series_per_request_max)");
    assert_eq!(text(1, 4), "request has 4 samples, at most 3 are accepted (samples_per_request_max)");
    assert!(check(2, 2).unwrap_err().is_limit());
}

#[test]
fn a_series_of_very_many_labels_is_an_error_of_the_codec() {
    let label = label_field(b"a", b"");
    let decode = |n: usize| {
        let mut labels = LabelsBuilder::default();
        RemoteWrite1Labels.decode(&label.repeat(n), &mut labels).map(|()| labels.pairs().len())
    };
    assert_eq!(decode(RemoteWrite1Labels::LABELS_MAX), Ok(RemoteWrite1Labels::LABELS_MAX));
    assert!(decode(RemoteWrite1Labels::LABELS_MAX + 1).is_err());
}
