//! Header lines that the configuration adds.

use super::field::{Field, is_token_byte, is_value_byte};

/// A header line made ready once: `name: value CRLF`, safe to write into any head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderLine {
    text: Box<[u8]>,
    name_len: usize,
    replaces: bool,
}

/// A header that must not be set by configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderLineError {
    /// The name is not a token (RFC 9110 section 5.1).
    #[error("the header name is not a token")]
    InvalidName,
    /// The value has control characters, or white space around it (RFC 9110 section 5.5).
    #[error("the header value has control characters or white space around it")]
    InvalidValue,
    /// The proxy itself decides about framing, connections and the host.
    #[error("the header is the proxy's own to set")]
    Reserved,
}

impl HeaderLine {
    /// Checks and joins a name and a value.
    ///
    /// # Errors
    /// When the line could not be forwarded as it is, or would change the framing of a message.
    pub fn new(name: &str, value: &str) -> Result<Self, HeaderLineError> {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(HeaderLineError::InvalidName);
        }
        if !value.bytes().all(is_value_byte)
            || super::field::trim_ows(value.as_bytes()) != value.as_bytes()
        {
            return Err(HeaderLineError::InvalidValue);
        }
        let field = Field::of(name);
        if !matches!(
            field,
            Field::Other
                | Field::ForwardedFor
                | Field::ForwardedProto
                | Field::ForwardedHost
                | Field::Forwarded
                | Field::ForwardedOther
        ) {
            return Err(HeaderLineError::Reserved);
        }
        let text = format!("{name}: {value}\r\n").into_bytes().into_boxed_slice();
        Ok(Self { text, name_len: name.len(), replaces: true })
    }

    /// The same line, to stand beside fields of the same name instead of in their place.
    #[must_use]
    pub fn beside(self) -> Self {
        Self { replaces: false, ..self }
    }

    /// Whether it stands in place of fields of the same name.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.replaces
    }

    /// The name, as configured.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.text[..self.name_len]
    }

    /// The whole line with its CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}
