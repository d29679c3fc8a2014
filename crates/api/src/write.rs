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

mod head;
mod refused;

use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use promontory_model::append::{Appended, Urgency};
use promontory_model::{Append, TenantId};
use promontory_wire::remote_write_1::{self, Decoded, OtherContent};
use promontory_wire::snappy;

use crate::face::{
    BodyError, Counters, HeldBytes, Tenant, WriteRefusal, add, discard_body, late, plain, read_body,
};
use crate::state::ApiState;
use head::{announced, check_content_encoding, check_content_type};
use refused::Refused;

/// From this decompressed size, decoding goes to the blocking pool: it takes milliseconds.
pub(crate) const DECODE_INLINE_BYTES_MAX: usize = 512 << 10;

/// `POST /api/v1/write`
pub(crate) async fn remote_write(
    State(api): State<ApiState>,
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
            discard_body(body, api.face.config.body_read_timeout).await;
            response
        }
    }
}

fn refuse(api: &ApiState, refused: Refused) -> Response {
    api.face.counters.write_refused(refused.reason);
    refused.log(&api.face.counters);
    refused.into_response()
}

/// What can be said before the body is read.
fn check_head<'a>(api: &'a ApiState, headers: &HeaderMap) -> Result<&'a dyn Append, Refused> {
    let Some(append) = &api.append else {
        let text = "remote write receiver needs to be enabled: this process takes no samples, send them to one \
                    that runs with --role=all or --role=ingester";
        return Err(Refused::new(WriteRefusal::NoIngest, StatusCode::NOT_FOUND, text));
    };
    check_content_type(headers)?;
    check_content_encoding(headers)?;
    let body_bytes_max = api.face.config.limits.body_bytes_max;
    match announced(headers) {
        Some(bytes) if bytes > body_bytes_max => Err(Refused::body_too_large(bytes, body_bytes_max)),
        _ => Ok(append.as_ref()),
    }
}

async fn take(
    api: &ApiState,
    append: &dyn Append,
    tenant: &TenantId,
    announced: Option<usize>,
    body: Body,
) -> Result<Response, Refused> {
    let mut held = HeldBytes::new(api.face.counters.clone(), api.face.config.write_bytes_in_flight_max);
    // What the sender announces spares both sides the transfer; only what arrives is held.
    if !held.would_fit(announced.unwrap_or(0)) {
        return Err(Refused::full(api.face.config.write_bytes_in_flight_max));
    }
    let body = read(api, body, &mut held).await?;
    let Decoded { batch, other } = decode(api, body, &mut held).await?;
    count_other(&api.face.counters, other);
    add(&api.face.counters.write_series, batch.series.len() as u64);

    let sent = batch.samples.len() as u64;
    let appended = match batch.series.is_empty() {
        true => Appended::default(),
        false => append.append(tenant, batch, Urgency::Batched).await?,
    };
    add(&api.face.counters.write_samples, appended.samples);
    add(&api.face.counters.write_samples_refused, appended.refused.samples);
    add(&api.face.counters.write_series_refused, appended.refused.series);
    if appended.refused.is_empty() && other.histograms == 0 {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(plain(StatusCode::BAD_REQUEST, &refusal_text(&appended, sent, other.histograms)))
}

async fn read(api: &ApiState, body: Body, held: &mut HeldBytes) -> Result<Vec<u8>, Refused> {
    let config = &api.face.config;
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
        BodyError::Timeout { bytes, timeout } => {
            let text = format!("the request body is late: {}", late(bytes, timeout));
            Refused::new(WriteRefusal::BodyUnread, StatusCode::REQUEST_TIMEOUT, text)
        }
    })
}

async fn decode(api: &ApiState, body: Vec<u8>, held: &mut HeldBytes) -> Result<Decoded, Refused> {
    let limits = &api.face.config.limits;
    let decoded_bytes = snappy::declared_len(&body, limits.decoded_bytes_max)?;
    add(&api.face.counters.write_body_bytes, body.len() as u64);
    add(&api.face.counters.write_decoded_bytes, decoded_bytes as u64);
    if !held.grow(decoded_bytes) {
        return Err(Refused::full(api.face.config.write_bytes_in_flight_max));
    }
    if decoded_bytes <= DECODE_INLINE_BYTES_MAX {
        return Ok(remote_write_1::decode(&body, limits)?);
    }
    let limits = limits.clone();
    let _place = api.decoding.acquire().await;
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
