//! Where a stream is: between messages, or so many bytes before the end of one.

use std::marker::PhantomData;

use super::{FrameError, HEADER_LEN, Header};
use crate::tag::Tag;

/// Walks a stream of messages that arrives in pieces.
///
/// The caller keeps the unread bytes: it calls [`step`](Self::step) with everything it has not
/// yet been given back, takes the slice it is handed, and goes on behind it. At most four bytes
/// (a header cut short) are ever left over. A caller that must see a message whole looks with
/// [`peek`](Self::peek) first, and steps only when its buffer holds all of it.
#[derive(Debug, Clone)]
pub struct FrameCursor<T> {
    remaining: u32,
    tag: PhantomData<T>,
}

/// What the unread bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a, T> {
    /// Not enough for a header yet. Nothing was taken.
    Incomplete,
    /// A message begins.
    Start {
        /// Its head.
        header: Header<T>,
        /// Its header and what is here of its body.
        bytes: &'a [u8],
        /// Whether the message ends with `bytes`.
        ends: bool,
    },
    /// More of the body of a message that began earlier.
    Continue {
        /// What is here of it.
        bytes: &'a [u8],
        /// Whether the message ends with `bytes`.
        ends: bool,
    },
}

// === impl FrameCursor ===

impl<T> Default for FrameCursor<T> {
    fn default() -> Self {
        Self { remaining: 0, tag: PhantomData }
    }
}

impl<T: Tag> FrameCursor<T> {
    /// A cursor between messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the stream is between messages: nothing of a body is outstanding.
    #[inline]
    pub fn at_boundary(&self) -> bool {
        self.remaining == 0
    }

    /// Bytes of the current body still to come.
    #[inline]
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// The header `input` starts with, without taking it. `None` inside a body, or when the
    /// header is not all there yet.
    ///
    /// # Errors
    /// [`FrameError`] when the header is impossible.
    #[inline]
    pub fn peek(&self, input: &[u8]) -> Result<Option<Header<T>>, FrameError> {
        if self.remaining > 0 { Ok(None) } else { Header::parse(input) }
    }

    /// Takes the next slice of one message from the front of `input`.
    ///
    /// # Errors
    /// [`FrameError`] when the header is impossible; the cursor stays where it was.
    #[inline]
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a, T>, FrameError> {
        if self.remaining > 0 {
            if input.is_empty() {
                return Ok(Step::Incomplete);
            }
            let bytes = self.take(input, 0);
            return Ok(Step::Continue { bytes, ends: self.remaining == 0 });
        }
        let Some(header) = Header::<T>::parse(input)? else { return Ok(Step::Incomplete) };
        self.remaining = header.body_len;
        let bytes = self.take(input, HEADER_LEN);
        Ok(Step::Start { header, bytes, ends: self.remaining == 0 })
    }

    /// Notes that `count` bytes of the current body went by without being looked at (spliced,
    /// or discarded). Returns how many of them were body: the rest belongs to what follows.
    #[inline]
    pub fn advance(&mut self, count: usize) -> usize {
        let taken = count.min(self.remaining as usize);
        self.remaining -= taken as u32;
        taken
    }

    fn take<'a>(&mut self, input: &'a [u8], head: usize) -> &'a [u8] {
        let body = self.advance(input.len() - head);
        &input[..head + body]
    }
}
