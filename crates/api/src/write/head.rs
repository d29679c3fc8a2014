//! What the head of a write request says: its content type, its encoding, its size.
//!
//! Source: prometheus v3.14 `storage/remote/write_handler.go`; client_golang `exp/api/remote`.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use crate::face::WriteRefusal;
use crate::write::refused::Refused;

const MEDIA_TYPE: &str = "application/x-protobuf";
const MESSAGE_V1: &str = "prometheus.WriteRequest";
const MESSAGE_V2: &str = "io.prometheus.write.v2.Request";

/// A missing content type means remote write 1.0, as for Prometheus.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Refused> {
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
pub(crate) fn check_content_encoding(headers: &HeaderMap) -> Result<(), Refused> {
    let encoding = text_of(headers, header::CONTENT_ENCODING);
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("snappy") {
        return Ok(());
    }
    let text = format!(
        "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
    );
    Err(Refused::new(WriteRefusal::ContentEncoding, StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

/// The bytes of the body, if the sender says how many come.
pub(crate) fn announced(headers: &HeaderMap) -> Option<usize> {
    text_of(headers, header::CONTENT_LENGTH).parse().ok()
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().trim().to_owned()
}
