//! Write requests that are refused as a whole: the reason that is counted, the status and the text.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use promontory_model::append::AppendError;
use promontory_wire::DecodeError;

use crate::config::flag_of;
use crate::face::{Counters, RETRY_AFTER_SECONDS, WriteRefusal, plain};

/// Why a request is refused as a whole, and what its sender is told.
pub(crate) struct Refused {
    pub(crate) reason: WriteRefusal,
    status: StatusCode,
    text: String,
}

impl Refused {
    pub(crate) fn new(reason: WriteRefusal, status: StatusCode, text: impl Into<String>) -> Self {
        Self { reason, status, text: text.into() }
    }

    pub(crate) fn full(bytes_max: usize) -> Self {
        let text = format!(
            "{bytes_max} bytes of write requests are in flight, no more are accepted now (limit {})",
            flag_of("write_bytes_in_flight_max")
        );
        Self::new(WriteRefusal::BytesInFlight, StatusCode::SERVICE_UNAVAILABLE, text)
    }

    pub(crate) fn body_too_large(found: usize, limit: usize) -> Self {
        let flag = flag_of("body_bytes_max");
        let text =
            format!("request body has {found} bytes or more, at most {limit} are accepted (limit {flag})");
        Self::new(WriteRefusal::BodyTooLarge, StatusCode::PAYLOAD_TOO_LARGE, text)
    }
}

impl Refused {
    fn is_put_off(&self) -> bool {
        matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    }

    /// One line for many: under more load than the process can take, a line for each would be thousands a second.
    pub(crate) fn log(&self, counters: &Counters) {
        let reason = self.reason.as_str();
        if !self.is_put_off() {
            tracing::debug!(reason, error = %self.text, "write request refused");
        } else if let Some(untold) = counters.tell_put_off() {
            tracing::warn!(reason, error = %self.text, untold, "write request put off");
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let retry = self.is_put_off();
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
