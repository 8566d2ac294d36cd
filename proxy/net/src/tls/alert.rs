//! Alerts we send (RFC 8446 section 6), and what makes us.

use std::io;

use thiserror::Error;

use super::record::RecordError;

/// A description of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    DecodeError = 50,
    InternalError = 80,
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Violation {
    #[error("a TLS record was changed on the way, or is not the peer's")]
    BadMac,
    #[error("a TLS record is larger than one can be")]
    Overflow,
    #[error("the peer sent a TLS message that has no place here")]
    Unexpected,
    #[error("the peer sent a TLS message that is malformed")]
    Malformed,
    #[error("the peer sends TLS records that hold nothing")]
    Flood,
    #[error("the peer wants to negotiate TLS again, which is not done")]
    Renegotiation,
    #[error("the peer ended TLS with alert {0}")]
    Alert(u8),
    #[error("a TLS key could not be renewed")]
    Exhausted,
}

impl Violation {
    /// What the peer is told.
    pub(super) fn alert(self) -> Alert {
        match self {
            Self::BadMac => Alert::BadRecordMac,
            Self::Overflow => Alert::RecordOverflow,
            Self::Unexpected | Self::Flood | Self::Renegotiation => Alert::UnexpectedMessage,
            Self::Malformed => Alert::DecodeError,
            // The peer has gone; goodbye is all there is to say.
            Self::Alert(_) => Alert::CloseNotify,
            Self::Exhausted => Alert::InternalError,
        }
    }
}

impl From<RecordError> for Violation {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::BadMac => Self::BadMac,
            RecordError::Overflow => Self::Overflow,
            RecordError::Unexpected => Self::Unexpected,
            RecordError::Exhausted => Self::Exhausted,
        }
    }
}

impl From<Violation> for io::Error {
    fn from(violation: Violation) -> Self {
        let kind = match violation {
            Violation::Alert(_) => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, violation)
    }
}
