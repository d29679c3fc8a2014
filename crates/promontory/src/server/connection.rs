//! One connection from its begin to its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, Version, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot, watch};
use tower::ServiceExt as _;

use super::answer::Answer;
use super::counters::Closing;
use super::first_line::{LINE_BYTES_MAX, TooLong};
use super::parting::{Parting, Rest};
use super::places::{Place, PlaceKind, Places};
use super::unread::RequestBody;
use super::unspoken::HEAD_BYTES_MAX;

/// Bytes of one answer that HTTP/2 buffers.
const STREAM_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Requests of one connection that are in flight at a time.
const STREAMS_MAX: u32 = 128;
/// An HTTP/2 peer that does not answer a ping in this time is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection that is to be closed may take to say goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// What is answered also where every place is taken.
const PROBES: [&str; 2] = ["/-/healthy", "/-/ready"];

/// Makes a task of each connection.
pub(super) struct Acceptor {
    builder: Builder<TokioExecutor>,
    router: Router,
    places: Arc<Places>,
    stopped: watch::Receiver<bool>,
    /// Bounds connections that part after others have their places.
    partings: Arc<Semaphore>,
}

impl Acceptor {
    /// Serves `router` until `stopped` says so; every task holds a clone of it until it ends.
    pub(super) fn new(router: Router, places: Arc<Places>, stopped: watch::Receiver<bool>) -> Self {
        let limits = places.limits();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // Behind our own times, which begin and end with requests.
            .header_read_timeout(limits.read_timeout + limits.header_timeout)
            // Of a head, and of what is written at a time.
            .max_buf_size(HEAD_BYTES_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(PING_INTERVAL))
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_send_buf_size(STREAM_BUFFER_BYTES_MAX);
        let partings = Arc::new(Semaphore::new(limits.connections_max));
        Self { builder, router, places, stopped, partings }
    }

    /// Serves `stream` in a task of its own, or closes it where there is no place.
    pub(super) fn accept(&self, stream: TcpStream, peer: IpAddr) {
        let Some((place, told)) = self.places.admit(peer) else { return };
        // Small answers must not wait for the peer's acknowledgement.
        let _ = stream.set_nodelay(true);
        let place = Arc::new(place);
        tokio::spawn(run(
            self.builder.clone(),
            self.router.clone(),
            stream,
            place,
            told,
            self.stopped.clone(),
            self.partings.clone(),
        ));
    }
}

async fn run(
    builder: Builder<TokioExecutor>,
    router: Router,
    stream: TcpStream,
    place: Arc<Place>,
    told: oneshot::Receiver<Closing>,
    mut stopped: watch::Receiver<bool>,
    partings: Arc<Semaphore>,
) {
    let (rest, too_long) = (Rest::default(), TooLong::default());
    let stream = TokioIo::new(Parting::new(stream, rest.clone(), too_long.clone()));
    let service = {
        let (place, rest) = (Arc::clone(&place), rest.clone());
        service_fn(move |request| {
            let refused = refused(&too_long, &request);
            answer(router.clone(), Arc::clone(&place), rest.clone(), refused, request)
        })
    };
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    let closing = tokio::select! {
        ended = connection.as_mut() => return report(ended),
        Ok(closing) = told => Some(closing),
        closing = place.overdue() => {
            place.close(closing);
            Some(closing)
        }
        Ok(_) = stopped.wait_for(|stopped| *stopped) => None,
    };
    if closing == Some(Closing::Stalled) || !place.was_served() {
        return;
    }
    connection.as_mut().graceful_shutdown();
    let mut parting = None;
    loop {
        match tokio::time::timeout(GOODBYE_TIMEOUT, connection.as_mut()).await {
            Ok(ended) => return report(ended),
            Err(_) if place.is_in_flight() => {}
            // Whoever makes room for others while it parts would lose the answer that it still has to read.
            Err(_) if closing.is_some() && rest.is_parting() && !*stopped.borrow() => {
                parting = parting.or_else(|| partings.try_acquire().ok());
                if parting.is_none() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

fn report<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended with an error");
    }
}

async fn answer(
    router: Router,
    place: Arc<Place>,
    rest: Rest,
    refused: Option<Response<Body>>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let in_flight = place.request();
    let version = request.version();
    let is_probe = PROBES.contains(&request.uri().path());
    let request = request.map(RequestBody::new);
    let taken = request.body().taken();
    let mut response = match (refused, place.kind) {
        (Some(refused), _) => refused,
        (None, PlaceKind::Probe) if !is_probe => crowded(&place),
        (None, _) => router.oneshot(request.map(Body::new)).await?,
    };
    if taken.is_whole() {
        rest.begins();
    }
    let is_last = place.kind == PlaceKind::Probe || !taken.is_whole();
    if is_last && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, in_flight, version)))
}

/// The answer to a request that is not asked further; texts for `Host` as Go's server has them.
fn refused(too_long: &TooLong, request: &Request<Incoming>) -> Option<Response<Body>> {
    if too_long.is_so() {
        let text = format!(
            "414 URI Too Long: a request line may have at most {LINE_BYTES_MAX} bytes; send the parameters in the body of a \
             POST, as application/x-www-form-urlencoded\n"
        );
        return Some((StatusCode::URI_TOO_LONG, text).into_response());
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let text = match (request.version(), hosts) {
        (Version::HTTP_11, 0) => "400 Bad Request: missing required Host header\n",
        (Version::HTTP_11, 2..) => "400 Bad Request: too many Host headers\n",
        _ => return None,
    };
    Some((StatusCode::BAD_REQUEST, text).into_response())
}

/// The answer where every place has a request in flight.
fn crowded(place: &Place) -> Response<Body> {
    place.counters().close(Closing::Full);
    let text = format!(
        "all {} connections have a request in flight, no more are answered now (limit --web.max-connections)\n",
        place.limits().connections_max
    );
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response()
}
