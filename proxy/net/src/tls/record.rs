//! The record layer: sealing and opening one record (RFC 8446 section 5, RFC 5246
//! section 6.2, RFC 5288, RFC 7905).
//!
//! The handshake is rustls' business; it hands over the secrets of both directions when it is
//! done. From there on a record is sealed from where its bytes are to where it leaves from, and
//! opened from where it was read to where its bytes are wanted: no copy between, no allocation.

use std::fmt;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce,
    UnboundKey,
};
use rustls::ConnectionTrafficSecrets;

/// Bytes before a record's content.
pub(super) const HEADER_BYTES: usize = 5;
/// Bytes of plaintext in one record.
pub(super) const MAX_PLAINTEXT_BYTES: usize = 16 * 1024;
/// Bytes that sealing adds at most: header, explicit nonce or content type, tag.
pub(super) const MAX_OVERHEAD_BYTES: usize = HEADER_BYTES + EXPLICIT_NONCE_BYTES + TAG_BYTES;
/// Bytes of a sealed record's content at most (RFC 8446 section 5.2; RFC 5246 allows more,
/// which nothing needs).
pub(super) const MAX_SEALED_BYTES: usize = MAX_PLAINTEXT_BYTES + 256;

const TAG_BYTES: usize = 16;
const EXPLICIT_NONCE_BYTES: usize = 8;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    ChangeCipherSpec,
    Alert,
    Handshake,
    Application,
}

impl Content {
    fn number(self) -> u8 {
        match self {
            Self::ChangeCipherSpec => 20,
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::Application => 23,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            20 => Self::ChangeCipherSpec,
            21 => Self::Alert,
            22 => Self::Handshake,
            23 => Self::Application,
            _ => return None,
        })
    }
}

/// How records look, by protocol version and cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// TLS 1.3: the content type is inside, the nonce nowhere.
    Tls13,
    /// TLS 1.2 with AES-GCM: half of the nonce is in the record.
    Tls12Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305.
    Tls12,
}

/// The protocol version agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// A record that cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordError {
    /// It was not sealed with this key, or it was changed on the way.
    BadMac,
    /// It is longer than a record can be.
    Overflow,
    /// Its type or form is none that can come here.
    Unexpected,
    /// The key has sealed as much as it safely can.
    Exhausted,
}

/// One direction's key, and how many records it has seen.
pub(super) struct RecordKey {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    shape: Shape,
    /// Records that one key may seal (RFC 8446 section 5.5).
    limit: u64,
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordKey").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl RecordKey {
    /// From what the handshake, or a key update, came to. `None`: a cipher that this program
    /// does not offer.
    pub(super) fn new(
        version: Version,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        limit: u64,
    ) -> Option<Self> {
        let (algorithm, key, iv): (&'static Algorithm, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return None,
        };
        let shape = match version {
            Version::Tls13 => Shape::Tls13,
            Version::Tls12 if std::ptr::eq(algorithm, &CHACHA20_POLY1305) => Shape::Tls12,
            Version::Tls12 => Shape::Tls12Explicit,
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).ok()?;
        let iv = iv.as_ref().try_into().ok()?;
        Some(Self { key: LessSafeKey::new(key), iv, sequence, shape, limit })
    }

    /// Whether it should be replaced before it seals another record.
    pub(super) fn is_worn(&self) -> bool {
        self.sequence >= self.limit
    }

    /// Bytes that sealing adds.
    pub(super) fn overhead(&self) -> usize {
        HEADER_BYTES
            + TAG_BYTES
            + match self.shape {
                Shape::Tls13 => 1,
                Shape::Tls12Explicit => EXPLICIT_NONCE_BYTES,
                Shape::Tls12 => 0,
            }
    }

    /// Seals the bytes of `parts`, one behind the other, into one record at the start of
    /// `out`, which has room for them and [`overhead`](Self::overhead). Gives its length.
    ///
    /// # Errors
    /// When the key is exhausted.
    pub(super) fn seal(
        &mut self,
        content: Content,
        parts: &[&[u8]],
        out: &mut [u8],
    ) -> Result<usize, RecordError> {
        let plain: usize = parts.iter().map(|part| part.len()).sum();
        debug_assert!(plain <= MAX_PLAINTEXT_BYTES, "a record's worth");
        if self.sequence == u64::MAX {
            return Err(RecordError::Exhausted);
        }
        let total = plain + self.overhead();
        let nonce = self.nonce();
        let (header, body) = out[..total].split_at_mut(HEADER_BYTES);
        let (inner, outer) = match self.shape {
            Shape::Tls13 => (Some(content.number()), Content::Application),
            _ => (None, content),
        };
        write_header(header, outer, total - HEADER_BYTES);
        let aad = self.aad(header, plain);
        let body = match self.shape {
            Shape::Tls12Explicit => {
                let (explicit, body) = body.split_at_mut(EXPLICIT_NONCE_BYTES);
                explicit.copy_from_slice(&nonce[NONCE_LEN - EXPLICIT_NONCE_BYTES..]);
                body
            }
            _ => body,
        };
        let (text, rest) = body.split_at_mut(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = match parts {
            [part] => self.key.seal_out_of_place_scatter(
                nonce,
                Aad::from(aad.as_slice()),
                part,
                text,
                inner.as_slice(),
                rest,
            ),
            parts => {
                let mut at = 0;
                for part in parts {
                    text[at..at + part.len()].copy_from_slice(part);
                    at += part.len();
                }
                let aad = Aad::from(aad.as_slice());
                self.key.seal_in_place_scatter(nonce, aad, text, inner.as_slice(), rest)
            }
        };
        sealed.map_err(|_| RecordError::Exhausted)?;
        self.sequence += 1;
        Ok(total)
    }

    /// Opens the record `sealed`, header included, in place. Gives what it holds and where in
    /// `sealed` its plaintext is.
    ///
    /// # Errors
    /// When it is not what the peer sent.
    pub(super) fn open_in_place(
        &mut self,
        sealed: &mut [u8],
    ) -> Result<(Content, std::ops::Range<usize>), RecordError> {
        let parts = self.prepare(sealed)?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(parts.nonce), parts.aad);
        let body = &mut sealed[parts.start..];
        let aad = Aad::from(aad.as_slice());
        let plain = self.key.open_in_place(nonce, aad, body).map_err(|_| RecordError::BadMac)?;
        let (content, length) = self.finish(parts.outer, plain)?;
        Ok((content, parts.start..parts.start + length))
    }

