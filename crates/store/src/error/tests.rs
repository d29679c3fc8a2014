//! What clients read of a store's failure, and what they must not.

use std::io;
use std::sync::Arc;

use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::object::bucket::{Bucket, StoreUrl};
use crate::object::requests::unavailable;

/// What S3 says to whoever signs with a wrong secret.
const DETAILS: &str = "<AWSAccessKeyId>AKIDOFOURS</AWSAccessKeyId>\
                       <StringToSign>AWS4-HMAC-SHA256 20261127T000000Z</StringToSign>";

/// Answers every request with this status and code, and with [`DETAILS`].
async fn refusing(status: &'static str, code: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let body = format!("<Error><Code>{code}</Code>{DETAILS}</Error>");
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    port
}

async fn error_of_s3(port: u16) -> Error {
    let url = format!(
        "s3://our-bucket?endpoint=http://127.0.0.1:{port}&access_key_id=AKIDOFOURS&secret_access_key=hush"
    );
    let bucket = Bucket::open(&url.parse::<StoreUrl>().unwrap(), &Arc::default()).unwrap();
    let key = Path::from("blocks/x/samples.parquet");
    let source = bucket.metadata.get(&key).await.unwrap_err();
    unavailable("read", &key, source)
}

/// The text without its incident.
fn without_incident(told: &str) -> &str {
    let (text, incident) = told.split_once("; the log names it as incident ").expect(told);
    assert!(incident.len() == 8 && incident.bytes().all(|byte| byte.is_ascii_hexdigit()), "{told}");
    text
}

#[tokio::test]
async fn clients_read_the_object_and_the_class_but_nothing_of_the_stores_words() {
    for (status, code, class) in [
        ("403 Forbidden", "SignatureDoesNotMatch", StoreTrouble::WrongKey),
        ("403 Forbidden", "AccessDenied", StoreTrouble::AccessDenied),
        ("401 Unauthorized", "Unheard", StoreTrouble::WrongKey),
        ("404 Not Found", "NoSuchKey", StoreTrouble::Missing),
        ("400 Bad Request", "Unheard", StoreTrouble::Refused),
    ] {
        let port = refusing(status, code).await;
        let error = error_of_s3(port).await;
        let whole = error.to_string();
        assert!(whole.contains("AKIDOFOURS") && whole.contains("our-bucket"), "the log has it all: {whole}");
        let told = error.told("expanding series");
        let expected = format!("expanding series: cannot read blocks/x/samples.parquet: {class}");
        assert_eq!(without_incident(&told), expected, "{status}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_not_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let told = error_of_s3(port).await.told("expanding series");
    let text = without_incident(&told);
    assert_eq!(text, "expanding series: cannot read blocks/x/samples.parquet: the store cannot be reached");
}

#[test]
fn failures_of_a_folder_are_told_by_their_kind() {
    for (kind, class) in [
        (io::ErrorKind::StorageFull, StoreTrouble::NoSpace),
        (io::ErrorKind::PermissionDenied, StoreTrouble::Unwritable),
        (io::ErrorKind::NotADirectory, StoreTrouble::NotFolder),
        (io::ErrorKind::Other, StoreTrouble::Other),
    ] {
        let cause = io::Error::new(kind, "/srv/secret/data");
        let source = object_store::Error::Generic { store: "DurableLocal", source: Box::new(cause) };
        let told = unavailable("create", &Path::from("wal/1"), source).told("cannot make samples durable");
        assert_eq!(
            without_incident(&told),
            format!("cannot make samples durable: cannot create wal/1: {class}")
        );
    }
}

#[test]
fn our_own_words_are_told_whole() {
    let error = Error::Corrupt { object: "blocks/x".into(), why: "corrupt at bytes 3..9".into() };
    assert_eq!(error.told("expanding series"), "expanding series: blocks/x: corrupt at bytes 3..9");
    assert_eq!(Error::Busy("wait".into()).told("cannot take samples"), "cannot take samples: wait");
}
