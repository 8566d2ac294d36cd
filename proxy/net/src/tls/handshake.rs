//! The handshake: rustls decides what is said, this moves the bytes.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use rustls::{
    AlertDescription, CommonState, ExtractedSecrets, HandshakeKind, InvalidMessage,
    PeerIncompatible, ProtocolVersion, ServerConfig, SupportedCipherSuite,
    client::{ClientConnectionData, UnbufferedClientConnection},
    pki_types::{CertificateDer, ServerName},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, InsufficientSizeError, UnbufferedStatus},
};
use thiserror::Error;

use super::{
    hello::{Hello, peek_hello},
    pool,
    record::{RecordKey, Version},
    session::{Session, Side},
    stream::{Agreed, Established, TlsStream},
};
use crate::{Buffer, Stream};

/// Records below the safe limit at which a sending key is changed.
const LIMIT_MARGIN: u64 = 1024;

/// Why no TLS connection came about.
#[derive(Debug, Error)]
pub enum HandshakeFailure {
    /// It took too long.
    #[error("the handshake took too long")]
    Timeout,
    /// The peer went before it was done.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The socket failed.
    #[error("the connection failed during the handshake: {0}")]
    Io(#[source] io::Error),
    /// The two sides do not agree, or one of them does not believe the other.
    #[error("{0}")]
    Tls(#[source] rustls::Error),
}

/// Kinds of failures, for counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum FailureKind {
    /// It took too long.
    Timeout,
    /// The peer went, or its connection broke.
    Closed,
    /// The peer speaks something else.
    NotTls,
    /// No version, cipher, curve or protocol in common.
    Incompatible,
    /// A certificate was missing or not believed.
    Certificate,
    /// The peer ended it with an alert.
    Alert,
    /// Anything else that breaks the protocol.
    Protocol,
}

impl FailureKind {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// Their names, for metrics and logs, in order.
    pub const NAMES: [&'static str; Self::COUNT] =
        ["timeout", "closed", "not_tls", "incompatible", "certificate", "alert", "protocol"];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl HandshakeFailure {
    /// Its kind.
    pub fn kind(&self) -> FailureKind {
        use rustls::Error as Tls;
        match self {
            Self::Timeout => FailureKind::Timeout,
            Self::Closed | Self::Io(_) => FailureKind::Closed,
            Self::Tls(error) => match error {
                Tls::InvalidMessage(InvalidMessage::InvalidContentType) => FailureKind::NotTls,
                Tls::PeerIncompatible(
                    PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
                )
                | Tls::NoCertificatesPresented
                | Tls::InvalidCertificate(_)
                | Tls::InvalidCertRevocationList(_) => FailureKind::Certificate,
                Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol => FailureKind::Incompatible,
                Tls::AlertReceived(alert) => match alert {
                    AlertDescription::ProtocolVersion
                    | AlertDescription::HandshakeFailure
                    | AlertDescription::NoApplicationProtocol => FailureKind::Incompatible,
                    _ => FailureKind::Alert,
                },
                _ => FailureKind::Protocol,
            },
        }
    }
}

/// The certificates that were shown in a handshake: each side's own, without its chain.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Ours. Servers always show one.
    pub own: Option<CertificateDer<'static>>,
    /// The peer's, after it was found good.
    pub peer: Option<CertificateDer<'static>>,
}

/// The server's side of a handshake, of which `received` was read already.
///
/// # Errors
/// When it does not succeed; the peer has been told why.
pub(super) async fn accept(
    socket: Stream,
    config: Arc<ServerConfig>,
    received: &[u8],
) -> Result<(TlsStream, Option<CertificateDer<'static>>), HandshakeFailure> {
    let connection = UnbufferedServerConnection::new(config).map_err(HandshakeFailure::Tls)?;
    let mut server = Server { connection, server_name: None, greeted: false };
    let shaken = shake(&socket, &mut server, received).await?;
    let Server { connection, server_name, .. } = server;
    let agreed = agreed(&connection, server_name);
    let peer = shown_by_peer(&connection);
    let (secrets, kernel) =
        connection.dangerous_into_kernel_connection().map_err(HandshakeFailure::Tls)?;
    let suite = kernel.negotiated_cipher_suite();
    let established = establish(Side::Server(kernel), suite, secrets, agreed, shaken)?;
    Ok((TlsStream::new(socket, established), peer))
}

/// The client's side.
///
/// # Errors
/// When it does not succeed; the peer has been told why.
pub(super) async fn connect(
    socket: Stream,
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
) -> Result<(TlsStream, Option<CertificateDer<'static>>), HandshakeFailure> {
    let mut connection =
        UnbufferedClientConnection::new(config, name).map_err(HandshakeFailure::Tls)?;
    let shaken = shake(&socket, &mut connection, &[]).await?;
    let agreed = agreed(&connection, None);
    let peer = shown_by_peer(&connection);
    let (secrets, kernel) =
        connection.dangerous_into_kernel_connection().map_err(HandshakeFailure::Tls)?;
    let suite = kernel.negotiated_cipher_suite();
    let established = establish(Side::Client(kernel), suite, secrets, agreed, shaken)?;
    Ok((TlsStream::new(socket, established), peer))
}

/// What the two sides have in common here.
trait Handshake {
    type Data;

