//! Which routes exist, by which methods, and what surrounds their answers.

use std::io::Read as _;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::*;
use crate::routes::ROUTES;
use crate::{AllowedHosts, CorsOrigin};

/// One request below `/api/v1/` for each route that asks the engine.
const QUESTIONS: [&str; 7] = [
    "query?query=up",
    "query_range?query=up&start=0&end=1&step=1",
    "query_exemplars?query=up",
    "series?match[]=up",
    "labels",
    "label/__tenant_id__/values",
    "metadata",
];

#[tokio::test]
async fn health_and_readiness_follow_the_handle() {
    let faces = Faces::new();
    faces.get("/-/healthy").await.is(200, "Promontory is Healthy.\n");
    faces.get("/-/ready").await.is(200, "Promontory is Ready.\n");
    for (state, stopping) in [(ReadyState::NotReady, "false"), (ReadyState::Stopping, "true")] {
        faces.readiness.set(state);
        faces.get("/-/healthy").await.is(200, "Promontory is Healthy.\n");
        for uri in ["/-/ready", "/api/v1/query?query=up", "/api/v1/status/buildinfo"] {
            let reply = faces.get(uri).await;
            reply.is(503, "Service Unavailable");
            assert_eq!(reply.header("x-prometheus-stopping"), stopping);
            assert_eq!(reply.header("retry-after"), "1");
        }
        let write = Request::post("/api/v1/write").body(Body::empty()).unwrap();
        faces.send(write).await.is(503, "Service Unavailable");
    }
    faces.readiness.set(ReadyState::Ready);
    for uri in ["/-/healthy", "/-/ready"] {
        faces.send(Request::head(uri).body(Body::empty()).unwrap()).await.is(200, "");
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405() {
    let faces = Faces::new();
    for uri in
        ["/nothing", "/api/v1", "/api/v1/nothing", "/api/v2/query", "/api/v1/label/values", "/api/v1/read"]
    {
        let reply = faces.get(uri).await;
        reply.is(404, "404 page not found\n");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    }
    for (method, uri) in [
        ("DELETE", "/api/v1/series?match[]=up"),
        ("PUT", "/api/v1/query"),
        ("POST", "/api/v1/label/a/values"),
        ("POST", "/api/v1/metadata"),
        ("POST", "/api/v1/status/buildinfo"),
        ("GET", "/api/v1/write"),
        ("POST", "/-/ready"),
    ] {
        let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
        let reply = faces.send(request).await;
        reply.is(405, "Method Not Allowed\n");
        assert!(!reply.header("allow").is_empty(), "{method} {uri}");
    }
    assert_eq!(faces.asked(), [""; 0]);
}

#[tokio::test]
async fn answers_are_compressed_as_asked() {
    let faces = Faces::new();
    let many = (0..2_000).map(|i| sample(&[("i", &i.to_string())], 0, 0.0)).collect();
    faces.will_answer(Value::Vector(many));
    let plain = faces.get("/api/v1/query?query=up").await;
    assert_eq!(plain.header("content-encoding"), "");
    for encoding in ["gzip", "deflate"] {
        let request = Request::get("/api/v1/query?query=up").header("accept-encoding", encoding);
        let reply = faces.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.header("content-encoding"), encoding);
        assert!(reply.bytes.len() < plain.bytes.len() / 4);
        let mut decoded = Vec::new();
        match encoding {
            "gzip" => flate2::read::GzDecoder::new(&*reply.bytes).read_to_end(&mut decoded).unwrap(),
            _ => flate2::read::ZlibDecoder::new(&*reply.bytes).read_to_end(&mut decoded).unwrap(),
        };
        assert_eq!(decoded, plain.bytes);
    }
    let request = Request::get("/api/v1/query?query=up").header("accept-encoding", "br, identity");
    let reply = faces.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header("content-encoding"), "");
}

#[tokio::test]
async fn web_pages_of_allowed_origins_may_read() {
    let get =
        |origin: &str| Request::get("/api/v1/labels").header("origin", origin).body(Body::empty()).unwrap();
    let allowed = |reply: &Reply| reply.header("access-control-allow-origin").to_owned();
    let faces = Faces::with(|config| config.cors_origin = CorsOrigin::new(".*").unwrap());
    let reply = faces.send(get("https://a.example")).await;
    assert_eq!(allowed(&reply), "*");
    assert_eq!(reply.header("access-control-allow-methods"), "GET, POST, OPTIONS");
    assert_eq!(reply.header("access-control-allow-headers"), "Accept, Authorization, Content-Type, Origin");
    assert_eq!(reply.header("access-control-expose-headers"), "Date");
    assert_eq!(allowed(&faces.get("/api/v1/labels").await), "");

    let faces = Faces::with(|config| config.cors_origin = CorsOrigin::new("https?://a\\.example").unwrap());
    assert_eq!(allowed(&faces.send(get("https://a.example")).await), "https://a.example");
    assert_eq!(allowed(&faces.send(get("https://a.example.evil")).await), "");
    let reply = faces.send(get("https://b.example")).await;
    assert_eq!((allowed(&reply).as_str(), reply.status.as_u16()), ("", 200));
    let by_default = Faces::new().send(get("https://a.example")).await;
    assert_eq!((allowed(&by_default).as_str(), by_default.status.as_u16()), ("", 200));
    assert!(reply.headers.get_all("vary").iter().any(|value| value == "Origin"));
}

