//! `POST /api/v1/write`: remote write 1.0.
//!
//! 1. The head decides whether this is remote write 1.0 at all (415 if not), and of a size that can be
//!    taken (413).
//! 2. The body is read; its bytes are held against the bound of all write requests (503 when full).
//! 3. The snappy block's declared length is checked and held, then the block is decompressed and its
//!    series and samples are counted (400 malformed, 413 too large).
//! 4. `Append` makes it durable: 204, or 400 with what was refused while the rest is stored, 429 or
//!    503 with `Retry-After`.
//!
//! Why 503 and not 429 where the process itself is full: Prometheus drops samples on 429 unless its
//! configuration says `retry_on_http_429`.
//!
//! Source: prometheus v3.16 `storage/remote/write_handler.go`; client_golang `exp/api/remote`; remote
//! write specifications 1.0 and 2.0.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use promontory_model::append::{AppendError, Appended, Urgency};
use promontory_model::{Append, TenantId};
use promontory_wire::remote_write_1::{self, Decoded, OtherContent};
use promontory_wire::{DecodeError, snappy};

use crate::admission::HeldBytes;
use crate::config::flag_of;
use crate::counters::{Counters, WriteRefusal, add};
use crate::form::{BodyError, discard_body, read_body};
use crate::respond::{RETRY_AFTER_SECONDS, plain};
use crate::routes::Api;
use crate::tenant::Tenant;

const MEDIA_TYPE: &str = "application/x-protobuf";
const MESSAGE_V1: &str = "prometheus.WriteRequest";
const MESSAGE_V2: &str = "io.prometheus.write.v2.Request";

/// From this decompressed size, decoding goes to the blocking pool: it takes milliseconds.
pub(crate) const DECODE_INLINE_BYTES_MAX: usize = 512 << 10;

/// Of a body that is not wanted, as much is read before the refusal.
const DISCARD_BYTES_MAX: usize = 64 << 20;

/// `POST /api/v1/write`
pub(crate) async fn remote_write(
    State(api): State<Arc<Api>>,
    tenant: Result<Tenant, Response>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let checked = match tenant {
        Ok(Tenant(tenant)) => match check_head(&api, &head.headers) {
            Ok(append) => Ok((tenant, append)),
            Err(refused) => Err(refuse(&api, refused)),
        },
        Err(response) => Err(response),
    };
    match checked {
        Ok((tenant, append)) => {
            let taken = take(&api, append, &tenant, announced(&head.headers), body).await;
            taken.unwrap_or_else(|refused| refuse(&api, refused))
        }
        Err(response) => {
            discard_body(body, api.config.body_read_timeout, DISCARD_BYTES_MAX).await;
            response
        }
    }
}

fn refuse(api: &Api, refused: Refused) -> Response {
    api.counters.write_refused(refused.reason);
    refused.into_response()
}

/// What can be said before the body is read.
fn check_head<'a>(api: &'a Api, headers: &HeaderMap) -> Result<&'a dyn Append, Refused> {
    let Some(append) = &api.append else {
        let text = "remote write receiver needs to be enabled: this process takes no samples, send them to one \
                    that runs with --role=all or --role=ingester";
        return Err(Refused::new(WriteRefusal::NoIngest, StatusCode::NOT_FOUND, text));
    };
    check_content_type(headers)?;
    check_content_encoding(headers)?;
    let body_bytes_max = api.config.limits.body_bytes_max;
    match announced(headers) {
        Some(bytes) if bytes > body_bytes_max => Err(Refused::body_too_large(bytes, body_bytes_max)),
        _ => Ok(append.as_ref()),
    }
}