    fn is_handshaking(&self) -> bool;

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

/// rustls keeps the name a client asks for to itself, so it is read on the way.
struct Server {
    connection: UnbufferedServerConnection,
    server_name: Option<Box<str>>,
    /// The client's first message was whole.
    greeted: bool,
}

impl Handshake for Server {
    type Data = ServerConnectionData;

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        if !self.greeted
            && let Ok(Hello::Complete { server_name }) = peek_hello(incoming)
        {
            self.greeted = true;
            self.server_name = server_name.map(String::into_boxed_str);
        }
        self.connection.process_tls_records(incoming)
    }
}

impl Handshake for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn is_handshaking(&self) -> bool {
        CommonState::is_handshaking(self)
    }

    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// What is left over from the exchange of messages.
struct Shaken {
    inbound: Option<Buffer>,
    outbound: Option<Buffer>,
    early: Vec<u8>,
    /// The peer has said already that nothing more comes.
    ended: bool,
}

impl Shaken {
    /// Drops what rustls is done with. It counts on finding the rest where it was: what it is
    /// given must always be this, and all of it.
    fn consume(&mut self, discard: usize) {
        if let Some(inbound) = &mut self.inbound {
            inbound.consume(discard);
        }
    }

    fn incoming(&mut self) -> &mut [u8] {
        self.inbound.as_mut().map_or(&mut [], Buffer::filled_mut)
    }
}

/// What to do next.
enum Turn {
    Again,
    /// More has to be read; what was said before has to leave first.
    Read,
    /// What is said next has no room behind what waits to leave.
    Flush {
        room: usize,
    },
    Done,
    /// The peer says that nothing more comes.
    Closed,
}

async fn shake(
    socket: &Stream,
    connection: &mut impl Handshake,
    received: &[u8],
) -> Result<Shaken, HandshakeFailure> {
    let inbound = take_over(received)?;
    let mut shaken = Shaken { inbound, outbound: None, early: Vec::new(), ended: false };
    loop {
        match turn(connection, &mut shaken) {
            Ok(Turn::Again) => {}
            Ok(Turn::Done | Turn::Closed) => return Ok(shaken),
            Ok(Turn::Flush { room }) => {
                flush(socket, &mut shaken.outbound).await?;
                let outbound = shaken.outbound.get_or_insert_with(|| pool::records().take());
                if outbound.spare().len() < room {
                    let large = "a handshake message is larger than a buffer";
                    return Err(HandshakeFailure::Tls(rustls::Error::General(large.to_owned())));
                }
            }
            Ok(Turn::Read) => {
                flush(socket, &mut shaken.outbound).await?;
                read(socket, &mut shaken.inbound).await?;
            }
            Err(error) => {
                tell(socket, connection, &mut shaken);
                return Err(HandshakeFailure::Tls(error));
            }
        }
    }
}

/// One step of the handshake, on what has been read.
fn turn(connection: &mut impl Handshake, shaken: &mut Shaken) -> Result<Turn, rustls::Error> {
    let Shaken { inbound, outbound, early, .. } = shaken;
    let incoming = inbound.as_mut().map_or(&mut [][..], Buffer::filled_mut);
    let UnbufferedStatus { discard, state } = connection.process(incoming);
    let turn = match state {
        Err(error) => {
            shaken.consume(discard);
            return Err(error);
        }
        Ok(state) => state,
    };
    let turn = match turn {
        ConnectionState::EncodeTlsData(mut data) => {
            let outbound = outbound.get_or_insert_with(|| pool::records().take());
            match data.encode(outbound.spare()) {
                Ok(count) => {
                    outbound.commit(count);
                    Turn::Again
                }
                Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    Turn::Flush { room: required_size }
                }
                Err(EncodeError::AlreadyEncoded) => Turn::Again,
            }
        }
        // It leaves before we wait for an answer, or with the first text.
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Turn::Again
        }
        ConnectionState::BlockedHandshake => Turn::Read,
        ConnectionState::WriteTraffic(_) => Turn::Done,
        ConnectionState::ReadTraffic(mut records) => {
            while let Some(record) = records.next_record() {
                early.extend_from_slice(record?.payload);
            }
            Turn::Again
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => Turn::Closed,
        _ => return Err(rustls::Error::General("early data was never offered".to_owned())),
    };
    shaken.consume(discard);
    // A server may write before the client's last message has come.
    Ok(match turn {
        Turn::Done if connection.is_handshaking() => Turn::Read,
        Turn::Closed if connection.is_handshaking() => {
            return Err(rustls::Error::AlertReceived(AlertDescription::CloseNotify));
        }
        // All it had to say came with the end of the handshake.
        Turn::Closed => {
            shaken.ended = true;
            Turn::Closed
        }
        turn => turn,
    })
}

/// Tells the peer what it did wrong, as far as the socket takes it.
fn tell(socket: &Stream, connection: &mut impl Handshake, shaken: &mut Shaken) {
    loop {
        let mut outbound = shaken.outbound.take().unwrap_or_else(|| pool::records().take());
        let UnbufferedStatus { discard, state } = connection.process(shaken.incoming());
        let encoded = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => data.encode(outbound.spare()).ok(),
            _ => None,
        };
        shaken.consume(discard);
        // rustls has nothing to say after the alert, and must not be asked: it would look at
        // the bytes again that it has just refused.
        let goes_on = encoded.is_some() && matches!(outbound.spare()[0], 20 | 22);
        outbound.commit(encoded.unwrap_or_default());
        shaken.outbound = Some(outbound);
        if !goes_on {
            break;
        }
    }
    let mut cx = Context::from_waker(Waker::noop());
    let _as_far_as_it_goes = poll_flush(&mut cx, socket, &mut shaken.outbound);
    let _gone_already = socket.shutdown_write();
}

