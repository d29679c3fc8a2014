//! A slow link: a TCP proxy through which all connections together pass so many bytes a second, in each
//! direction by itself.
//!
//! What a connection may send is decided piece by piece, first come, first served: connections share the link
//! evenly and a small request is not held up behind a large one, as in a router with fair queues.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::pause;
use super::program::free_port;

/// Bytes of a connection that pass the link in one piece: 4 ms of 4 MB/s.
const PIECE_BYTES: usize = 16 << 10;
/// What an idle link lets through at once.
const BURST: Duration = Duration::from_millis(20);

/// A running proxy; its connections end when it is dropped.
pub struct SlowLink {
    port: u16,
    stop: Arc<AtomicBool>,
    /// To the server, and back.
    directions: [Arc<Direction>; 2],
    listening: Option<JoinHandle<()>>,
}

/// What flows one way over all connections.
struct Direction {
    bytes_per_second: f64,
    /// When everything that was let through will have passed.
    free_at: Mutex<Instant>,
    bytes: AtomicU64,
}

impl SlowLink {
    /// A link to a server on this machine.
    pub fn to(server: u16, bytes_per_second: u64) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let stop = Arc::new(AtomicBool::new(false));
        let directions = [(); 2].map(|()| Arc::new(Direction::new(bytes_per_second)));
        let (stopping, both) = (stop.clone(), directions.clone());
        let listening = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopping.load(Relaxed) {
                    return;
                }
                // A server that refuses closes the client's connection.
                let _ = join(client, server, &both, &stopping);
            }
        });
        Self { port, stop, directions, listening: Some(listening) }
    }

    /// The port that stands for the server's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that have passed so far, to the server and back.
    pub fn bytes(&self) -> [u64; 2] {
        self.directions.each_ref().map(|direction| direction.bytes.load(Relaxed))
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // Wakes the thread from its wait for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

impl Direction {
    fn new(bytes_per_second: u64) -> Self {
        let free_at = Mutex::new(Instant::now());
        Self { bytes_per_second: bytes_per_second as f64, free_at, bytes: AtomicU64::new(0) }
    }

    /// Waits until so many more bytes have passed.
    fn pass(&self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let until = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let idle_since = Instant::now().checked_sub(BURST).unwrap_or(*free_at);
            *free_at = idle_since.max(*free_at) + takes;
            *free_at
        };
        pause(until.saturating_duration_since(Instant::now()));
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

/// Joins a client with the server, by a thread for each direction.
fn join(
    client: TcpStream,
    server: u16,
    directions: &[Arc<Direction>; 2],
    stop: &Arc<AtomicBool>,
) -> std::io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    let [there, back] = directions.clone();
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        // So that a thread of an idle connection sees the end of the link.
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    }
    let ways = [(client.try_clone()?, server.try_clone()?, there), (server, client, back)];
    for (from, to, direction) in ways {
        let stop = stop.clone();
        std::thread::spawn(move || {
            pump(&from, &to, &direction, &stop);
            // Whoever still writes is told that nobody reads.
            let _ = from.shutdown(Shutdown::Read);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, direction: &Direction, stop: &AtomicBool) {
    let mut piece = vec![0; PIECE_BYTES];
    while !stop.load(Relaxed) {
        let n = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => n,
            Err(error) if is_wait(error.kind()) => continue,
            Err(_) => return,
        };
        direction.pass(n);
        if to.write_all(&piece[..n]).is_err() {
            return;
        }
    }
}

fn is_wait(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(kind, Interrupted | TimedOut | WouldBlock)
}
