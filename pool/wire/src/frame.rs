//! Message headers on a byte stream, found without assembling messages.
//!
//! A message is a tag byte, an Int32 length that counts itself, and a body ("Message Formats").
//! [`Header::parse`] reads one header; [`FrameCursor`] walks a stream that arrives in arbitrary
//! pieces and says which bytes belong to which message, so a body of any size is forwarded from
//! the read buffer it landed in.

mod cursor;

pub use cursor::{FrameCursor, Step};

use crate::tag::{Sender, Tag};

/// Bytes of a header: the tag and the length.
pub const HEADER_LEN: usize = 5;

/// The head of one message, checked: its type is known and its length within the type's cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<T> {
    /// The message type.
    pub tag: T,
    /// Bytes of the body, header not counted.
    pub body_len: u32,
}

/// A whole message inside a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a, T> {
    /// The message type.
    pub tag: T,
    /// The body, header not included.
    pub body: &'a [u8],
    /// Header and body, as they go on the wire.
    pub bytes: &'a [u8],
}

/// A header that cannot be: the peer lost synchronisation or is not speaking this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The tag byte is no message type of this direction.
    #[error("unknown {sender:?} message type 0x{byte:02x}")]
    UnknownTag {
        /// Who sent it.
        sender: Sender,
        /// The byte found.
        byte: u8,
    },
    /// The length does not even count its own four bytes, or is negative.
    #[error("message type 0x{byte:02x} claims an impossible length of {len}")]
    BadLength {
        /// The tag byte.
        byte: u8,
        /// The Int32 found.
        len: i32,
    },
    /// The length is above what this type may have.
    #[error("message type 0x{byte:02x} claims {len} bytes, more than the {max} it may have")]
    TooLong {
        /// The tag byte.
        byte: u8,
        /// The length found.
        len: u32,
        /// The cap for the type, in bytes.
        max: u32,
    },
}

// === impl Header ===

impl<T: Tag> Header<T> {
    /// Reads the header `input` starts with. `None` when it is not all there yet; a tag that is
    /// wrong is reported as soon as its byte is.
    ///
    /// # Errors
    /// [`FrameError`] when no such message can exist.
    #[inline]
    pub fn parse(input: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(&byte) = input.first() else { return Ok(None) };
        let Some(tag) = T::from_byte(byte) else {
            return Err(FrameError::UnknownTag { sender: T::SENDER, byte });
        };
        let Some(&[_, a, b, c, d]) = input.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let len = i32::from_be_bytes([a, b, c, d]);
        if len < 4 {
            return Err(FrameError::BadLength { byte, len });
        }
        let len = len.cast_unsigned();
        if len > tag.max_len() {
            return Err(FrameError::TooLong { byte, len, max: tag.max_len() });
        }
        Ok(Some(Self { tag, body_len: len - 4 }))
    }

    /// Bytes of the whole message on the wire: header and body.
    #[inline]
    pub fn total_len(&self) -> usize {
        HEADER_LEN + self.body_len as usize
    }
}

// === impl Frame ===

impl<'a, T: Tag> Frame<'a, T> {
    /// The whole message `input` starts with, or `None` when part of it is still to come.
    ///
    /// # Errors
    /// [`FrameError`] when the header is impossible.
    #[inline]
    pub fn parse(input: &'a [u8]) -> Result<Option<Self>, FrameError> {
        let Some(header) = Header::<T>::parse(input)? else { return Ok(None) };
        let Some(bytes) = input.get(..header.total_len()) else { return Ok(None) };
        Ok(Some(Self { tag: header.tag, body: &bytes[HEADER_LEN..], bytes }))
    }
}

#[cfg(test)]
mod tests;