#[tokio::test]
async fn preflights_are_answered_for_every_path_of_the_api_and_allow_no_page_to_write() {
    let faces = Faces::with(|config| config.cors_origin = CorsOrigin::Any);
    let options = |uri: &str| {
        let request = Request::builder().method("OPTIONS").uri(uri).header("origin", "https://a.example");
        request.body(Body::empty()).unwrap()
    };
    for uri in ["/api/v1/query", "/api/v1/any_path", "/api/v1/status/flags"] {
        let reply = faces.send(options(uri)).await;
        reply.is(204, "");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
    let reply = faces.send(options("/api/v1/write")).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (204, ""));

    // Where no origin is named, what Prometheus answers to one that its pattern does not match.
    let reply = Faces::new().send(options("/api/v1/query")).await;
    reply.is(204, "");
    assert_eq!(reply.header("access-control-allow-methods"), "GET, POST, OPTIONS");
    assert_eq!(reply.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_loopback_process_answers_only_to_its_own_names() {
    let faces = Faces::with(|config| {
        config.allowed_hosts = AllowedHosts::loopback(&["prom.example".to_owned()]).unwrap();
        config.cors_origin = CorsOrigin::Any;
    });
    let send = async |method: &str, uri: &str, host: &str| {
        let request = Request::builder().method(method).uri(uri).header("host", host);
        faces.send(request.header("origin", "http://evil.example").body(Body::empty()).unwrap()).await
    };
    for uri in ["/", "/-/healthy", "/nothing", "/api/v1/query?query=up", "/api/v1/status/flags"] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let reply = send(method, uri, "evil.example:9090").await;
            assert_eq!(reply.status, 403, "{method} {uri}");
            assert_eq!(reply.header("access-control-allow-origin"), "", "{method} {uri}");
        }
        assert_ne!(send("GET", uri, "localhost:9090").await.status, 403, "{uri}");
        assert_ne!(send("GET", uri, "prom.example").await.status, 403, "{uri}");
    }
    assert_eq!(faces.counters.foreign_hosts_refused.load(Relaxed), 20);
    let reply = send("GET", "/", "evil.example").await;
    reply.is(
        403,
        "this process listens on a loopback address and is not called \"evil.example\"; if it is, name that \
         in --web.allowed-hosts\n",
    );
    assert_eq!(faces.asked().len(), 2, "the two that were called by a name of ours");
}

