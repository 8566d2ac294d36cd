//! An endpoint that sends and takes bodies of any size, and knows every byte of them.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use crate::pattern::Pattern;

/// Answers `GET /down/N` with `N` bytes, `PUT /up` with how many right ones came, and `GET /chat` with a WebSocket that
/// says `hello`. Ends with the test's process.
pub(crate) struct BulkOrigin {
    pub(crate) address: SocketAddr,
}

impl BulkOrigin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that leaves is its own business.
                thread::spawn(move || serve(&stream));
            }
        });
        Self { address }
    }
}

fn serve(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    while let Some(head) = head(&mut reader)? {
        let target = head.split(' ').nth(1).unwrap_or_default();
        if let Some(count) = target.strip_prefix("/down/") {
            send(stream, count.parse().unwrap())?;
        } else if target == "/chat" {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                          Upgrade: websocket\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            // A message, and a close (RFC 6455 section 5.5.1).
            return { stream }.write_all(&[answer.as_bytes(), b"\x81\x05hello\x88\x00"].concat());
        } else {
            let body = match take(&mut reader, &head)? {
                Some(count) => format!("{count} bytes"),
                None => "another byte than was sent".to_owned(),
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            { stream }.write_all((head + &body).as_bytes())?;
        }
    }
    Ok(())
}

/// Up to the empty line; `None`: nobody asks any more.
fn head(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if &head[before..] == "\r\n" {
            return Ok(Some(head));
        }
    }
}

fn send(mut stream: &TcpStream, count: u64) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n").as_bytes())?;
    let (mut pattern, mut piece) = (Pattern::new(), vec![0; 64 * 1024]);
    while pattern.position() < count {
        let most = (count - pattern.position()).min(piece.len() as u64) as usize;
        pattern.fill(&mut piece[..most]);
        stream.write_all(&piece[..most])?;
    }
    Ok(())
}

/// Takes a body; how many bytes it had, if they were right.
fn take(reader: &mut BufReader<&TcpStream>, head: &str) -> std::io::Result<Option<u64>> {
    let mut pattern = Pattern::new();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    if let Some(length) = length {
        let right = take_bytes(reader, length, &mut pattern)?;
        return Ok(right.then_some(pattern.position()));
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(std::io::Error::other)?;
        if !take_bytes(reader, size, &mut pattern)? {
            return Ok(None);
        }
        reader.read_line(&mut line)?;
        if size == 0 {
            return Ok(Some(pattern.position()));
        }
    }
}

fn take_bytes(
    reader: &mut BufReader<&TcpStream>,
    count: u64,
    pattern: &mut Pattern,
) -> std::io::Result<bool> {
    let mut left = reader.take(count);
    loop {
        let bytes = left.fill_buf()?;
        if bytes.is_empty() {
            return if left.limit() == 0 {
                Ok(true)
            } else {
                Err(std::io::ErrorKind::UnexpectedEof.into())
            };
        }
        let count = bytes.len();
        if !pattern.matches(bytes) {
            return Ok(false);
        }
        left.consume(count);
    }
}
