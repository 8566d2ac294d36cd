//! Telling HTTP/2 by its first bytes (RFC 9113 section 3.4).

/// What a client of HTTP/2 sends first.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Another protocol.
    Other,
    /// The beginning of the preface.
    Partial,
    /// The whole preface.
    Http2,
}

impl Opening {
    /// Of a connection that began with `bytes`, at least one.
    #[inline]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        // No method of HTTP/1.1 in use begins like this, so that nearly all requests pass here.
        if !bytes.starts_with(&PREFACE[..bytes.len().min(4)]) {
            return Self::Other;
        }
        match bytes.get(..PREFACE.len()) {
            Some(begun) if begun == PREFACE => Self::Http2,
            None if PREFACE.starts_with(bytes) => Self::Partial,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_the_preface_is_told_from_every_other_method() {
        for len in 1..PREFACE.len() {
            assert_eq!(Opening::of(&PREFACE[..len]), Opening::Partial, "{len} bytes");
            let mut other = PREFACE[..len].to_vec();
            other[len - 1] ^= 1;
            assert_eq!(Opening::of(&other), Opening::Other, "{len} bytes");
        }
        let more = [PREFACE.as_slice(), b"\0\0\0"].concat();
        assert_eq!(Opening::of(&more), Opening::Http2);
        for other in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n", "PRI / H"]
        {
            assert_eq!(Opening::of(other.as_bytes()), Opening::Other, "{other}");
        }
    }
}
