//! A line of the log: a record, sealed by a hash over it and the hash before.
//!
//! `{"hash":"<64 hexadecimal digits>","record":{…}}`. The hash is SHA-256 over the
//! hash of the line before (64 hexadecimal digits as they stand there) and the
//! record's bytes as they stand here, so that checking needs no canonical form.

use bs9_api::types::{AuditRecord, SealedRecord};
use sha2::{Digest, Sha256};

/// The hash before the first record.
pub(crate) const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const OPENING: &str = "{\"hash\":\"";
const MIDDLE: &str = "\",\"record\":";
const CLOSING: &str = "}";

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("it is not a record")]
    NoRecord,
    #[error("its hash does not fit: the record, or its hash, was changed")]
    Hash,
}

/// The line of `record`, with a line break at its end, and its hash. The record's
/// `previous` must be the hash of the one before.
pub(super) fn sealed(record: &AuditRecord) -> serde_json::Result<(String, String)> {
    let text = serde_json::to_string(record)?;
    let hash = hash(&record.previous, &text);
    Ok((format!("{OPENING}{hash}{MIDDLE}{text}{CLOSING}\n"), hash))
}

/// The record of a line, when its own hash fits.
pub(super) fn opened(line: &str) -> Result<SealedRecord, Flaw> {
    let (hash, text) = line
        .strip_prefix(OPENING)
        .and_then(|rest| rest.split_once(MIDDLE))
        .and_then(|(hash, rest)| Some((hash, rest.strip_suffix(CLOSING)?)))
        .ok_or(Flaw::NoRecord)?;
    let record: AuditRecord = serde_json::from_str(text).map_err(|_| Flaw::NoRecord)?;
    if self::hash(&record.previous, text) != hash {
        return Err(Flaw::Hash);
    }
    Ok(SealedRecord { hash: hash.to_owned(), record })
}

fn hash(previous: &str, record: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(previous.as_bytes());
    hasher.update(record.as_bytes());
    hexadecimal(&hasher.finalize())
}

/// Two digits a byte, in lower case.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
