//! A body that comes in frames, handed out as HTTP/1.1 would bring it.

use std::{
    io::{self, Write as _},
    task::{Context, Poll, ready},
};

use bs9_net::Buffer;
use bytes::{Buf, Bytes};
use h2::RecvStream;
use http::HeaderMap;

use super::head;
use crate::http2::Shape;

/// Bytes that framing adds to a chunk at most: the digits of a `u32`, and two line ends.
const CHUNK_FRAMING_BYTES: usize = 12;

/// The body of a stream. The peer may send more of it as it is handed out.
pub(super) struct Inflow {
    body: RecvStream,
    shape: Shape,
    /// Arrived, and not handed out.
    arrived: Bytes,
    /// What frames it at its end, to be handed out as it is.
    tail: Bytes,
    ended: bool,
    error: Option<h2::Error>,
}

impl Inflow {
    pub(super) fn new(body: RecvStream, shape: Shape) -> Self {
        let (arrived, tail) = (Bytes::new(), Bytes::new());
        Self { body, shape, arrived, tail, ended: false, error: None }
    }

    /// Ready when [`take`](Self::take) has something to say.
    pub(super) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.arrived.is_empty() && self.tail.is_empty() && !self.ended {
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(data)) => self.arrived = data,
                Some(Err(error)) => return self.fail(error),
                None => match ready!(self.body.poll_trailers(cx)) {
                    Ok(trailers) => self.end(&trailers.unwrap_or_default()),
                    Err(error) => return self.fail(error),
                },
            }
        }
        Poll::Ready(())
    }

    fn fail(&mut self, error: h2::Error) -> Poll<()> {
        self.ended = true;
        self.error = Some(error);
        Poll::Ready(())
    }

    fn end(&mut self, trailers: &HeaderMap) {
        self.ended = true;
        if self.shape == Shape::Chunked {
            self.tail = head::last_chunk(trailers);
        }
    }

    /// Moves what is there into the buffer, as much as fits; 0 is the end.
    pub(super) fn take(&mut self, into: &mut Buffer) -> io::Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(gone(error));
        }
        if self.arrived.is_empty() {
            let room = into.spare();
            let count = self.tail.len().min(room.len());
            self.tail.copy_to_slice(&mut room[..count]);
            into.commit(count);
            return Ok(count);
        }
        into.compact();
        let framing = if self.shape == Shape::Chunked { CHUNK_FRAMING_BYTES } else { 0 };
        let mut room = into.spare();
        let offered = room.len();
        let count = self.arrived.len().min(offered.saturating_sub(framing));
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.shape == Shape::Chunked {
            write!(room, "{count:x}\r\n")?;
        }
        room.write_all(&self.arrived[..count])?;
        if self.shape == Shape::Chunked {
            room.write_all(b"\r\n")?;
        }
        let left = room.len();
        into.commit(offered - left);
        self.arrived.advance(count);
        // What has been handed out makes room for more: the peer goes on as the other side takes.
        self.body.flow_control().release_capacity(count).map_err(gone)?;
        Ok(offered - left)
    }

    /// Whether the peer has said all it had to say on this stream.
    pub(super) fn is_over(&self) -> bool {
        self.ended || (self.arrived.is_empty() && self.body.is_end_stream())
    }

    /// Ready when the peer has said all it had to say, which is not listened to any more.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ended {
            let unread = std::mem::take(&mut self.arrived).len();
            // A stream that is gone already needs no room.
            let _released = self.body.flow_control().release_capacity(unread);
            ready!(self.poll_arrival(cx));
        }
        Poll::Ready(())
    }
}

/// A stream, or its connection, that has ended before its time.
pub(super) fn gone(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
