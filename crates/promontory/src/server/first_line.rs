//! The first line of a connection, before a parser of HTTP sees it.
//!
//! People type `curl -g 'http://.../query?query=up{job="api"}'`. Go takes the quotes as they are, and hyper refuses
//! them, with `<`, `>` and what is no ASCII, by 400 and no word. So the target of a first request is written anew
//! with these percent-encoded, which means the same to whoever decodes it. A `#` is no fragment there, as for Go.
//!
//! A line that is too long for hyper ([`LINE_BYTES_MAX`]) is answered by us, in place of its 431 without a word: a
//! request of nothing is given on instead, and [`FirstLine::is_too_long`] says how to answer it.
//!
//! Later requests of a connection are not looked at: who keeps one is a program, whose library encodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Longest first line, encoded: hyper takes targets of 65,534 bytes.
pub(super) const LINE_BYTES_MAX: usize = 65_000;
/// How HTTP/2 begins.
const HTTP2_BEGINS: &[u8] = b"PRI * HTTP/2.0\r\n";
/// Stands in the place of a line that is too long, and of all behind it.
const NOTHING: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Whether the first line was too long.
#[derive(Clone, Default)]
pub(super) struct TooLong(Arc<AtomicBool>);

impl TooLong {
    /// Was it?
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// The first line on its way.
pub(super) struct FirstLine {
    state: State,
    too_long: TooLong,
}

enum State {
    /// Bytes up to the end of the line, and perhaps some behind it.
    Coming(Vec<u8>),
    /// Bytes that are given on, and how many were.
    Going(Vec<u8>, usize),
    Gone,
    /// Nothing more is given on.
    Ended,
}

/// What a reader gets.
pub(super) enum Given<'a> {
    /// These bytes, or some of them; see [`FirstLine::gave`].
    Bytes(&'a [u8]),
    /// More has to come from the peer first; see [`FirstLine::take`].
    Later,
    /// Whatever comes from the peer.
    Rest,
    /// Nothing for ever.
    Nothing,
}

impl FirstLine {
    pub(super) fn new(too_long: TooLong) -> Self {
        Self { state: State::Coming(Vec::new()), too_long }
    }

    /// What is to be given on.
    pub(super) fn given(&self) -> Given<'_> {
        match &self.state {
            State::Coming(_) => Given::Later,
            State::Going(bytes, at) => Given::Bytes(&bytes[*at..]),
            State::Gone => Given::Rest,
            State::Ended => Given::Nothing,
        }
    }

    /// So many bytes were given on.
    pub(super) fn gave(&mut self, n: usize) {
        let State::Going(bytes, at) = &mut self.state else { return };
        *at += n;
        if *at == bytes.len() {
            self.state = if self.too_long.is_so() { State::Ended } else { State::Gone };
        }
    }

    /// Takes what has come; nothing means that the peer ends.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let State::Coming(line) = &mut self.state else { return };
        line.extend_from_slice(bytes);
        let is_http2 = line.starts_with(HTTP2_BEGINS);
        let end = line.iter().position(|byte| *byte == b'\n');
        let given = match end {
            _ if bytes.is_empty() || is_http2 => std::mem::take(line),
            Some(end) => match encoded(&line[..end]).filter(|line| line.len() <= LINE_BYTES_MAX) {
                Some(mut encoded) => {
                    encoded.extend_from_slice(&line[end..]);
                    encoded
                }
                None => self.replaced(),
            },
            None if line.len() > LINE_BYTES_MAX => self.replaced(),
            None => return,
        };
        self.state = if given.is_empty() { State::Gone } else { State::Going(given, 0) };
    }

    fn replaced(&self) -> Vec<u8> {
        self.too_long.0.store(true, Relaxed);
        NOTHING.to_vec()
    }
}