async fn take(
    api: &Api,
    append: &dyn Append,
    tenant: &TenantId,
    announced: Option<usize>,
    body: Body,
) -> Result<Response, Refused> {
    let mut held = HeldBytes::new(api.counters.clone(), api.config.write_bytes_in_flight_max);
    // What the sender announces spares both sides the transfer; only what arrives is held.
    if !held.would_fit(announced.unwrap_or(0)) {
        return Err(Refused::full(api.config.write_bytes_in_flight_max));
    }
    let body = read(api, body, &mut held).await?;
    let Decoded { batch, other } = decode(api, body, &mut held).await?;
    count_other(&api.counters, other);
    add(&api.counters.write_series, batch.series.len() as u64);

    let sent = batch.values.len() as u64;
    let appended = match batch.series.is_empty() {
        true => Appended::default(),
        false => append.append(tenant, batch, Urgency::Batched).await?,
    };
    add(&api.counters.write_samples, appended.samples);
    add(&api.counters.write_samples_refused, appended.refused.samples);
    add(&api.counters.write_series_refused, appended.refused.series);
    if appended.refused.is_empty() && other.histograms == 0 {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(plain(StatusCode::BAD_REQUEST, &refusal_text(&appended, sent, other.histograms)))
}

/// Why a request is refused as a whole, and what its sender is told.
struct Refused {
    reason: WriteRefusal,
    status: StatusCode,
    text: String,
}

impl Refused {
    fn new(reason: WriteRefusal, status: StatusCode, text: impl Into<String>) -> Self {
        Self { reason, status, text: text.into() }
    }

    fn full(bytes_max: usize) -> Self {
        let text = format!(
            "{bytes_max} bytes of write requests are in flight, no more are accepted now (limit {})",
            flag_of("write_bytes_in_flight_max")
        );
        Self::new(WriteRefusal::BytesInFlight, StatusCode::SERVICE_UNAVAILABLE, text)
    }

    fn body_too_large(found: usize, limit: usize) -> Self {
        let flag = flag_of("body_bytes_max");
        let text =
            format!("request body has {found} bytes or more, at most {limit} are accepted (limit {flag})");
        Self::new(WriteRefusal::BodyTooLarge, StatusCode::PAYLOAD_TOO_LARGE, text)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let retry = matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        if retry {
            tracing::warn!(reason = self.reason.as_str(), error = %self.text, "write request put off");
        } else {
            tracing::debug!(reason = self.reason.as_str(), error = %self.text, "write request refused");
        }
        let mut response = plain(self.status, &self.text);
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        let DecodeError::TooLarge { what, found, limit, name } = error else {
            return Self::new(WriteRefusal::Malformed, StatusCode::BAD_REQUEST, error.to_string());
        };
        let flag = flag_of(name);
        let text = format!("request has {found} {what}, at most {limit} are accepted (limit {flag})");
        Self::new(WriteRefusal::RequestTooLarge, StatusCode::PAYLOAD_TOO_LARGE, text)
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Invalid(text) => Self::new(WriteRefusal::Invalid, StatusCode::BAD_REQUEST, text),
            AppendError::Limited(text) => {
                Self::new(WriteRefusal::Limited, StatusCode::TOO_MANY_REQUESTS, text)
            }
            AppendError::Unavailable(text) => {
                Self::new(WriteRefusal::Unavailable, StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }
}

/// A missing content type means remote write 1.0, as for Prometheus.
fn check_content_type(headers: &HeaderMap) -> Result<(), Refused> {
    let refused =
        |text| Err(Refused::new(WriteRefusal::ContentType, StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    let content_type = text_of(headers, header::CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !content_type.is_empty() && !media_type.eq_ignore_ascii_case(MEDIA_TYPE) {
        return refused(format!(
            "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
        ));
    }
    for part in parts.filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return refused(format!(
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, \
                 got {part} in {content_type} content-type"
            ));
        };
        match value {
            _ if !name.eq_ignore_ascii_case("proto") => {}
            MESSAGE_V1 => {}
            MESSAGE_V2 => {
                return refused(format!(
                    "{MESSAGE_V2} protobuf message is not accepted by this server; only accepts {MESSAGE_V1}"
                ));
            }
            unknown => {
                return refused(format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {unknown}, \
                     supported: {MESSAGE_V1}"
                ));
            }
        }
    }
    Ok(())
}

/// A missing content encoding means snappy, as for Prometheus.
fn check_content_encoding(headers: &HeaderMap) -> Result<(), Refused> {
    let encoding = text_of(headers, header::CONTENT_ENCODING);
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("snappy") {
        return Ok(());
    }
    let text = format!(
        "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
    );
    Err(Refused::new(WriteRefusal::ContentEncoding, StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().trim().to_owned()
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    text_of(headers, header::CONTENT_LENGTH).parse().ok()
}

async fn read(api: &Api, body: Body, held: &mut HeldBytes) -> Result<Vec<u8>, Refused> {
    let config = &api.config;
    let body_bytes_max = config.limits.body_bytes_max;
    let accept = |part: usize, so_far: usize| {
        if so_far + part > body_bytes_max {
            return Err(Refused::body_too_large(so_far + part, body_bytes_max));
        }
        if held.grow(part) { Ok(()) } else { Err(Refused::full(config.write_bytes_in_flight_max)) }
    };
    read_body(body, config.body_read_timeout, accept).await.map_err(|error| match error {
        BodyError::Refused(refused) => refused,
        BodyError::Broken(text) => {
            let text = format!("cannot read request body: {text}");
            Refused::new(WriteRefusal::BodyUnread, StatusCode::BAD_REQUEST, text)
        }
        BodyError::Timeout(limit) => {
            let text = format!("request body did not come within {limit:?}");
            Refused::new(WriteRefusal::BodyUnread, StatusCode::REQUEST_TIMEOUT, text)
        }
    })
}

async fn decode(api: &Api, body: Vec<u8>, held: &mut HeldBytes) -> Result<Decoded, Refused> {
    let limits = &api.config.limits;
    let decoded_bytes = snappy::declared_len(&body, limits.decoded_bytes_max)?;
    add(&api.counters.write_body_bytes, body.len() as u64);
    add(&api.counters.write_decoded_bytes, decoded_bytes as u64);
    if !held.grow(decoded_bytes) {
        return Err(Refused::full(api.config.write_bytes_in_flight_max));
    }
    if decoded_bytes <= DECODE_INLINE_BYTES_MAX {
        return Ok(remote_write_1::decode(&body, limits)?);
    }
    let limits = limits.clone();
    let decoded = tokio::task::spawn_blocking(move || remote_write_1::decode(&body, &limits)).await;
    let stopped = "the process is stopping";
    Ok(decoded
        .map_err(|_| Refused::new(WriteRefusal::Unavailable, StatusCode::SERVICE_UNAVAILABLE, stopped))??)
}

fn count_other(counters: &Counters, other: OtherContent) {
    add(&counters.write_series_empty, other.empty_series);
    add(&counters.write_histograms_refused, other.histograms);
    add(&counters.write_exemplars_refused, other.exemplars);
    add(&counters.write_metadata_refused, other.metadata);
}

fn refusal_text(appended: &Appended, sent: u64, histograms: u64) -> String {
    let refused = &appended.refused;
    let mut text = String::new();
    if !refused.is_empty() {
        let _ = write!(
            text,
            "refused {} of {sent} samples, among them {} whole series; {} samples are stored",
            refused.samples, refused.series, appended.samples
        );
        for example in &refused.examples {
            let _ = write!(text, "\n{}: {}", example.reason.as_str(), example.text);
        }
    }
    if histograms > 0 {
        let separator = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{separator}refused {histograms} native histograms: they are not stored yet");
    }
    text
}
