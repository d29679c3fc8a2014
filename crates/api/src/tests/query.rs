//! The query faces: parameters, result shapes, error types and codes.

use promontory_model::histogram::{BucketSpan, Buckets, CounterResetHint, Flavour, Histogram, Layout, Parts};

use std::pin::Pin;

use futures_core::Stream as _;

use super::*;

const NAN: f64 = f64::NAN;

#[tokio::test]
async fn a_vector_is_written_as_prometheus_writes_it() {
    let faces = Faces::new();
    faces.will_answer(Value::Vector(vec![
        sample(&[("__name__", "up"), ("job", "a<b>&\"c\"")], 1_435_781_451_781, 1.0),
        sample(&[("Foo", "x"), ("__name__", "up"), ("zone", "é")], 1_435_781_451_780, NAN),
        sample(&[], 1_435_781_451_000, 1e21),
    ]));
    let reply = faces.get("/api/v1/query?query=up").await;
    reply.is(
        200,
        concat!(
            r#"{"status":"success","data":{"resultType":"vector","result":["#,
            r#"{"metric":{"__name__":"up","job":"a\u003cb\u003e\u0026\"c\""},"value":[1435781451.781,"1"]},"#,
            r#"{"metric":{"Foo":"x","__name__":"up","zone":"é"},"value":[1435781451.780,"NaN"]},"#,
            r#"{"metric":{},"value":[1435781451,"1e+21"]}]}}"#
        ),
    );
    assert_eq!(reply.header("content-type"), "application/json");
}

