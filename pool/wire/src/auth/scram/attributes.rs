//! The comma-separated attributes SCRAM messages are made of (RFC 5802 section 7).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{MAX_MESSAGE_LEN, ScramError};

/// Checks what all messages have in common: length and alphabet.
pub(super) fn message_text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE_LEN {
        return Err(ScramError::TooLong { len: message.len() });
    }
    let text = str::from_utf8(message).ok().filter(|text| !text.contains('\0'));
    text.ok_or(ScramError::Malformed { expected: "UTF-8 text" })
}

/// Takes `<name>=<value>` off the front, with the comma behind it if there is one.
pub(super) fn attribute<'a>(
    rest: &mut &'a str,
    name: char,
    expected: &'static str,
) -> Result<&'a str, ScramError> {
    let malformed = ScramError::Malformed { expected };
    let text = rest.strip_prefix(name).and_then(|text| text.strip_prefix('=')).ok_or(malformed)?;
    let (value, behind) = text.split_once(',').unwrap_or((text, ""));
    *rest = behind;
    Ok(value)
}

/// A nonce: printable ASCII but the comma, and not empty. The message length caps it.
pub(super) fn nonce<'a>(rest: &mut &'a str) -> Result<&'a str, ScramError> {
    let nonce = attribute(rest, 'r', "nonce")?;
    if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ScramError::Malformed { expected: "printable nonce" });
    }
    Ok(nonce)
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str, expected: &'static str) -> Result<Vec<u8>, ScramError> {
    STANDARD.decode(text).map_err(|_| ScramError::Malformed { expected })
}

/// 32 bytes, as every key, proof and signature is.
pub(super) fn decode_key(text: &str, expected: &'static str) -> Result<[u8; 32], ScramError> {
    let bytes = decode(text, expected)?;
    bytes.try_into().map_err(|_| ScramError::Malformed { expected })
}