    /// Opens the record `sealed`, header included, into `out`, which has room for
    /// [`text_room`](Self::text_room). Gives what it holds and how many bytes.
    ///
    /// # Errors
    /// When it is not what the peer sent.
    pub(super) fn open_into(
        &mut self,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(Content, usize), RecordError> {
        let parts = self.prepare(sealed)?;
        let nonce = Nonce::assume_unique_for_key(parts.nonce);
        let body = &sealed[parts.start..];
        let (text, tag) = body.split_at(body.len() - TAG_BYTES);
        let out = &mut out[..text.len()];
        let aad = Aad::from(parts.aad.as_slice());
        let opened = self.key.open_separate_gather(nonce, aad, text, tag, out);
        opened.map_err(|_| RecordError::BadMac)?;
        self.finish(parts.outer, out)
    }

    /// Bytes that opening a record of `sealed` bytes writes.
    pub(super) fn text_room(&self, sealed: usize) -> usize {
        let explicit = if self.shape == Shape::Tls12Explicit { EXPLICIT_NONCE_BYTES } else { 0 };
        sealed.saturating_sub(HEADER_BYTES + explicit + TAG_BYTES)
    }

    /// What opening a record needs, from its header on.
    fn prepare(&self, sealed: &[u8]) -> Result<Parts, RecordError> {
        let outer = Content::from_number(sealed[0]).ok_or(RecordError::Unexpected)?;
        // TLS 1.3: everything is sealed, and looks like application data (section 5.2).
        if self.shape == Shape::Tls13 && outer != Content::Application {
            return Err(RecordError::Unexpected);
        }
        let explicit = if self.shape == Shape::Tls12Explicit { EXPLICIT_NONCE_BYTES } else { 0 };
        let start = HEADER_BYTES + explicit;
        let text = sealed.len().checked_sub(start + TAG_BYTES).ok_or(RecordError::BadMac)?;
        let mut nonce = self.nonce();
        if explicit > 0 {
            nonce[..4].copy_from_slice(&self.iv[..4]);
            nonce[4..].copy_from_slice(&sealed[HEADER_BYTES..start]);
        }
        Ok(Parts { outer, start, nonce, aad: self.aad(&sealed[..HEADER_BYTES], text) })
    }

    /// A record has been opened: what does it hold?
    fn finish(&mut self, outer: Content, plain: &[u8]) -> Result<(Content, usize), RecordError> {
        self.sequence = self.sequence.checked_add(1).ok_or(RecordError::Exhausted)?;
        let (content, length) = match self.shape {
            Shape::Tls13 => {
                // Padding is zeros behind the content type (section 5.4).
                let at = plain.iter().rposition(|byte| *byte != 0);
                let at = at.ok_or(RecordError::Unexpected)?;
                (Content::from_number(plain[at]).ok_or(RecordError::Unexpected)?, at)
            }
            _ => (outer, plain.len()),
        };
        if length > MAX_PLAINTEXT_BYTES {
            return Err(RecordError::Overflow);
        }
        Ok((content, length))
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        nonce
    }

    fn aad(&self, header: &[u8], text: usize) -> Authenticated {
        let mut bytes = [0; 13];
        let length = match self.shape {
            Shape::Tls13 => {
                bytes[..HEADER_BYTES].copy_from_slice(header);
                HEADER_BYTES
            }
            _ => {
                bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
                bytes[8..11].copy_from_slice(&header[..3]);
                bytes[11..].copy_from_slice(&(text as u16).to_be_bytes());
                13
            }
        };
        Authenticated { bytes, length }
    }
}

/// See [`RecordKey::prepare`].
struct Parts {
    outer: Content,
    /// Where the sealed text begins.
    start: usize,
    nonce: [u8; NONCE_LEN],
    aad: Authenticated,
}

/// What a record's tag covers besides its text.
struct Authenticated {
    bytes: [u8; 13],
    length: usize,
}

impl Authenticated {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn write_header(header: &mut [u8], content: Content, length: usize) {
    header[0] = content.number();
    header[1..3].copy_from_slice(&[3, 3]);
    header[3..5].copy_from_slice(&(length as u16).to_be_bytes());
}

/// The length of the record at the start of `bytes`, header included; `None` when the header
/// is not whole.
///
/// # Errors
/// When no record is that long.
pub(super) fn record_length(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let [_, major, _, high, low, ..] = bytes else { return Ok(None) };
    if *major != 3 {
        return Err(RecordError::Unexpected);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_SEALED_BYTES {
        return Err(RecordError::Overflow);
    }
    Ok(Some(HEADER_BYTES + length))
}

#[cfg(test)]
mod tests;
