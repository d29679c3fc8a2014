//! The parameters of a request: the URL's query, and before it the form in the body of a POST.
//!
//! Source: Go's `http.Request.ParseForm` and `FormValue`, which Prometheus uses: a pair that is not
//! well-formed is left out, the others count; the first value of a name wins, and the body's values
//! come before the URL's.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{Method, StatusCode, header};

use crate::config::ApiSettings;
use crate::face::body::{BodyError, late, read_body};
use crate::face::envelope::ApiError;
use crate::face::state::FaceState;

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

impl<S> FromRequest<S> for Form
where
    S: Send + Sync,
    Arc<FaceState>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let face = Arc::<FaceState>::from_ref(state);
        let url_query = request.uri().query().unwrap_or_default().to_owned();
        let mut form = Self::default();
        if request.method() == Method::POST && media_type(&request) == "application/x-www-form-urlencoded" {
            form.add(&read_form_body(request.into_body(), &face.config).await?).map_err(not_utf8)?;
        }
        form.add(url_query.as_bytes()).map_err(not_utf8)?;
        Ok(form)
    }
}

/// Reads the body of a form, or of anything as small.
///
/// # Errors
/// If it is larger than a form may be, or does not come in time.
pub async fn read_form_body(body: Body, config: &ApiSettings) -> Result<Vec<u8>, ApiError> {
    let bytes_max = config.form_bytes_max;
    let accept = |part: usize, so_far: usize| {
        if so_far + part > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
    };
    Ok(read_body(body, config.body_read_timeout, accept).await?)
}

impl From<BodyError<ApiError>> for ApiError {
    fn from(error: BodyError<ApiError>) -> Self {
        match error {
            BodyError::Refused(error) => error,
            BodyError::Broken(text) => Self::bad_data(format!("error parsing form values: {text}")),
            BodyError::Timeout { bytes, timeout } => {
                let text = format!("error parsing form values: the body is late: {}", late(bytes, timeout));
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
