//! Endpoints that answer with frames made by hand.

use crate::{
    http2::frames::{Frame, HEADERS, PING, PREFACE, RST_STREAM, Raw, SETTINGS, block, frame},
    origin::{Log, Origin},
    wire::Wire,
};

/// The server's side of a connection.
pub(crate) struct Server(pub(crate) Raw);

impl Server {
    /// Takes the preface, and sends SETTINGS.
    fn accept(mut wire: Wire) -> Self {
        assert_eq!(wire.exact(PREFACE.len()), PREFACE);
        let mut raw = Raw(wire);
        raw.send(frame(SETTINGS, 0, 0, &[]));
        Self(raw)
    }

    /// The stream of the next request.
    pub(crate) fn request(&mut self) -> u32 {
        self.0.next_of(&[HEADERS]).stream
    }

    /// The next request, if there is one before the connection ends.
    pub(crate) fn try_request(&mut self) -> Option<u32> {
        loop {
            match self.0.try_next() {
                Ok(Frame { kind: HEADERS, stream, .. }) => return Some(stream),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Answers with 200 and the fields that follow it, and no body.
    pub(crate) fn answer(&mut self, stream: u32, fields: &[(&str, &str)]) {
        let fields = [&[(":status", "200")][..], fields].concat();
        self.0.send(frame(HEADERS, 4 | 1, stream, &block(&fields)));
    }

    /// Answers the next PING.
    pub(crate) fn pong(&mut self) {
        let ping = self.0.next_of(&[PING]);
        self.0.send(frame(PING, 1, 0, &ping.payload));
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u8) {
        self.0.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, code]));
    }

    pub(crate) fn goaway(&mut self, last: u32, code: u8) {
        let payload = [last.to_be_bytes(), [0, 0, 0, code]].concat();
        self.0.send(frame(crate::http2::frames::GOAWAY, 0, 0, &payload));
    }

    /// Reads until the other side closes.
    pub(crate) fn rest(mut self) {
        while self.0.try_next().is_ok() {}
    }
}

/// Plays `script` on each connection; connections are numbered from 0.
pub(crate) fn scripted(script: impl Fn(usize, Server) + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |connection, wire, _log: &Log| script(connection, Server::accept(wire)))
}
