//! The chunked transfer coding (RFC 9112 section 7.1): followed byte by byte, so that valid chunks
//! can pass through untouched.
//!
//! The grammar is taken literally: CRLF only, hexadecimal digits only, no white space but around
//! chunk extensions. Every leniency here is one that some other implementation does not share.

use super::field::{is_token_byte, is_value_byte};
use super::framing::LENGTH_LIMIT;
use super::trailer::TrailerName;

/// Bytes of one chunk-size line with its extensions, without CRLF.
const MAX_LINE_BYTES: u32 = 4 * 1024;
/// Bytes of all chunk extensions of a body.
const MAX_EXTENSION_BYTES: u32 = 16 * 1024;
/// Bytes of the trailer section.
const MAX_TRAILER_BYTES: u32 = 8 * 1024;
/// Hexadecimal digits of a chunk size, leading zeros included.
const MAX_SIZE_DIGITS: u8 = 16;

/// A chunked body that is malformed or beyond a limit. The connection cannot be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// No hexadecimal digits where a chunk size belongs, or something else behind them.
    #[error("a chunk size is not a hexadecimal number")]
    InvalidSize,
    /// More than 16 digits, or 2^63 and more.
    #[error("a chunk size is too large a number")]
    SizeTooLong,
    /// Not the grammar of chunk extensions.
    #[error("a chunk extension is malformed")]
    InvalidExtension,
    /// More than 4 KiB in a line, or 16 KiB in a body.
    #[error("the chunk extensions are too long")]
    ExtensionsTooLong,
    /// No CRLF where one belongs: after a chunk-size line, a chunk or a trailer line.
    #[error("a line end is not CRLF")]
    InvalidLineEnd,
    /// A trailer line that is no header line, or folded.
    #[error("a trailer field is malformed")]
    InvalidTrailer,
    /// A field that must not be in a trailer section (RFC 9110 section 6.5.1).
    #[error("a trailer field is not allowed there")]
    ForbiddenTrailer,
    /// More than 8 KiB.
    #[error("the trailer section is too long")]
    TrailersTooLong,
}

impl ChunkError {
    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidSize => "invalid_chunk_size",
            Self::SizeTooLong => "chunk_size_too_long",
            Self::InvalidExtension => "invalid_chunk_extension",
            Self::ExtensionsTooLong => "chunk_extensions_too_long",
            Self::InvalidLineEnd => "invalid_chunk_line_end",
            Self::InvalidTrailer => "invalid_trailer",
            Self::ForbiddenTrailer => "forbidden_trailer",
            Self::TrailersTooLong => "trailers_too_long",
        }
    }
}

/// Whether the body is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// All bytes given belong to the body, and more will come.
    NeedMore,
    /// The body has ended; what follows is another message.
    Done,
}

/// Where in the grammar the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    #[default]
    SizeStart,
    Size,
    /// White space that only an extension can follow.
    ExtensionGap,
    /// After `;`.
    ExtensionNameStart,
    ExtensionName,
    /// White space after a name.
    ExtensionNameGap,
    /// After `=`.
    ExtensionValueStart,
    ExtensionValue,
    ExtensionQuoted,
    /// After a backslash in quotes.
    ExtensionEscape,
    /// After the closing quote.
    ExtensionQuotedEnd,
    SizeLf,
    /// `remaining` bytes of the chunk are still to come.
    Payload,
    PayloadCr,
    PayloadLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Follows one chunked body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkedScanner {
    state: State,
    size_digits: u8,
    remaining: u64,
    line_bytes: u32,
    extension_bytes: u32,
    trailer_bytes: u32,
    trailer_name: TrailerName,
}

