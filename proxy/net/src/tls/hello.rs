//! The name in a client's first TLS message, read without answering it.
//!
//! Pure: bytes in, a verdict out. The message may be cut into records, and the
//! records into reads, at any byte (RFC 8446 sections 4.1.2 and 5.1, RFC 6066
//! section 3).

use thiserror::Error;

/// Bytes of a first message, records included, that are looked at: a client that needs more
/// is refused. Real ones stay below 2 KiB, even with post-quantum key shares.
pub const MAX_HELLO_BYTES: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const MAX_RECORD_BYTES: usize = 16 * 1024;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// More bytes are needed to tell.
    Partial,
    /// A whole ClientHello, with the name it asks for, in lower case.
    Complete {
        /// `None`: it asks for none.
        server_name: Option<String>,
    },
}

/// Why the first bytes are no ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HelloError {
    /// Something else speaks.
    #[error("this is not TLS")]
    NotTls,
    /// A length inside says something that cannot be.
    #[error("the ClientHello is malformed")]
    Malformed,
    /// It does not end within [`MAX_HELLO_BYTES`].
    #[error("the ClientHello is too large")]
    TooLarge,
}

/// Reads the start of a connection.
///
/// # Errors
/// When no further byte can make it a ClientHello.
pub fn peek_hello(bytes: &[u8]) -> Result<Hello, HelloError> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [] => break,
            [HANDSHAKE, ..] => {}
            _ => return Err(HelloError::NotTls),
        }
        if rest.get(1).is_some_and(|major| *major != 3) {
            return Err(HelloError::NotTls);
        }
        let [_, _, _, high, low, payload @ ..] = rest else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > MAX_RECORD_BYTES {
            return Err(HelloError::Malformed);
        }
        let (whole, payload, next) = match payload.split_at_checked(length) {
            Some((payload, next)) => (true, payload, next),
            None => (false, payload, &[][..]),
        };
        if message.is_empty() && payload.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloError::NotTls);
        }
        message.extend_from_slice(payload);
        if let [_, a, b, c, body @ ..] = message.as_slice() {
            let wanted = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if wanted > MAX_HELLO_BYTES {
                return Err(HelloError::TooLarge);
            }
            if let Some(body) = body.get(..wanted) {
                return server_name(body).map(|server_name| Hello::Complete { server_name });
            }
        }
        if !whole {
            break;
        }
        rest = next;
    }
    if bytes.len() >= MAX_HELLO_BYTES { Err(HelloError::TooLarge) } else { Ok(Hello::Partial) }
}

/// What is left of a message to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, HelloError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, HelloError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with its length before it, in one byte.
    fn short_vector(&mut self) -> Result<&'a [u8], HelloError> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// Likewise, in two.
    fn vector(&mut self) -> Result<&'a [u8], HelloError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

fn server_name(body: &[u8]) -> Result<Option<String>, HelloError> {
    let mut hello = Reader(body);
    hello.take(2 + 32)?; // version and random
    hello.short_vector()?; // session id
    hello.vector()?; // cipher suites
    hello.short_vector()?; // compression methods
    if hello.0.is_empty() {
        // No extensions: allowed before TLS 1.3.
        return Ok(None);
    }
    let mut extensions = Reader(hello.vector()?);
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vector()?;
        if kind == SERVER_NAME {
            if found.is_some() {
                return Err(HelloError::Malformed);
            }
            found = Some(host_name(content)?);
        }
    }
    Ok(found.flatten())
}

fn host_name(content: &[u8]) -> Result<Option<String>, HelloError> {
    let mut names = Reader(content);
    let mut names = Reader(names.vector()?);
    while !names.0.is_empty() {
        let kind = names.u8()?;
        let name = names.vector()?;
        if kind == HOST_NAME {
            let plain =
                !name.is_empty() && name.len() <= 255 && name.iter().all(u8::is_ascii_graphic);
            let text = std::str::from_utf8(name).ok().filter(|_| plain);
            return text.map(|name| Some(name.to_ascii_lowercase())).ok_or(HelloError::Malformed);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
