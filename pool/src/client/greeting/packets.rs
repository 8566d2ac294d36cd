//! What a login is made of: first packets, TLS, messages.

use bs9_config::ClientSslMode;
use bs9_net::{PeerAddress, Transport};
use bs9_wire::{
    encode::backend,
    frame::Frame,
    sqlstate::SqlState,
    startup::{
        ACCEPT_TLS, DECLINE, FirstPacket, Opening, ProtocolVersion, Replication, StartupMessage,
        options,
    },
    tag::FrontendTag,
};

use super::{Greeting, Refusal};
use crate::{cancel, settings::Asked, sql::cut_off, tls};

/// What a StartupMessage asks for, taken out of its packet.
pub(super) struct Wish {
    pub(super) version: ProtocolVersion,
    pub(super) user: Box<str>,
    pub(super) database: Box<str>,
    pub(super) replication: Replication,
    pub(super) asked: Asked,
}

impl Greeting {
    /// Reads up to the StartupMessage. `None`: there was none to come, a cancel request say.
    pub(super) async fn first_packets(&mut self) -> Result<Option<Wish>, Refusal> {
        let mut opening = Opening::new();
        loop {
            let Some((packet, length)) = opening.next(self.buffer.filled())? else {
                self.read().await?;
                continue;
            };
            match packet {
                FirstPacket::DirectTls => {
                    self.shake_hands().await?;
                    opening.encrypted();
                    self.check_alpn()?;
                }
                FirstPacket::SslRequest if self.has_tls() => {
                    self.buffer.consume(length);
                    self.out.push(ACCEPT_TLS);
                    self.send().await?;
                    self.shake_hands().await?;
                    opening.encrypted();
                }
                FirstPacket::SslRequest | FirstPacket::GssRequest => {
                    self.out.push(DECLINE);
                    self.buffer.consume(length);
                    self.send().await?;
                }
                FirstPacket::Cancel(request) => {
                    // Taken without TLS, too: clients before PostgreSQL 17 know no better.
                    let (process_id, secret) = (request.process_id, request.secret.to_vec());
                    cancel::request(&self.home, process_id, &secret).await;
                    return Ok(None);
                }
                FirstPacket::Startup(startup) => {
                    let wish = Wish::read(&startup)?;
                    negotiate(&mut self.out, &startup);
                    self.buffer.consume(length);
                    self.check_encryption()?;
                    return Ok(Some(wish));
                }
            }
        }
    }

    // === TLS ===

