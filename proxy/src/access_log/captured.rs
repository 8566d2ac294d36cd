//! A request's head as it came in, read only when a line is written.

use crate::{
    http::parse_traceparent,
    http1::{raw_fields, request_line},
};

/// What is kept of a head, and what was made for it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Captured<'a> {
    /// As received; may be cut off or malformed. Empty for a connection.
    pub(crate) head: &'a [u8],
    /// Made for it; `None`: the client's was kept, if it sent one.
    pub(crate) request_id: Option<u128>,
    /// Likewise.
    pub(crate) trace_id: Option<u128>,
}

/// What a line shows of it; empty: unknown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    pub(super) method: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) user_agent: &'a [u8],
    pub(super) referer: &'a [u8],
    pub(super) request_id: &'a [u8],
    pub(super) trace_id: &'a [u8],
}

impl<'a> Captured<'a> {
    /// `request_id_header` is empty where requests have no id.
    pub(super) fn show(self, request_id_header: &[u8]) -> Shown<'a> {
        let [method, path, _] = request_line(self.head);
        let mut shown = Shown { method, path, ..Shown::default() };
        for (name, value) in raw_fields(self.head) {
            let place = match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => &mut shown.host,
                7 if name.eq_ignore_ascii_case(b"referer") => &mut shown.referer,
                10 if name.eq_ignore_ascii_case(b"user-agent") => &mut shown.user_agent,
                11 if name.eq_ignore_ascii_case(b"traceparent") => {
                    shown.trace_id = parse_traceparent(value).unwrap_or(shown.trace_id);
                    continue;
                }
                _ if name.eq_ignore_ascii_case(request_id_header) => &mut shown.request_id,
                _ => continue,
            };
            if place.is_empty() {
                *place = value;
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_shown() {
        let head = b"GET /a?b HTTP/1.1\r\nHost: x\r\nUSER-AGENT:  curl \r\nreferer: r\r\nX-Id: 7\r\nHost: y\r\n\r\nbody: 1\r\n";
        let shown = Captured { head, ..Captured::default() }.show(b"x-id");
        let expected = Shown {
            method: b"GET",
            path: b"/a?b",
            host: b"x",
            user_agent: b"curl",
            referer: b"r",
            request_id: b"7",
            trace_id: b"",
        };
        assert_eq!(shown, expected);
        for end in 0..head.len() {
            Captured { head: &head[..end], ..Captured::default() }.show(b"x-id");
        }
    }
}
