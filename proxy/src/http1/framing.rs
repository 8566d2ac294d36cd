//! `Content-Length` and `Transfer-Encoding` (RFC 9112 sections 6.1 to 6.3).

use super::field::{is, is_token_byte, list};
use super::head::Version;

/// Framing fields that cannot be trusted. Each of these is a way to make two recipients see
/// different messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// Not a plain decimal number below 2^63, which is where others have a sign; lists are refused
    /// even when their members agree.
    #[error("the Content-Length is not one decimal number")]
    InvalidContentLength,
    /// More than one `Content-Length` field, even with equal values.
    #[error("the Content-Length is given more than once")]
    RepeatedContentLength,
    /// Both framing fields at once (RFC 9112 section 6.1).
    #[error("both Content-Length and Transfer-Encoding are given")]
    ContentLengthWithTransferEncoding,
    /// Transfer codings do not exist in HTTP/1.0 (RFC 9112 section 6.1).
    #[error("a Transfer-Encoding is given in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// A transfer coding other than `chunked`.
    #[error("the Transfer-Encoding names a coding other than chunked")]
    UnknownTransferCoding,
    /// `chunked` repeated, not last, with parameters, or not a list of codings at all.
    #[error("the Transfer-Encoding is not exactly chunked")]
    InvalidTransferEncoding,
}

impl FramingFault {
    /// A stable code for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidContentLength => "invalid_content_length",
            Self::RepeatedContentLength => "repeated_content_length",
            Self::ContentLengthWithTransferEncoding => "content_length_with_transfer_encoding",
            Self::TransferEncodingInHttp10 => "transfer_encoding_in_http_1_0",
            Self::UnknownTransferCoding => "unknown_transfer_coding",
            Self::InvalidTransferEncoding => "invalid_transfer_encoding",
        }
    }
}

/// What the framing fields of a head say; at most one of them is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No framing field.
    Absent,
    Length(u64),
    Chunked,
}

/// The framing fields seen while walking the header fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFields {
    content_length: Option<u64>,
    chunked: bool,
}

impl FramingFields {
    #[inline]
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        if self.content_length.is_some() {
            return Err(FramingFault::RepeatedContentLength);
        }
        self.content_length = Some(parse_length(value).ok_or(FramingFault::InvalidContentLength)?);
        Ok(())
    }

    #[inline]
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), FramingFault> {
        if self.chunked {
            // Several fields are one list (RFC 9110 section 5.3), in which `chunked` was not the
            // last.
            return Err(FramingFault::InvalidTransferEncoding);
        }
        if !is(value, b"chunked") {
            return Err(transfer_encoding_fault(value));
        }
        self.chunked = true;
        Ok(())
    }

    #[inline]
    pub(super) fn finish(self, version: Version) -> Result<Framing, FramingFault> {
        match (self.content_length, self.chunked) {
            (None, false) => Ok(Framing::Absent),
            (Some(length), false) => Ok(Framing::Length(length)),
            (_, true) if version == Version::Http10 => Err(FramingFault::TransferEncodingInHttp10),
            (None, true) => Ok(Framing::Chunked),
            (Some(_), true) => Err(FramingFault::ContentLengthWithTransferEncoding),
        }
    }
}

/// Lengths and chunk sizes from here on are negative numbers to recipients that count with a sign.
pub(super) const LENGTH_LIMIT: u64 = 1 << 63;

/// `1*DIGIT` below [`LENGTH_LIMIT`].
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let length = value.iter().try_fold(0u64, |length, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        length.checked_mul(10)?.checked_add(u64::from(digit))
    });
    length.filter(|length| *length < LENGTH_LIMIT)
}

/// A number without leading zeros, which some recipients take for octal.
pub(super) fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    &digits[zeros.min(digits.len().saturating_sub(1))..]
}

/// Why a value is not `chunked`.
fn transfer_encoding_fault(value: &[u8]) -> FramingFault {
    let mut elements = list(value).peekable();
    let mut unknown = false;
    while let Some(coding) = elements.next() {
        let is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        let last = elements.peek().is_none();
        let name_end = coding.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(coding.len());
        let parameters = coding[name_end..].trim_ascii_start();
        let well_formed = name_end > 0 && (parameters.is_empty() || parameters.starts_with(b";"));
        let chunked_parameters = coding[..name_end].eq_ignore_ascii_case(b"chunked") && !is_chunked;
        if !well_formed || chunked_parameters || (is_chunked && !last) {
            return FramingFault::InvalidTransferEncoding;
        }
        unknown |= !is_chunked;
    }
    if unknown {
        FramingFault::UnknownTransferCoding
    } else {
        FramingFault::InvalidTransferEncoding
    }
}
