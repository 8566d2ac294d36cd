//! Writing a head for the other side: what needs no change is copied in runs, edits stand around
//! them.
//!
//! Only complete lines `name: value CRLF` are copied. Lines that are formed otherwise (a bare LF,
//! other white space around the value, zeros before a length) are written anew, so that the next
//! recipient has nothing to interpret.

use super::field_table::{FieldTable, Lines};
use super::framing::without_leading_zeros;
use super::generated::push_decimal;
use super::head::Version;
use super::header_line::HeaderLine;
use super::request::RequestHead;
use super::response::{ResponseFraming, ResponseHead};
use super::target::Target;

/// What changes in a request on its way upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEdits<'a> {
    /// The client's address for `X-Forwarded-For`; without it the field is not written.
    pub forwarded_for: Option<&'a str>,
    /// `http` or `https` for `X-Forwarded-Proto`; without it the field is not written.
    pub forwarded_proto: Option<&'a str>,
    /// The host for `X-Forwarded-Host`; without it the field is not written.
    pub forwarded_host: Option<&'a str>,
    /// Whether the client's `X-Forwarded-*` may be believed: `X-Forwarded-For` is then extended,
    /// and the others are kept. Otherwise all of them are dropped.
    pub trust_incoming_forwarded: bool,
    /// Whether the client's `Forwarded` (RFC 7239) may be believed: it is then kept, or extended.
    /// Otherwise it is dropped.
    pub keep_forwarded: bool,
    /// An element to extend `Forwarded` by; without it the field is not written.
    pub forwarded_element: Option<&'a str>,
    /// Whether to ask the endpoint for the protocol in [`RequestHead::upgrade`].
    pub upgrade: bool,
    /// Whether `Expect: 100-continue` is passed on; not when the proxy has answered it itself.
    pub forward_expect: bool,
    /// Path and query to ask for instead. Must begin with `/` and hold neither white space nor
    /// control characters. Targets without a path (`*`, and those of CONNECT) stay as they
    /// are.
    pub path_override: Option<&'a str>,
    /// The host to ask for instead, but for CONNECT. Must be valid as a `Host`.
    pub host_override: Option<&'a str>,
    /// The host to ask for when the request has none, which HTTP/1.0 allows.
    pub host_if_absent: &'a str,
    /// Fields to write: in place of those of the same name, or [beside](HeaderLine::beside) them.
    pub set: &'a [HeaderLine],
    /// Names of fields to remove.
    pub remove: &'a [Box<str>],
}

/// How the body of a response is framed anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recode {
    /// The body passes through as it is.
    #[default]
    Keep,
    /// Chunks are taken apart, for a client of HTTP/1.0; the connection must be closed after the
    /// body.
    Dechunk,
    /// A body that ends with the connection is put in chunks, so that the client's connection
    /// survives it.
    Enchunk,
}

/// What changes in a response on its way downstream.
#[derive(Clone, Copy, Debug)]
pub struct ResponseEdits<'a> {
    /// Whether the client's connection stays open after this response.
    pub keep_alive: bool,
    /// The version the client speaks: HTTP/1.0 has to be told about a connection that stays open.
    pub client_version: Version,
    /// How the body is framed anew.
    pub recode: Recode,
    /// Fields to write: in place of those of the same name, or [beside](HeaderLine::beside) them.
    pub set: &'a [HeaderLine],
    /// Names of fields to remove.
    pub remove: &'a [Box<str>],
}

