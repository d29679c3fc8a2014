//! The parameters of a request: the URL's query, and before it the form in the body of a POST.
//!
//! Source: Go's `http.Request.ParseForm`, `ParseMultipartForm` and `FormValue`, which Prometheus uses: a pair that is
//! not well-formed is left out, the others count; the first value of a name wins; the values of an encoded form come
//! before the URL's, and those of a multipart form (`curl -F`) behind them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{Method, StatusCode, header};

use crate::config::ApiSettings;
use crate::face::body::{BodyError, late, read_body};
use crate::face::envelope::ApiError;
use crate::face::state::FaceState;

/// The media type of a form as browsers and Go's clients send it.
const URL_ENCODED: &str = "application/x-www-form-urlencoded";
/// And that of a form with files.
const MULTIPART: &str = "multipart/form-data";

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

    /// Adds the fields of a multipart form; `content_type` names what stands between them.
    ///
    /// # Errors
    /// If a value is not UTF-8.
    async fn add_multipart(&mut self, content_type: &str, body: Vec<u8>) -> Result<(), String> {
        let boundary = match multer::parse_boundary(content_type) {
            Ok(boundary) => boundary,
            Err(error) => {
                self.leave_out(error.to_string());
                return Ok(());
            }
        };
        let mut parts = multer::Multipart::new(Body::from(body).into_data_stream(), boundary);
        let mut pairs = Vec::new();
        loop {
            match next_pair(&mut parts).await {
                Ok(Some(Some((name, value)))) => pairs.push((name, utf8(value)?)),
                // A file is no parameter.
                Ok(Some(None)) => {}
                Ok(None) => break,
                // As Go: all of it or nothing.
                Err(error) => {
                    self.leave_out(error.to_string());
                    return Ok(());
                }
            }
        }
        self.pairs.append(&mut pairs);
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

/// The next field of a multipart form, if it is none of a file; `None` behind the last one.
async fn next_pair(
    parts: &mut multer::Multipart<'_>,
) -> Result<Option<Option<(String, Vec<u8>)>>, multer::Error> {
    let Some(field) = parts.next_field().await? else { return Ok(None) };
    let name = field.name().filter(|_| field.file_name().is_none()).map(str::to_owned);
    let value = field.bytes().await?;
    Ok(Some(name.map(|name| (name, value.to_vec()))))
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
        let is_post = request.method() == Method::POST;
        let (media_type, content_type) = (media_type(&request), content_type(&request).to_owned());
        let mut form = Self::default();
        if is_post && media_type == URL_ENCODED {
            form.add(&read_form_body(request.into_body(), &face.config).await?).map_err(not_utf8)?;
            form.add(url_query.as_bytes()).map_err(not_utf8)?;
            return Ok(form);
        }
        form.add(url_query.as_bytes()).map_err(not_utf8)?;
        if is_post && media_type == MULTIPART {
            let body = read_form_body(request.into_body(), &face.config).await?;
            form.add_multipart(&content_type, body).await.map_err(not_utf8)?;
        }
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
    let media_type = content_type(request).split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

/// The media type of a body with its parameters; empty if none is named.
fn content_type(request: &Request) -> &str {
    let value = request.headers().get(header::CONTENT_TYPE);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
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

    #[tokio::test]
    async fn fields_of_a_multipart_form_count_and_files_do_not() {
        let part = |disposition: &str, value: &str| {
            format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
        };
        let body = [
            part("name=\"query\"", "1+1"),
            part("name=\"match[]\"", "up{job=\"a\"}"),
            part("name=\"match[]\"; filename=\"x\"", "no"),
            part("name=empty", ""),
        ]
        .concat();
        let mut form = form("query=2&time=5");
        form.add_multipart("multipart/form-data; boundary=b", format!("{body}--b--\r\n").into())
            .await
            .unwrap();
        assert_eq!(form.all("query").collect::<Vec<_>>(), ["2", "1+1"]);
        assert_eq!(form.all("match[]").collect::<Vec<_>>(), ["up{job=\"a\"}"]);
        assert_eq!((form.first("time"), form.first("empty"), form.malformed()), ("5", "", None));
        for (content_type, body) in
            [("multipart/form-data", body.as_str()), ("multipart/form-data; boundary=b", &body)]
        {
            let mut cut = Form::default();
            cut.add_multipart(content_type, body.as_bytes().to_vec()).await.unwrap();
            assert!(cut.malformed().is_some() && cut.pairs.is_empty(), "{content_type}");
        }
        let latin = b"--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n\xff\r\n--b--\r\n".to_vec();
        let refused = Form::default().add_multipart("multipart/form-data; boundary=b", latin).await;
        assert_eq!(refused, Err("not UTF-8: \\xff".to_owned()));
    }

    #[test]
    fn values_that_are_not_utf8_are_errors() {
        assert_eq!(Form::default().add(b"query=%ff"), Err("not UTF-8: \\xff".to_owned()));
    }
}
