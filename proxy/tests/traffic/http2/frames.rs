//! Frames made and read by hand (RFC 9113 section 4).

use std::io;

use crate::{fixture::Proxy, wire::Wire};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame as it is on the wire.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals without indexing (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            // Lengths are integers with a prefix of 7 bits (section 5.1).
            let mut rest = text.len();
            if rest < 127 {
                bytes.push(rest as u8);
            } else {
                bytes.push(127);
                rest -= 127;
                while rest >= 128 {
                    bytes.push((rest % 128 + 128) as u8);
                    rest /= 128;
                }
                bytes.push(rest as u8);
            }
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// The pseudo-header fields of a GET.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "site.test")];

/// HEADERS that are a whole request.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET))
}

/// A frame that was received.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status that a response begins with: indexed, or a literal with an indexed name.
    pub(crate) fn status(&self) -> u16 {
        match self.payload[..] {
            [indexed @ 0x88..=0x8e, ..] => {
                [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
            }
            [_, length, ..] if length & 0x80 == 0 => digits(self.payload[2..5].iter().copied()),
            [_, _, ..] => digits(huffman(&self.payload[2..])),
            _ => panic!("a status: {self:?}"),
        }
    }
}

fn digits(text: impl Iterator<Item = u8>) -> u16 {
    text.take(3).fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
}

/// Digits in Huffman's code (RFC 7541 appendix B): 0 to 2 are 5 bits, 3 to 9 are 6 from 25 on.
fn huffman(coded: &[u8]) -> impl Iterator<Item = u8> {
    let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    std::iter::from_fn(move || {
        let five = (0..5).try_fold(0, |code, _| Some(code << 1 | bits.next()?))?;
        Some(b'0' + if five < 3 { five } else { (five << 1 | bits.next()?) - 22 })
    })
}

/// A connection that has sent its preface and SETTINGS.
pub(crate) struct Raw(pub(crate) Wire);

impl Raw {
    pub(crate) fn open(proxy: &Proxy) -> Self {
        let mut wire = proxy.web();
        wire.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        Self(wire)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes);
    }

    pub(crate) fn try_next(&mut self) -> io::Result<Frame> {
        let header = self.0.try_exact(9)?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let stream = u32::from_be_bytes(header[5..9].try_into().unwrap());
        let payload = self.0.try_exact(length as usize)?;
        Ok(Frame { kind: header[3], stream, payload })
    }

    /// The next frame of one of these kinds.
    pub(crate) fn next_of(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = self.try_next().expect("a frame before the end");
            if kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }

    /// Waits for GOAWAY and the end that follows it; gives its code.
    pub(crate) fn expect_goaway(&mut self) -> u32 {
        let code = self.next_of(&[GOAWAY]).code();
        while self.try_next().is_ok() {}
        code
    }
}
