//! Trailer fields at the end of a chunked body (RFC 9112 section 7.1.2), checked as they stream by.

/// Longest name that is looked up; a longer one cannot be one of the refused.
const NAME_BYTES: usize = 20;

/// The beginning of a trailer field's name, in lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrailerName {
    bytes: [u8; NAME_BYTES],
    len: u8,
}

impl TrailerName {
    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            *slot = byte.to_ascii_lowercase();
        }
        self.len = self.len.saturating_add(1);
    }

    /// Whether the field may stand in a trailer section: nothing that frames, routes, authenticates
    /// or describes the message (RFC 9110 section 6.5.1). Chunks pass through unchanged, so
    /// what is not allowed is refused, not removed.
    pub(super) fn is_allowed(&self) -> bool {
        const REFUSED: [&[u8]; 22] = [
            b"authorization",
            b"cache-control",
            b"connection",
            b"content-encoding",
            b"content-length",
            b"content-range",
            b"content-type",
            b"cookie",
            b"expect",
            b"forwarded",
            b"host",
            b"keep-alive",
            b"max-forwards",
            b"proxy-authenticate",
            b"proxy-authorization",
            b"proxy-connection",
            b"range",
            b"set-cookie",
            b"te",
            b"trailer",
            b"transfer-encoding",
            b"upgrade",
        ];
        let Some(name) = self.bytes.get(..usize::from(self.len)) else {
            return !self.bytes.starts_with(b"x-forwarded-");
        };
        !name.starts_with(b"x-forwarded-") && !REFUSED.contains(&name)
    }
}