/// A request line whose target has only bytes that a target may have; `None` if it is longer than any may be.
fn encoded(line: &[u8]) -> Option<Vec<u8>> {
    let is_blank = |byte: &u8| *byte == b' ';
    let (first, last) = (line.iter().position(is_blank), line.iter().rposition(is_blank));
    let target = match (first, last) {
        (Some(first), Some(last)) if first < last => first..last,
        // A request of HTTP/0.9, or none at all: for others to refuse.
        _ => return Some(line.to_vec()),
    };
    let mut encoded = line[..target.start].to_vec();
    for byte in &line[target.clone()] {
        match byte {
            b'"' | b'<' | b'>' | b'#' | 0x80.. => {
                encoded.extend_from_slice(format!("%{byte:02X}").as_bytes())
            }
            byte => encoded.push(*byte),
        }
        if encoded.len() > LINE_BYTES_MAX {
            return None;
        }
    }
    encoded.extend_from_slice(&line[target.end..]);
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given on of bytes that come in parts of `n`.
    fn through(bytes: &[u8], n: usize) -> (Vec<u8>, bool) {
        let too_long = TooLong::default();
        let mut line = FirstLine::new(too_long.clone());
        let (mut out, mut rest) = (Vec::new(), bytes);
        loop {
            match line.given() {
                Given::Bytes(bytes) => {
                    let bytes = &bytes[..bytes.len().min(n)];
                    out.extend_from_slice(bytes);
                    let n = bytes.len();
                    line.gave(n);
                }
                Given::Later => {
                    let (part, behind) = rest.split_at(n.min(rest.len()));
                    rest = behind;
                    line.take(part);
                }
                Given::Rest => {
                    out.extend_from_slice(rest);
                    return (out, too_long.is_so());
                }
                Given::Nothing => return (out, too_long.is_so()),
            }
        }
    }

    fn check(bytes: &str, expected: &str) {
        for n in [1, 7, 100_000] {
            let (out, is_too_long) = through(bytes.as_bytes(), n);
            assert_eq!(String::from_utf8_lossy(&out), expected);
            assert!(!is_too_long);
        }
    }

    #[test]
    fn what_a_target_may_not_have_is_encoded_and_all_else_stays() {
        check(
            "GET /q?query=up{job=\"api\"} HTTP/1.1\r\nHost: \"x\"\r\n\r\n",
            "GET /q?query=up{job=%22api%22} HTTP/1.1\r\nHost: \"x\"\r\n\r\n",
        );
        check("GET /a<b>#é HTTP/1.1\n\nbody \"", "GET /a%3Cb%3E%23%C3%A9 HTTP/1.1\n\nbody \"");
        check("GET /q?query=%22a|b`{}^\\ HTTP/1.1\r\n", "GET /q?query=%22a|b`{}^\\ HTTP/1.1\r\n");
        // Blanks are for the parser to refuse.
        check("GET /q?query=\"sum (up)\" HTTP/1.1\r\n", "GET /q?query=%22sum (up)%22 HTTP/1.1\r\n");
        for other in
            ["", "GET\r\n\r\n", "\"\r\n", "G", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\"#", "GET /\"", "\n"]
        {
            check(other, other);
        }
    }

    #[test]
    fn a_line_that_is_too_long_becomes_a_request_of_nothing() {
        let longest = LINE_BYTES_MAX - "GET / HTTP/1.1\r".len();
        let line = |n: usize, with: &str| format!("GET /{} HTTP/1.1\r\n\r\n", with.repeat(n));
        check(&line(longest, "a"), &line(longest, "a"));
        for (n, with) in [(longest + 1, "a"), (1 << 20, "a"), (longest / 3 + 1, "\""), (longest, "é")] {
            for part in [1_000, 1 << 21] {
                assert_eq!(through(line(n, with).as_bytes(), part), (NOTHING.to_vec(), true), "{n} {with}");
            }
        }
        assert_eq!(through("a".repeat(1 << 20).as_bytes(), 4_096), (NOTHING.to_vec(), true));
    }
}
