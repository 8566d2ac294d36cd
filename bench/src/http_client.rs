//! A client that asks one thing at a time: for probes, idle connections and the
//! admin API. It reads answers with a `Content-Length` only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two reads: also how long an answer may take.
const READ_LIMIT: Duration = Duration::from_secs(10);
const HEAD_LIMIT_BYTES: usize = 16 * 1024;
const BODY_LIMIT_BYTES: usize = 32 << 20;

/// A connection that stays open between requests.
#[derive(Debug)]
pub(crate) struct HttpClient<S> {
    stream: S,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl HttpClient<TcpStream> {
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.set_write_timeout(Some(READ_LIMIT))?;
        Ok(Self { stream })
    }
}

impl HttpClient<UnixStream> {
    pub(crate) fn connect_unix(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("connecting to {}", path.display()))?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.set_write_timeout(Some(READ_LIMIT))?;
        Ok(Self { stream })
    }
}

impl<S> HttpClient<S> {
    /// A client on a connection that is there.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream }
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: Read + Write> HttpClient<S> {
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.ask("GET", path)
    }

    /// Sends a request without a body and waits for its answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str) -> anyhow::Result<Answer> {
        let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
        let request = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{length}\r\n");
        self.stream.write_all(request.as_bytes()).context("sending a request")?;
        read_answer(&mut self.stream).with_context(|| format!("reading the answer to {path}"))
    }
}

fn read_answer(stream: &mut impl Read) -> anyhow::Result<Answer> {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    let head_end = loop {
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(received.len() < HEAD_LIMIT_BYTES, "a head without an end");
        let count = stream.read(&mut piece)?;
        ensure!(count > 0, "the connection was closed before an answer");
        received.extend_from_slice(&piece[..count]);
    };
    let mut body = received.split_off(head_end);
    let head = std::str::from_utf8(&received).context("a head that is not text")?;
    let (status, length) = parse_head(head).with_context(|| format!("unexpected head: {head}"))?;
    ensure!(length <= BODY_LIMIT_BYTES, "an answer of {length} bytes");
    ensure!(body.len() <= length, "more bytes than the answer has");
    let here = body.len();
    body.resize(length, 0);
    stream.read_exact(&mut body[here..]).context("the body was cut off")?;
    Ok(Answer { status, body })
}

/// Status and length of the body.
fn parse_head(head: &str) -> Option<(u16, usize)> {
    let (line, fields) = head.split_once("\r\n")?;
    let status = line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let length = fields.lines().find_map(|field| {
        let (name, value) = field.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })?;
    Some((status, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_read_to_the_end_of_its_body() {
        let mut text: &[u8] = b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 3\r\n\r\nyes";
        let answer = read_answer(&mut text).unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"yes".to_vec() });
    }

    #[test]
    fn cut_off_unbounded_and_overlong_answers_are_refused() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nno",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        ] {
            assert!(read_answer(&mut text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_answer(&mut bytes.as_slice());
        }
    }
}
