//! What only shows on a real connection.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn connect(faces: &Faces) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = faces.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    TcpStream::connect(address).await.unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within 5 s");
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_query() {
    let faces = Faces::new();
    let mut stream = connect(&faces).await;
    stream.write_all(b"GET /api/v1/query?query=pending HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until("the query", || !faces.engine.asked.lock().unwrap().is_empty()).await;
    drop(stream);
    until("the cancellation", || faces.counters.requests() == [("/api/v1/query", 499, 1)]).await;
}

/// Sends a write request as a plain client does: it reads when all is written.
async fn write_then_read(stream: &mut TcpStream, headers: &str, body_bytes: usize) -> String {
    let head =
        format!("POST /api/v1/write HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {body_bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..body_bytes >> 20 {
        stream.write_all(&[0; 1 << 20]).await.unwrap();
    }
    let mut reply = vec![0; 1024];
    let read = stream.read(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply[..read]).into_owned()
}

#[tokio::test]
async fn a_refused_sender_reads_why_although_it_writes_first() {
    let faces = Faces::new();
    for (headers, body_bytes, status, text) in [
        ("", 17 << 20, "413", "--limits.write-body"),
        ("Content-Type: application/json\r\n", 8 << 20, "415", "application/json"),
    ] {
        let reply = write_then_read(&mut connect(&faces).await, headers, body_bytes).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
        assert!(reply.contains(text), "{reply}");
    }
    let faces = Faces::with(|config| config.multitenancy = true);
    let reply = write_then_read(&mut connect(&faces).await, "", 8 << 20).await;
    assert!(reply.starts_with("HTTP/1.1 401 "), "{reply}");
}
