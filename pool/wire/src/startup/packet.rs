//! Tells first packets apart.

use super::{Parameters, ProtocolVersion, StartupError};
use crate::message::backend::SECRET_LEN;

/// Most bytes a first packet may claim, its length included: `MAX_STARTUP_PACKET_LENGTH`.
pub const MAX_STARTUP_LEN: usize = 10_000;

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// "Version" 1234.xxxx is no version but a request.
const REQUEST_MAJOR: u16 = 1234;
const CANCEL: u16 = 5678;
const SSL: u16 = 5679;
const GSS: u16 = 5680;

/// A packet a client may open with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket<'a> {
    /// TLS without asking first (since PostgreSQL 17). ALPN must then name `postgresql`.
    DirectTls,
    /// SSLRequest. Answer one byte. Nothing may be buffered behind it before the handshake: it
    /// would have been injected (CVE-2021-23214).
    SslRequest,
    /// GSSENCRequest. Answer [`DECLINE`](super::DECLINE). The same rule holds.
    GssRequest,
    /// CancelRequest. Closes without an answer.
    Cancel(CancelRequest<'a>),
    /// StartupMessage.
    Startup(StartupMessage<'a>),
}

/// A request to cancel what another connection runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelRequest<'a> {
    /// The process id from BackendKeyData.
    pub process_id: i32,
    /// The secret from BackendKeyData.
    pub secret: &'a [u8],
}

/// A request for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage<'a> {
    /// The version asked for; the minor may be newer than any known.
    pub version: ProtocolVersion,
    /// Who, where and how.
    pub parameters: Parameters<'a>,
}

// === impl FirstPacket ===

impl<'a> FirstPacket<'a> {
    /// Reads the packet `input` starts with, and how many bytes it takes up. `None` when part of
    /// it is still to come. [`DirectTls`](Self::DirectTls) takes up nothing: the handshake needs
    /// all of it.
    ///
    /// # Errors
    /// [`StartupError`] when it is none of the packets a client may open with.
    pub fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, StartupError> {
        match input.first() {
            None => return Ok(None),
            Some(&TLS_HANDSHAKE) => return Ok(Some((Self::DirectTls, 0))),
            Some(_) => {}
        }
        let Some(len) = packet_len(input)? else { return Ok(None) };
        let Some(packet) = input.get(..len) else { return Ok(None) };
        Self::parse_packet(packet).map(|first| Some((first, len)))
    }

    /// `packet` is whole: its length is right and at least [`MIN_LEN`].
    fn parse_packet(packet: &'a [u8]) -> Result<Self, StartupError> {
        let len = i32::try_from(packet.len()).unwrap_or(i32::MAX);
        let bad_length = StartupError::BadLength { len };
        let Some((&[_, _, _, _, a, b, c, d], body)) = packet.split_first_chunk::<MIN_LEN>() else {
            return Err(bad_length);
        };
        let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        match (major, minor) {
            (REQUEST_MAJOR, CANCEL) => CancelRequest::parse(body).map(Self::Cancel),
            (REQUEST_MAJOR, SSL) if body.is_empty() => Ok(Self::SslRequest),
            (REQUEST_MAJOR, GSS) if body.is_empty() => Ok(Self::GssRequest),
            (REQUEST_MAJOR, SSL | GSS) => Err(bad_length),
            (3, minor) => Ok(Self::Startup(StartupMessage {
                version: ProtocolVersion::with_minor(minor),
                parameters: Parameters::parse(body)?,
            })),
            (major, minor) => Err(StartupError::UnsupportedVersion { major, minor }),
        }
    }
}

/// A length and a version word.
const MIN_LEN: usize = 8;

/// The length the packet claims, checked. A wrong first byte is found out as soon as it is here,
/// so a peer that speaks something else is not waited for.
fn packet_len(input: &[u8]) -> Result<Option<usize>, StartupError> {
    let Some(&word) = input.first_chunk::<4>() else {
        let mut least = [0; 4];
        least[..input.len()].copy_from_slice(input);
        let len = i32::from_be_bytes(least);
        let hopeless = len < 0 || len.cast_unsigned() as usize > MAX_STARTUP_LEN;
        return if hopeless { Err(StartupError::BadLength { len }) } else { Ok(None) };
    };
    let len = i32::from_be_bytes(word);
    match usize::try_from(len) {
        Ok(bytes) if (MIN_LEN..=MAX_STARTUP_LEN).contains(&bytes) => Ok(Some(bytes)),
        _ => Err(StartupError::BadLength { len }),
    }
}

// === impl CancelRequest ===

impl<'a> CancelRequest<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, StartupError> {
        let Some((&id, secret)) = body.split_first_chunk::<4>() else {
            return Err(StartupError::BadCancelKey { len: 0 });
        };
        if !SECRET_LEN.contains(&secret.len()) {
            return Err(StartupError::BadCancelKey { len: secret.len() });
        }
        Ok(Self { process_id: i32::from_be_bytes(id), secret })
    }
}
