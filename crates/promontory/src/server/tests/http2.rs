//! The little of HTTP/2 that the tests speak, by hand, so that they can be as odd as they like.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::soon;

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

/// Begins a connection whose peer may send so many bytes of each answer before it is told more.
pub async fn begin(stream: &mut TcpStream, window: u32) {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let [a, b, c, d] = window.to_be_bytes();
    // SETTINGS_INITIAL_WINDOW_SIZE
    frame(&mut bytes, SETTINGS, 0, 0, &[0, 4, a, b, c, d]);
    stream.write_all(&bytes).await.unwrap();
}

/// Sends `GET path` as the stream `id`.
pub async fn get(stream: &mut TcpStream, id: u32, path: &str) {
    // `GET` and `http` of the static table, path and authority as they are.
    let mut block = vec![0x82, 0x86, 0x04, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(&[0x01, 1, b'x']);
    let mut bytes = Vec::new();
    // END_STREAM and END_HEADERS.
    frame(&mut bytes, HEADERS, 0x5, id, &block);
    stream.write_all(&bytes).await.unwrap();
}

/// Reads until the head of the answer on stream `id` has come.
pub async fn head(stream: &mut TcpStream, id: u32) {
    loop {
        let mut header = [0; 9];
        soon(stream.read_exact(&mut header)).await.unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        soon(stream.read_exact(&mut payload)).await.unwrap();
        let of = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        if (header[3], of) == (HEADERS, id) {
            return;
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}
