//! The parameters of a request: the URL's query, and before it the form in the body of a POST.
//!
//! Source: Go's `http.Request.ParseForm` and `FormValue`, which Prometheus uses: a pair that is not
//! well-formed is left out, the others count; the first value of a name wins, and the body's values
//! come before the URL's.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, StatusCode, header};
use futures_core::Stream;

use crate::respond::ApiError;
use crate::routes::Api;

/// Parameters in the order in which they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pairs: Vec<(String, String)>,
    /// What was wrong with the first pair that was left out.
    malformed: Option<String>,
}

impl Form {
    /// The first value of a name; empty if there is none.
    #[must_use]
    pub fn first(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// All values of a name.
    pub(crate) fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// What was wrong with the first pair that was left out.
    pub(crate) fn malformed(&self) -> Option<&str> {
        self.malformed.as_deref()
    }

    /// Adds the pairs of an encoded form.
    ///
    /// # Errors
    /// If a value is not UTF-8: nothing that takes parameters could mean it.
    pub fn add(&mut self, encoded: &[u8]) -> Result<(), String> {
        for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pair.contains(&b';') {
                self.leave_out("invalid semicolon separator in query".to_owned());
                continue;
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            match (unescape(name), unescape(value)) {
                (Ok(name), Ok(value)) => self.pairs.push((utf8(name)?, utf8(value)?)),
                (Err(error), _) | (_, Err(error)) => self.leave_out(error),
            }
        }
        Ok(())
    }

    /// Adds one pair behind the others.
    pub fn set(&mut self, name: &str, value: &str) {
        self.pairs.push((name.to_owned(), value.to_owned()));
    }

    fn leave_out(&mut self, why: String) {
        self.malformed.get_or_insert(why);
    }
}

impl FromRequest<Arc<Api>> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, ApiError> {
        let url_query = request.uri().query().unwrap_or_default().to_owned();
        let mut form = Self::default();
        if request.method() == Method::POST && media_type(&request) == "application/x-www-form-urlencoded" {
            form.add(&read_form_body(request.into_body(), api).await?).map_err(not_utf8)?;
        }
        form.add(url_query.as_bytes()).map_err(not_utf8)?;
        Ok(form)
    }
}

/// Reads the body of a form, or of anything as small.
///
/// # Errors
/// If it is larger than a form may be, or does not come in time.
pub async fn read_form_body(body: Body, api: &Api) -> Result<Vec<u8>, ApiError> {
    let bytes_max = api.config.form_bytes_max;
    let accept = |part: usize, so_far: usize| {
        if so_far + part > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
    };
    Ok(read_body(body, api.config.body_read_timeout, accept).await?)
}

/// Why a body was not read whole.
pub(crate) enum BodyError<E> {
    /// It did not come in time.
    Timeout(Duration),
    /// The connection failed or the framing is wrong.
    Broken(String),
    /// `accept` refused it.
    Refused(E),
}

/// Reads a body; `accept` sees the size of each part and of what came before, and may refuse.
pub(crate) async fn read_body<E>(
    body: Body,
    timeout: Duration,
    mut accept: impl FnMut(usize, usize) -> Result<(), E>,
) -> Result<Vec<u8>, BodyError<E>> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let read = async {
        while let Some(part) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            let part = part.map_err(|error| BodyError::Broken(error.to_string()))?;
            accept(part.len(), bytes.len()).map_err(BodyError::Refused)?;
            bytes.extend_from_slice(&part);
        }
        Ok(())
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(BodyError::Timeout(timeout)),
    }
}

/// Reads a body of at most `bytes_max` and forgets it.
///
/// A client that writes its whole request before it looks for the answer would get a reset connection
/// instead of the refusal, and try again for ever.
pub(crate) async fn discard_body(body: Body, timeout: Duration, bytes_max: usize) {
    let mut stream = body.into_data_stream();
    let mut bytes = 0;
    let read = async {
        while let Some(Ok(part)) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
            bytes += part.len();
            if bytes > bytes_max {
                return;
            }
        }
    };
    // Late or not, the refusal is sent.
    let _ = tokio::time::timeout(timeout, read).await;
}

impl From<BodyError<ApiError>> for ApiError {
    fn from(error: BodyError<ApiError>) -> Self {
        match error {
            BodyError::Refused(error) => error,
            BodyError::Broken(text) => Self::bad_data(format!("error parsing form values: {text}")),
            BodyError::Timeout(limit) => {
                let text = format!("error parsing form values: the body did not come within {limit:?}");
                Self::bad_data(text).with_status(StatusCode::REQUEST_TIMEOUT)
            }
        }
    }
}

fn too_large(limit: usize) -> ApiError {
    let text = format!("error parsing form values: the form is larger than {limit} bytes (form_bytes_max)");
    ApiError::bad_data(text).with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

/// A parameter that is not UTF-8.
pub fn not_utf8(text: String) -> ApiError {
    ApiError::bad_data(format!("error parsing form values: {text}"))
}

/// The media type of a body in lower case, without its parameters; empty if none is named.
pub fn media_type(request: &Request) -> String {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {}", error.as_bytes().escape_ascii()))
}

/// `+` is a space, `%xx` a byte.
fn unescape(encoded: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while at < encoded.len() {
        match encoded[at] {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = encoded.get(at + 1..at + 3).unwrap_or(&encoded[at + 1..]);
                bytes.push(
                    hex_byte(digits)
                        .ok_or_else(|| format!("invalid URL escape \"%{}\"", digits.escape_ascii()))?,
                );
                at += 2;
            }
            byte => bytes.push(byte),
        }
        at += 1;
    }
    Ok(bytes)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(encoded: &str) -> Form {
        let mut form = Form::default();
        form.add(encoded.as_bytes()).unwrap();
        form
    }

    #[test]
    fn pairs_are_decoded_in_order() {
        let form = form("query=sum%28up%29+%2B+1&match[]=a&match%5B%5D=b&empty=&alone&=x&&a=b=c");
        assert_eq!(form.first("query"), "sum(up) + 1");
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(form.first("empty"), "");
        assert_eq!(form.first("alone"), "");
        assert_eq!(form.first("a"), "b=c");
        assert_eq!(form.malformed(), None);
    }

    #[test]
    fn a_malformed_pair_is_left_out_and_named() {
        for (encoded, why) in [
            ("a=%zz&b=1", "invalid URL escape \"%zz\""),
            ("a=%2&b=1", "invalid URL escape \"%2\""),
            ("a=%&b=1", "invalid URL escape \"%\""),
            ("a=1;c=2&b=1", "invalid semicolon separator in query"),
        ] {
            let form = form(encoded);
            assert_eq!((form.first("a"), form.first("b"), form.malformed()), ("", "1", Some(why)));
        }
    }

    #[test]
    fn values_that_are_not_utf8_are_errors() {
        assert_eq!(Form::default().add(b"query=%ff"), Err("not UTF-8: \\xff".to_owned()));
    }
}
