//! Waiting, without a server, for the next thing a client wants.

use std::task::{Context, Poll};

use bs9_wire::{frame::Header, tag::FrontendTag};

use super::{Client, End, Phase, is_idle_noise};

impl Client {
    /// Waits until there is a message to be sent to a server, and sends meanwhile what the
    /// client has not taken yet. The message is whole, or as much of it as a buffer holds: a
    /// client that sends slowly keeps no server waiting.
    pub(super) async fn request(&mut self) -> Result<(), End> {
        self.enter(Phase::Idle);
        std::future::poll_fn(|cx| self.poll_request(cx)).await
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match self.advance_request(cx) {
            Ok(true) => return Poll::Ready(Ok(())),
            Ok(false) => {}
            Err(end) => return Poll::Ready(Err(end)),
        }
        if self.subscription.is_some() {
            self.deliver(cx)?;
        }
        self.up.rest();
        self.down.rest();
        self.interrupted(cx).map_or(Poll::Pending, |end| Poll::Ready(Err(end)))
    }

    /// True when there is a message; false when the client has to do something first.
    fn advance_request(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        // Replies first: a client that does not take them is not read from.
        if self.down.passage.is_unsent() && !self.write_client(cx)? {
            return Ok(false);
        }
        loop {
            if self.take_request()? {
                return Ok(true);
            }
            let buffers = self.local.shard().buffers();
            match self.stream.poll_read_pooled(cx, &mut self.up.passage.buffer, buffers) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Gone),
                Poll::Ready(Ok(count)) => self.local.cell().received_bytes.add(count as u64),
            }
        }
    }

    /// Whether the buffer starts with a message for a server. What means nothing without one is
    /// dropped, such as the data of a COPY that has failed.
    fn take_request(&mut self) -> Result<bool, End> {
        loop {
            let Some(buffer) = &mut self.up.passage.buffer else { return Ok(false) };
            if self.up.remaining > 0 {
                let count = buffer.len().min(self.up.remaining as usize);
                buffer.consume(count);
                self.up.remaining -= count as u32;
                if self.up.remaining > 0 {
                    return Ok(false);
                }
            }
            let header = Header::<FrontendTag>::parse(buffer.filled());
            let Some(header) = header.map_err(|error| End::Protocol(error.to_string()))? else {
                return Ok(false);
            };
            match header.tag {
                FrontendTag::Terminate => return Err(End::Terminated),
                FrontendTag::Password => {
                    return Err(End::Protocol("a password was sent after the login".into()));
                }
                tag if is_idle_noise(tag) => {
                    let count = buffer.len().min(header.total_len());
                    buffer.consume(count);
                    self.up.remaining = (header.total_len() - count) as u32;
                }
                _ => return Ok(buffer.len() >= header.total_len() || buffer.is_full()),
            }
        }
    }

    /// Writes what is approved for the client; false when it does not take all of it now.
    pub(super) fn write_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        while self.down.passage.is_unsent() {
            match self.down.passage.poll_write(&self.stream, cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0) | Err(_)) => return Err(End::Gone),
                Poll::Ready(Ok(count)) => self.local.cell().sent_bytes.add(count as u64),
            }
        }
        Ok(true)
    }
}
