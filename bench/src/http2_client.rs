//! A client that asks one thing at a time over HTTP/2 by prior knowledge (RFC 9113, section
//! 3.3). It reads what bs9 answers to such a request, and nothing more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two reads: also how long an answer may take.
const READ_LIMIT: Duration = Duration::from_secs(10);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_LEN: usize = 9;
const FRAME_LIMIT_BYTES: usize = 16 << 10;
/// What a window may grow to (RFC 9113, section 6.9.1); less what it is at first.
const WINDOW: u32 = (1 << 31) - 1 - 65_535;

/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Of DATA and HEADERS.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Of SETTINGS.
const ACK: u8 = 1;
/// `:status: 200` of the static table (RFC 7541, appendix A), indexed.
const STATUS_200: u8 = 0x88;

/// A connection that stays open between requests.
#[derive(Debug)]
pub(crate) struct Http2Client {
    stream: TcpStream,
    /// Of the next request.
    next_stream: u32,
    received: Vec<u8>,
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Http2Client {
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.set_write_timeout(Some(READ_LIMIT))?;
        let mut hello = PREFACE.to_vec();
        frame(&mut hello, SETTINGS, 0, 0, &[]);
        frame(&mut hello, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        stream.write_all(&hello).context("sending the preface")?;
        Ok(Self { stream, next_stream: 1, received: Vec::new() })
    }

    /// Asks for `/`, and reads the body of the answer, whose status has to be 200.
    pub(crate) fn get(&mut self) -> anyhow::Result<Vec<u8>> {
        let stream = self.next_stream;
        self.next_stream += 2;
        // GET, http and `/` of the static table; then `:authority` with a value of its own.
        let block = [&[0x82, 0x86, 0x84, 0x01, 5][..], b"bench"].concat();
        let mut request = Vec::new();
        frame(&mut request, HEADERS, END_STREAM | END_HEADERS, stream, &block);
        self.stream.write_all(&request).context("sending a request")?;
        self.answer(stream).context("reading an answer")
    }

    fn answer(&mut self, stream: u32) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let (head, payload) = self.frame()?;
            match head.kind {
                SETTINGS if head.flags & ACK == 0 => {
                    let mut acknowledged = Vec::new();
                    frame(&mut acknowledged, SETTINGS, ACK, 0, &[]);
                    self.stream.write_all(&acknowledged)?;
                }
                HEADERS if head.stream == stream => {
                    ensure!(payload.first() == Some(&STATUS_200), "a status that is not 200");
                }
                DATA if head.stream == stream => body.extend_from_slice(&payload),
                GOAWAY | RST_STREAM => bail!("refused by a frame of type {}", head.kind),
                _ => {}
            }
            let ends = matches!(head.kind, DATA | HEADERS) && head.flags & END_STREAM != 0;
            if ends && head.stream == stream {
                return Ok(body);
            }
        }
    }

    fn frame(&mut self) -> anyhow::Result<(Frame, Vec<u8>)> {
        let mut piece = [0; 4096];
        loop {
            if let Some(head) = Frame::parse(&self.received) {
                ensure!(head.length <= FRAME_LIMIT_BYTES, "a frame of {} bytes", head.length);
                let end = HEADER_LEN + head.length;
                if self.received.len() >= end {
                    let payload = self.received[HEADER_LEN..end].to_vec();
                    self.received.drain(..end);
                    return Ok((head, payload));
                }
            }
            let count = self.stream.read(&mut piece)?;
            ensure!(count > 0, "the connection was closed before an answer");
            self.received.extend_from_slice(&piece[..count]);
        }
    }
}

impl Frame {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, e, f, g, h] = bytes.first_chunk::<HEADER_LEN>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Self { length, kind, flags, stream: u32::from_be_bytes([e & 0x7f, f, g, h]) })
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut bytes = Vec::new();
        frame(&mut bytes, DATA, END_STREAM, 7, b"body");
        let head = Frame { length: 4, kind: DATA, flags: END_STREAM, stream: 7 };
        assert_eq!(Frame::parse(&bytes), Some(head));
        assert_eq!(Frame::parse(&bytes[..8]), None);
    }
}
