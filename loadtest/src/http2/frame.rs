//! Frames (RFC 9113 sections 4 and 6).

/// Bytes of a frame's header.
pub(super) const HEADER_LEN: usize = 9;
/// Longest payload there may be unless a peer says otherwise; we never do.
pub(super) const MAX_PAYLOAD_BYTES: usize = 16_384;
/// What a client says first (section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Every window until somebody says otherwise.
pub(super) const DEFAULT_WINDOW_BYTES: i64 = 65_535;
/// Largest window, and largest stream.
pub(super) const MAX_NUMBER: u32 = 0x7fff_ffff;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;
pub(super) const PADDED: u8 = 0x8;
pub(super) const PRIORITY: u8 = 0x20;

pub(super) const SETTING_TABLE_SIZE: u16 = 1;
pub(super) const SETTING_ENABLE_PUSH: u16 = 2;
pub(super) const SETTING_MAX_STREAMS: u16 = 3;
pub(super) const SETTING_WINDOW: u16 = 4;
pub(super) const SETTING_MAX_PAYLOAD: u16 = 5;

pub(super) const NO_ERROR: u32 = 0;
pub(super) const CANCEL: u32 = 8;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Header {
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, rest @ ..] = *bytes;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        Self { len, kind, flags, stream: u32::from_be_bytes(rest) & MAX_NUMBER }
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [s, t, u, v] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s, t, u, v]
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let header = Header { len: payload.len(), kind, flags, stream };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(payload);
}

/// The payload without padding; `None` when there is more padding than payload.
pub(super) fn without_padding<'a>(header: &Header, payload: &'a [u8]) -> Option<&'a [u8]> {
    if !header.has(PADDED) {
        return Some(payload);
    }
    let (&padding, rest) = payload.split_first()?;
    rest.len().checked_sub(usize::from(padding)).map(|len| &rest[..len])
}

/// What an error code is called (section 7).
pub(super) fn error_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("an error without a name")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_are_read_as_written(
            len in 0usize..1 << 24, kind: u8, flags: u8, stream in 0..=MAX_NUMBER,
        ) {
            let header = Header { len, kind, flags, stream };
            prop_assert_eq!(Header::read(&header.to_bytes()), header);
        }
    }

    #[test]
    fn padding_is_taken_off() {
        let header = Header { len: 0, kind: DATA, flags: PADDED, stream: 1 };
        assert_eq!(without_padding(&header, &[2, 7, 8, 0, 0]), Some(&[7, 8][..]));
        assert_eq!(without_padding(&header, &[3, 0, 0]), None);
        assert_eq!(without_padding(&header, &[]), None);
        assert_eq!(without_padding(&Header { flags: 0, ..header }, &[2, 7]), Some(&[2, 7][..]));
    }
}
