//! What rustls keeps of a connection: new keys, and tickets for the next one.

use rustls::{
    ConnectionTrafficSecrets, client::ClientConnectionData, kernel::KernelConnection,
    server::ServerConnectionData,
};

use super::record::{RecordKey, Version};

/// The side of the connection we are on.
pub(super) enum Side {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

/// The handshake's remains.
pub(super) struct Session {
    pub(super) side: Side,
    pub(super) version: Version,
    /// Records that one sending key may seal.
    pub(super) limit: u64,
}

/// The protocol has no such thing, or not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

impl Session {
    /// The next key for what is received (RFC 8446 section 7.2).
    pub(super) fn next_receive(&mut self) -> Result<RecordKey, Refused> {
        let next = match &mut self.side {
            Side::Server(connection) => connection.update_rx_secret(),
            Side::Client(connection) => connection.update_rx_secret(),
        };
        self.key(next)
    }

    /// The next key for what is sent.
    pub(super) fn next_send(&mut self) -> Result<RecordKey, Refused> {
        let next = match &mut self.side {
            Side::Server(connection) => connection.update_tx_secret(),
            Side::Client(connection) => connection.update_tx_secret(),
        };
        self.key(next)
    }

    fn key(
        &self,
        next: Result<(u64, ConnectionTrafficSecrets), rustls::Error>,
    ) -> Result<RecordKey, Refused> {
        RecordKey::new(self.version, next.map_err(|_| Refused)?, self.limit).ok_or(Refused)
    }

    /// Keeps a ticket that the server sent.
    pub(super) fn keep_ticket(&mut self, ticket: &[u8]) -> Result<(), Refused> {
        match &mut self.side {
            Side::Client(connection) => {
                connection.handle_new_session_ticket(ticket).map_err(|_| Refused)
            }
            Side::Server(_) => Err(Refused),
        }
    }
}
