//! Silent, slow and deaf clients on real sockets.

mod http2;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::counters::Closing;
use super::*;

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

/// Times that do not end in a test that does not say so.
fn patient() -> ServerLimits {
    ServerLimits {
        connections_max: 8,
        waiting_per_peer_max: 100,
        header_timeout: LONG,
        read_timeout: LONG,
        write_stall_timeout: LONG,
    }
}

/// A running server: `/-/healthy` and `/` answer at once, `/slow` when it is let, `/endless` never ends.
struct Server {
    address: SocketAddr,
    places: Arc<Places>,
    routes: Arc<Routes>,
    stop: Arc<Notify>,
    running: JoinHandle<()>,
}

struct Routes {
    slow: Semaphore,
    endless_dropped: AtomicBool,
}

impl Server {
    async fn start(limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Arc::new(Routes { slow: Semaphore::new(0), endless_dropped: AtomicBool::new(false) });
        let router = Router::new()
            .route("/-/healthy", get(async || "healthy"))
            .route("/", get(async || "home"))
            .route("/length", post(async |body: Bytes| body.len().to_string()))
            .route("/query", get(async |uri: axum::http::Uri| uri.query().unwrap_or_default().to_owned()))
            .route("/slow", get(slow))
            .route("/endless", get(endless))
            .with_state(Arc::clone(&routes));
        let (places, stop) = (Places::new(limits), Arc::new(Notify::new()));
        let shutdown = Arc::clone(&stop);
        let running = serve(listener, router, Arc::clone(&places), async move { shutdown.notified().await });
        Self { address, places, routes, stop, running: tokio::spawn(running) }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connections that have come as far as the server.
    async fn connect_all(&self, n: usize) -> Vec<TcpStream> {
        let before = self.places.counters().accepted.load(Relaxed);
        let mut streams = Vec::new();
        for _ in 0..n {
            streams.push(self.connect().await);
        }
        until("the connections", || self.places.counters().accepted.load(Relaxed) >= before + n as u64).await;
        streams
    }

    async fn in_flight(&self, n: usize) {
        until("requests in flight", || self.places.connected().in_flight == n).await;
    }

    /// Connections closed so far, by reason, without zeros.
    fn closed(&self) -> Vec<(Closing, u64)> {
        self.places.counters().closed().into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn stalled(&self) -> u64 {
        self.places.counters().answers_stalled.load(Relaxed)
    }
}

async fn slow(State(routes): State<Arc<Routes>>) -> &'static str {
    routes.slow.acquire().await.unwrap().forget();
    "slow"
}

async fn endless(State(routes): State<Arc<Routes>>) -> Body {
    Body::new(Endless(routes))
}

struct Endless(Arc<Routes>);

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 64 << 10])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.endless_dropped.store(true, Relaxed);
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(5), future).await.expect("within 5 s")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(5), "{what} did not happen within 5 s");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn ask(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
}

