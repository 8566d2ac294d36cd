//! The line to a server: a connection, encrypted if that was agreed on.

use std::{io, rc::Rc};

use bs9_config::ServerAddress;
use bs9_net::{Buffer, BufferPool, Stream, Transport, tls::HandshakeFailure};
use bs9_wire::startup::{ACCEPT_TLS, DECLINE, ssl_request};

use crate::tls::{self, Encryption};

/// A connection to a server on which nothing has been said yet.
pub(crate) struct Line {
    pub(crate) stream: Transport,
    /// What a login over it can be bound to: the hash of the server's certificate.
    pub(crate) binding: Option<Box<[u8]>>,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("cannot connect to the server: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection broke while TLS was asked for: {0}")]
    Broke(#[source] io::Error),
    #[error("the server closed the connection when it was asked for TLS")]
    Closed,
    #[error("the server does not support TLS, but the configuration insists on it")]
    Declined,
    /// A message of an error instead of an answer: it could have been anybody's, and is not
    /// passed on (CVE-2024-10977).
    #[error("the server answered a request for TLS with an error")]
    Refused,
    #[error("the server answered a request for TLS with a byte that means nothing")]
    Gibberish,
    /// Somebody may have put them there (CVE-2021-23222).
    #[error("received unencrypted data after the server agreed to TLS")]
    BufferedBehindAnswer,
    #[error("TLS handshake with the server failed: {0}")]
    Handshake(#[source] HandshakeFailure),
    #[error("the server did not agree on the protocol \"postgresql\" (ALPN)")]
    NoAlpn,
}

impl LineError {
    /// Whether the server, or somebody in between, has no TLS to speak of.
    pub(crate) fn is_about_tls(&self) -> bool {
        !matches!(self, Self::Connect(_))
    }
}

impl Line {
    /// Connects without TLS.
    pub(crate) async fn open(address: &ServerAddress) -> Result<Self, LineError> {
        let stream = connect(address).await.map_err(LineError::Connect)?;
        Ok(Self { stream: stream.into(), binding: None })
    }

    /// Connects with TLS. Without, if the server declines it and `may_do_without`.
    pub(crate) async fn open_encrypted(
        address: &ServerAddress,
        encryption: &Encryption,
        may_do_without: bool,
        buffers: &Rc<BufferPool>,
    ) -> Result<Self, LineError> {
        let Some(endpoint) = tls::endpoint(address) else { return Self::open(address).await };
        let stream = connect(address).await.map_err(LineError::Connect)?;
        let direct = encryption.source.direct;
        if !direct && !agrees(&stream, buffers.take()).await? {
            return match may_do_without {
                true => Ok(Self { stream: stream.into(), binding: None }),
                false => Err(LineError::Declined),
            };
        }
        let shaken = encryption.client.connect_and_show(stream, endpoint).await;
        let (stream, certificate) = shaken.map_err(LineError::Handshake)?;
        if direct && stream.agreed().alpn.as_deref() != Some(tls::ALPN) {
            return Err(LineError::NoAlpn);
        }
        let binding = certificate.and_then(|certificate| tls::end_point(&certificate));
        Ok(Self { stream: stream.into(), binding })
    }
}

/// Asks for TLS. Nothing but the one byte of the answer may have come.
async fn agrees(stream: &Stream, mut buffer: Buffer) -> Result<bool, LineError> {
    let mut request = Vec::with_capacity(8);
    ssl_request(&mut request);
    stream.write_all(&request).await.map_err(LineError::Broke)?;
    if stream.read(&mut buffer).await.map_err(LineError::Broke)? == 0 {
        return Err(LineError::Closed);
    }
    match *buffer.filled() {
        [ACCEPT_TLS] => Ok(true),
        [DECLINE] => Ok(false),
        [b'E', ..] => Err(LineError::Refused),
        [ACCEPT_TLS | DECLINE, ..] => Err(LineError::BufferedBehindAnswer),
        _ => Err(LineError::Gibberish),
    }
}

async fn connect(address: &ServerAddress) -> io::Result<Stream> {
    match address {
        ServerAddress::Unix(path) => Stream::connect_unix(path).await,
        ServerAddress::Tcp { host, port } => {
            if let Ok(address) = host.parse() {
                return Stream::connect_session(std::net::SocketAddr::new(address, *port)).await;
            }
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in tokio::net::lookup_host((&**host, *port)).await? {
                match Stream::connect_session(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}
