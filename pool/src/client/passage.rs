//! A buffer between two sockets, in which messages are passed on, replaced or left out.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

use bs9_net::{Buffer, Transport};

/// Bytes that are moved to make room in front of them; more stay where they are.
const MAX_MOVED: usize = 2048;

/// Bytes read from one side: first what may be written to the other, then what has not been
/// looked at.
#[derive(Default)]
pub(super) struct Passage {
    pub(super) buffer: Option<Buffer>,
    /// Bytes at the front of the buffer that are to be written.
    pub(super) approved: usize,
    /// To be written ahead of the buffer: what had no room in it. Boxed: rare, and every client
    /// has two of these.
    #[expect(clippy::box_collection, reason = "a pointer is a third of a vector")]
    ahead: Option<Box<Vec<u8>>>,
}

impl Passage {
    pub(super) fn of(buffer: Buffer) -> Self {
        Self { buffer: Some(buffer), ..Self::default() }
    }

    /// Whether there is something to be written.
    #[inline]
    pub(super) fn is_unsent(&self) -> bool {
        self.approved > 0 || !self.ahead().is_empty()
    }

    #[inline]
    fn ahead(&self) -> &[u8] {
        self.ahead.as_ref().map_or(&[], |ahead| &ahead[..])
    }

    /// Bytes to be written that no buffer holds.
    pub(super) fn surplus(&self) -> usize {
        self.ahead().len()
    }

    fn add_ahead(&mut self, bytes: &[u8]) {
        self.ahead.get_or_insert_default().extend_from_slice(bytes);
    }

    /// What has not been looked at.
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.filled()[self.approved..])
    }

    pub(super) fn is_full(&self) -> bool {
        self.buffer.as_ref().is_some_and(Buffer::is_full)
    }

    /// An empty buffer goes back to the shard.
    pub(super) fn rest(&mut self) {
        if self.buffer.as_ref().is_none_or(Buffer::is_empty) {
            self.buffer = None;
            if self.ahead().is_empty() {
                self.ahead = None;
            }
        }
    }

    /// Approves `with` in place of the first `taken` bytes not looked at. False when there is
    /// no room before what is approved already has been written.
    #[must_use]
    pub(super) fn replace(&mut self, taken: usize, with: &[u8]) -> bool {
        let Some(buffer) = &mut self.buffer else {
            debug_assert_eq!(taken, 0, "there is nothing to be replaced");
            self.add_ahead(with);
            return true;
        };
        let at = self.approved;
        if with.len() <= taken {
            let surplus = taken - with.len();
            if surplus > 0 {
                buffer.filled_mut().copy_within(..at, surplus);
                buffer.consume(surplus);
            }
            buffer.filled_mut()[at..at + with.len()].copy_from_slice(with);
            self.approved += with.len();
            return true;
        }
        let growth = with.len() - taken;
        let before = buffer.len();
        let moves_much = before - at - taken > MAX_MOVED;
        if at == 0 && (moves_much || !has_room(buffer, growth)) {
            self.ahead.get_or_insert_default().extend_from_slice(with);
            buffer.consume(taken);
            return true;
        }
        if !has_room(buffer, growth) {
            return false;
        }
        buffer.commit(growth);
        let bytes = buffer.filled_mut();
        bytes.copy_within(at + taken..before, at + with.len());
        bytes[at..at + with.len()].copy_from_slice(with);
        self.approved += with.len();
        true
    }

    /// Leaves out the first `count` bytes not looked at.
    pub(super) fn leave_out(&mut self, count: usize) {
        let done = self.replace(count, &[]);
        debug_assert!(done, "leaving out takes no room");
    }

    /// Puts `bytes`, already approved, behind what is approved. Nothing else may be here.
    pub(super) fn put_behind(&mut self, bytes: &[u8]) {
        debug_assert!(self.unread().is_empty(), "what is not looked at comes later");
        if !self.replace(0, bytes) {
            // What is approved goes ahead, and these with it.
            if let Some(buffer) = &mut self.buffer {
                let ahead = self.ahead.get_or_insert_default();
                ahead.extend_from_slice(&buffer.filled()[..self.approved]);
                buffer.consume(self.approved);
            }
            self.approved = 0;
            self.add_ahead(bytes);
        }
    }

    /// Puts `bytes`, already approved, before everything in the buffer.
    pub(super) fn put_ahead(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.approved, 0, "what is approved comes first");
        self.add_ahead(bytes);
    }

    /// Forgets what was approved and has not been written; the buffer holds `bytes` instead.
    pub(super) fn start_over(&mut self, bytes: &[u8]) {
        self.approved = 0;
        self.ahead = None;
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(buffer.len());
            buffer.spare()[..bytes.len()].copy_from_slice(bytes);
            buffer.commit(bytes.len());
        }
    }

    /// Writes some of what is approved.
    #[inline]
    pub(super) fn poll_write(
        &mut self,
        stream: &Transport,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let approved =
            self.buffer.as_ref().map_or(&[][..], |buffer| &buffer.filled()[..self.approved]);
        let ahead = self.ahead();
        let written = if ahead.is_empty() {
            stream.poll_write(cx, approved)
        } else if approved.is_empty() {
            stream.poll_write(cx, ahead)
        } else {
            stream.poll_write_vectored(cx, &[IoSlice::new(ahead), IoSlice::new(approved)])
        };
        if let Poll::Ready(Ok(count)) = written {
            self.written(count);
        }
        written
    }

    fn written(&mut self, count: usize) {
        let mut count = count;
        if let Some(ahead) = &mut self.ahead {
            let gone = count.min(ahead.len());
            ahead.drain(..gone);
            count -= gone;
        }
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(count);
            self.approved -= count;
        }
    }

    /// As if all that is approved had been written.
    #[cfg(test)]
    pub(super) fn take_approved(&mut self) -> Vec<u8> {
        let approved = self.buffer.as_ref().map_or(&[][..], |b| &b.filled()[..self.approved]);
        let bytes = [self.ahead(), approved].concat();
        self.written(bytes.len());
        bytes
    }

    /// What is still to be written, when nothing else will be.
    pub(super) fn into_owed(mut self) -> Vec<u8> {
        let approved = self.approved;
        let buffer = self.buffer.take();
        let mut owed = self.ahead.take().map_or_else(Vec::new, |ahead| *ahead);
        owed.extend_from_slice(buffer.as_ref().map_or(&[], |b| &b.filled()[..approved]));
        owed
    }
}

