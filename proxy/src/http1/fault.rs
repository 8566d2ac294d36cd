//! Ways in which the lines of a head can be malformed, and finding out which it was.
//!
//! `httparse` says that something is wrong, not always what. The happy path does not pay for better
//! answers: only when it has refused a head is the head walked again, line by line. The verdict
//! depends on the first offending byte alone, so it is the same whether a head arrives whole or in
//! pieces.

use super::field::{is_token_byte, is_value_byte};

/// A head that is not well-formed, or beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// Larger than [`super::HeadLimits::max_head_bytes`].
    #[error("the head is too large")]
    TooLarge,
    /// More fields than [`super::HeadLimits::max_headers`].
    #[error("the head has too many fields")]
    TooManyHeaders,
    /// A line that starts with white space: obsolete line folding (RFC 9112 section 5.2), or white
    /// space before the first field (section 2.2).
    #[error("a header line starts with white space")]
    ObsoleteFold,
    /// White space between a field's name and the colon (RFC 9112 section 5.1).
    #[error("white space inside or after a header name")]
    WhiteSpaceInHeaderName,
    /// A field name that is not a token, or a line without a colon.
    #[error("a header name is not a token")]
    InvalidHeaderName,
    /// A control character in a field value (RFC 9110 section 5.5).
    #[error("a header value holds a control character")]
    InvalidHeaderValue,
    /// A CR that no LF follows (RFC 9112 section 2.2).
    #[error("a CR without LF")]
    BareCr,
    /// More than [`MAX_CONNECTION_OPTIONS`](super::connection::MAX_CONNECTION_OPTIONS) names in
    /// `Connection`.
    #[error("the Connection field names too many options")]
    TooManyConnectionOptions,
}

impl HeadFault {
    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::ObsoleteFold => "obsolete_fold",
            Self::WhiteSpaceInHeaderName => "white_space_in_header_name",
            Self::InvalidHeaderName => "invalid_header_name",
            Self::InvalidHeaderValue => "invalid_header_value",
            Self::BareCr => "bare_cr",
            Self::TooManyConnectionOptions => "too_many_connection_options",
        }
    }
}

/// The first fault in the header lines of `head`, whose start line is known to be well-formed.
pub(super) fn in_header_lines(head: &[u8], error: httparse::Error) -> HeadFault {
    if error == httparse::Error::TooManyHeaders {
        return HeadFault::TooManyHeaders;
    }
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    lines.next();
    lines.find_map(in_line).unwrap_or(HeadFault::InvalidHeaderValue)
}

/// The first fault in one header line, which may be incomplete.
fn in_line(line: &[u8]) -> Option<HeadFault> {
    match line {
        [b' ' | b'\t', ..] => return Some(HeadFault::ObsoleteFold),
        [b'\n'] | [b'\r', b'\n'] | [b'\r'] => return None,
        [b'\r', ..] => return Some(HeadFault::BareCr),
        _ => {}
    }
    let name_end = line.iter().position(|byte| !is_token_byte(*byte))?;
    match line[name_end] {
        b':' if name_end > 0 => in_value(&line[name_end + 1..]),
        b' ' | b'\t' => Some(HeadFault::WhiteSpaceInHeaderName),
        _ => Some(HeadFault::InvalidHeaderName),
    }
}

fn in_value(value: &[u8]) -> Option<HeadFault> {
    let end = value.iter().position(|byte| !is_value_byte(*byte))?;
    match &value[end..] {
        [b'\n'] | [b'\r', b'\n'] | [b'\r'] => None,
        [b'\r', ..] => Some(HeadFault::BareCr),
        _ => Some(HeadFault::InvalidHeaderValue),
    }
}
