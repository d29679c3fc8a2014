//! Every dialect leads to its trouble.

use super::*;

/// An error as the client of S3 makes it of an answer; it does not export the type of the cause.
fn answered(status: &str, body: &str) -> StoreError {
    let source = format!(
        "Error performing GET http://s3/b in 1ms - Server returned non-2xx status code: {status}: {body}"
    );
    let source = source.into();
    match status.get(..3) {
        Some("403") => StoreError::PermissionDenied { path: "k".into(), source },
        Some("404") => StoreError::NotFound { path: "k".into(), source },
        _ => StoreError::Generic { store: "S3", source },
    }
}

fn of_code(status: &str, code: &str) -> StoreTrouble {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
    StoreTrouble::of(&answered(status, &body))
}

#[test]
fn codes_win_over_statuses() {
    for (status, code, expected) in [
        ("404 Not Found", "NoSuchBucket", T::BucketMissing),
        ("404 Not Found", "NoSuchKey", T::Missing),
        ("403 Forbidden", "SignatureDoesNotMatch", T::WrongKey),
        ("403 Forbidden", "AccessDenied", T::AccessDenied),
        ("403 Forbidden", "RequestTimeTooSkewed", T::ClockSkew),
        ("400 Bad Request", "InvalidBucketName", T::BucketName),
        ("400 Bad Request", "ExpiredToken", T::ExpiredToken),
        ("400 Bad Request", "AuthorizationHeaderMalformed", T::WrongRegion),
        ("501 Not Implemented", "NotImplemented", T::NotSupported),
        ("507 Insufficient Storage", "XMinioStorageFull", T::NoSpace),
        ("503 Service Unavailable", "SlowDown", T::Throttled),
        ("400 Bad Request", "Unheard", T::Refused),
    ] {
        assert_eq!(of_code(status, code), expected, "{status} {code}");
    }
}

#[test]
fn an_answer_without_a_body_is_told_by_its_status() {
    for (status, expected) in [
        ("400 Bad Request", T::Refused),
        ("401 Unauthorized", T::WrongKey),
        ("403 Forbidden", T::AccessDenied),
        ("404 Not Found", T::Missing),
        ("429 Too Many Requests", T::Throttled),
        ("500 Internal Server Error", T::Failing),
        ("502 Bad Gateway", T::Failing),
    ] {
        assert_eq!(StoreTrouble::of(&answered(status, "")), expected, "{status}");
    }
}

#[test]
fn errors_of_a_folder_are_told_by_their_kind() {
    for (kind, expected) in [
        (io::ErrorKind::StorageFull, T::NoSpace),
        (io::ErrorKind::PermissionDenied, T::Unwritable),
        (io::ErrorKind::NotADirectory, T::NotFolder),
        (io::ErrorKind::Unsupported, T::NoHardLinks),
        (io::ErrorKind::Other, T::Other),
    ] {
        let source = Box::new(io::Error::new(kind, "/srv/data"));
        assert_eq!(
            StoreTrouble::of(&StoreError::Generic { store: "DurableLocal", source }),
            expected,
            "{kind}"
        );
    }
}

#[test]
fn connections_are_told_from_trust() {
    for (kind, why, expected) in [
        (HttpErrorKind::Connect, "tcp connect error: Connection refused", T::Unreachable),
        (HttpErrorKind::Connect, "invalid peer certificate: UnknownIssuer", T::Tls),
        (HttpErrorKind::Timeout, "operation timed out", T::TimedOut),
        (HttpErrorKind::Interrupted, "connection reset", T::Failing),
    ] {
        let source = Box::new(HttpError::new(kind, io::Error::other(why)));
        assert_eq!(StoreTrouble::of(&StoreError::Generic { store: "S3", source }), expected, "{why}");
    }
}

#[test]
fn the_page_for_operators_has_every_trouble() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    for trouble in StoreTrouble::ALL {
        let start = if trouble.mends_itself() { "waits" } else { "ends" };
        let row = format!("| {trouble} | {} | {start} |", trouble.mend());
        assert!(page.contains(&row), "docs/operations.md lacks this row:\n{row}");
    }
}