    pub(in crate::client) fn is_encrypted(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.agreed().is_some())
    }

    /// Whether a client may ask for it. As with a server, there is none on a Unix socket.
    fn has_tls(&self) -> bool {
        self.peer != PeerAddress::Unix && self.slot.listener().speaks_tls()
    }

    /// What is in the buffer is the beginning of the handshake.
    async fn shake_hands(&mut self) -> Result<(), Refusal> {
        let stream = self.stream.take().and_then(Transport::into_plain);
        let Some(stream) = stream.filter(|_| self.has_tls()) else {
            tracing::debug!(peer = %self.peer, "a client began with TLS, which is not configured");
            return Err(Refusal::Silent);
        };
        let shaking = self.slot.shake_hands(stream, self.buffer.filled(), self.peer);
        let Some(Ok((stream, shown))) = shaking.await else { return Err(Refusal::Silent) };
        let taken = self.buffer.len();
        self.buffer.consume(taken);
        stream.limit_records(tls::CLIENT_RECORD_BYTES);
        self.stream = Some(stream.into());
        self.shown = shown;
        Ok(())
    }

    /// Whoever begins with TLS must mean us: another protocol's client could be made to say
    /// things that look like ours (ALPACA).
    fn check_alpn(&self) -> Result<(), Refusal> {
        let agreed = self.stream.as_ref().and_then(Transport::agreed);
        if agreed.is_some_and(|agreed| agreed.alpn.as_deref() == Some(tls::ALPN)) {
            return Ok(());
        }
        let message =
            "received direct SSL connection request without ALPN protocol negotiation extension";
        Err(Refusal::told(SqlState::PROTOCOL_VIOLATION, message))
    }

    fn check_encryption(&self) -> Result<(), Refusal> {
        if self.is_encrypted() || !self.has_tls() {
            return Ok(());
        }
        let listeners = &self.part.config.listeners;
        let listener = listeners.get(&self.slot.listener().name);
        let sslmode = listener.and_then(|listener| listener.tls.as_ref()?.sslmode);
        // In doubt, as when a reload has just renamed it, it is insisted on.
        if sslmode.unwrap_or(ClientSslMode::Require).requires_tls() {
            let refusal = Refusal::told(SqlState::INVALID_AUTHORIZATION, "SSL required");
            return Err(refusal.hint("Connect with sslmode=require, or a stricter one."));
        }
        Ok(())
    }

    // === Messages ===

    pub(in crate::client) async fn read(&mut self) -> Result<(), Refusal> {
        if self.buffer.is_full() {
            let message = "a message of the login is too long";
            return Err(Refusal::told(SqlState::PROTOCOL_VIOLATION, message));
        }
        let Some(stream) = &self.stream else { return Err(Refusal::Silent) };
        match stream.read(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Refusal::Silent),
            Ok(_) => Ok(()),
        }
    }

    pub(in crate::client) async fn send(&mut self) -> Result<(), Refusal> {
        let Some(stream) = &self.stream else { return Err(Refusal::Silent) };
        let sent = stream.write_all(&self.out).await;
        self.out.clear();
        sent.map_err(|_| Refusal::Silent)
    }

    /// The client's answer to an authentication request.
    pub(in crate::client) async fn answer(&mut self) -> Result<Vec<u8>, Refusal> {
        self.send().await?;
        loop {
            let frame = Frame::<FrontendTag>::parse(self.buffer.filled());
            let frame = frame
                .map_err(|error| Refusal::told(SqlState::PROTOCOL_VIOLATION, error.to_string()))?;
            let Some(frame) = frame else {
                self.read().await?;
                continue;
            };
            let (tag, body, length) = (frame.tag, frame.body.to_vec(), frame.bytes.len());
            self.buffer.consume(length);
            return match tag {
                FrontendTag::Password => Ok(body),
                FrontendTag::Terminate => Err(Refusal::Silent),
                tag => {
                    let message = format!("expected password response, got {tag:?}");
                    Err(Refusal::told(SqlState::PROTOCOL_VIOLATION, message))
                }
            };
        }
    }
}

/// Says which version and options of the protocol the pool does not know, if there are any.
fn negotiate(out: &mut Vec<u8>, startup: &StartupMessage<'_>) {
    let newest = ProtocolVersion::NEWEST;
    let mut unknown = startup.parameters.protocol_options().peekable();
    if startup.version > newest || unknown.peek().is_some() {
        let agreed = startup.version.agree(newest);
        backend::negotiate_protocol_version(out, agreed, unknown);
    }
}

impl Wish {
    fn read(startup: &StartupMessage<'_>) -> Result<Self, Refusal> {
        let parameters = &startup.parameters;
        let options = parameters.options().map(options::settings).transpose()?;
        let options = options.unwrap_or_default();
        // As a server has it: what is named on its own counts more than what is in `options`.
        let options = options.iter().map(|setting| (&*setting.name, &*setting.value));
        let asked = Asked::new(options.chain(parameters.settings()))
            .map_err(|error| Refusal::told(SqlState::PROTOCOL_VIOLATION, error.to_string()))?;
        Ok(Self {
            version: startup.version.agree(ProtocolVersion::NEWEST),
            user: cut_off(parameters.user()).into(),
            database: cut_off(parameters.database()).into(),
            replication: parameters.replication(),
            asked,
        })
    }
}
