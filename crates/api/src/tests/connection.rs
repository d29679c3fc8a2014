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

#[tokio::test]
async fn a_sender_of_too_much_reads_why_although_it_writes_first() {
    let faces = Faces::new();
    let body_bytes = 17 << 20;
    let mut stream = connect(&faces).await;
    let head = format!("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: {body_bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A plain client: it reads when all is written.
    for _ in 0..body_bytes >> 20 {
        stream.write_all(&[0; 1 << 20]).await.unwrap();
    }
    let mut reply = vec![0; 1024];
    let read = stream.read(&mut reply).await.unwrap();
    let reply = String::from_utf8_lossy(&reply[..read]);
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    assert!(reply.contains("--limits.write-body"), "{reply}");
}