#[tokio::test]
async fn results_of_every_type_have_their_shape() {
    let faces = Faces::new();
    let cases = [
        (Value::Vector(vec![]), r#"{"resultType":"vector","result":[]}"#),
        (Value::Matrix(vec![]), r#"{"resultType":"matrix","result":[]}"#),
        (
            Value::Matrix(vec![
                one_series(&[("a", "1")], &[(0, 1.5), (500, f64::INFINITY)]),
                one_series(&[], &[(-1, -0.0)]),
            ]),
            concat!(
                r#"{"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[0,"1.5"],[0.500,"+Inf"]]},"#,
                r#"{"metric":{},"values":[[-0.001,"-0"]]}]}"#
            ),
        ),
        (
            Value::Scalar { ts: 1_435_781_451_780, value: 1e21 },
            r#"{"resultType":"scalar","result":[1435781451.78,"1000000000000000000000"]}"#,
        ),
        (
            Value::String { ts: 4_000, text: "a<b".to_owned() },
            r#"{"resultType":"string","result":[4,"a\u003cb"]}"#,
        ),
    ];
    for (value, data) in cases {
        faces.will_answer(value);
        let expected = format!(r#"{{"status":"success","data":{data}}}"#);
        faces.get("/api/v1/query?query=x").await.is(200, &expected);
    }
}

/// Source: prometheus v3.16 `util/jsonutil/marshal.go`, the example of `MarshalHistogram`.
#[tokio::test]
async fn native_histograms_are_written_beside_floats() {
    let faces = Faces::new();
    let buckets = concat!(
        r#"{"count":"42","sum":"34593.34","buckets":[[1,"-0.5","-0.25","2"],[3,"-0.25","0.25","3"],"#,
        r#"[0,"0.25","0.5","12"],[0,"2","4","6"]]}"#
    );
    let value = SampleValue::Histogram(Arc::new(histogram()));
    faces.will_answer(Value::Vector(vec![Sample { labels: labels(&[("a", "1")]), ts: 500, value }]));
    let vector = format!(r#"{{"metric":{{"a":"1"}},"histogram":[0.500,{buckets}]}}"#);
    let expected = |kind: &str, result: &str| {
        format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":[{result}]}}}}"#)
    };
    faces.get("/api/v1/query?query=x").await.is(200, &expected("vector", &vector));

    let mut mixed = one_series(&[], &[(0, 1.0)]);
    mixed.samples.push(1_000, SampleValue::Histogram(Arc::new(histogram())));
    let mut only = Series { labels: labels(&[("b", "2")]), samples: Samples::default() };
    only.samples.push(2_000, SampleValue::Histogram(Arc::new(histogram())));
    faces.will_answer(Value::Matrix(vec![mixed, only]));
    let matrix = format!(
        r#"{{"metric":{{}},"values":[[0,"1"]],"histograms":[[1,{buckets}]]}},{{"metric":{{"b":"2"}},"histograms":[[2,{buckets}]]}}"#
    );
    faces.get("/api/v1/query?query=x").await.is(200, &expected("matrix", &matrix));
}

fn histogram() -> Histogram {
    let span = |offset, length| BucketSpan { offset, length };
    Histogram::new(Parts {
        flavour: Flavour::Float,
        reset_hint: CounterResetHint::Unknown,
        layout: Layout::Exponential { schema: 0, zero_threshold: 0.25 },
        count: 42.0,
        sum: 34_593.34,
        zero_count: 3.0,
        positive: Buckets { spans: vec![span(-1, 2), span(1, 1)], counts: vec![12.0, 0.0, 6.0] },
        negative: Buckets { spans: vec![span(-1, 1)], counts: vec![2.0] },
    })
    .unwrap()
}

#[tokio::test]
async fn a_result_of_many_parts_is_whole() {
    let faces = Faces::new();
    let series: Vec<Series> = (0..40)
        .map(|i| {
            let points: Vec<(i64, f64)> = (0..700).map(|p| (p * 15_000, p as f64 / 7.0)).collect();
            one_series(&[("__name__", "m"), ("i", &i.to_string())], &points)
        })
        .collect();
    faces.will_answer(Value::Matrix(series.clone()));
    let reply = faces.get("/api/v1/query_range?query=m&start=0&end=10485&step=15&stats=all").await;
    assert!(reply.bytes.len() > 4 * (64 << 10), "{} bytes are not many parts", reply.bytes.len());
    let json: serde_json::Value = serde_json::from_slice(&reply.bytes).unwrap();
    let result = json["data"]["result"].as_array().unwrap();
    assert_eq!(result.len(), series.len());
    for (got, expected) in result.iter().zip(&series) {
        assert_eq!(got["metric"]["i"], &*expected.labels.get("i").unwrap());
        let values = got["values"].as_array().unwrap();
        assert_eq!(values.len(), expected.samples.len());
        for (got, (ts, value)) in values.iter().zip(expected.samples.floats.iter()) {
            assert_eq!(got[0].as_f64().unwrap(), ts as f64 / 1_000.0);
            assert_eq!(got[1].as_str().unwrap().parse::<f64>().unwrap(), value);
        }
    }
    assert!(json["data"]["stats"].is_object());
}

#[tokio::test]
async fn parameters_reach_the_engine() {
    let faces = Faces::new();
    for (uri, asked) in [
        ("query?query=up&time=4", "anonymous: up @ 4000"),
        ("query?query=up", "anonymous: up @ 1795395723456"),
        ("query?query=up&time=", "anonymous: up @ 1795395723456"),
        ("query?query=", "anonymous:  @ 1795395723456"),
        ("query?query=sum%28up%29+%2B+1&time=1970-01-01T00:00:01.5Z", "anonymous: sum(up) + 1 @ 1500"),
        ("query?query=up&time=1&timeout=5m", "anonymous: up @ 1000 timeout 300s"),
        (
            "query?query=up&time=1&timeout=0.5&lookback_delta=1m",
            "anonymous: up @ 1000 lookback 60s timeout 500ms",
        ),
        ("query?query=up&time=1&lookback_delta=0", "anonymous: up @ 1000"),
        ("query?query=a&query=b&time=1", "anonymous: a @ 1000"),
        ("query?query=a&time=-292273086-05-16T16:47:06Z", "anonymous: a @ -9223309901257974000"),
        ("query_range?query=up&start=0&end=60&step=15", "anonymous: up @ 0..60000/15000"),
        ("query_range?query=up&start=0&end=0&step=1m", "anonymous: up @ 0..0/60000"),
        ("query_range?query=up&start=1.5&end=60.0005&step=0.25", "anonymous: up @ 1500..60001/250"),
        (
            "query_range?query=up&start=0&end=11000&step=1&lookback_delta=30s",
            "anonymous: up @ 0..11000000/1000 lookback 30s",
        ),
    ] {
        assert_eq!(faces.get(&format!("/api/v1/{uri}")).await.status, 200, "{uri}");
        assert_eq!(faces.asked(), [asked], "{uri}");
    }
}

#[tokio::test]
async fn a_form_counts_before_the_url() {
    let faces = Faces::new();
    faces.post_form("/api/v1/query?query=url&time=1", "query=form%20%7b%7d").await;
    faces.post_form("/api/v1/query_range?step=60", "query=m&start=0&end=120").await;
    let request = Request::post("/api/v1/query?query=url&time=1").header("content-type", "application/json");
    faces.send(request.body(Body::from("query=body")).unwrap()).await;
    let charset = "application/x-www-form-urlencoded; charset=UTF-8";
    let request = Request::post("/api/v1/query?time=1").header("content-type", charset);
    faces.send(request.body(Body::from("query=body")).unwrap()).await;
    let expected = [
        "anonymous: form {} @ 1000",
        "anonymous: m @ 0..120000/60000",
        "anonymous: url @ 1000",
        "anonymous: body @ 1000",
    ];
    assert_eq!(faces.asked(), expected);
}

#[tokio::test]
async fn wrong_parameters_are_refused_with_prometheus_texts() {
    let faces = Faces::new();
    let time = |name: &str| format!("invalid parameter \"{name}\": cannot parse \"\" to a valid timestamp");
    let cases = [
        ("query?query=up&time=foo", "invalid parameter \"time\": invalid time value for 'time': cannot parse \"foo\" to a valid timestamp".to_owned()),
        ("query?query=up&timeout=x", "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration".to_owned()),
        ("query?query=up&limit=x", "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax".to_owned()),
        ("query?query=up&limit=-1", "invalid parameter \"limit\": limit must be non-negative".to_owned()),
        ("query?query=up&lookback_delta=x", "error parsing lookback delta duration: cannot parse \"x\" to a valid duration".to_owned()),
        ("query_range?query=up&end=1&step=1", time("start")),
        ("query_range?query=up&start=1&step=1", time("end")),
        ("query_range?query=up&start=0&end=1", "invalid parameter \"step\": cannot parse \"\" to a valid duration".to_owned()),
        ("query_range?query=up&start=2&end=1&step=1", "invalid parameter \"end\": end timestamp must not be before start time".to_owned()),
        ("query_range?query=up&start=0&end=1&step=0", "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned()),
        ("query_range?query=up&start=0&end=1&step=-5", "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer".to_owned()),
        ("query_range?query=up&start=0&end=0&step=0.0001", "invalid parameter \"step\": query resolution step widths below 1ms are not accepted".to_owned()),
        ("query_range?query=up&start=0&end=11001&step=1", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)".to_owned()),
        ("query_range?query=up&start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z&step=1", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)".to_owned()),
        ("query_range?query=up&start=0&end=1&step=148966367200.372", "invalid parameter \"step\": cannot parse \"148966367200.372\" to a valid duration. It overflows int64".to_owned()),
        ("query?query=%ff", "error parsing form values: not UTF-8: \\xff".to_owned()),
        ("format_query?query=sum(", "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis".to_owned()),
        ("query_exemplars?query=up&start=2&end=1", "end timestamp must not be before start timestamp".to_owned()),
    ];
    for (uri, text) in cases {
        faces.get(&format!("/api/v1/{uri}")).await.is_error(400, "bad_data", &text);
        let (path, form) = uri.split_once('?').unwrap();
        faces.post_form(&format!("/api/v1/{path}"), form).await.is_error(400, "bad_data", &text);
    }
    assert_eq!(faces.asked(), [""; 0]);
}

#[tokio::test]
async fn a_timeout_must_be_longer_than_nothing() {
    let faces = Faces::new();
    for (timeout, shown) in [("0", "0s"), ("-5", "-5s"), ("-1e-4", "-100µs")] {
        let reply = faces.get(&format!("/api/v1/query?query=up&timeout={timeout}")).await;
        let text = format!("invalid parameter \"timeout\": timeout must be positive, got {shown}");
        reply.is_error(400, "bad_data", &text);
    }
}

#[tokio::test]
async fn texts_and_forms_that_are_too_long_are_refused() {
    let faces = Faces::with(|config| {
        config.query_text_bytes_max = 10;
        config.form_bytes_max = 50;
    });
    assert_eq!(faces.get("/api/v1/query?query=0123456789").await.status, 200);
    let text = "invalid parameter \"query\": the query has 11 bytes, at most 10 are accepted (limit --query.max-length)";
    faces.get("/api/v1/query?query=01234567890").await.is_error(400, "bad_data", text);
    faces
        .post_form("/api/v1/query_range", "query=01234567890&start=0&end=1&step=1")
        .await
        .is_error(400, "bad_data", text);
    let text = "error parsing form values: the form is larger than 50 bytes (form_bytes_max)";
    faces.post_form("/api/v1/query", &"x".repeat(51)).await.is_error(413, "bad_data", text);
}

#[tokio::test]
async fn errors_of_the_engine_have_their_codes() {
    let faces = Faces::new();
    for (error, status, kind, text) in [
        (
            EngineError::Invalid("1:1: parse error: x".into()),
            400,
            "bad_data",
            "invalid parameter \"query\": 1:1: parse error: x",
        ),
        (EngineError::Unanswerable("a <b>".into()), 422, "execution", "a <b>"),
        (EngineError::Limited("l".into()), 422, "execution", "l"),
        (EngineError::TimedOut("t".into()), 503, "timeout", "t"),
        (EngineError::Cancelled("c".into()), 499, "canceled", "c"),
        (EngineError::Corrupt("d".into()), 500, "internal", "d"),
        (EngineError::Bug("i".into()), 500, "internal", "i"),
        (EngineError::Unavailable("u".into()), 503, "unavailable", "u"),
    ] {
        *faces.engine.answer.lock().unwrap() = Err(error);
        for uri in ["/api/v1/query?query=up", "/api/v1/query_range?query=up&start=0&end=1&step=1"] {
            let reply = faces.get(uri).await;
            reply.is_error(status, kind, text);
            assert_eq!(reply.header("retry-after"), if kind == "unavailable" { "1" } else { "" });
        }
    }
}

#[tokio::test]
async fn a_limit_cuts_and_warns() {
    let faces = Faces::new();
    let three = || (0..3).map(|i| sample(&[("i", &i.to_string())], 0, 0.0)).collect();
    let warning = r#","warnings":["results truncated due to limit"]}"#;
    for (limit, len, warned) in [("0", 3, false), ("3", 3, false), ("2", 2, true), ("1", 1, true)] {
        faces.will_answer(Value::Vector(three()));
        let reply = faces.get(&format!("/api/v1/query?query=up&limit={limit}")).await;
        let json: serde_json::Value = serde_json::from_slice(&reply.bytes).unwrap();
        assert_eq!(json["data"]["result"].as_array().unwrap().len(), len, "{limit}");
        assert_eq!(reply.text().ends_with(warning), warned, "{limit}");
    }
    faces.will_answer(Value::Matrix(vec![
        one_series(&[], &[(0, 1.0)]),
        one_series(&[("a", "b")], &[(0, 1.0)]),
    ]));
    let reply = faces.get("/api/v1/query_range?query=up&start=0&end=1&step=1&limit=1").await;
    assert!(
        reply.text().ends_with(&format!(r#""result":[{{"metric":{{}},"values":[[0,"1"]]}}]}}{warning}"#))
    );
    faces.will_answer(Value::Scalar { ts: 0, value: 1.0 });
    faces
        .get("/api/v1/query?query=1&limit=1")
        .await
        .is(200, r#"{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}"#);
}

#[tokio::test]
async fn annotations_are_shown_up_to_ten_of_a_kind() {
    let faces = Faces::new();
    let texts = |kind: &str, n: usize| (0..n).map(|i| format!("{kind} {i} (1:1)")).collect::<Vec<_>>();
    let mut with = answer(Value::Vector(vec![]));
    with.annotations =
        Annotations { warnings: texts("PromQL warning: w", 12), infos: texts("PromQL info: i", 10) };
    *faces.engine.answer.lock().unwrap() = Ok(with);
    let reply = faces.get("/api/v1/query?query=up").await;
    let json: serde_json::Value = serde_json::from_slice(&reply.bytes).unwrap();
    let warnings = json["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[10]), (11, &"2 more warning annotations omitted".into()));
    assert_eq!(json["infos"].as_array().unwrap().len(), 10);
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 4);
    assert!(reply.text().find("warnings") < reply.text().find("infos"));
}

#[tokio::test]
async fn statistics_are_shown_when_asked_for() {
    let faces = Faces::new();
    let mut with = answer(Value::Vector(vec![]));
    with.statistics = Statistics {
        total_queryable_samples: 7,
        peak_samples: 5,
        samples_read: 6,
        series_touched: 3,
        exec_queue_seconds: 0.25,
        query_preparation_seconds: 0.5,
        inner_eval_seconds: 1.0,
        result_sort_seconds: 0.0000001,
        exec_total_seconds: 2.0,
    };
    *faces.engine.answer.lock().unwrap() = Ok(with);
    let stats = concat!(
        r#"{"timings":{"evalTotalTime":1.5000001,"resultSortTime":0.0000001,"queryPreparationTime":0.5,"#,
        r#""innerEvalTime":1,"execQueueTime":0.25,"execTotalTime":2},"#,
        r#""samples":{"totalQueryableSamples":7,"samplesRead":6,"seriesTouched":3,"peakSamples":5}}"#
    );
    for value in ["true", "all"] {
        let expected =
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[],"stats":{stats}}}}}"#);
        faces.get(&format!("/api/v1/query?query=up&stats={value}")).await.is(200, &expected);
    }
    let expected = format!(
        "{}{}",
        format_args!(r#"{{"status":"success","data":{{"resultType":"vector","result":[],"stats":{stats}}},"#),
        r#""warnings":["value \"1\" for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\""]}"#
    );
    faces.get("/api/v1/query?query=up&stats=1").await.is(200, &expected);
}

#[tokio::test]
async fn queries_are_formatted_as_prometheus_does() {
    let faces = Faces::new();
    faces
        .get("/api/v1/format_query?query=foo/bar")
        .await
        .is(200, r#"{"status":"success","data":"foo / bar"}"#);
    let reply = faces.post_form("/api/v1/format_query", "query=sum+by(a)(x%7Bb%3D%22%3C%22%7D)").await;
    reply.is(200, r#"{"status":"success","data":"sum by (a) (x{b=\"\u003c\"})"}"#);
}

#[tokio::test]
async fn exemplars_are_shown_as_prometheus_does() {
    let faces = Faces::new();
    let uri = "/api/v1/query_exemplars?query=rate(up[5m])&start=0&end=1";
    faces.get(uri).await.is(204, "");
    assert_eq!(faces.asked(), ["anonymous: exemplars of rate(up[5m]) 0..1000"]);
    let will_answer = |series| {
        *faces.engine.exemplars.lock().unwrap() = ExemplarAnswer { selects: true, series };
    };
    will_answer(Vec::new());
    faces.get(uri).await.is(200, r#"{"status":"success","data":[]}"#);
    let exemplar = |trace: &str, value, ts| Exemplar { labels: labels(&[("trace_id", trace)]), value, ts };
    will_answer(vec![
        SeriesExemplars {
            labels: labels(&[("__name__", "up"), ("job", "x")]),
            exemplars: vec![
                exemplar("a", 6.0, Some(1_600_096_945_479)),
                exemplar("b", f64::NAN, Some(2_000)),
            ],
        },
        SeriesExemplars { labels: labels(&[]), exemplars: vec![exemplar("<", 1e21, Some(-1))] },
    ]);
    let first = concat!(
        r#"{"seriesLabels":{"__name__":"up","job":"x"},"exemplars":["#,
        r#"{"labels":{"trace_id":"a"},"value":"6","timestamp":1600096945.479},"#,
        r#"{"labels":{"trace_id":"b"},"value":"NaN","timestamp":2}]}"#
    );
    let second = r#"{"seriesLabels":{},"exemplars":[{"labels":{"trace_id":"\u003c"},"value":"1e+21","timestamp":-0.001}]}"#;
    faces.get(uri).await.is(200, &format!(r#"{{"status":"success","data":[{first},{second}]}}"#));

    let text = "unknown position: parse error: no expression found in input";
    *faces.engine.answer.lock().unwrap() = Err(EngineError::Invalid(text.into()));
    faces.get("/api/v1/query_exemplars?query=").await.is_error(400, "bad_data", text);
}

#[tokio::test]
async fn a_request_that_goes_away_drops_its_query_and_is_counted() {
    let faces = Faces::new();
    let pending = faces.get("/api/v1/query?query=pending");
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), pending).await.is_err());
    assert_eq!(faces.asked().len(), 1);
    assert_eq!(faces.counters.requests(), [("/api/v1/query", 499, 1)]);
}

#[tokio::test]
async fn grafana_is_content() {
    let faces = Faces::new();
    faces.will_answer(Value::Scalar { ts: 4_000, value: 2.0 });
    let reply = faces.post_form("/api/v1/query", "query=1%2B1&time=4").await;
    reply.is(200, r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#);
    let reply = faces.get("/api/v1/status/buildinfo").await;
    let json: serde_json::Value = serde_json::from_slice(&reply.bytes).unwrap();
    assert_eq!(
        (&json["data"]["version"], &json["data"]["features"]),
        (&"3.16.0".into(), &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn what_the_engine_keeps_for_an_answer_is_free_when_the_answer_was_read() {
    let faces = Faces::new();
    let kept = || Arc::strong_count(&faces.engine.place) - 1;
    let many = || (0..20_000).map(|i| sample(&[("i", &i.to_string())], 0, 0.0)).collect();
    let names: Vec<String> = (0..20_000).map(|i| format!("name_{i}")).collect();
    *faces.engine.strings.lock().unwrap() = listing(names);
    for uri in ["/api/v1/query?query=up", "/api/v1/labels"] {
        faces.will_answer(Value::Vector(many()));
        let request = || Request::get(uri).body(Body::empty()).unwrap();
        let mut body = faces.router.clone().oneshot(request()).await.unwrap().into_body().into_data_stream();
        let mut next = async || std::future::poll_fn(|poll| Pin::new(&mut body).poll_next(poll)).await;
        assert_eq!(kept(), 1, "{uri}: before anything was read");
        let mut parts = 1;
        assert!(next().await.is_some());
        assert_eq!(kept(), 1, "{uri}: in the middle");
        while let Some(part) = next().await {
            assert!(part.unwrap().len() < 128 << 10, "{uri}: parts are bounded");
            parts += 1;
        }
        assert!(parts > 3, "{uri}: {parts}");
        assert_eq!(kept(), 0, "{uri}: at the end");

        let unread = faces.router.clone().oneshot(request()).await.unwrap();
        assert_eq!(kept(), 1, "{uri}");
        drop(unread);
        assert_eq!(kept(), 0, "{uri}: without a reader");
    }
    faces.will_answer(Value::Vector(Vec::new()));
    let small =
        faces.router.clone().oneshot(Request::get("/api/v1/query?query=up").body(Body::empty()).unwrap());
    let small = small.await.unwrap();
    assert_eq!(kept(), 0, "a small answer is written at once");
    drop(small);
}
