//! The write face: status codes and texts as Prometheus' receiver gives them.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use promontory_model::append::{RefusalReason, Refusals};
use promontory_model::{LabelsBuilder, STALE_NAN_BITS};
use promontory_wire::remote_write_1::WriteRequestEncoder;
use promontory_wire::{protobuf, snappy};

use super::*;
use crate::face::WriteRefusal;

fn request(body: impl Into<Body>) -> Request<Body> {
    Request::post("/api/v1/write")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body.into())
        .unwrap()
}

/// One series with the given values at 1, 2, ... milliseconds.
fn body(values: &[f64]) -> Vec<u8> {
    let samples = values.iter().enumerate().map(|(i, value)| (i as i64 + 1, *value));
    WriteRequestEncoder::new().series([("__name__", "up"), ("job", "x")], samples).body()
}

fn refused(faces: &Faces) -> Vec<(WriteRefusal, u64)> {
    faces.counters.write_refusals().into_iter().filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn a_request_reaches_the_door_and_is_204() {
    let faces = Faces::new();
    let stale = f64::from_bits(STALE_NAN_BITS);
    faces.send(request(body(&[1.5, stale]))).await.is(204, "");
    let taken = faces.append.taken.lock().unwrap();
    let (tenant, batch) = &taken[0];
    assert_eq!((tenant.as_str(), batch.samples.floats.ts()), ("anonymous", &[1, 2][..]));
    let bits: Vec<u64> = batch.samples.floats.values().iter().map(|value| value.to_bits()).collect();
    assert_eq!(bits, [1.5_f64.to_bits(), STALE_NAN_BITS]);
    let mut labels = LabelsBuilder::default();
    batch.codec.decode(&batch.body[batch.series[0].labels.clone()], &mut labels).unwrap();
    assert_eq!(labels.build().to_string(), r#"up{job="x"}"#);
    assert_eq!(faces.counters.write_samples.load(Relaxed), 2);
    assert_eq!(faces.counters.write_series.load(Relaxed), 1);
    assert_eq!(faces.counters.write_body_bytes.load(Relaxed), body(&[1.5, stale]).len() as u64);
    assert_eq!(faces.counters.write_bytes_in_flight.load(Relaxed), 0);
}

#[tokio::test]
async fn the_tenant_of_a_write_is_the_header_s_where_tenancy_is_on() {
    let faces = Faces::with(|config| config.multitenancy = true);
    let mut named = request(body(&[1.0]));
    named.headers_mut().insert("x-scope-orgid", "team-a".parse().unwrap());
    faces.send(named).await.is(204, "");
    assert_eq!(faces.append.taken.lock().unwrap()[0].0, "team-a");
    faces.send(request(body(&[1.0]))).await.is(401, "no org id\n");
}

#[tokio::test]
async fn a_write_has_one_tenant_also_where_questions_may_have_several() {
    let send = async |federation, names: &str| {
        let faces = Faces::with(|config| (config.multitenancy, config.federation) = (true, federation));
        let mut named = request(body(&[1.0]));
        named.headers_mut().insert("x-scope-orgid", names.parse().unwrap());
        let reply = faces.send(named).await;
        let taken = faces.append.taken.lock().unwrap().iter().map(|(tenant, _)| tenant.clone()).collect();
        (reply, taken)
    };
    for federation in [false, true] {
        let (reply, taken): (Reply, Vec<String>) = send(federation, "a|a").await;
        reply.is(204, "");
        assert_eq!(taken, ["a"]);
    }
    let (reply, taken): (Reply, Vec<String>) = send(true, "a|b").await;
    reply.is(422, "multiple org IDs present\n");
    assert_eq!(taken, [""; 0]);
    let (reply, _): (Reply, Vec<String>) = send(false, "a|b").await;
    reply.is(422, "too many tenant IDs present in the request. max: 1 actual: 2\n");
}

#[tokio::test]
async fn content_types_and_encodings_are_those_of_prometheus() {
    let faces = Faces::new();
    let send = async |content_type: Option<&str>, encoding: Option<&str>| {
        let mut request = Request::post("/api/v1/write");
        if let Some(value) = content_type {
            request = request.header("content-type", value);
        }
        if let Some(value) = encoding {
            request = request.header("content-encoding", value);
        }
        faces.send(request.body(Body::from(body(&[1.0]))).unwrap()).await
    };
    for (content_type, encoding) in [
        (None, None),
        (Some("application/x-protobuf"), None),
        (Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some("snappy")),
        (Some("application/x-protobuf; proto=prometheus.WriteRequest"), Some("Snappy")),
        (Some("application/x-protobuf;charset=x"), Some("snappy")),
    ] {
        send(content_type, encoding).await.is(204, "");
    }
    for (content_type, encoding, text) in [
        (
            "application/json",
            "snappy",
            "expected application/x-protobuf as the first (media) part, got application/json content-type\n",
        ),
        (
            "text/plain",
            "snappy",
            "expected application/x-protobuf as the first (media) part, got text/plain content-type\n",
        ),
        (
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "snappy",
            "io.prometheus.write.v2.Request protobuf message is not accepted by this server; only accepts prometheus.WriteRequest\n",
        ),
        (
            "application/x-protobuf;proto=foo",
            "snappy",
            "got application/x-protobuf;proto=foo content type; unknown type for remote write protobuf message foo, supported: prometheus.WriteRequest\n",
        ),
        (
            "application/x-protobuf;proto",
            "snappy",
            "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got proto in application/x-protobuf;proto content-type\n",
        ),
        (
            "application/x-protobuf",
            "gzip",
            "gzip encoding (compression) is not accepted by this server; only snappy is acceptable\n",
        ),
        (
            "application/x-protobuf",
            "zstd",
            "zstd encoding (compression) is not accepted by this server; only snappy is acceptable\n",
        ),
    ] {
        send(Some(content_type), Some(encoding)).await.is(415, text);
    }
    assert_eq!(refused(&faces), [(WriteRefusal::ContentType, 5), (WriteRefusal::ContentEncoding, 2)]);
}

#[tokio::test]
async fn malformed_bodies_are_400() {
    let faces = Faces::new();
    let good = body(&[1.0, 2.0]);
    let malformed = [
        Vec::new(),
        b"not snappy".to_vec(),
        good[..good.len() - 1].to_vec(),
        vec![0xff, 0xff, 0xff, 0x0f],
        snappy::compress(b"not protobuf"),
        snappy::compress(&[0x0a, 0x05, 0x0a]),
    ];
    for (i, body) in malformed.into_iter().enumerate() {
        let reply = faces.send(request(body)).await;
        assert_eq!(reply.status, 400, "{i}: {}", reply.text());
        assert!(reply.text().starts_with("cannot de"), "{i}: {}", reply.text());
    }
    assert_eq!(refused(&faces), [(WriteRefusal::Malformed, 6)]);
    assert!(faces.append.taken.lock().unwrap().is_empty());
    assert_eq!(faces.counters.write_bytes_in_flight.load(Relaxed), 0);
}

#[tokio::test]
async fn requests_that_are_too_large_are_413_and_name_the_limit() {
    let faces = Faces::with(|config| {
        config.limits.body_bytes_max = 200;
        config.limits.decoded_bytes_max = 1_000;
        config.limits.series_per_request_max = 3;
        config.limits.samples_per_request_max = 4;
    });
    let series = |n: usize| {
        let mut encoder = WriteRequestEncoder::new();
        for _ in 0..n {
            encoder.series([("a", "b")], [(1, 1.0)]);
        }
        encoder.body()
    };
    faces.send(request(series(3))).await.is(204, "");
    let text = "request has 4 series, at most 3 are accepted (limit --limits.series-per-request)\n";
    faces.send(request(series(4))).await.is(413, text);
    let text = "request has 5 samples, at most 4 are accepted (limit --limits.samples-per-request)\n";
    faces.send(request(body(&[1.0; 5]))).await.is(413, text);
    let text =
        "request has 1001 decompressed bytes, at most 1000 are accepted (limit --limits.write-decoded)\n";
    faces.send(request(snappy::compress(&[0; 1_001]))).await.is(413, text);
    let text = "request body has 201 bytes or more, at most 200 are accepted (limit --limits.write-body)\n";
    faces.send(request(vec![0; 201])).await.is(413, text);
    let mut announced = request(Body::empty());
    announced.headers_mut().insert("content-length", "5000".parse().unwrap());
    let text = "request body has 5000 bytes or more, at most 200 are accepted (limit --limits.write-body)\n";
    faces.send(announced).await.is(413, text);
    assert_eq!(refused(&faces), [(WriteRefusal::BodyTooLarge, 2), (WriteRefusal::RequestTooLarge, 3)]);
}

#[tokio::test]
async fn answers_of_the_door_become_codes_that_senders_understand() {
    let faces = Faces::new();
    for (error, status, retry_after) in [
        (AppendError::Invalid("why".into()), 400, ""),
        (AppendError::Limited("why".into()), 429, "1"),
        (AppendError::Unavailable("why".into()), 503, "1"),
    ] {
        *faces.append.answer.lock().unwrap() = Some(Err(error));
        let reply = faces.send(request(body(&[1.0]))).await;
        reply.is(status, "why\n");
        assert_eq!(reply.header("retry-after"), retry_after);
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
    let expected = [(WriteRefusal::Invalid, 1), (WriteRefusal::Limited, 1), (WriteRefusal::Unavailable, 1)];
    assert_eq!(refused(&faces), expected);
}

#[tokio::test]
async fn what_was_refused_is_listed_while_the_rest_is_stored() {
    let faces = Faces::new();
    let mut refused = Refusals::default();
    refused.add(1, 2, RefusalReason::TooManyLabels, || "series x has 61 labels, at most 60".to_owned());
    refused.add(0, 1, RefusalReason::TooFarInFuture, || "up at 99".to_owned());
    *faces.append.answer.lock().unwrap() = Some(Ok(Appended { samples: 7, position: None, refused }));
    faces.send(request(body(&[1.0; 10]))).await.is(
        400,
        "refused 3 of 10 samples, among them 1 whole series; 7 samples are stored\n\
         too_many_labels: series x has 61 labels, at most 60\n\
         too_far_in_future: up at 99\n",
    );
    assert_eq!(faces.counters.write_samples.load(Relaxed), 7);
    assert_eq!(faces.counters.write_samples_refused.load(Relaxed), 3);
    assert_eq!(faces.counters.write_series_refused.load(Relaxed), 1);
}

#[tokio::test]
async fn native_histograms_are_refused_and_said_while_floats_are_stored() {
    let faces = Faces::new();
    let mut message = WriteRequestEncoder::new().series([("a", "b")], [(1, 1.0)]).message().to_vec();
    let mut series = protobuf::FieldWriter::default();
    series.bytes(1, b"").bytes(4, b"").bytes(4, b"");
    let mut histograms = protobuf::FieldWriter::default();
    histograms.bytes(1, series.as_bytes());
    message.extend_from_slice(histograms.as_bytes());
    let text = "refused 2 native histograms: they are not stored yet\n";
    faces.send(request(snappy::compress(&message))).await.is(400, text);
    assert_eq!(faces.append.taken.lock().unwrap()[0].1.series.len(), 1);
    faces.send(request(snappy::compress(histograms.as_bytes()))).await.is(400, text);
    assert_eq!(faces.append.taken.lock().unwrap().len(), 1);
    assert_eq!(faces.counters.write_histograms_refused.load(Relaxed), 4);
}

#[tokio::test]
async fn requests_with_nothing_to_store_are_204_and_counted() {
    let faces = Faces::new();
    let metadata = WriteRequestEncoder::new().metadata(1, "up", "help", "").metadata(2, "b", "", "s").body();
    faces.send(request(metadata)).await.is(204, "");
    faces.send(request(WriteRequestEncoder::new().series([("a", "b")], []).body())).await.is(204, "");
    faces.send(request(WriteRequestEncoder::new().body())).await.is(204, "");
    assert!(faces.append.taken.lock().unwrap().is_empty());
    assert_eq!(faces.counters.write_metadata_refused.load(Relaxed), 2);
    assert_eq!(faces.counters.write_series_empty.load(Relaxed), 1);
}

#[tokio::test]
async fn requests_beyond_the_bytes_in_flight_are_put_off_and_later_taken() {
    let one = body(&[1.0]);
    let decoded = snappy::declared_len(&one, 1 << 20).unwrap();
    let faces = Faces::with(|config| config.write_bytes_in_flight_max = one.len() + decoded);
    let gate = faces.append.gate.lock().await;
    let held = faces.router.clone().oneshot(request(one.clone()));
    let held = tokio::spawn(held);
    while faces.counters.write_bytes_in_flight.load(Relaxed) < (one.len() + decoded) as u64 {
        tokio::task::yield_now().await;
    }
    let reply = faces.send(request(one.clone())).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"));
    assert!(reply.text().contains("(limit --limits.write-in-flight)"), "{}", reply.text());
    drop(gate);
    assert_eq!(held.await.unwrap().unwrap().status(), 204);
    faces.send(request(one)).await.is(204, "");
    assert_eq!(refused(&faces), [(WriteRefusal::BytesInFlight, 1)]);
    assert_eq!(faces.counters.write_bytes_in_flight.load(Relaxed), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    struct Never;
    impl futures_core::Stream for Never {
        type Item = Result<bytes::Bytes, std::io::Error>;

        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Pending
        }
    }
    let faces = Faces::with(|config| config.body_read_timeout = Duration::from_millis(50));
    let reply = faces.send(request(Body::from_stream(Never))).await;
    let late = "0 bytes of it came in time; after 30 s at least 65536 bytes must come each second, and all \
                within 50ms (limit --web.read-timeout)";
    reply.is(408, &format!("the request body is late: {late}\n"));
    let form = Request::post("/api/v1/query").header("content-type", "application/x-www-form-urlencoded");
    let reply = faces.send(form.body(Body::from_stream(Never)).unwrap()).await;
    let text = format!("error parsing form values: the body is late: {late}");
    reply.is_error(408, "bad_data", &text);
}

/// A body of parts that come one a second.
struct EachSecond {
    seconds: tokio::time::Interval,
    parts: std::vec::IntoIter<Vec<u8>>,
}

impl futures_core::Stream for EachSecond {
    type Item = Result<bytes::Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::ready!(self.seconds.poll_tick(context));
        std::task::Poll::Ready(self.parts.next().map(|part| Ok(part.into())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_waited_for_and_a_trickle_is_not() {
    let send = async |part_bytes: usize, n: usize| {
        let faces = Faces::new();
        let begun = tokio::time::Instant::now();
        let seconds = tokio::time::interval(Duration::from_secs(1));
        let body = EachSecond { seconds, parts: vec![vec![0; part_bytes]; n].into_iter() };
        let reply = faces.send(request(Body::from_stream(body))).await;
        (reply.status.as_u16(), begun.elapsed().as_secs())
    };
    // Read whole, and then no snappy block.
    assert_eq!(send(70_000, 200).await, (400, 200));
    assert_eq!(send(1_000, 200).await, (408, 30));
    // Half of what is needed each second: 30 s and as much again, with what came meanwhile.
    assert_eq!(send(32 << 10, 200).await, (408, 60));
    assert_eq!(send(40_000, 400).await.0, 408);
}

#[tokio::test]
async fn a_large_request_is_decoded_beside_the_handlers() {
    let faces = Faces::new();
    let mut encoder = WriteRequestEncoder::new();
    for i in 0..20_000 {
        encoder.series([("__name__", "m"), ("i", &i.to_string())], [(i, i as f64)]);
    }
    assert!(encoder.message().len() > super::super::write::DECODE_INLINE_BYTES_MAX);
    faces.send(request(encoder.body())).await.is(204, "");
    assert_eq!(faces.append.taken.lock().unwrap()[0].1.series.len(), 20_000);
}
