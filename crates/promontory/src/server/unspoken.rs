//! Refusals of the HTTP library, which have no word: who gets one learns nothing.
//!
//! hyper answers what it cannot parse by itself, by an empty answer and the end of the connection. Such an answer is
//! known by its bytes: it comes in one write, has nothing behind its head, and its status is one of a few. None of
//! ours is like it, because all our refusals have a text.

/// Largest request head in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 128 << 10;

/// The answer with a text, if it is one that the library makes by itself.
pub(super) fn spoken(answer: &[u8]) -> Option<Vec<u8>> {
    const EMPTY: &str = "content-length: 0\r\n";
    // Every write of every answer passes here, and nearly all are something else.
    if !answer.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let head = std::str::from_utf8(answer).ok().filter(|head| head.ends_with("\r\n\r\n"))?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split("\r\n").next()?;
    let is_last = head.contains("connection: close\r\n");
    let text = match status {
        "400 Bad Request" => format!("{status}: this is no request of HTTP/1.1 or HTTP/2 that can be read\n"),
        "414 URI Too Long" => format!("{status}: send the parameters in the body of a POST\n"),
        "431 Request Header Fields Too Large" => {
            format!(
                "{status}: the head of a request may have at most {HEAD_BYTES_MAX} bytes and 100 fields\n"
            )
        }
        _ => return None,
    };
    let (before, behind) = head.split_once(EMPTY).filter(|_| is_last)?;
    let fields = format!("content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n", text.len());
    Some(format!("{before}{fields}{behind}{text}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_empty_refusals_get_a_text() {
        let empty = |status: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: today\r\n\r\n")
                .into_bytes()
        };
        for status in ["400 Bad Request", "414 URI Too Long", "431 Request Header Fields Too Large"] {
            let spoken = String::from_utf8(spoken(&empty(status)).unwrap()).unwrap();
            let (head, text) = spoken.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}\r\n", text.len())), "{spoken}");
            assert!(text.starts_with(status) && text.ends_with('\n'), "{text}");
        }
        for other in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 10\r\n\r\n",
            "",
        ] {
            assert_eq!(spoken(other.as_bytes()), None, "{other}");
        }
    }
}