#[tokio::test]
async fn web_pages_of_other_origins_change_nothing_and_may_ask() {
    let send = async |faces: &Faces, method: &str, uri: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(uri).header("host", "127.0.0.1:9090");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        faces.send(request.body(Body::empty()).unwrap()).await
    };
    let evil = [("origin", "https://evil.example")];
    let cross = [("sec-fetch-site", "cross-site")];
    let faces = Faces::new();
    for row in ROUTES.iter().map(|route| route.row) {
        let path = row.path.replace("{name}", "job");
        for (headers, writes_refused) in
            [(&evil[..], true), (&cross, true), (&[("origin", "http://127.0.0.1:9090")], false), (&[], false)]
        {
            let method = row.methods.first();
            let reply = send(&faces, method, &path, headers).await;
            let refused = method == "POST" && writes_refused;
            assert_eq!(reply.status == 403, refused, "{method} {path} {headers:?}: {}", reply.status);
        }
    }
    assert_eq!(faces.counters.foreign_origins_refused.load(Relaxed), 2);
    send(&faces, "POST", "/api/v1/write", &evil).await.is(
        403,
        "web pages of other origins (\"https://evil.example\") may not change anything here but those that \
         --web.cors.origin names\n",
    );
    let codes = faces.counters.requests();
    assert!(codes.contains(&("/api/v1/write", 403, 3)), "{codes:?}");
    let named = Faces::with(|config| config.cors_origin = CorsOrigin::new("https://evil.*").unwrap());
    assert_ne!(send(&named, "POST", "/api/v1/write", &evil).await.status, 403);
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_its_request() {
    let faces = Faces::new();
    let reply = faces.get("/api/v1/query?query=panic").await;
    reply.is_error(500, "internal", "unexpected error in the request handler");
    assert_eq!(faces.get("/api/v1/query?query=up").await.status, 200);
    assert_eq!(faces.counters.requests(), [("/api/v1/query", 200, 1), ("/api/v1/query", 500, 1)]);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_code() {
    let faces = Faces::new();
    for uri in ["/api/v1/label/a/values", "/api/v1/label/b/values", "/x", "/y", "/", "/api/v1/query?time=x"] {
        faces.get(uri).await;
    }
    let expected = [
        ("/", 200, 1),
        ("/api/v1/label/{name}/values", 200, 2),
        ("/api/v1/query", 400, 1),
        ("unknown", 404, 2),
    ];
    assert_eq!(faces.counters.requests(), expected);
    let durations = faces.counters.durations();
    assert_eq!(durations.len(), 4);
    assert_eq!(durations[1].1.buckets.iter().sum::<u64>(), 2);
}

#[tokio::test]
async fn the_tenant_comes_from_the_header_only_where_tenancy_is_on() {
    let ask = |values: &[&str]| {
        let mut request = Request::get("/api/v1/query?query=up&time=1");
        for value in values {
            request = request.header("X-Scope-OrgID", *value);
        }
        request.body(Body::empty()).unwrap()
    };
    let faces = Faces::with(|config| config.default_tenant = TenantId::new("default").unwrap());
    faces.send(ask(&["team-a"])).await;
    faces.send(ask(&["../x"])).await;
    faces.send(ask(&[])).await;
    assert_eq!(faces.asked(), ["default: up @ 1000"; 3]);

    let faces = Faces::with(|config| config.multitenancy = true);
    faces.send(ask(&["team-a"])).await;
    assert_eq!(faces.asked(), ["team-a: up @ 1000"]);
    faces.send(ask(&[])).await.is(401, "no org id\n");
    faces.send(ask(&[""])).await.is(401, "no org id\n");
    for bad in ["a/b", "..", ".", "a|", "|", "a|__x", "__x", "a b", "é", "%2e%2e"] {
        assert_eq!(faces.send(ask(&[bad])).await.status, 400, "{bad}");
    }
    faces.send(ask(&["a", "b"])).await.is(400, "more than one X-Scope-OrgID header\n");
    let text = "too many tenant IDs present in the request. max: 1 actual: 2\n";
    faces.send(ask(&["a|b"])).await.is(422, text);
    assert_eq!(faces.asked(), [""; 0]);
    // Probes and status pages belong to nobody.
    assert_eq!(faces.get("/-/ready").await.status, 200);
    assert_eq!(faces.get("/api/v1/status/buildinfo").await.status, 200);
}

#[tokio::test]
async fn a_question_may_name_several_tenants_where_federation_is_on() {
    let get = |uri: &str, names: &str| {
        let request = Request::get(format!("/api/v1/{uri}")).header("X-Scope-OrgID", names);
        request.body(Body::empty()).unwrap()
    };
    let faces = Faces::with(|config| {
        (config.multitenancy, config.federation, config.federated_tenants_max) = (true, true, 3);
    });
    for uri in QUESTIONS {
        for (names, asked) in [("b|a", "a|b: "), ("c|a|b|a|c", "a|b|c: "), ("a|a", "a: "), ("a", "a: ")] {
            let reply = faces.send(get(uri, names)).await;
            assert!(reply.status.is_success(), "{uri} {names}: {}", reply.text());
            assert!(faces.asked()[0].starts_with(asked), "{uri} {names}");
        }
        let text = "too many tenant IDs present in the request. max: 3 actual: 4\n";
        faces.send(get(uri, "a|b|c|d")).await.is(422, text);
        for bad in ["a|", "|a", "a||b", "a|..", "a|b/c", "a|__x", "a| b"] {
            assert_eq!(faces.send(get(uri, bad)).await.status, 400, "{uri} {bad}");
        }
        assert_eq!(faces.asked(), [""; 0], "{uri}");
    }
    let unbounded = Faces::with(|config| (config.multitenancy, config.federation) = (true, true));
    let names: Vec<String> = (0..40).map(|i| format!("t{i}")).collect();
    assert_eq!(unbounded.send(get("query?query=up", &names.join("|"))).await.status, 200);
    // Without tenancy the header is not looked at.
    let one = Faces::with(|config| config.federation = true);
    one.send(get("query?query=up&time=1", "a|b")).await;
    assert_eq!(one.asked(), ["anonymous: up @ 1000"]);
}

#[tokio::test]
async fn status_pages_show_what_they_were_given() {
    let faces = Faces::with(|config| {
        config.flags = [("web.cors.origin", ".*"), ("s3.secret-key", "abc")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        config.config_yaml = "global: {}\n".to_owned();
        config.build_info.revision = "abc".to_owned();
        config.build_info.branch = "promontory-9.9.9".to_owned();
        config.runtime_info.start_ms = NOW_MS - 456;
        config.runtime_info.storage_retention = "15d".to_owned();
    });
    faces.get("/api/v1/status/flags").await.is(
        200,
        r#"{"status":"success","data":{"s3.secret-key":"\u003csecret\u003e","web.cors.origin":".*"}}"#,
    );
    faces
        .get("/api/v1/status/config")
        .await
        .is(200, r#"{"status":"success","data":{"yaml":"global: {}\n"}}"#);
    let build = r#"{"version":"3.16.0","revision":"abc","branch":"promontory-9.9.9","buildUser":"","buildDate":"","goVersion":""}"#;
    faces.get("/api/v1/status/buildinfo").await.is(200, &format!(r#"{{"status":"success","data":{build}}}"#));
    faces.get("/version").await.is(200, build);
    let reply = faces.get("/api/v1/status/runtimeinfo").await;
    let json: serde_json::Value = serde_json::from_slice(&reply.bytes).unwrap();
    assert_eq!(json["data"]["startTime"], "2026-11-23T01:02:03Z");
    assert_eq!(json["data"]["serverTime"], "2026-11-23T01:02:03.456Z");
    assert_eq!(json["data"]["storageRetention"], "15d");
    assert!(faces.get("/").await.text().contains("/api/v1/query_range"));
}

#[tokio::test]
async fn a_role_without_a_door_says_which_role_has_it() {
    let faces = Faces::new().without_doors(Vec::new());
    let text = "this process answers no queries: ask one that runs with --role=all or --role=querier";
    for uri in QUESTIONS {
        faces.get(&format!("/api/v1/{uri}")).await.is_error(404, "not_found", text);
    }
    let reply = faces.send(Request::post("/api/v1/write").body(Body::empty()).unwrap()).await;
    reply.is(
        404,
        "remote write receiver needs to be enabled: this process takes no samples, send them to one that runs with \
         --role=all or --role=ingester\n",
    );
    // Parsing a query is an engine's work, also where nothing else is done with it.
    faces.get("/api/v1/format_query?query=up").await.is_error(404, "not_found", text);
    let home = faces.get("/").await;
    assert!(home.text().contains("/api/v1/status/flags"), "{}", home.text());
    for absent in ["/api/v1/format_query", "/api/v1/write", "/api/v1/query_range", "/api/v1/labels"] {
        assert!(!home.text().contains(absent), "{absent}: {}", home.text());
    }
}

/// The paths of this crate's table and the home page's.
fn own_paths() -> Vec<&'static str> {
    crate::routes::ROUTES.iter().map(|route| route.row.path).chain(["/"]).collect()
}

/// Requests of every shape that a router can be given.
fn arbitrary_request() -> impl Strategy<Value = (String, String, Vec<u8>)> {
    let path = prop_oneof![
        prop::sample::select(own_paths()).prop_map(|path| path.replace("{name}", "U__a_2e_b")),
        "/api/v1/label/[a-zA-Z0-9_%]{1,12}/values",
        "/[a-z0-9/%_-]{0,20}",
    ];
    let name = prop::sample::select(
        &[
            "query",
            "time",
            "start",
            "end",
            "step",
            "timeout",
            "limit",
            "lookback_delta",
            "stats",
            "match[]",
            "metric",
        ][..],
    );
    let value = prop_oneof![
        "[ -~]{0,12}",
        "-?[0-9.e]{1,12}",
        "[0-9]{1,20}[a-z]{0,2}",
        "\\PC{0,8}",
        Just("up".to_owned()),
        Just("2015-06-03T13:21:58.555Z".to_owned()),
    ];
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let pair = (name, value).prop_map(move |(name, value)| format!("{name}={}", encode(&value)));
    let form =
        prop_oneof![prop::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join("&")), "[ -~&&[^#]]{0,30}"];
    (path, form, prop::collection::vec(any::<u8>(), 0..60))
}

proptest! {
    #[test]
    fn arbitrary_requests_never_fail_inside((path, form, body) in arbitrary_request()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let faces = Faces::new();
        let form_type = ("content-type", "application/x-www-form-urlencoded");
        let requests = [
            Request::get(format!("{path}?{form}")).body(Body::empty()),
            Request::post(&path).header(form_type.0, form_type.1).body(Body::from(form)),
            Request::post(&path).header(form_type.0, form_type.1).body(Body::from(body.clone())),
            Request::post("/api/v1/write").body(Body::from(body)),
        ];
        for request in requests.into_iter().flatten() {
            let what = format!("{request:?}");
            let reply = runtime.block_on(faces.send(request));
            let timed_out = reply.status == 503 && reply.text().contains("query timed out");
            prop_assert!(reply.status.as_u16() < 500 || timed_out, "{} for {}", reply.status, what);
        }
    }
}
