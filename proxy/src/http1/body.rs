//! Following a body to its end, however it is delimited.

use super::chunked::{ChunkError, ChunkedScanner, Scan};
use super::request::BodyFraming;
use super::response::ResponseFraming;

/// A body that is not what its framing says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The chunked coding is malformed.
    #[error("the chunked body is malformed")]
    Chunk(#[from] ChunkError),
}

impl BodyError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Chunk(error) => error.reason(),
        }
    }
}

/// How much of a body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyReader {
    /// There is none, or it is over.
    None,
    /// So many bytes, at least one.
    Remaining(u64),
    /// Chunks.
    Chunked(ChunkedScanner),
    /// Everything until the connection closes.
    UntilClose,
}

impl From<BodyFraming> for BodyReader {
    fn from(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::None => Self::None,
            BodyFraming::Length(length) => Self::remaining(length),
            BodyFraming::Chunked => Self::Chunked(ChunkedScanner::new()),
        }
    }
}

impl From<ResponseFraming> for BodyReader {
    /// A tunnel has no HTTP body.
    fn from(framing: ResponseFraming) -> Self {
        match framing {
            ResponseFraming::None | ResponseFraming::Tunnel => Self::None,
            ResponseFraming::Length(length) => Self::remaining(length),
            ResponseFraming::Chunked => Self::Chunked(ChunkedScanner::new()),
            ResponseFraming::UntilClose => Self::UntilClose,
        }
    }
}

impl BodyReader {
    const fn remaining(length: u64) -> Self {
        if length == 0 { Self::None } else { Self::Remaining(length) }
    }

    /// Whether nothing more belongs to the body.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::None => true,
            Self::Remaining(_) | Self::UntilClose => false,
            Self::Chunked(scanner) => scanner.is_done(),
        }
    }

    /// Whether the body is whole if the connection closes now. Otherwise it was cut off (RFC 9112
    /// section 8).
    #[must_use]
    pub fn may_end_here(&self) -> bool {
        matches!(self, Self::UntilClose) || self.is_done()
    }

    /// How many bytes may pass without being looked at: those that no framing divides.
    #[must_use]
    pub fn opaque(&self) -> u64 {
        match self {
            Self::Remaining(remaining) => *remaining,
            Self::UntilClose => u64::MAX,
            Self::None | Self::Chunked(_) => 0,
        }
    }

    /// `count` bytes, no more than are [`opaque`](Self::opaque), have passed.
    pub fn skip(&mut self, count: u64) {
        debug_assert!(count <= self.opaque(), "what was skipped had to be looked at");
        if let Self::Remaining(remaining) = self {
            *self = Self::remaining(remaining.saturating_sub(count));
        }
    }

    /// Takes in `bytes` and says how many of them belong to the body, and whether it is over. The
    /// bytes are the body as it is on the wire, chunk framing included.
    ///
    /// # Errors
    /// When the bytes are not what the framing says.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), BodyError> {
        self.advance_decoding(bytes, |_| {})
    }

    /// Like [`advance`](Self::advance), handing out the payload without chunk framing.
    ///
    /// # Errors
    /// When the bytes are not what the framing says.
    #[inline]
    pub fn advance_decoding(
        &mut self,
        bytes: &[u8],
        payload: impl FnMut(&[u8]),
    ) -> Result<(usize, bool), BodyError> {
        self.advance_dividing(bytes, usize::MAX, payload, |_| {})
    }

    /// Likewise, with the trailer section as well ([`ChunkedScanner::decode`]), and no more than
    /// `most` bytes of payload.
    ///
    /// # Errors
    /// When the bytes are not what the framing says.
    #[inline]
    pub fn advance_dividing(
        &mut self,
        bytes: &[u8],
        most: usize,
        mut payload: impl FnMut(&[u8]),
        trailer: impl FnMut(u8),
    ) -> Result<(usize, bool), BodyError> {
        match self {
            Self::None => Ok((0, true)),
            Self::Remaining(remaining) => {
                let len = (*remaining).min(bytes.len().min(most) as u64) as usize;
                payload(&bytes[..len]);
                *self = Self::remaining(*remaining - len as u64);
                Ok((len, self.is_done()))
            }
            Self::Chunked(scanner) => {
                let (len, scan) = scanner.decode(bytes, most, payload, trailer)?;
                Ok((len, scan == Scan::Done))
            }
            Self::UntilClose => {
                let len = bytes.len().min(most);
                payload(&bytes[..len]);
                Ok((len, false))
            }
        }
    }
}
