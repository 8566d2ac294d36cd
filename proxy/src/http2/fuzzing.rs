//! A connection of HTTP/2 fed by hand, for tests of what arrives in any order and in any pieces.

use std::task::{Context, Waker};

use bs9_config::Http2;
use bs9_net::BufferPool;

use super::{
    frame::{HEADER_BYTES, Header},
    mux::Mux,
    preface::PREFACE,
};
use crate::http1::{HeadLimits, HeaderStorage, Parsed, parse_request};

const BUFFER_BYTES: usize = 4096;

/// What came of a client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Followed {
    /// The requests that it made, as HTTP/1.1 has them, and the bodies that arrived.
    pub requests: Vec<String>,
    /// Frames that it was answered with, but for WINDOW_UPDATE, of which there are as many as there
    /// are pieces.
    pub answers: Vec<(u8, u32, Vec<u8>)>,
    /// The connection could not go on, with this code of RFC 9113 section 7.
    pub broken: Option<u32>,
}

/// Takes in what a client sends, in pieces of `step` bytes, at least one.
///
/// # Panics
/// When a limit is exceeded, a head is less or more than one request, or an answer is no frame.
#[must_use]
pub fn follow(bytes: &[u8], step: usize) -> Followed {
    let settings = Http2 {
        max_concurrent_streams: 8,
        stream_window_bytes: 8192,
        connection_window_bytes: 70_000,
        max_resets: 10,
    };
    let pool = BufferPool::new(BUFFER_BYTES, 8);
    let mut mux = Mux::new(&settings, BUFFER_BYTES, BufferPool::new(BUFFER_BYTES, 8));
    let mut input = pool.take();
    let mut begun = Vec::new();
    let mut broken = None;
    for piece in bytes.chunks(step.clamp(1, BUFFER_BYTES / 2)) {
        input.spare()[..piece.len()].copy_from_slice(piece);
        input.commit(piece.len());
        if let Err(error) = mux.receive(&mut input, &|| [7; 16], &mut begun) {
            broken = Some(error.0 as u32);
            break;
        }
        assert!(input.len() < PREFACE.len(), "what can be understood is taken in");
        input.compact();
    }
    assert!(mux.active() <= 2 * 8, "no more than allowed, and as many that are over");
    let mut requests = Vec::new();
    for begun in begun {
        let mut text = match begun.asked.head {
            Ok((head, shape)) => {
                let mut storage = HeaderStorage::new();
                match parse_request(head.filled(), &HeadLimits::default(), &mut storage) {
                    Ok(Parsed::Complete(parsed)) => assert_eq!(parsed.head_len, head.len()),
                    Ok(Parsed::Partial) => panic!("a whole head is whole"),
                    Err(_) => {}
                }
                format!("{shape:?} {}", String::from_utf8_lossy(head.filled()))
            }
            Err(failure) => format!("{failure}"),
        };
        let cx = Context::from_waker(Waker::noop());
        let mut body = pool.take();
        while mux.poll_arrival(begun.at, &cx).is_ready() {
            match mux.take(begun.at, &mut body) {
                Ok(0) => {
                    text.push_str(" end");
                    break;
                }
                Ok(_) => {
                    text.push_str(&String::from_utf8_lossy(body.filled()));
                    body.consume(body.len());
                }
                Err(_) => {
                    text.push_str(" cut off");
                    break;
                }
            }
        }
        // How chunks are cut depends on the pieces.
        if text.starts_with("Chunked") {
            let head_end = text.find("\r\n\r\n").map_or(0, |at| at + 4);
            let ended = text.ends_with(" end");
            text.truncate(head_end);
            text.push_str(if ended { "end" } else { "more" });
        }
        if text.ends_with(" cut off") {
            let head_end = text.find("\r\n\r\n").map_or(0, |at| at + 4);
            text.replace_range(head_end.., "cut off");
        }
        requests.push(text);
    }
    Followed { requests, answers: frames(&mux.waiting()), broken }
}

fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, Vec<u8>)> {
    const WINDOW_UPDATE: u8 = 8;
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let header = bytes.first_chunk().expect("a whole header");
        let Header { length, kind, stream, .. } = Header::read(header);
        let payload = &bytes[HEADER_BYTES..][..length];
        if kind != WINDOW_UPDATE {
            frames.push((kind, stream, payload.to_vec()));
        }
        bytes = &bytes[HEADER_BYTES + length..];
    }
    frames
}