async fn read(socket: &Stream, inbound: &mut Option<Buffer>) -> Result<(), HandshakeFailure> {
    if inbound.as_ref().is_some_and(Buffer::is_full) {
        let large = "a handshake message is larger than a buffer";
        return Err(HandshakeFailure::Tls(rustls::Error::General(large.to_owned())));
    }
    let records = pool::records();
    let read = poll_fn(|cx| {
        let polled = socket.poll_read_pooled(cx, inbound, &records);
        if polled.is_pending() && inbound.as_ref().is_some_and(Buffer::is_empty) {
            *inbound = None;
        }
        polled
    });
    match read.await {
        Ok(0) => Err(HandshakeFailure::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(HandshakeFailure::Io(error)),
    }
}

async fn flush(socket: &Stream, outbound: &mut Option<Buffer>) -> Result<(), HandshakeFailure> {
    poll_fn(|cx| poll_flush(cx, socket, outbound)).await.map_err(HandshakeFailure::Io)
}

fn poll_flush(
    cx: &mut Context<'_>,
    socket: &Stream,
    outbound: &mut Option<Buffer>,
) -> Poll<io::Result<()>> {
    if let Some(buffer) = outbound {
        while !buffer.is_empty() {
            let count = ready!(socket.poll_write(cx, buffer.filled()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.consume(count);
        }
    }
    *outbound = None;
    Poll::Ready(Ok(()))
}

/// A buffer with what was read before the handshake was known to be one.
fn take_over(received: &[u8]) -> Result<Option<Buffer>, HandshakeFailure> {
    if received.is_empty() {
        return Ok(None);
    }
    let mut buffer = pool::records().take();
    let Some(room) = buffer.spare().get_mut(..received.len()) else {
        let large = "more was received ahead of the handshake than a buffer holds";
        return Err(HandshakeFailure::Tls(rustls::Error::General(large.to_owned())));
    };
    room.copy_from_slice(received);
    buffer.commit(received.len());
    Ok(Some(buffer))
}

fn shown_by_peer(connection: &CommonState) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_certificates()?;
    chain.first().map(|own| own.clone().into_owned())
}

fn agreed(connection: &CommonState, server_name: Option<Box<str>>) -> Agreed {
    Agreed {
        alpn: connection.alpn_protocol().map(Box::from),
        server_name,
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

fn establish(
    side: Side,
    suite: SupportedCipherSuite,
    secrets: ExtractedSecrets,
    agreed: Agreed,
    shaken: Shaken,
) -> Result<Established, HandshakeFailure> {
    let (version, limit) = match suite {
        SupportedCipherSuite::Tls12(suite) => (Version::Tls12, suite.common.confidentiality_limit),
        SupportedCipherSuite::Tls13(suite) => (Version::Tls13, suite.common.confidentiality_limit),
    };
    let limit = limit.saturating_sub(LIMIT_MARGIN);
    let unknown = || {
        let unknown = "a cipher without a record layer of ours was agreed on";
        HandshakeFailure::Tls(rustls::Error::General(unknown.to_owned()))
    };
    let send = RecordKey::new(version, secrets.tx, limit).ok_or_else(unknown)?;
    let receive = RecordKey::new(version, secrets.rx, limit).ok_or_else(unknown)?;
    let session = Session { side, version, limit };
    let Shaken { inbound, outbound, early, ended } = shaken;
    Ok(Established { session, receive, send, inbound, early, ended, outbound, agreed })
}
