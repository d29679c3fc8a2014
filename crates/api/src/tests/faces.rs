//! The table of routes: what stands in it is routed, counted and listed, whichever crate it is from.

use axum::extract::State;
use axum::routing::on;

use super::*;
use crate::face::{Row, Served};
use crate::routes::ROUTES;
use crate::{CorsOrigin, Door, HttpRoute, Methods};

fn own_rows() -> impl Iterator<Item = Row> {
    ROUTES.iter().map(|route| route.row)
}

fn concrete(path: &str) -> String {
    path.replace("{name}", "job").replace("{*path}", "a/b.js")
}

fn is_read(row: &Row) -> bool {
    row.methods != Methods::Post
}

async fn send(faces: &Faces, method: &str, path: &str) -> Reply {
    faces.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

/// What stands at the beginning of a row's line on the home page.
fn line(row: &Row) -> String {
    let method = if is_read(row) { "GET  " } else { "POST " };
    format!("\n{method}{} ", row.path.replace("{name}", "NAME").replace("{*path}", "PATH"))
}

/// Routes of another crate: one in the API that leads to a door, and a page with files behind it.
const OTHERS: [HttpRoute<&'static str>; 3] = [
    HttpRoute::new(Methods::GetAndPost, "/api/v1/other", "what another crate does", |m| on(m, say))
        .to(Door::Engine),
    HttpRoute::new(Methods::Get, "/ui/{*path}", "files of a page", |m| on(m, say)).always(),
    HttpRoute::new(Methods::Post, "/api/v1/send", "samples of another kind", |m| on(m, say)).for_programs(),
];

async fn say(State(text): State<&'static str>) -> &'static str {
    text
}

#[tokio::test]
async fn every_route_is_counted_under_its_own_name() {
    let others = Face::new(&OTHERS, &"other", &[Door::Engine]);
    let rows: Vec<Row> = own_rows().chain(others.rows().copied()).collect();
    let faces = Faces::and_others(|_| {}, vec![others]);
    for row in rows {
        let requests_before = faces.counters.requests();
        let method = if is_read(&row) { "GET" } else { "POST" };
        let reply = send(&faces, method, &concrete(row.path)).await;
        assert_ne!(reply.status, 405, "{}", row.path);
        let requests = faces.counters.requests();
        let new: Vec<_> = requests.iter().filter(|one| !requests_before.contains(one)).collect();
        assert_eq!(new, [&(row.path, reply.status.as_u16(), 1)]);
    }
}

#[tokio::test]
async fn the_home_page_lists_every_route_of_the_role() {
    let others = Face::new(&OTHERS, &"other", &[Door::Engine]);
    let rows: Vec<Row> = own_rows().chain(others.rows().copied()).collect();
    let faces = Faces::and_others(|_| {}, vec![others]);
    let home = faces.get("/").await;
    for row in &rows {
        assert!(home.text().contains(&line(row)), "{} is not in\n{}", row.path, home.text());
        assert!(home.text().contains(row.purpose), "{}", row.purpose);
    }
    assert!(home.text().contains("\nGET  / "));
    assert!(home.text().starts_with("Promontory (promontory-"), "{}", home.text());

    // The same in a role without any door.
    let home = faces.without_doors(vec![Face::new(&OTHERS, &"other", &[])]).get("/").await;
    for row in &rows {
        assert_eq!(home.text().contains(&line(row)), row.door.is_none(), "{}\n{}", row.path, home.text());
    }
}

#[tokio::test]
async fn a_route_of_another_crate_has_what_those_of_this_crate_have() {
    let any = |config: &mut ApiSettings| config.cors_origin = CorsOrigin::Any;
    let faces = Faces::and_others(any, vec![Face::new(&OTHERS, &"other", &[Door::Engine])]);
    faces.get("/api/v1/other").await.is(200, "other");
    faces.post_form("/api/v1/other", "a=b").await.is(200, "other");
    faces.get("/ui/a/b.js").await.is(200, "other");
    send(&faces, "DELETE", "/api/v1/other").await.is(405, "Method Not Allowed\n");
    faces.get("/ui").await.is(404, "404 page not found\n");
    let asked =
        |uri: &str| Request::get(uri).header("origin", "https://a.example").body(Body::empty()).unwrap();
    let allowed = |reply: &Reply| reply.header("access-control-allow-origin").to_owned();
    assert_eq!(allowed(&faces.send(asked("/api/v1/other")).await), "*");
    assert_eq!(allowed(&faces.send(asked("/ui/a")).await), "");
    send(&faces, "OPTIONS", "/api/v1/other").await.is(204, "");
    // Closed to pages: what a page whose origin is not allowed gets.
    send(&faces, "OPTIONS", "/api/v1/send").await.is(204, "");

    faces.readiness.set(ReadyState::Stopping);
    faces.get("/api/v1/other").await.is(503, "Service Unavailable");
    faces.get("/ui/a").await.is(200, "other");
}

#[tokio::test]
async fn another_face_may_take_the_home_page() {
    const PAGE: [HttpRoute<&'static str>; 1] =
        [HttpRoute::new(Methods::Get, "/", "a page", |m| on(m, say)).always()];
    let faces = Faces::and_others(|_| {}, vec![Face::new(&PAGE, &"a page", &[])]);
    faces.get("/").await.is(200, "a page");
    assert_eq!(faces.counters.requests(), [("/", 200, 1)]);
}

#[tokio::test]
async fn head_is_answered_to_probes_and_the_allow_header_says_so() {
    let faces = Faces::new();
    for row in own_rows() {
        let path = concrete(row.path);
        let head = send(&faces, "HEAD", &path).await;
        let expected = if row.methods == Methods::GetAndHead { 200 } else { 405 };
        assert_eq!(head.status, expected, "{path}");
        let allow = match row.methods {
            Methods::Get => "GET, OPTIONS",
            Methods::GetAndHead => "GET, HEAD, OPTIONS",
            Methods::Post => "OPTIONS, POST",
            Methods::GetAndPost => "GET, OPTIONS, POST",
        };
        for method in ["PUT", "OPTIONS"].into_iter().filter(|_| !path.starts_with("/api/")).chain(["PUT"]) {
            assert_eq!(send(&faces, method, &path).await.header("allow"), allow, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn options_are_preflights_of_the_api_and_counted_as_such() {
    let faces = Faces::new();
    let mut n_pages = 0;
    for row in own_rows() {
        let reply = send(&faces, "OPTIONS", &concrete(row.path)).await;
        let expected = if row.path.starts_with("/api/v1/") { 204 } else { 200 };
        n_pages += u64::from(expected == 200);
        assert_eq!(reply.status, expected, "{}", row.path);
    }
    let n_answered = ROUTES.len() as u64 - n_pages;
    let expected = [("cors preflight", 200, n_pages), ("cors preflight", 204, n_answered)];
    assert_eq!(faces.counters.requests(), expected);
    send(&faces, "OPTIONS", "*").await.is(200, "");
}

#[tokio::test]
async fn paths_that_are_nearly_routes_lead_there() {
    let faces = Faces::new();
    for (method, uri, status, location) in [
        ("GET", "/-/healthy/", 301, "/-/healthy"),
        ("GET", "/-/Healthy?x=1", 301, "/-/healthy?x=1"),
        ("POST", "/api/v1/query/?query=up", 307, "/api/v1/query?query=up"),
        ("GET", "//api/v1//query?query=up", 307, "/api/v1/query?query=up"),
        ("GET", "//evil.example/..//x", 307, "/x"),
        ("GET", "/api/v1/label//values", 307, "/api/v1/label/values"),
        ("GET", "/-/nothing/", 404, ""),
    ] {
        let reply = send(&faces, method, uri).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (status, location), "{method} {uri}");
    }
    faces.get("/%2D/he%61lthy").await.is(200, "Promontory is Healthy.\n");
    assert!(faces.counters.requests().contains(&("unknown", 307, 4)), "{:?}", faces.counters.requests());
}

#[tokio::test]
async fn what_has_nothing_to_show_has_the_shape_that_clients_expect() {
    let faces = Faces::new();
    let data = |json: &str| format!("{{\"status\":\"success\",\"data\":{json}}}");
    for (uri, json) in [
        ("rules", "{\"groups\":[]}"),
        ("rules?type=Alert&exclude_alerts=t&group_limit=5", "{\"groups\":[]}"),
        ("alerts", "{\"alerts\":[]}"),
        ("targets", "{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":{}}"),
        ("targets?state=active", "{\"activeTargets\":[],\"droppedTargets\":[],\"droppedTargetCounts\":null}"),
        ("targets/metadata", "[]"),
        ("scrape_pools", "{\"scrapePools\":[]}"),
        ("alertmanagers", "{\"activeAlertmanagers\":[],\"droppedAlertmanagers\":[]}"),
        ("notifications", "[]"),
        ("status/walreplay", "{\"min\":0,\"max\":0,\"current\":0}"),
    ] {
        faces.get(&format!("/api/v1/{uri}")).await.is(200, &data(json));
    }
    let features = faces.get("/api/v1/features").await.json();
    assert_eq!(features["data"]["api"]["remote_write_receiver"], true);
    for (uri, why) in [
        ("rules?type=x", "invalid parameter \"type\": not supported value \"x\""),
        (
            "rules?exclude_alerts=x",
            "invalid parameter \"exclude_alerts\": error converting exclude_alerts: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "rules?group_limit=x",
            "invalid parameter \"group_limit\": group_limit needs to be a valid number: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "rules?group_next_token=x",
            "invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups",
        ),
        ("targets/metadata?limit=x", "limit must be a number"),
        ("status/tsdb?limit=0", "limit must be a positive number"),
        ("status/tsdb?limit=x", "limit must be a positive number"),
        ("status/tsdb?limit=10001", "limit must not exceed 10000"),
    ] {
        let reply = faces.get(&format!("/api/v1/{uri}")).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (400, Some(why)), "{uri}");
    }
}

#[tokio::test]
async fn series_are_counted_by_metric_and_label() {
    let faces = Faces::new();
    let series = [("up", "a"), ("up", "b"), ("m", "a")];
    let labels = series.map(|(name, job)| Labels::from_pairs([("__name__", name), ("job", job)]));
    faces.engine.labels.lock().unwrap().items = labels.to_vec();
    let data = faces.get("/api/v1/status/tsdb?limit=1").await.json()["data"].clone();
    assert_eq!(data["headStats"]["numSeries"], 3);
    assert_eq!(data["headStats"]["numLabelPairs"], 4);
    let first = |list: &str| (data[list][0]["name"].clone(), data[list][0]["value"].clone());
    assert_eq!(first("seriesCountByMetricName"), ("up".into(), 2.into()));
    assert_eq!(first("labelValueCountByLabelName"), ("__name__".into(), 2.into()));
    assert_eq!(first("memoryInBytesByLabelName"), ("__name__".into(), 3.into()));
    assert_eq!(first("seriesCountByLabelValuePair"), ("__name__=up".into(), 2.into()));
    assert_eq!(data["seriesCountByMetricName"].as_array().unwrap().len(), 1);
    let from = NOW_MS - 3 * 3_600_000;
    assert_eq!(faces.asked(), [format!("anonymous: series [[__name__!=\"\"]] {from}..{NOW_MS} limit 0")]);
}

#[tokio::test]
async fn all_but_a_few_routes_wait_until_the_process_is_ready() {
    let always = own_rows().filter(|row| row.served == Served::Always).map(|row| row.path);
    assert_eq!(always.collect::<Vec<_>>(), ["/version", "/-/healthy"]);
    let faces = Faces::new();
    faces.readiness.set(ReadyState::NotReady);
    for row in own_rows() {
        let method = if is_read(&row) { "GET" } else { "POST" };
        let reply = send(&faces, method, &concrete(row.path)).await;
        assert_eq!(reply.status == 503, row.served == Served::WhenReady, "{}", row.path);
    }
    assert_eq!(faces.get("/").await.status, 200);
}
