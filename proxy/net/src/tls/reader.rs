//! The receiving half of a TLS connection.

use std::{
    io,
    task::{Context, Poll},
};

use super::{
    alert::Violation,
    pool,
    record::{Content, RecordKey, Version, record_length},
    session::Session,
    writer::Writer,
};
use crate::{Buffer, Stream, buffer::Target};

/// Records in a row that hold no text: more are an attack.
const MAX_BARREN_RECORDS: u8 = 32;
/// Bytes of one message after the handshake, header included (a session ticket is the largest).
const MAX_MESSAGE_BYTES: usize = 64 * 1024 + 4;

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Opens records.
pub(super) struct Reader {
    key: RecordKey,
    /// What was read: opened text, the rest of its record, then sealed records.
    inbound: Option<Buffer>,
    /// Bytes of text at the front of it.
    text: usize,
    /// Bytes behind the text that are of no use any more.
    rest: usize,
    /// Text that came before the handshake had ended; goes first.
    early: Vec<u8>,
    /// A message that is not whole yet.
    message: Vec<u8>,
    barren: u8,
    /// The peer said that nothing more comes.
    ended: bool,
    violated: Option<Violation>,
}

/// What one look at the bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of text went into the target; without one, they are there.
    Text(usize),
    /// The peer said that nothing more comes.
    End,
    /// Something else was dealt with.
    Again,
    /// More has to be read.
    Starved,
}

impl Reader {
    pub(super) fn new(
        key: RecordKey,
        inbound: Option<Buffer>,
        early: Vec<u8>,
        ended: bool,
    ) -> Self {
        Self {
            key,
            inbound: inbound.filter(|buffer| !buffer.is_empty()),
            text: 0,
            rest: 0,
            early,
            message: Vec::new(),
            barren: 0,
            ended,
            violated: None,
        }
    }

    /// What it takes to go on elsewhere; `None` when something was read and not taken yet.
    pub(super) fn detach(self) -> Option<RecordKey> {
        let idle = self.inbound.as_ref().is_none_or(Buffer::is_empty)
            && self.early.is_empty()
            && self.message.is_empty();
        (idle && !self.ended && self.violated.is_none()).then_some(self.key)
    }

    /// Whether a step would not be starved.
    pub(super) fn has_something(&self) -> bool {
        self.ended
            || self.violated.is_some()
            || !self.early.is_empty()
            || self.inbound.as_ref().is_some_and(|inbound| {
                self.text > 0
                    || match record_length(inbound.filled()) {
                        Ok(Some(length)) => inbound.len() >= length,
                        Ok(None) => false,
                        Err(_) => true,
                    }
            })
    }

    /// Takes text, or opens the next record that is whole.
    pub(super) fn step(
        &mut self,
        session: &mut Session,
        writer: &mut Writer,
        into: Option<&mut Target<'_>>,
    ) -> Result<Step, Violation> {
        if let Some(violation) = self.violated {
            return Err(violation);
        }
        let step = self.try_step(session, writer, into);
        self.violated = step.err();
        step
    }

    fn try_step(
        &mut self,
        session: &mut Session,
        writer: &mut Writer,
        mut into: Option<&mut Target<'_>>,
    ) -> Result<Step, Violation> {
        if !self.early.is_empty() {
            let Some(into) = into else { return Ok(Step::Text(self.early.len())) };
            let room = into.buffer().spare();
            let count = self.early.len().min(room.len());
            room[..count].copy_from_slice(&self.early[..count]);
            into.buffer().commit(count);
            self.early.drain(..count);
            if self.early.is_empty() {
                self.early = Vec::new();
            }
            return Ok(Step::Text(count));
        }
        if self.text > 0 {
            let Some(into) = into else { return Ok(Step::Text(self.text)) };
            return Ok(Step::Text(self.take_text(into.buffer())));
        }
        if self.ended {
            self.inbound = None;
            return Ok(Step::End);
        }
        let mut total = 0;
        // Every record that is whole, as long as its text has room where it is wanted.
        while let Some(inbound) = &mut self.inbound
            && let Some(length) = record_length(inbound.filled())?
            && inbound.len() >= length
        {
            let room = self.key.text_room(length);
            let target = match into.as_mut().map(|into| into.buffer()) {
                Some(target) if target.room() >= room => target,
                _ if total > 0 => break,
                _ => {
                    self.open_in_place(length, session, writer)?;
                    return Ok(Step::Again);
                }
            };
            let (content, count) =
                self.key.open_into(&inbound.filled()[..length], target.spare())?;
            inbound.consume(length);
            if content == Content::Application {
                target.commit(count);
                total += count;
                self.count_text(count)?;
                continue;
            }
            let message = target.spare()[..count].to_vec();
            self.control(content, &message, session, writer)?;
            return Ok(if total > 0 { Step::Text(total) } else { Step::Again });
        }
        self.rest();
        Ok(if total > 0 { Step::Text(total) } else { Step::Starved })
    }

