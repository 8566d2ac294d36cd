//! What servers send, taken apart as far as a pool needs it.

use super::{MessageError, Reader, Report};
use crate::tag::BackendTag;

/// A message from a backend. Bodies a pool only forwards stay slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendMessage<'a> {
    /// Any Authentication request.
    Authentication(Authentication<'a>),
    /// BackendKeyData.
    BackendKeyData(BackendKeyData<'a>),
    /// BindComplete.
    BindComplete,
    /// CloseComplete.
    CloseComplete,
    /// CommandComplete, with its tag such as `SELECT 1`.
    CommandComplete(&'a [u8]),
    /// CopyData.
    CopyData(&'a [u8]),
    /// CopyDone.
    CopyDone,
    /// CopyInResponse, body as sent.
    CopyInResponse(&'a [u8]),
    /// CopyOutResponse, body as sent.
    CopyOutResponse(&'a [u8]),
    /// CopyBothResponse, body as sent.
    CopyBothResponse(&'a [u8]),
    /// DataRow, body as sent.
    DataRow(&'a [u8]),
    /// EmptyQueryResponse.
    EmptyQueryResponse,
    /// ErrorResponse.
    ErrorResponse(Report<'a>),
    /// FunctionCallResponse, body as sent.
    FunctionCallResponse(&'a [u8]),
    /// NegotiateProtocolVersion.
    NegotiateProtocolVersion(NegotiateProtocolVersion<'a>),
    /// NoData.
    NoData,
    /// NoticeResponse.
    NoticeResponse(Report<'a>),
    /// NotificationResponse.
    NotificationResponse(Notification<'a>),
    /// ParameterDescription, body as sent.
    ParameterDescription(&'a [u8]),
    /// ParameterStatus.
    ParameterStatus(ParameterStatus<'a>),
    /// ParseComplete.
    ParseComplete,
    /// PortalSuspended.
    PortalSuspended,
    /// ReadyForQuery.
    ReadyForQuery(TransactionStatus),
    /// RowDescription, body as sent.
    RowDescription(&'a [u8]),
}

/// The status byte of ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    Idle = b'I',
    /// `T`: in a transaction block.
    InTransaction = b'T',
    /// `E`: in a failed transaction block; only ROLLBACK gets out.
    Failed = b'E',
}

/// What a server asks of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// 0: the login succeeded.
    Ok,
    /// 3: send the password in the clear.
    CleartextPassword,
    /// 5: send an md5 answer over this salt.
    Md5Password {
        /// The salt.
        salt: [u8; 4],
    },
    /// 10: start SASL with one of these mechanisms.
    Sasl(Mechanisms<'a>),
    /// 11: a SASL challenge.
    SaslContinue(&'a [u8]),
    /// 12: SASL's closing word, to be verified.
    SaslFinal(&'a [u8]),
    /// Kerberos, GSSAPI, SSPI or something newer, which the pool does not speak.
    Unsupported {
        /// The code sent.
        code: i32,
    },
}

/// The mechanism names of AuthenticationSASL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a> {
    list: &'a [u8],
}

/// The pair a cancel request has to present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendKeyData<'a> {
    /// Process id.
    pub process_id: i32,
    /// Secret: 4 bytes in protocol 3.0, 4 to 256 in 3.2.
    pub secret: &'a [u8],
}

/// A run-time parameter and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// Its name, in the case the server uses.
    pub name: &'a [u8],
    /// Its value, as the server normalised it.
    pub value: &'a [u8],
}

/// A NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Process id of the notifying server process.
    pub process_id: i32,
    /// The channel.
    pub channel: &'a [u8],
    /// The payload, empty when there is none.
    pub payload: &'a [u8],
}

/// The server's counter-offer to a StartupMessage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NegotiateProtocolVersion<'a> {
    /// The newest minor version the server speaks of the major version asked for.
    pub minor: i32,
    /// How many options it does not know.
    pub count: u32,
    options: &'a [u8],
}

/// Bytes a cancel secret may have.
pub const SECRET_LEN: std::ops::RangeInclusive<usize> = 4..=256;

// === impl BackendMessage ===

impl<'a> BackendMessage<'a> {
    /// Takes a body apart.
    ///
    /// # Errors
    /// [`MessageError`] when it does not have the form of its type.
    pub fn read(tag: BackendTag, body: &'a [u8]) -> Result<Self, MessageError> {
        Ok(match tag {
            BackendTag::Authentication => Self::Authentication(Authentication::read(body)?),
            BackendTag::BackendKeyData => Self::BackendKeyData(BackendKeyData::read(body)?),
            BackendTag::BindComplete => empty(body, Self::BindComplete)?,
            BackendTag::CloseComplete => empty(body, Self::CloseComplete)?,
            BackendTag::CommandComplete => Self::CommandComplete(command_tag(body)?),
            BackendTag::CopyData => Self::CopyData(body),
            BackendTag::CopyDone => empty(body, Self::CopyDone)?,
            BackendTag::CopyInResponse => Self::CopyInResponse(body),
            BackendTag::CopyOutResponse => Self::CopyOutResponse(body),
            BackendTag::CopyBothResponse => Self::CopyBothResponse(body),
            BackendTag::DataRow => Self::DataRow(body),
            BackendTag::EmptyQueryResponse => empty(body, Self::EmptyQueryResponse)?,
            BackendTag::ErrorResponse => Self::ErrorResponse(Report::read(body)?),
            BackendTag::FunctionCallResponse => Self::FunctionCallResponse(body),
            BackendTag::NegotiateProtocolVersion => {
                Self::NegotiateProtocolVersion(NegotiateProtocolVersion::read(body)?)
            }
            BackendTag::NoData => empty(body, Self::NoData)?,
            BackendTag::NoticeResponse => Self::NoticeResponse(Report::read(body)?),
            BackendTag::NotificationResponse => {
                Self::NotificationResponse(Notification::read(body)?)
            }
            BackendTag::ParameterDescription => Self::ParameterDescription(body),
            BackendTag::ParameterStatus => Self::ParameterStatus(ParameterStatus::read(body)?),
            BackendTag::ParseComplete => empty(body, Self::ParseComplete)?,
            BackendTag::PortalSuspended => empty(body, Self::PortalSuspended)?,
            BackendTag::ReadyForQuery => Self::ReadyForQuery(TransactionStatus::read(body)?),
            BackendTag::RowDescription => Self::RowDescription(body),
        })
    }
}

fn empty<T>(body: &[u8], message: T) -> Result<T, MessageError> {
    Reader::new(body).finish().map(|()| message)
}

/// The tag of a CommandComplete, such as `SELECT 1` or `DISCARD ALL`.
///
/// # Errors
/// [`MessageError`] when it is not one terminated string.
pub fn command_tag(body: &[u8]) -> Result<&[u8], MessageError> {
    let mut reader = Reader::new(body);
    let tag = reader.cstr("command tag")?;
    reader.finish()?;
    Ok(tag)
}

// === impl TransactionStatus ===

impl TransactionStatus {
    /// Reads the body of a ReadyForQuery.
    ///
    /// # Errors
    /// [`MessageError`] when it is not exactly one known status byte.
    #[inline]
    pub fn read(body: &[u8]) -> Result<Self, MessageError> {
        match body {
            [b'I'] => Ok(Self::Idle),
            [b'T'] => Ok(Self::InTransaction),
            [b'E'] => Ok(Self::Failed),
            [] => Err(MessageError::Truncated { field: "transaction status" }),
            [byte] => {
                Err(MessageError::BadValue { field: "transaction status", value: i64::from(*byte) })
            }
            [_, rest @ ..] => Err(MessageError::Trailing { count: rest.len() }),
        }
    }
}

// === impl Authentication ===

impl<'a> Authentication<'a> {
    /// Reads the body of an `R` message.
    ///
    /// # Errors
    /// [`MessageError`] when it is malformed.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let code = reader.i32("authentication code")?;
        match code {
            0 => reader.finish().map(|()| Self::Ok),
            3 => reader.finish().map(|()| Self::CleartextPassword),
            5 => {
                let salt = reader.i32("salt")?.to_be_bytes();
                reader.finish().map(|()| Self::Md5Password { salt })
            }
            10 => Mechanisms::read(reader.rest()).map(Self::Sasl),
            11 => Ok(Self::SaslContinue(reader.rest())),
            12 => Ok(Self::SaslFinal(reader.rest())),
            _ => Ok(Self::Unsupported { code }),
        }
    }
}

// === impl Mechanisms ===

impl<'a> Mechanisms<'a> {
    fn read(list: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(list);
        while !reader.cstr("mechanism")?.is_empty() {}
        reader.finish()?;
        Ok(Self { list })
    }

    /// The names offered, the server's favourite first.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.list);
        std::iter::from_fn(move || reader.cstr("mechanism").ok().filter(|name| !name.is_empty()))
    }

    /// Whether this one is offered.
    pub fn offers(&self, mechanism: &str) -> bool {
        self.iter().any(|name| name == mechanism.as_bytes())
    }
}

// === impl BackendKeyData ===

impl<'a> BackendKeyData<'a> {
    /// Reads the body of a `K` message.
    ///
    /// # Errors
    /// [`MessageError`] when the secret is shorter or longer than [`SECRET_LEN`].
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let process_id = reader.i32("process id")?;
        let secret = reader.rest();
        if SECRET_LEN.contains(&secret.len()) {
            return Ok(Self { process_id, secret });
        }
        let value = i64::try_from(secret.len()).unwrap_or(i64::MAX);
        Err(MessageError::BadValue { field: "secret length", value })
    }
}

// === impl ParameterStatus ===

impl<'a> ParameterStatus<'a> {
    /// Reads the body of an `S` message.
    ///
    /// # Errors
    /// [`MessageError`] when it is not two terminated strings.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let name = reader.cstr("parameter name")?;
        let value = reader.cstr("parameter value")?;
        reader.finish()?;
        Ok(Self { name, value })
    }
}

// === impl Notification ===

impl<'a> Notification<'a> {
    /// Reads the body of an `A` message.
    ///
    /// # Errors
    /// [`MessageError`] when it is malformed.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let process_id = reader.i32("process id")?;
        let channel = reader.cstr("channel")?;
        let payload = reader.cstr("payload")?;
        reader.finish()?;
        Ok(Self { process_id, channel, payload })
    }
}

// === impl NegotiateProtocolVersion ===

impl<'a> NegotiateProtocolVersion<'a> {
    /// Reads the body of a `v` message.
    ///
    /// # Errors
    /// [`MessageError`] when it is malformed or its count does not match its list.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        // Servers differ: some send the minor number alone, some the whole version word.
        let minor = reader.i32("protocol version")? & 0xffff;
        let found = reader.i32("option count")?;
        let Ok(count) = u32::try_from(found) else {
            let value = i64::from(found);
            return Err(MessageError::BadValue { field: "option count", value });
        };
        let options = reader.rest();
        for _ in 0..count {
            reader.cstr("option")?;
        }
        reader.finish()?;
        Ok(Self { minor, count, options })
    }

    /// The options the server does not know.
    pub fn unsupported(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.options);
        std::iter::from_fn(move || reader.cstr("option").ok())
    }
}

#[cfg(test)]
mod tests;
