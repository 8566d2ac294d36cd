//! What the pool says to clients, in the server's voice.

use super::{cstr, int32, message};
use crate::message::backend::TransactionStatus;
use crate::sqlstate::SqlState;
use crate::startup::ProtocolVersion;
use crate::tag::BackendTag;

/// Severity of an [`ErrorReport`] or a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The command failed; the session goes on.
    Error,
    /// The session ends.
    Fatal,
    /// A warning.
    Warning,
    /// A notice.
    Notice,
}

/// An error or notice the pool reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorReport<'a> {
    /// Severity (`S` and `V`).
    pub severity: Severity,
    /// SQLSTATE (`C`).
    pub sqlstate: SqlState,
    /// What is wrong, one line (`M`).
    pub message: &'a str,
    /// More about it (`D`).
    pub detail: Option<&'a str>,
    /// What to do about it (`H`).
    pub hint: Option<&'a str>,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }
}

impl<'a> ErrorReport<'a> {
    /// An error after which the session goes on.
    pub fn error(sqlstate: SqlState, message: &'a str) -> Self {
        Self { severity: Severity::Error, sqlstate, message, detail: None, hint: None }
    }

    /// An error that ends the session.
    pub fn fatal(sqlstate: SqlState, message: &'a str) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(sqlstate, message) }
    }

    /// With a `DETAIL` line.
    #[must_use]
    pub fn with_detail(self, detail: &'a str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// With a `HINT` line.
    #[must_use]
    pub fn with_hint(self, hint: &'a str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let severity = self.severity.as_str().as_bytes();
        field(out, b'S', severity);
        field(out, b'V', severity);
        field(out, b'C', self.sqlstate.as_bytes());
        field(out, b'M', self.message.as_bytes());
        if let Some(detail) = self.detail {
            field(out, b'D', detail.as_bytes());
        }
        if let Some(hint) = self.hint {
            field(out, b'H', hint.as_bytes());
        }
        out.push(0);
    }
}

fn field(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    out.push(code);
    cstr(out, value);
}

/// ErrorResponse.
pub fn error_response(out: &mut Vec<u8>, report: &ErrorReport<'_>) {
    message(out, BackendTag::ErrorResponse, |out| report.write(out));
}

/// NoticeResponse.
pub fn notice_response(out: &mut Vec<u8>, report: &ErrorReport<'_>) {
    message(out, BackendTag::NoticeResponse, |out| report.write(out));
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    message(out, BackendTag::Authentication, |out| int32(out, 0));
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    message(out, BackendTag::Authentication, |out| int32(out, 3));
}

/// AuthenticationMD5Password.
pub fn authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    message(out, BackendTag::Authentication, |out| {
        int32(out, 5);
        out.extend_from_slice(&salt);
    });
}

/// AuthenticationSASL: the mechanisms offered, favourite first.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    message(out, BackendTag::Authentication, |out| {
        int32(out, 10);
        for mechanism in mechanisms {
            cstr(out, mechanism.as_bytes());
        }
        out.push(0);
    });
}

/// AuthenticationSASLContinue: a challenge.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, challenge: &[u8]) {
    message(out, BackendTag::Authentication, |out| {
        int32(out, 11);
        out.extend_from_slice(challenge);
    });
}

/// AuthenticationSASLFinal: the closing word.
pub fn authentication_sasl_final(out: &mut Vec<u8>, outcome: &[u8]) {
    message(out, BackendTag::Authentication, |out| {
        int32(out, 12);
        out.extend_from_slice(outcome);
    });
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    message(out, BackendTag::ParameterStatus, |out| {
        cstr(out, name);
        cstr(out, value);
    });
}

/// BackendKeyData. A client that speaks protocol 3.0 must be given exactly 4 bytes of secret.
pub fn backend_key_data(out: &mut Vec<u8>, process_id: i32, secret: &[u8]) {
    message(out, BackendTag::BackendKeyData, |out| {
        int32(out, process_id);
        out.extend_from_slice(secret);
    });
}

/// NegotiateProtocolVersion: the newest version spoken and the `_pq_.` options not known.
/// The whole version word is sent, as servers do and libpq expects.
pub fn negotiate_protocol_version<'a>(
    out: &mut Vec<u8>,
    newest: ProtocolVersion,
    unsupported: impl Iterator<Item = &'a str>,
) {
    message(out, BackendTag::NegotiateProtocolVersion, |out| {
        out.extend_from_slice(&newest.word().to_be_bytes());
        let count_at = out.len();
        int32(out, 0);
        let mut count = 0i32;
        for option in unsupported {
            cstr(out, option.as_bytes());
            count += 1;
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
    });
}

/// ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status as u8]);
}

/// ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'1', 0, 0, 0, 4]);
}

/// BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'2', 0, 0, 0, 4]);
}

/// CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'3', 0, 0, 0, 4]);
}

/// EmptyQueryResponse.
pub fn empty_query_response(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'I', 0, 0, 0, 4]);
}

/// NoData.
pub fn no_data(out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'n', 0, 0, 0, 4]);
}

/// CommandComplete, with its tag such as `SHOW`.
pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, BackendTag::CommandComplete, |out| cstr(out, tag.as_bytes()));
}

/// RowDescription of text columns: name and type id each (for the pool's own result sets).
pub fn row_description<'a>(out: &mut Vec<u8>, columns: impl Iterator<Item = (&'a str, i32)>) {
    message(out, BackendTag::RowDescription, |out| {
        counted(out, columns, |out, (name, type_id)| {
            cstr(out, name.as_bytes());
            int32(out, 0); // no table
            out.extend_from_slice(&0i16.to_be_bytes()); // no column number
            int32(out, type_id);
            out.extend_from_slice(&(-1i16).to_be_bytes()); // variable size
            int32(out, -1); // no type modifier
            out.extend_from_slice(&0i16.to_be_bytes()); // text format
        });
    });
}

/// DataRow of text values; `None` is NULL.
pub fn data_row<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = Option<&'a str>>) {
    message(out, BackendTag::DataRow, |out| {
        counted(out, values, |out, value| match value {
            None => int32(out, -1),
            Some(text) => {
                int32(out, i32::try_from(text.len()).expect("a value the pool writes is small"));
                out.extend_from_slice(text.as_bytes());
            }
        });
    });
}

fn counted<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    let count_at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0u16;
    for item in items {
        write(out, item);
        count = count.checked_add(1).expect("the pool's result sets have few columns");
    }
    out[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
}
