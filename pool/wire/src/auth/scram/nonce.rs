//! The random part of an exchange.

/// One side's nonce: 24 printable characters, 144 random bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// A fresh one, from a cryptographic generator.
    pub fn random() -> Self {
        Self(super::attributes::encode(&rand::random::<[u8; 18]>()))
    }

    /// A given one, for replaying an exchange. `None` unless it is printable ASCII without commas.
    pub fn from_text(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        (printable && !text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