/// Appends the head for the upstream side to `out`: HTTP/1.1, with `Host`, without hop-by-hop
/// fields.
pub fn write_request_head(out: &mut Vec<u8>, head: &RequestHead<'_>, edits: &RequestEdits<'_>) {
    let fields = &head.fields;
    let marks = &fields.marks;
    out.reserve(fields.head.len() + 256);

    let mut dropped = marks.hop_by_hop | named(fields, edits.set, edits.remove);
    let upgrade = edits.upgrade && head.upgrade.is_some();
    if !upgrade {
        dropped |= marks.upgrade;
    }
    if !(edits.forward_expect && head.expect_continue) {
        dropped |= marks.expect;
    }
    dropped |= dropped_forwarded(fields, edits);
    let new_host = match (edits.host_override, head.target) {
        (_, Target::Authority(authority)) => Some(authority),
        (Some(host), _) => Some(host),
        (None, Target::Absolute { authority, .. }) => Some(authority),
        (None, _) => head.host.is_none().then_some(edits.host_if_absent),
    };
    if new_host.is_some() {
        dropped |= marks.host;
    }

    let line_kept =
        new_host.is_none() && edits.path_override.is_none() && has_plain_request_line(head);
    if line_kept {
        copy_lines(out, fields, 0, dropped);
    } else {
        write_request_line(out, head, edits.path_override);
        if let Some(host) = new_host {
            push_line(out, b"Host", host.as_bytes());
        }
        copy_lines(out, fields, fields.line_start(0), dropped);
    }
    if upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    write_forwarded(out, fields, edits);
    edits.set.iter().for_each(|line| out.extend_from_slice(line.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// Whether the request line can be sent as it was received.
#[inline]
fn has_plain_request_line(head: &RequestHead<'_>) -> bool {
    let Target::Origin(target) = head.target else {
        return false;
    };
    let line_len = head.method.len() + target.len() + " ".len() + " HTTP/1.1\r\n".len();
    // The parts are at their only possible places, so the lengths say it all but for the line end.
    head.version == Version::Http11
        && head.fields.line_start(0) == line_len
        && head.fields.head[..line_len].ends_with(b"\r\n")
}

fn write_request_line(out: &mut Vec<u8>, head: &RequestHead<'_>, path_override: Option<&str>) {
    out.extend_from_slice(head.method.as_bytes());
    out.push(b' ');
    match (path_override, head.target) {
        (Some(path), Target::Origin(_) | Target::Absolute { .. }) => {
            out.extend_from_slice(path.as_bytes());
        }
        _ => head.target.write(head.method, out),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// The forwarding fields of the client that do not pass.
fn dropped_forwarded(fields: &FieldTable<'_>, edits: &RequestEdits<'_>) -> Lines {
    let marks = &fields.marks;
    let standard = match (edits.keep_forwarded, edits.forwarded_element) {
        (true, None) => 0,
        // Written anew, with the element at the end.
        _ => marks.forwarded,
    };
    if edits.trust_incoming_forwarded {
        // Written anew, with the client's address at the end.
        let extended = if edits.forwarded_for.is_some() { marks.forwarded_for } else { 0 };
        return extended | standard;
    }
    marks.forwarded_for
        | marks.forwarded_proto
        | marks.forwarded_host
        | marks.forwarded_other
        | standard
}

fn write_forwarded(out: &mut Vec<u8>, fields: &FieldTable<'_>, edits: &RequestEdits<'_>) {
    let marks = &fields.marks;
    let believed = |lines: Lines| if edits.trust_incoming_forwarded { lines } else { 0 };
    if let Some(address) = edits.forwarded_for {
        out.extend_from_slice(b"X-Forwarded-For: ");
        for value in fields.values(believed(marks.forwarded_for)).filter(|value| !value.is_empty())
        {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(address.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if let (Some(proto), 0) = (edits.forwarded_proto, believed(marks.forwarded_proto)) {
        push_line(out, b"X-Forwarded-Proto", proto.as_bytes());
    }
    if let (Some(host), 0) = (edits.forwarded_host, believed(marks.forwarded_host)) {
        push_line(out, b"X-Forwarded-Host", host.as_bytes());
    }
    if let Some(element) = edits.forwarded_element {
        out.extend_from_slice(b"Forwarded: ");
        let kept = if edits.keep_forwarded { marks.forwarded } else { 0 };
        for value in fields.values(kept).filter(|value| !value.is_empty()) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(element.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the head for the downstream side to `out`: HTTP/1.1, without hop-by-hop fields, with
/// what the client has to know about the connection.
pub fn write_response_head(out: &mut Vec<u8>, head: &ResponseHead<'_>, edits: &ResponseEdits<'_>) {
    let fields = &head.fields;
    let marks = &fields.marks;
    out.reserve(fields.head.len() + 64);

    let mut dropped = marks.hop_by_hop | marks.expect | named(fields, edits.set, edits.remove);
    let switches = head.status == 101;
    // 426 says in `Upgrade` what it requires (RFC 9110 section 15.5.22).
    if !switches && head.status != 426 {
        dropped |= marks.upgrade;
    }
    // RFC 9112 section 6.1 and RFC 9110 section 8.6: neither belongs into these.
    if head.status < 200 || head.status == 204 || head.framing == ResponseFraming::Tunnel {
        dropped |= marks.content_length | marks.transfer_encoding;
    }
    // Nor does HTTP/1.0 know transfer codings, not even in the answer to a HEAD.
    if edits.recode == Recode::Dechunk || edits.client_version == Version::Http10 {
        dropped |= marks.transfer_encoding;
    }

    if has_plain_status_line(head) {
        copy_lines(out, fields, 0, dropped);
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, u64::from(head.status));
        out.push(b' ');
        out.extend_from_slice(head.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        copy_lines(out, fields, fields.line_start(0), dropped);
    }
    if edits.recode == Recode::Enchunk && head.framing == ResponseFraming::UntilClose {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    write_response_connection(out, head, edits);
    edits.set.iter().for_each(|line| out.extend_from_slice(line.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

fn write_response_connection(
    out: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    edits: &ResponseEdits<'_>,
) {
    let line: &[u8] = match head.status {
        101 => b"Connection: upgrade\r\n",
        _ if head.is_interim() || head.framing == ResponseFraming::Tunnel => b"",
        426 if head.fields.marks.upgrade != 0 && edits.keep_alive => b"Connection: upgrade\r\n",
        426 if head.fields.marks.upgrade != 0 => b"Connection: upgrade, close\r\n",
        _ if !edits.keep_alive => b"Connection: close\r\n",
        _ if edits.client_version == Version::Http10 => b"Connection: keep-alive\r\n",
        _ => b"",
    };
    out.extend_from_slice(line);
}

/// Whether the status line can be sent as it was received.
#[inline]
fn has_plain_status_line(head: &ResponseHead<'_>) -> bool {
    let line_len = "HTTP/1.1 200 ".len() + head.reason.len() + 2;
    head.version == Version::Http11
        && head.fields.line_start(0) == line_len
        && head.fields.head[..line_len].ends_with(b"\r\n")
}

/// The lines whose fields the configuration sets or removes.
fn named(fields: &FieldTable<'_>, set: &[HeaderLine], remove: &[Box<str>]) -> Lines {
    let mut lines = 0;
    if set.is_empty() && remove.is_empty() {
        return lines;
    }
    for (index, header) in fields.headers.iter().enumerate() {
        let name = header.name.as_bytes();
        let is_set =
            set.iter().any(|line| line.replaces() && line.name().eq_ignore_ascii_case(name));
        if is_set || remove.iter().any(|removed| removed.as_bytes().eq_ignore_ascii_case(name)) {
            lines |= 1 << index;
        }
    }
    let marks = &fields.marks;
    lines & !(marks.host | marks.content_length | marks.transfer_encoding)
}

/// Copies everything from `from` to the end of the fields, but for the dropped lines.
#[inline]
fn copy_lines(out: &mut Vec<u8>, fields: &FieldTable<'_>, from: usize, dropped: Lines) {
    let mut special = dropped | fields.marks.irregular;
    let mut run_start = from;
    while special != 0 {
        let index = special.trailing_zeros() as usize;
        special &= special - 1;
        out.extend_from_slice(&fields.head[run_start..fields.line_start(index)]);
        run_start = fields.line_start(index + 1);
        if dropped & (1 << index) == 0 {
            let header = &fields.headers[index];
            let is_length = fields.marks.content_length & (1 << index) != 0;
            let value = if is_length { without_leading_zeros(header.value) } else { header.value };
            push_line(out, header.name.as_bytes(), value);
        }
    }
    out.extend_from_slice(&fields.head[run_start..fields.fields_end]);
}

#[inline]
fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