fn has_room(buffer: &mut Buffer, bytes: usize) -> bool {
    if buffer.spare().len() < bytes {
        buffer.compact();
    }
    buffer.spare().len() >= bytes
}

#[cfg(test)]
mod tests {
    use bs9_net::BufferPool;
    use proptest::prelude::*;

    use super::*;

    fn filled(size: usize, bytes: &[u8]) -> Passage {
        let mut buffer = BufferPool::new(size, 1).take();
        buffer.spare()[..bytes.len()].copy_from_slice(bytes);
        buffer.commit(bytes.len());
        Passage::of(buffer)
    }

    proptest! {
        /// Whatever is replaced by whatever, in order, with a buffer of any size.
        #[test]
        fn replacing_is_replacing(
            size in 1usize..64,
            edits in prop::collection::vec((0usize..8, prop::collection::vec(any::<u8>(), 0..12), 0usize..40), 0..12),
        ) {
            let input: Vec<u8> = (0..size as u8).collect();
            let mut passage = filled(size, &input);
            let (mut wanted, mut sent) = (Vec::<u8>::new(), Vec::<u8>::new());
            let mut rest = &input[..];
            for (taken, with, written) in edits {
                let taken = taken.min(rest.len());
                if !passage.replace(taken, &with) {
                    sent.extend(passage.take_approved());
                    prop_assert!(passage.replace(taken, &with), "nothing is approved");
                }
                wanted.extend(&with);
                rest = &rest[taken..];
                prop_assert_eq!(passage.unread(), rest);
                let due = [passage.ahead(), &passage.buffer.as_ref().unwrap().filled()[..passage.approved]].concat();
                let written = written.min(due.len());
                sent.extend(&due[..written]);
                passage.written(written);
            }
            sent.extend(passage.into_owed());
            prop_assert_eq!(sent, wanted);
        }

        #[test]
        fn starting_over_brings_back_what_was_there(taken in 0usize..16, with in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut passage = filled(16, b"0123456789abcdef");
            prop_assert!(passage.replace(taken, &with));
            passage.start_over(b"0123456789abcdef");
            prop_assert_eq!(passage.unread(), b"0123456789abcdef");
            prop_assert!(!passage.is_unsent());
        }
    }
}
