//! Why a message is refused.

use super::chunked::ChunkError;
use super::fault::HeadFault;
use super::framing::FramingFault;

/// A request the proxy does not forward. The connection cannot be used for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The lines of the head.
    #[error(transparent)]
    Head(#[from] HeadFault),
    /// The framing fields.
    #[error(transparent)]
    Framing(#[from] FramingFault),
    /// Too many empty lines before the request line (RFC 9112 section 2.2 asks to tolerate one).
    #[error("too many empty lines before the request line")]
    LeadingEmptyLines,
    /// The method is not a token.
    #[error("the method is not a token")]
    InvalidMethod,
    /// The target is malformed, or of a form that does not go with the method (RFC 9112 section
    /// 3.2).
    #[error("the request target is malformed")]
    InvalidTarget,
    /// The target is longer than [`super::HeadLimits::max_uri_bytes`].
    #[error("the request target is too long")]
    UriTooLong,
    /// The request line does not end in `HTTP/` digit `.` digit and a line end.
    #[error("the protocol version is malformed")]
    InvalidVersion,
    /// Well-formed, but neither HTTP/1.0 nor HTTP/1.1.
    #[error("the protocol version is not supported")]
    UnsupportedVersion,
    /// No `Host` in HTTP/1.1 (RFC 9112 section 3.2).
    #[error("the Host is missing")]
    MissingHost,
    /// Several `Host` fields, even with equal values.
    #[error("the Host is given more than once")]
    RepeatedHost,
    /// A `Host` that is not `host` or `host:port`.
    #[error("the Host is malformed")]
    InvalidHost,
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    #[error("the expectation is not supported")]
    UnsupportedExpectation,
    /// CONNECT with a framing field: it has no body (RFC 9110 section 9.3.6).
    #[error("CONNECT with a body")]
    ConnectWithBody,
}

impl RequestError {
    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Head(HeadFault::TooLarge | HeadFault::TooManyHeaders) => 431,
            Self::Framing(FramingFault::UnknownTransferCoding) => 501,
            Self::UriTooLong => 414,
            Self::UnsupportedVersion => 505,
            Self::UnsupportedExpectation => 417,
            _ => 400,
        }
    }

    /// A stable code for logs and metrics, one for each way to be wrong.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Head(fault) => fault.reason(),
            Self::Framing(fault) => fault.reason(),
            Self::LeadingEmptyLines => "leading_empty_lines",
            Self::InvalidMethod => "invalid_method",
            Self::InvalidTarget => "invalid_target",
            Self::UriTooLong => "uri_too_long",
            Self::InvalidVersion => "invalid_version",
            Self::UnsupportedVersion => "unsupported_version",
            Self::MissingHost => "missing_host",
            Self::RepeatedHost => "repeated_host",
            Self::InvalidHost => "invalid_host",
            Self::UnsupportedExpectation => "unsupported_expectation",
            Self::ConnectWithBody => "connect_with_body",
        }
    }
}

/// A response the proxy does not forward: the client gets a 502, and the upstream connection is
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The lines of the head.
    #[error(transparent)]
    Head(#[from] HeadFault),
    /// The framing fields.
    #[error(transparent)]
    Framing(#[from] FramingFault),
    /// The status line is not `HTTP/1.x`, three digits and a reason (RFC 9112 section 4).
    #[error("the status line is malformed")]
    InvalidStatusLine,
    /// A status below 100.
    #[error("the status is not a status code")]
    InvalidStatus,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the protocol version is not supported")]
    UnsupportedVersion,
    /// 101 without a protocol, or to a request that did not ask for one (RFC 9110 section 15.2.2).
    #[error("the protocol was switched without being asked")]
    UnexpectedUpgrade,
    /// An interim response with a framing field (RFC 9112 section 6.3): what follows it cannot be
    /// trusted.
    #[error("an interim response has a body")]
    InterimWithBody,
    /// What came of the body along with the head is not what the framing says.
    #[error("the body is malformed: {0}")]
    Body(ChunkError),
}

impl ResponseError {
    /// The status the client gets.
    #[must_use]
    pub const fn status(self) -> u16 {
        502
    }

    /// A stable code for logs and metrics, one for each way to be wrong.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Head(fault) => fault.reason(),
            Self::Framing(fault) => fault.reason(),
            Self::InvalidStatusLine => "invalid_status_line",
            Self::InvalidStatus => "invalid_status",
            Self::UnsupportedVersion => "unsupported_version",
            Self::UnexpectedUpgrade => "unexpected_upgrade",
            Self::InterimWithBody => "interim_with_body",
            Self::Body(error) => error.reason(),
        }
    }
}

/// What can be wrong with the fields of either kind of message.
pub(super) enum FieldFault {
    Head(HeadFault),
    Framing(FramingFault),
}

impl From<HeadFault> for FieldFault {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl From<FramingFault> for FieldFault {
    fn from(fault: FramingFault) -> Self {
        Self::Framing(fault)
    }
}

impl From<FieldFault> for RequestError {
    fn from(fault: FieldFault) -> Self {
        match fault {
            FieldFault::Head(fault) => Self::Head(fault),
            FieldFault::Framing(fault) => Self::Framing(fault),
        }
    }
}

impl From<FieldFault> for ResponseError {
    fn from(fault: FieldFault) -> Self {
        match fault {
            FieldFault::Head(fault) => Self::Head(fault),
            FieldFault::Framing(fault) => Self::Framing(fault),
        }
    }
}