impl ChunkedScanner {
    /// At the start of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Follows the body through `bytes` and says how many of them belong to it.
    ///
    /// # Errors
    /// At the first byte that cannot belong to a chunked body.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(usize, Scan), ChunkError> {
        self.decode_spans(bytes, |_| {})
    }

    /// Like [`scan`](Self::scan), handing out the payload.
    ///
    /// # Errors
    /// At the first byte that cannot belong to a chunked body.
    #[inline]
    pub fn decode_spans(
        &mut self,
        bytes: &[u8],
        payload: impl FnMut(&[u8]),
    ) -> Result<(usize, Scan), ChunkError> {
        self.decode(bytes, usize::MAX, payload, |_| {})
    }

    /// Likewise, with the trailer section byte by byte: its lines, and the empty one after them.
    /// Stops before more than `most` bytes of payload.
    ///
    /// # Errors
    /// At the first byte that cannot belong to a chunked body.
    #[inline]
    pub fn decode(
        &mut self,
        bytes: &[u8],
        mut most: usize,
        mut payload: impl FnMut(&[u8]),
        mut trailer: impl FnMut(u8),
    ) -> Result<(usize, Scan), ChunkError> {
        let mut at = 0;
        while self.state != State::Done {
            let Some(&byte) = bytes.get(at) else {
                return Ok((at, Scan::NeedMore));
            };
            if self.state == State::Payload {
                let available = (bytes.len() - at).min(most);
                if available == 0 {
                    return Ok((at, Scan::NeedMore));
                }
                let span = self.remaining.min(available as u64) as usize;
                payload(&bytes[at..at + span]);
                most -= span;
                at += span;
                self.remaining -= span as u64;
                if self.remaining == 0 {
                    self.state = State::PayloadCr;
                }
                continue;
            }
            let trails = self.is_in_trailer();
            self.state = self.step(byte)?;
            if trails {
                trailer(byte);
            }
            at += 1;
        }
        Ok((at, Scan::Done))
    }

    fn is_in_trailer(&self) -> bool {
        matches!(
            self.state,
            State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf
        )
    }

    /// One byte that is not payload.
    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        match self.state {
            State::SizeStart | State::Size => self.in_size(byte),
            State::ExtensionGap
            | State::ExtensionNameStart
            | State::ExtensionName
            | State::ExtensionNameGap
            | State::ExtensionValueStart
            | State::ExtensionValue
            | State::ExtensionQuoted
            | State::ExtensionEscape
            | State::ExtensionQuotedEnd => self.in_extension(byte),
            State::SizeLf => {
                expect(byte, b'\n')?;
                Ok(if self.remaining == 0 { State::TrailerStart } else { State::Payload })
            }
            State::PayloadCr => expect(byte, b'\r').map(|()| State::PayloadLf),
            State::PayloadLf => expect(byte, b'\n').map(|()| State::SizeStart),
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => self.in_trailer(byte),
            // Neither reaches this function; both stay where they are.
            State::Payload | State::Done => Ok(self.state),
        }
    }

    fn in_size(&mut self, byte: u8) -> Result<State, ChunkError> {
        if self.state == State::SizeStart {
            self.size_digits = 0;
            self.remaining = 0;
            self.line_bytes = 0;
        }
        if let Some(digit) = (byte as char).to_digit(16) {
            if self.size_digits == MAX_SIZE_DIGITS {
                return Err(ChunkError::SizeTooLong);
            }
            self.size_digits += 1;
            self.line_bytes += 1;
            self.remaining = self.remaining << 4 | u64::from(digit);
            if self.remaining >= LENGTH_LIMIT {
                return Err(ChunkError::SizeTooLong);
            }
            return Ok(State::Size);
        }
        match byte {
            _ if self.state == State::SizeStart => Err(ChunkError::InvalidSize),
            b'\r' => Ok(State::SizeLf),
            b'\n' => Err(ChunkError::InvalidLineEnd),
            b';' | b' ' | b'\t' => self.in_extension(byte),
            _ => Err(ChunkError::InvalidSize),
        }
    }

    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
    fn in_extension(&mut self, byte: u8) -> Result<State, ChunkError> {
        if byte != b'\r' {
            self.line_bytes += 1;
            self.extension_bytes += 1;
            if self.line_bytes > MAX_LINE_BYTES || self.extension_bytes > MAX_EXTENSION_BYTES {
                return Err(ChunkError::ExtensionsTooLong);
            }
        }
        let next = match (self.state, byte) {
            (State::ExtensionQuoted, b'"') => State::ExtensionQuotedEnd,
            (State::ExtensionQuoted, b'\\') => State::ExtensionEscape,
            (State::ExtensionQuoted | State::ExtensionEscape, _) if is_value_byte(byte) => {
                State::ExtensionQuoted
            }
            (State::ExtensionNameStart, b' ' | b'\t') => State::ExtensionNameStart,
            (State::ExtensionNameStart | State::ExtensionName, _) if is_token_byte(byte) => {
                State::ExtensionName
            }
            (State::ExtensionName | State::ExtensionNameGap, b' ' | b'\t') => {
                State::ExtensionNameGap
            }
            (State::ExtensionName | State::ExtensionNameGap, b'=') => State::ExtensionValueStart,
            (State::ExtensionValueStart, b' ' | b'\t') => State::ExtensionValueStart,
            (State::ExtensionValueStart, b'"') => State::ExtensionQuoted,
            (State::ExtensionValueStart | State::ExtensionValue, _) if is_token_byte(byte) => {
                State::ExtensionValue
            }
            (
                State::Size
                | State::ExtensionGap
                | State::ExtensionName
                | State::ExtensionNameGap
                | State::ExtensionValue
                | State::ExtensionQuotedEnd,
                b';',
            ) => State::ExtensionNameStart,
            (
                State::Size
                | State::ExtensionGap
                | State::ExtensionValue
                | State::ExtensionQuotedEnd,
                b' ' | b'\t',
            ) => State::ExtensionGap,
            (State::ExtensionName | State::ExtensionValue | State::ExtensionQuotedEnd, b'\r') => {
                State::SizeLf
            }
            (_, b'\n') => return Err(ChunkError::InvalidLineEnd),
            _ => return Err(ChunkError::InvalidExtension),
        };
        Ok(next)
    }

    fn in_trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MAX_TRAILER_BYTES {
            return Err(ChunkError::TrailersTooLong);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart, _) if is_token_byte(byte) => {
                self.trailer_name = TrailerName::default();
                self.trailer_name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, _) if is_token_byte(byte) => {
                self.trailer_name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if self.trailer_name.is_allowed() => Ok(State::TrailerValue),
            (State::TrailerName, b':') => Err(ChunkError::ForbiddenTrailer),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, _) => expect(byte, b'\n').map(|()| State::TrailerStart),
            (State::EndLf, _) => expect(byte, b'\n').map(|()| State::Done),
            (State::TrailerStart | State::TrailerValue, b'\n') => Err(ChunkError::InvalidLineEnd),
            _ => Err(ChunkError::InvalidTrailer),
        }
    }
}

fn expect(byte: u8, wanted: u8) -> Result<(), ChunkError> {
    if byte == wanted { Ok(()) } else { Err(ChunkError::InvalidLineEnd) }
}

/// Appends the line before a chunk of `len` bytes, which must not be 0. The chunk is followed by
/// CRLF.
pub fn write_chunk_size(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(len >> (4 * place)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and an empty trailer section.
pub fn write_chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}