    /// Opens the record at the front where it is: its text has no room elsewhere.
    fn open_in_place(
        &mut self,
        length: usize,
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), Violation> {
        let Some(inbound) = &mut self.inbound else { return Ok(()) };
        let sealed = &mut inbound.filled_mut()[..length];
        let (content, at) = self.key.open_in_place(sealed)?;
        if content != Content::Application {
            let message = sealed[at].to_vec();
            inbound.consume(length);
            return self.control(content, &message, session, writer);
        }
        inbound.consume(at.start);
        (self.text, self.rest) = (at.len(), length - at.end);
        if self.text == 0 {
            inbound.consume(std::mem::take(&mut self.rest));
        }
        self.count_text(at.len())
    }

    fn take_text(&mut self, into: &mut Buffer) -> usize {
        let Some(inbound) = &mut self.inbound else { return 0 };
        let room = into.spare();
        let count = self.text.min(room.len());
        room[..count].copy_from_slice(&inbound.filled()[..count]);
        into.commit(count);
        inbound.consume(count);
        self.text -= count;
        if self.text == 0 {
            inbound.consume(std::mem::take(&mut self.rest));
            if inbound.is_empty() {
                self.inbound = None;
            }
        }
        count
    }

    /// A record of text was opened.
    fn count_text(&mut self, bytes: usize) -> Result<(), Violation> {
        if !self.message.is_empty() {
            // Messages are not interleaved with text (RFC 8446 section 5.1).
            return Err(Violation::Unexpected);
        }
        self.barren = if bytes > 0 { 0 } else { self.barren + 1 };
        if self.barren > MAX_BARREN_RECORDS { Err(Violation::Flood) } else { Ok(()) }
    }

    /// A record that holds no text.
    fn control(
        &mut self,
        content: Content,
        bytes: &[u8],
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), Violation> {
        self.barren += 1;
        if self.barren > MAX_BARREN_RECORDS {
            return Err(Violation::Flood);
        }
        match content {
            Content::Alert => self.alert(bytes, session.version),
            Content::Handshake => self.handshake(bytes, session, writer),
            Content::ChangeCipherSpec | Content::Application => Err(Violation::Unexpected),
        }
    }

    fn alert(&mut self, bytes: &[u8], version: Version) -> Result<(), Violation> {
        const WARNING: u8 = 1;
        const CLOSE_NOTIFY: u8 = 0;
        const USER_CANCELED: u8 = 90;
        match *bytes {
            [_, CLOSE_NOTIFY] => {
                self.ended = true;
                Ok(())
            }
            [_, USER_CANCELED] => Ok(()),
            [WARNING, _] if version == Version::Tls12 => Ok(()),
            [_, description] => Err(Violation::Alert(description)),
            _ => Err(Violation::Malformed),
        }
    }

    fn handshake(
        &mut self,
        bytes: &[u8],
        session: &mut Session,
        writer: &mut Writer,
    ) -> Result<(), Violation> {
        if self.message.len() + bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Violation::Malformed);
        }
        self.message.extend_from_slice(bytes);
        let messages = std::mem::take(&mut self.message);
        let mut rest = messages.as_slice();
        while let [kind, a, b, c, behind @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if length + 4 > MAX_MESSAGE_BYTES {
                return Err(Violation::Malformed);
            }
            let Some((body, next)) = behind.split_at_checked(length) else { break };
            rest = next;
            match (*kind, session.version) {
                (NEW_SESSION_TICKET, Version::Tls13) => {
                    session.keep_ticket(body).map_err(|_| Violation::Unexpected)?;
                }
                (KEY_UPDATE, Version::Tls13) => {
                    let requested = match *body {
                        [0] => false,
                        [1] => true,
                        _ => return Err(Violation::Malformed),
                    };
                    // What follows it is sealed with the next key (RFC 8446 section 5.1).
                    if !rest.is_empty() {
                        return Err(Violation::Unexpected);
                    }
                    self.key = session.next_receive().map_err(|_| Violation::Exhausted)?;
                    if requested {
                        writer.owe_update();
                    }
                }
                (HELLO_REQUEST | CLIENT_HELLO, Version::Tls12) => {
                    return Err(Violation::Renegotiation);
                }
                _ => return Err(Violation::Unexpected),
            }
        }
        if !rest.is_empty() {
            self.message = rest.to_vec();
        }
        Ok(())
    }

    /// Reads more sealed bytes.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &Stream,
    ) -> Poll<io::Result<()>> {
        match socket.poll_read_pooled(cx, &mut self.inbound, &pool::records()) {
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
            Poll::Ready(read) => Poll::Ready(not_cut_off(read?)),
        }
    }

    /// Likewise, without waiting.
    pub(super) fn fill(&mut self, socket: &Stream) -> io::Result<()> {
        let inbound = self.inbound.get_or_insert_with(|| pool::records().take());
        not_cut_off(socket.try_read(inbound)?)
    }

    /// Gives back a buffer that holds nothing.
    pub(super) fn rest(&mut self) {
        if self.inbound.as_ref().is_some_and(Buffer::is_empty) {
            self.inbound = None;
        }
    }
}

/// The end of the stream without `close_notify` may be an attacker's doing.
fn not_cut_off(count: usize) -> io::Result<()> {
    if count > 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