/// Head and body of a small answer, which come together.
async fn reply(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let read = soon(stream.read(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

/// Waits for the end of a connection from which nothing more is wanted.
async fn end(stream: &mut TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while soon(stream.read(&mut bytes)).await.is_ok_and(|read| read > 0) {}
}

async fn get_on_new_connection(server: &Server, path: &str) -> String {
    let mut stream = server.connect().await;
    ask(&mut stream, path).await;
    reply(&mut stream).await
}

#[tokio::test]
async fn an_answer_to_a_body_that_nobody_took_is_the_last_of_its_connection() {
    let server = Server::start(patient()).await;
    for (path, closes) in [("/length", false), ("/", true)] {
        let mut stream = server.connect().await;
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = reply(&mut stream).await;
        assert_eq!(head.contains("connection: close"), closes, "{path}: {head}");
    }
}

#[tokio::test]
async fn a_client_that_still_writes_gets_its_last_answer() {
    let server = Server::start(patient()).await;
    let megabytes = vec![b'x'; 8 << 20];
    let heads = [
        // Refused with its body unread.
        (
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", megabytes.len()),
            "405 Method Not Allowed",
        ),
        // A head that is refused before a request is made of it.
        ("GET / HTTP/1.1\r\nHost x\r\n\r\n".to_owned(), "400 Bad Request"),
    ];
    for (head, status) in heads {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        server.in_flight(0).await;
        soon(stream.write_all(&megabytes)).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    until("the end", || server.places.connected() == places::Connected::default()).await;
}

#[tokio::test]
async fn a_first_request_line_as_people_type_it_is_understood() {
    let server = Server::start(patient()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /query?query=up{job=\"<\xc3\xa9>\"}#x HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = reply(&mut stream).await;
    assert!(answer.ends_with("query=up{job=%22%3C%C3%A9%3E%22}%23x"), "{answer}");
}

#[tokio::test]
async fn no_refusal_is_without_a_word() {
    let server = Server::start(patient()).await;
    let long = "a".repeat(200_000);
    let heads = [
        (
            format!("GET /?{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
            "414 URI Too Long",
            "at most 65000 bytes; send the parameters",
        ),
        (long.clone(), "414 URI Too Long", "in the body of a POST"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), "431 ", "at most 131072 bytes"),
        ("GET / HTTP/1.1\r\nHost x\r\n\r\n".into(), "400 ", "no request of HTTP/1.1 or HTTP/2"),
        ("hello\r\n\r\n".into(), "400 ", "no request of HTTP/1.1 or HTTP/2"),
        ("GET / HTTP/1.1\r\n\r\n".into(), "400 ", "missing required Host header"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), "400 ", "too many Host headers"),
    ];
    for (head, status, text) in heads {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = reply(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(body.contains(text) && body.ends_with('\n'), "{answer}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    }
    // As before: HTTP/1.0 needs no host.
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(reply(&mut stream).await.ends_with("home"));
}

#[tokio::test]
async fn a_client_that_still_writes_gets_its_last_answer_although_others_have_its_place() {
    let server = Server::start(ServerLimits { connections_max: 1, ..patient() }).await;
    let mut slow = server.connect().await;
    slow.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n").await.unwrap();
    until("the answer", || server.places.counters().accepted.load(Relaxed) == 1).await;
    server.in_flight(0).await;
    sleep(SHORT).await;
    assert!(get_on_new_connection(&server, "/").await.ends_with("home"));
    // Longer than a goodbye.
    sleep(Duration::from_millis(1_500)).await;
    soon(slow.write_all(&vec![b'x'; 4_000_000])).await.unwrap();
    let mut answer = String::new();
    soon(slow.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn who_parts_slowly_makes_room_and_does_not_delay_a_stop() {
    let server = Server::start(ServerLimits { connections_max: 1, ..patient() }).await;
    let mut slow = server.connect().await;
    slow.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
    assert!(reply(&mut slow).await.contains("connection: close"));
    assert!(get_on_new_connection(&server, "/").await.ends_with("home"));
    assert_eq!(server.closed(), [(Closing::Displaced, 1)]);
    let mut last = server.connect().await;
    last.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
    assert!(reply(&mut last).await.contains("connection: close"));
    server.stop.notify_one();
    timeout(parting::PARTING_TIMEOUT / 2, server.running).await.expect("a quick stop").unwrap();
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let server = Server::start(patient()).await;
    let silent = server.connect_all(8).await;
    let answer = get_on_new_connection(&server, "/").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("home"), "{answer}");
    assert_eq!(server.closed(), [(Closing::Displaced, 1)]);
    drop(silent);
}

#[tokio::test]
async fn idle_connections_of_http2_keep_nobody_out() {
    let server = Server::start(patient()).await;
    let mut idle = server.connect_all(8).await;
    for stream in &mut idle {
        http2::begin(stream, 0xffff).await;
        http2::get(stream, 1, "/").await;
        http2::head(stream, 1).await;
    }
    server.in_flight(0).await;
    let answer = get_on_new_connection(&server, "/").await;
    assert!(answer.ends_with("home"), "{answer}");
    assert_eq!(server.closed(), [(Closing::Displaced, 1)]);
    end(&mut idle[0]).await;
    http2::get(&mut idle[1], 3, "/").await;
    http2::head(&mut idle[1], 3).await;
}

#[tokio::test]
async fn one_peer_may_wait_on_so_many_connections() {
    let server = Server::start(ServerLimits { waiting_per_peer_max: 3, ..patient() }).await;
    let mut silent = server.connect_all(5).await;
    end(&mut silent[0]).await;
    end(&mut silent[1]).await;
    assert_eq!(server.closed(), [(Closing::PeerLimit, 2)]);
    ask(&mut silent[2], "/").await;
    assert!(reply(&mut silent[2]).await.ends_with("home"));
}

#[tokio::test]
async fn where_every_place_has_a_request_probes_are_answered_and_others_told_why_not() {
    let server = Server::start(ServerLimits { connections_max: 2, ..patient() }).await;
    let mut busy = server.connect_all(2).await;
    for stream in &mut busy {
        ask(stream, "/slow").await;
    }
    server.in_flight(2).await;
    let silent = server.connect_all(3 * places::PROBE_PLACES).await;
    let probe = get_on_new_connection(&server, "/-/healthy").await;
    assert!(probe.starts_with("HTTP/1.1 200 ") && probe.ends_with("healthy"), "{probe}");
    assert!(probe.contains("connection: close"), "{probe}");
    let other = get_on_new_connection(&server, "/").await;
    assert!(other.starts_with("HTTP/1.1 503 ") && other.contains("retry-after: 1"), "{other}");
    assert!(other.contains("all 2 connections have a request in flight"), "{other}");
    assert!(other.contains("(limit --web.max-connections)"), "{other}");
    assert!(server.closed().contains(&(Closing::Full, 1)), "{:?}", server.closed());

    server.routes.slow.add_permits(2);
    for stream in &mut busy {
        assert!(reply(stream).await.ends_with("slow"));
    }
    assert!(get_on_new_connection(&server, "/").await.ends_with("home"));
    drop(silent);
}

#[tokio::test]
async fn a_first_head_has_its_time_whether_nothing_comes_or_little() {
    let server = Server::start(ServerLimits { header_timeout: SHORT, ..patient() }).await;
    for bytes in [
        &b""[..],
        b"G",
        b"GET / HTTP/1.1\r\nHost:",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(bytes).await.unwrap();
        end(&mut stream).await;
    }
    assert_eq!(server.closed(), [(Closing::HeaderTimeout, 5)]);
    assert!(get_on_new_connection(&server, "/").await.ends_with("home"));
}

#[tokio::test]
async fn a_kept_connection_has_its_time_and_a_slow_request_is_none() {
    let server = Server::start(ServerLimits { read_timeout: SHORT, ..patient() }).await;
    let mut slow = server.connect().await;
    ask(&mut slow, "/slow").await;
    server.in_flight(1).await;
    for version in [1, 2] {
        let mut stream = server.connect().await;
        if version == 1 {
            ask(&mut stream, "/").await;
            assert!(reply(&mut stream).await.ends_with("home"));
            // A next head that does not go on is no request.
            stream.write_all(b"GET / HTTP").await.unwrap();
        } else {
            http2::begin(&mut stream, 0xffff).await;
            http2::get(&mut stream, 1, "/").await;
            http2::head(&mut stream, 1).await;
        }
        end(&mut stream).await;
    }
    assert_eq!(server.closed(), [(Closing::IdleTimeout, 2)]);
    server.routes.slow.add_permits(1);
    assert!(reply(&mut slow).await.ends_with("slow"));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_dropped_and_its_connection_closed() {
    let server = Server::start(ServerLimits { write_stall_timeout: SHORT, ..patient() }).await;
    let mut deaf = server.connect().await;
    ask(&mut deaf, "/endless").await;
    until("the drop", || server.routes.endless_dropped.load(Relaxed)).await;
    until("the end", || server.places.connected() == places::Connected::default()).await;
    assert_eq!((server.closed(), server.stalled()), (vec![(Closing::Stalled, 1)], 1));
    end(&mut deaf).await;
}

#[tokio::test]
async fn a_reader_who_takes_its_answer_slowly_is_waited_for() {
    let server = Server::start(ServerLimits { write_stall_timeout: 2 * SHORT, ..patient() }).await;
    let mut slow = server.connect().await;
    ask(&mut slow, "/endless").await;
    let begun = Instant::now();
    let mut bytes = vec![0; 1 << 20];
    while begun.elapsed() < 8 * SHORT {
        assert!(soon(slow.read(&mut bytes)).await.unwrap() > 0);
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((server.closed(), server.stalled()), (vec![], 0));
    drop(slow);
    until("the drop", || server.routes.endless_dropped.load(Relaxed)).await;
}

#[tokio::test]
async fn an_unread_stream_of_http2_is_dropped_and_the_others_go_on() {
    let server = Server::start(ServerLimits { write_stall_timeout: SHORT, ..patient() }).await;
    let mut stream = server.connect().await;
    http2::begin(&mut stream, 0).await;
    http2::get(&mut stream, 1, "/endless").await;
    http2::head(&mut stream, 1).await;
    until("the drop", || server.routes.endless_dropped.load(Relaxed)).await;
    assert_eq!((server.closed(), server.stalled()), (vec![], 1));
    http2::get(&mut stream, 3, "/").await;
    http2::head(&mut stream, 3).await;
}

#[tokio::test]
async fn at_shutdown_requests_in_flight_finish_and_who_waits_goes() {
    let server = Server::start(patient()).await;
    let mut silent = server.connect_all(2).await;
    ask(&mut silent[1], "/").await;
    assert!(reply(&mut silent[1]).await.ends_with("home"));
    let mut busy = server.connect().await;
    ask(&mut busy, "/slow").await;
    server.in_flight(1).await;
    server.stop.notify_one();
    for stream in &mut silent {
        end(stream).await;
    }
    // Longer than a goodbye.
    sleep(Duration::from_millis(1_200)).await;
    assert!(!server.running.is_finished());
    server.routes.slow.add_permits(1);
    assert!(reply(&mut busy).await.ends_with("slow"));
    soon(server.running).await.unwrap();
}
