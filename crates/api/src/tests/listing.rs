//! The faces for labels, series and metadata answer as Prometheus does.

use promontory_model::MetricKind;

use super::*;

const ALL: &str = "-9223309901257974000..9223309901257974999";

#[tokio::test]
async fn parameters_reach_the_engine() {
    let faces = Faces::new();
    let cases = [
        ("labels", format!("names [] {ALL} limit 0")),
        (
            "labels?match[]=up&match[]=%7Ba%3D~%22b.%2B%22%7D&limit=5",
            format!(r#"names [[__name__="up"], [a=~"b.+"]] {ALL} limit 5"#),
        ),
        ("labels?start=1&end=2.5", "names [] 1000..2500 limit 0".to_owned()),
        ("label/job/values", format!("values of job [] {ALL} limit 0")),
        ("label/U__http_2e_status/values", format!("values of http.status [] {ALL} limit 0")),
        ("label/U__broken_/values", format!("values of U__broken_ [] {ALL} limit 0")),
        (
            "label/a%2Fb%20%C3%A9/values?match[]=up",
            format!(r#"values of a/b é [[__name__="up"]] {ALL} limit 0"#),
        ),
        (
            "series?match[]=up&start=2015-06-03T13:21:58.555Z",
            r#"series [[__name__="up"]] 1433337718555..9223309901257974999 limit 0"#.to_owned(),
        ),
        ("metadata", "metadata None".to_owned()),
        ("metadata?metric=up", "metadata Some(\"up\")".to_owned()),
        ("metadata?metric=", "metadata None".to_owned()),
    ];
    for (uri, asked) in cases {
        let reply = faces.get(&format!("/api/v1/{uri}")).await;
        assert_eq!(reply.status, 200, "{uri}: {}", reply.text());
        assert_eq!(faces.asked(), [format!("anonymous: {asked}")], "{uri}");
    }
    faces.post_form("/api/v1/series?limit=2", "match[]=a&match[]=b").await;
    faces.post_form("/api/v1/labels", "match[]=a").await;
    let expected = [
        format!(r#"anonymous: series [[__name__="a"], [__name__="b"]] {ALL} limit 2"#),
        format!(r#"anonymous: names [[__name__="a"]] {ALL} limit 0"#),
    ];
    assert_eq!(faces.asked(), expected);
}

#[tokio::test]
async fn wrong_parameters_are_refused_with_prometheus_texts() {
    let faces = Faces::new();
    let empty = "match[] must contain at least one non-empty matcher";
    for (uri, text) in [
        ("series", "no match[] parameter provided".to_owned()),
        ("series?match[]=up&x=%zz", "error parsing form values: invalid URL escape \"%zz\"".to_owned()),
        ("series?match[]=%7B%7D", format!("invalid parameter \"match[]\": {empty}")),
        ("series?match[]=%7Ba%3D~%22.*%22%7D", format!("invalid parameter \"match[]\": {empty}")),
        ("labels?match[]=up&match[]=%7Ba!%3D%22x%22%7D", empty.to_owned()),
        ("label/job/values?match[]=%7B%7D", empty.to_owned()),
        ("labels?limit=-2", "invalid parameter \"limit\": limit must be non-negative".to_owned()),
        ("labels?start=x", "invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp".to_owned()),
        ("series?match[]=up&end=x", "invalid parameter \"end\": invalid time value for 'end': cannot parse \"x\" to a valid timestamp".to_owned()),
        ("label/%ff/values", "invalid label name: not UTF-8".to_owned()),
        ("label/U__/values", "invalid label name: \"\"".to_owned()),
        ("metadata?limit=x", "limit must be a number".to_owned()),
        ("metadata?limit_per_metric=x", "limit_per_metric must be a number".to_owned()),
    ] {
        faces.get(&format!("/api/v1/{uri}")).await.is_error(400, "bad_data", &text);
    }
    let reply = faces.get("/api/v1/series?match[]=rate(up[5m])").await;
    assert!(reply.text().contains(r#"invalid parameter \"match[]\": 1:"#), "{}", reply.text());
    assert_eq!(faces.asked(), [""; 0]);
}

#[tokio::test]
async fn selectors_are_bounded_in_number_and_size() {
    let faces = Faces::with(|config| config.query_text_bytes_max = 2_000);
    let many = "match[]=a&".repeat(1_001);
    let reply = faces.post_form("/api/v1/series", &many).await;
    reply.is_error(
        400,
        "bad_data",
        "invalid parameter \"match[]\": 1001 selectors, at most 1000 are accepted",
    );
    let long = format!("match[]={}", "a".repeat(2_001));
    let reply = faces.post_form("/api/v1/labels", &long).await;
    reply.is_error(
        400,
        "bad_data",
        "the selectors have 2001 bytes, at most 2000 are accepted (limit --query.max-length)",
    );
}

#[tokio::test]
async fn listings_are_arrays_and_a_limit_warns() {
    let faces = Faces::new();
    for uri in ["labels", "label/a/values", "series?match[]=up"] {
        faces.get(&format!("/api/v1/{uri}")).await.is(200, r#"{"status":"success","data":[]}"#);
    }
    let truncated = Listing { truncated: true, ..listing(vec!["a".to_owned(), "<".to_owned()]) };
    *faces.engine.strings.lock().unwrap() = truncated;
    let expected =
        r#"{"status":"success","data":["a","\u003c"],"warnings":["results truncated due to limit"]}"#;
    faces.get("/api/v1/labels?limit=2").await.is(200, expected);
    faces.get("/api/v1/label/x/values?limit=2").await.is(200, expected);
    *faces.engine.strings.lock().unwrap() = listing(vec!["a".to_owned(), "b".to_owned()]);
    faces.get("/api/v1/labels?limit=2").await.is(200, r#"{"status":"success","data":["a","b"]}"#);
    faces
        .get("/api/v1/labels?limit=1")
        .await
        .is(200, r#"{"status":"success","data":["a"],"warnings":["results truncated due to limit"]}"#);

    let series = vec![labels(&[("__name__", "up"), ("Job", "x")]), labels(&[("a", "b")])];
    *faces.engine.labels.lock().unwrap() = listing(series);
    faces
        .get("/api/v1/series?match[]=up")
        .await
        .is(200, r#"{"status":"success","data":[{"Job":"x","__name__":"up"},{"a":"b"}]}"#);
}

#[tokio::test]
async fn metadata_is_an_object_of_lists_and_its_limits_are_those_of_prometheus() {
    let faces = Faces::new();
    faces.get("/api/v1/metadata").await.is(200, r#"{"status":"success","data":{}}"#);
    let entry = |kind| MetricMetadata { kind, help: "h\n".to_owned(), unit: String::new() };
    *faces.engine.metadata.lock().unwrap() = vec![
        ("a".to_owned(), vec![entry(MetricKind::Counter), entry(MetricKind::Gauge)]),
        ("b".to_owned(), vec![entry(MetricKind::Gauge)]),
    ];
    faces.get("/api/v1/metadata").await.is(
        200,
        concat!(
            r#"{"status":"success","data":{"a":[{"type":"counter","unit":"","help":"h\n"},"#,
            r#"{"type":"gauge","unit":"","help":"h\n"}],"b":[{"type":"gauge","unit":"","help":"h\n"}]}}"#
        ),
    );
    let counts = async |uri: &str| {
        let reply = faces.get(uri).await;
        let json: serde_json::Value = serde_json::from_slice(&reply.bytes).unwrap();
        let lens = json["data"].as_object().unwrap().values().map(|list| list.as_array().unwrap().len());
        lens.collect::<Vec<_>>()
    };
    assert_eq!(counts("/api/v1/metadata?limit=1").await, [2]);
    assert_eq!(counts("/api/v1/metadata?limit=0").await, [0; 0]);
    assert_eq!(counts("/api/v1/metadata?limit=-1").await, [2, 1]);
    assert_eq!(counts("/api/v1/metadata?limit_per_metric=1").await, [1, 1]);
    assert_eq!(counts("/api/v1/metadata?limit_per_metric=0").await, [2, 1]);
}
