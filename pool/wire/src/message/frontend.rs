//! What clients send, taken apart as far as a pool needs it.

use super::{MessageError, Reader};
use crate::tag::FrontendTag;

/// A message from a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontendMessage<'a> {
    /// Bind.
    Bind(Bind<'a>),
    /// Close.
    Close(Target<'a>),
    /// CopyData.
    CopyData(&'a [u8]),
    /// CopyDone.
    CopyDone,
    /// CopyFail, with its reason.
    CopyFail(&'a [u8]),
    /// Describe.
    Describe(Target<'a>),
    /// Execute.
    Execute(Execute<'a>),
    /// Flush.
    Flush,
    /// FunctionCall.
    FunctionCall(FunctionCall<'a>),
    /// Parse.
    Parse(Parse<'a>),
    /// PasswordMessage, SASLInitialResponse or SASLResponse: the login in progress knows which.
    Password(&'a [u8]),
    /// Query, with its text.
    Query(&'a [u8]),
    /// Sync.
    Sync,
    /// Terminate.
    Terminate,
}

/// What Describe and Close point at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `S`: a prepared statement; the empty name is the unnamed one.
    Statement(&'a [u8]),
    /// `P`: a portal; the empty name is the unnamed one.
    Portal(&'a [u8]),
}

/// A Parse message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Statement name; empty is the unnamed one.
    pub statement: &'a [u8],
    /// The query text.
    pub query: &'a [u8],
    /// Parameter type ids as sent: an Int32 each.
    pub parameter_types: &'a [u8],
}

/// A Bind message: its two names, and the rest untouched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Portal name; empty is the unnamed one.
    pub portal: &'a [u8],
    /// Statement name; empty is the unnamed one.
    pub statement: &'a [u8],
    /// Format codes and parameter values, as sent.
    pub rest: &'a [u8],
}

/// An Execute message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Portal name; empty is the unnamed one.
    pub portal: &'a [u8],
    /// Most rows to return; zero or less is no limit.
    pub max_rows: i32,
}

/// A FunctionCall message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// Object id of the function.
    pub function: i32,
    /// Argument formats and values, and the result format, as sent.
    pub rest: &'a [u8],
}

/// A SASLInitialResponse: the body of a `p` message that answers AuthenticationSASL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The mechanism the client chose.
    pub mechanism: &'a [u8],
    /// Its first message, if it sent one.
    pub response: Option<&'a [u8]>,
}

// === impl FrontendMessage ===

impl<'a> FrontendMessage<'a> {
    /// Takes a body apart.
    ///
    /// # Errors
    /// [`MessageError`] when it does not have the form of its type.
    pub fn read(tag: FrontendTag, body: &'a [u8]) -> Result<Self, MessageError> {
        Ok(match tag {
            FrontendTag::Bind => Self::Bind(Bind::read(body)?),
            FrontendTag::Close => Self::Close(Target::read(body)?),
            FrontendTag::CopyData => Self::CopyData(body),
            FrontendTag::CopyDone => empty(body, Self::CopyDone)?,
            FrontendTag::CopyFail => Self::CopyFail(only_string(body, "reason")?),
            FrontendTag::Describe => Self::Describe(Target::read(body)?),
            FrontendTag::Execute => Self::Execute(Execute::read(body)?),
            FrontendTag::Flush => empty(body, Self::Flush)?,
            FrontendTag::FunctionCall => Self::FunctionCall(FunctionCall::read(body)?),
            FrontendTag::Parse => Self::Parse(Parse::read(body)?),
            FrontendTag::Password => Self::Password(body),
            FrontendTag::Query => Self::Query(query_text(body)?),
            FrontendTag::Sync => empty(body, Self::Sync)?,
            FrontendTag::Terminate => empty(body, Self::Terminate)?,
        })
    }
}

fn empty<T>(body: &[u8], message: T) -> Result<T, MessageError> {
    Reader::new(body).finish().map(|()| message)
}

fn only_string<'a>(body: &'a [u8], field: &'static str) -> Result<&'a [u8], MessageError> {
    let mut reader = Reader::new(body);
    let text = reader.cstr(field)?;
    reader.finish()?;
    Ok(text)
}

/// The text of a Query message.
///
/// # Errors
/// [`MessageError`] when it is not one terminated string.
pub fn query_text(body: &[u8]) -> Result<&[u8], MessageError> {
    only_string(body, "query")
}

/// The password of a PasswordMessage (clear text or md5 answer).
///
/// # Errors
/// [`MessageError`] when it is not one terminated string.
pub fn password_text(body: &[u8]) -> Result<&[u8], MessageError> {
    only_string(body, "password")
}

// === impl Target ===

impl<'a> Target<'a> {
    /// Reads the body of a Describe or Close.
    ///
    /// # Errors
    /// [`MessageError`] when it is malformed or names neither a statement nor a portal.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let kind = reader.u8("target kind")?;
        let name = reader.cstr("target name")?;
        reader.finish()?;
        match kind {
            b'S' => Ok(Self::Statement(name)),
            b'P' => Ok(Self::Portal(name)),
            _ => Err(MessageError::BadValue { field: "target kind", value: i64::from(kind) }),
        }
    }
}

// === impl Parse ===

impl<'a> Parse<'a> {
    /// Reads the body of a Parse.
    ///
    /// # Errors
    /// [`MessageError`] when it is malformed.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let statement = reader.cstr("statement name")?;
        let query = reader.cstr("query")?;
        // The count is unsigned in practice: up to 65,535 parameters are allowed.
        let count = reader.i16("parameter count")?.cast_unsigned();
        let parameter_types = reader.bytes(usize::from(count) * 4, "parameter types")?;
        reader.finish()?;
        Ok(Self { statement, query, parameter_types })
    }
}

// === impl Bind ===

impl<'a> Bind<'a> {
    /// Reads the names of a Bind. What follows them is the server's to check.
    ///
    /// # Errors
    /// [`MessageError`] when a name is not terminated.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let portal = reader.cstr("portal name")?;
        let statement = reader.cstr("statement name")?;
        Ok(Self { portal, statement, rest: reader.rest() })
    }
}

// === impl Execute ===

impl<'a> Execute<'a> {
    /// Reads the body of an Execute.
    ///
    /// # Errors
    /// [`MessageError`] when it is malformed.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let portal = reader.cstr("portal name")?;
        let max_rows = reader.i32("row limit")?;
        reader.finish()?;
        Ok(Self { portal, max_rows })
    }
}

// === impl FunctionCall ===

impl<'a> FunctionCall<'a> {
    /// Reads the head of a FunctionCall. What follows is the server's to check.
    ///
    /// # Errors
    /// [`MessageError`] when the function id is cut short.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let function = reader.i32("function id")?;
        Ok(Self { function, rest: reader.rest() })
    }
}

// === impl SaslInitialResponse ===

impl<'a> SaslInitialResponse<'a> {
    /// Reads the body of a `p` message that answers AuthenticationSASL.
    ///
    /// # Errors
    /// [`MessageError`] when it is malformed.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        let mechanism = reader.cstr("mechanism")?;
        let len = reader.i32("response length")?;
        let response = match usize::try_from(len) {
            Ok(len) => Some(reader.bytes(len, "response")?),
            Err(_) if len == -1 => None,
            Err(_) => {
                return Err(MessageError::BadValue {
                    field: "response length",
                    value: i64::from(len),
                });
            }
        };
        reader.finish()?;
        Ok(Self { mechanism, response })
    }
}

#[cfg(test)]
mod tests;
