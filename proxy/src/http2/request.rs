//! Requests: header blocks that become heads of HTTP/1.1.
//!
//! A block is read field by field, and each is written where HTTP/1.1 has it, in the buffer that
//! the request is then read from. Here is checked what only HTTP/2 can express (RFC 9113 sections
//! 8.2 and 8.3), and that nothing can be read as more than it is; whether it is a request then is
//! left to the parser of HTTP/1.1, as for everybody.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bs9_net::Buffer;

use super::Shape;
use crate::{
    http::{Call, Failure, is_call, parse_timeout},
    http1::{HeadFault, RequestError},
};

/// A request that is none (RFC 9113 section 8.1.1): its stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A request as it was asked.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its head as HTTP/1.1 has it, and how its body follows; or why it is refused.
    pub(super) head: Result<(Buffer, Shape), Failure>,
    /// Bytes of its body, when it says so.
    pub(super) length: Option<u64>,
    pub(super) is_head: bool,
    pub(super) call: Option<Call>,
}

impl Asked {
    /// Whether bytes of another protocol follow.
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.head, Ok((_, Shape::Tunnel)))
    }
}

/// Values of a request that come before its place in the head does. They are kept from request to
/// request for their room.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    method: Vec<u8>,
    path: Vec<u8>,
    authority: Vec<u8>,
    protocol: Vec<u8>,
    cookie: Vec<u8>,
}

/// Pseudo-header fields that have come (RFC 9113 section 8.3.1, RFC 8441 section 4).
mod seen {
    pub(super) const METHOD: u8 = 1;
    pub(super) const SCHEME: u8 = 2;
    pub(super) const PATH: u8 = 4;
    pub(super) const AUTHORITY: u8 = 8;
    pub(super) const PROTOCOL: u8 = 16;
    pub(super) const ALL: u8 = 31;
}

/// Takes the fields of a block, in order.
pub(super) struct HeadWriter<'s> {
    scratch: &'s mut Scratch,
    out: Buffer,
    seen: u8,
    /// The request line is written: no pseudo-header field may follow.
    begun: bool,
    has_host: bool,
    malformed: bool,
    refused: Option<Failure>,
    length: Option<u64>,
    is_call: bool,
    timeout: Option<Duration>,
}

impl<'s> HeadWriter<'s> {
    /// Writes into an empty buffer.
    pub(super) fn new(scratch: &'s mut Scratch, out: Buffer) -> Self {
        let Scratch { method, path, authority, protocol, cookie } = scratch;
        for text in [method, path, authority, protocol, cookie] {
            text.clear();
        }
        Self {
            scratch,
            out,
            seen: 0,
            begun: false,
            has_host: false,
            malformed: false,
            refused: None,
            length: None,
            is_call: false,
            timeout: None,
        }
    }

    /// Takes a field.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        if self.malformed {
            return;
        }
        if !value.iter().all(|byte| is_of_values(*byte)) {
            self.malformed = true;
        } else if name.first() == Some(&b':') {
            self.pseudo(name, value);
        } else {
            if !self.begun {
                self.begin();
            }
            self.regular(name, value);
        }
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        let Scratch { method, path, authority, protocol, .. } = &mut *self.scratch;
        let (bit, kept, fits) = match name {
            b":method" => (seen::METHOD, Some(method), value.iter().all(|byte| is_token(*byte))),
            b":scheme" => (seen::SCHEME, None, true),
            b":path" => (seen::PATH, Some(path), value.iter().all(|byte| is_visible(*byte))),
            b":authority" => {
                let fits = value.iter().all(|byte| is_visible(*byte) && byte.is_ascii());
                (seen::AUTHORITY, Some(authority), fits)
            }
            b":protocol" => {
                (seen::PROTOCOL, Some(protocol), value.iter().all(|byte| is_token(*byte)))
            }
            _ => (seen::ALL, None, false),
        };
        // First, once, and with something in it.
        self.malformed |= self.begun || self.seen & bit != 0 || value.is_empty() || !fits;
        self.seen |= bit;
        if let Some(kept) = kept {
            kept.extend_from_slice(value);
        }
    }

    /// Writes the request line and, where there is an authority, the host.
    fn begin(&mut self) {
        self.begun = true;
        let Scratch { method, path, authority, .. } = &*self.scratch;
        let (method, path, authority) = (&method[..], &path[..], &authority[..]);
        let has = |bits| self.seen & bits == bits;
        let is_connect = method == b"CONNECT";
        let is_tunnel = has(seen::PROTOCOL);
        let complete = match (is_connect, is_tunnel) {
            (true, false) => self.seen == seen::METHOD | seen::AUTHORITY,
            (true, true) => self.seen == seen::ALL,
            (false, true) => false,
            (false, false) => has(seen::METHOD | seen::SCHEME | seen::PATH),
        };
        if !complete {
            self.malformed = true;
            return;
        }
        if is_connect && !is_tunnel {
            self.refused = Some(Failure::Connect);
            return;
        }
        match path {
            [b'/', ..] => {}
            b"*" if method == b"OPTIONS" => {}
            b"*" => self.refused = Some(Failure::Request(RequestError::InvalidTarget)),
            _ => self.malformed = true,
        }
        let method = if is_tunnel { b"GET" } else { method };
        let mut written = write(&mut self.out, &[method, b" ", path, b" HTTP/1.1\r\n"]);
        if has(seen::AUTHORITY) {
            written &= write(&mut self.out, &[b"host: ", authority, b"\r\n"]);
        }
        if !written {
            self.refuse(HeadFault::TooLarge);
        }
    }

    fn regular(&mut self, name: &[u8], value: &[u8]) {
        if name.is_empty() || !name.iter().all(|byte| is_lower_token(*byte)) {
            self.malformed = true;
            return;
        }
        // RFC 9113 section 8.2.1.
        if has_space_around(value) {
            self.refuse(HeadFault::InvalidHeaderValue);
        }
        match name {
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => self.malformed = true,
            // It says what this hop may be sent (section 8.2.2).
            b"te" => self.malformed |= value != b"trailers",
            // HTTP/2 does without (RFC 8441 section 5); there is another one for the endpoint.
            b"sec-websocket-key" => {}
            b"cookie" => {
                // Crumbs are one field again (RFC 9113 section 8.2.3).
                let cookie = &mut self.scratch.cookie;
                if !cookie.is_empty() {
                    cookie.extend_from_slice(b"; ");
                }
                cookie.extend_from_slice(value);
                if cookie.len() > self.out.room() {
                    self.refuse(HeadFault::TooLarge);
                }
            }
            b"host" => self.host(value),
            b"content-length" => self.content_length(name, value),
            _ => {
                match name {
                    b"content-type" => self.is_call |= is_call(value),
                    b"grpc-timeout" => self.timeout = parse_timeout(value),
                    _ => {}
                }
                self.line(name, value);
            }
        }
    }

    /// An authority is the host; the field must not contradict it (RFC 9113 section 8.3.1).
    fn host(&mut self, value: &[u8]) {
        let failure = if std::mem::replace(&mut self.has_host, true) {
            RequestError::RepeatedHost
        } else if self.seen & seen::AUTHORITY == 0 {
            return self.line(b"host", value);
        } else if !value.eq_ignore_ascii_case(&self.scratch.authority) {
            RequestError::InvalidHost
        } else {
            return;
        };
        self.refused.get_or_insert(Failure::Request(failure));
    }

    fn content_length(&mut self, name: &[u8], value: &[u8]) {
        let number = value.iter().try_fold(0_u64, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        });
        match number.filter(|_| !value.is_empty()) {
            Some(number) if self.length.is_none_or(|length| length == number) => {
                self.length = Some(number);
                self.line(name, value);
            }
            _ => self.malformed = true,
        }
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        if !write(&mut self.out, &[name, b": ", value, b"\r\n"]) {
            self.refuse(HeadFault::TooLarge);
        }
    }

    fn refuse(&mut self, fault: HeadFault) {
        self.refused.get_or_insert(Failure::Request(RequestError::Head(fault)));
    }

    /// The block has ended. `ended`: no body follows. A CONNECT that names a protocol becomes the
    /// upgrade to it, with a `nonce` for the handshake of WebSocket.
    pub(super) fn finish(
        mut self,
        ended: bool,
        nonce: impl FnOnce() -> [u8; 16],
    ) -> Result<Asked, Malformed> {
        if !self.begun {
            self.begin();
        }
        let shape = match (self.seen & seen::PROTOCOL != 0, self.length) {
            (true, None) => Shape::Tunnel,
            // What is tunnelled has no length.
            (true, Some(_)) => return Err(Malformed),
            (false, None) if !ended => Shape::Chunked,
            // What is announced comes.
            (false, Some(1..)) if ended => return Err(Malformed),
            (false, _) => Shape::Plain,
        };
        if self.malformed {
            return Err(Malformed);
        }
        let mut written = match shape {
            Shape::Plain => true,
            Shape::Chunked => write(&mut self.out, &[b"transfer-encoding: chunked\r\n"]),
            Shape::Tunnel => {
                let protocol = &self.scratch.protocol[..];
                let key = BASE64_STANDARD.encode(nonce());
                let upgrade = [b"connection: upgrade\r\nupgrade: ", protocol, b"\r\n"];
                write(&mut self.out, &upgrade)
                    && write(&mut self.out, &[b"sec-websocket-key: ", key.as_bytes(), b"\r\n"])
            }
        };
        let cookie = &self.scratch.cookie[..];
        if !cookie.is_empty() {
            written &= write(&mut self.out, &[b"cookie: ", cookie, b"\r\n"]);
        }
        written &= write(&mut self.out, &[b"\r\n"]);
        if !written {
            self.refuse(HeadFault::TooLarge);
        }
        Ok(Asked {
            head: self.refused.map_or(Ok((self.out, shape)), Err),
            length: self.length,
            is_head: self.scratch.method == b"HEAD",
            call: self.is_call.then(|| Call::new(self.timeout)),
        })
    }
}

/// Takes the fields behind a body, as lines of a trailer section.
#[derive(Debug, Default)]
pub(super) struct TrailerWriter {
    lines: Vec<u8>,
    malformed: bool,
}

impl TrailerWriter {
    /// Takes a field. More than `most` bytes of them are malformed.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8], most: usize) {
        let length = name.len() + value.len() + 4;
        self.malformed |= name.is_empty()
            || !name.iter().all(|byte| is_lower_token(*byte))
            || !value.iter().all(|byte| is_of_values(*byte))
            || has_space_around(value)
            || matches!(
                name,
                b"connection"
                    | b"keep-alive"
                    | b"proxy-connection"
                    | b"transfer-encoding"
                    | b"upgrade"
                    | b"te"
            )
            || self.lines.len() + length > most;
        if !self.malformed {
            self.lines.extend([name, b": ", value, b"\r\n"].into_iter().flatten());
        }
    }

    /// The lines.
    pub(super) fn finish(self) -> Result<Vec<u8>, Malformed> {
        if self.malformed { Err(Malformed) } else { Ok(self.lines) }
    }
}

/// Writes all of it, or nothing where there is no room.
fn write(out: &mut Buffer, parts: &[&[u8]]) -> bool {
    let length = parts.iter().map(|part| part.len()).sum();
    let Some(mut room) = out.spare().get_mut(..length) else { return false };
    for part in parts {
        let (here, behind) = room.split_at_mut(part.len());
        here.copy_from_slice(part);
        room = behind;
    }
    out.commit(length);
    true
}

/// What bytes may be part of: RFC 9110 sections 5.5 and 5.6.2.
mod class {
    pub(super) const TOKEN: u8 = 1;
    pub(super) const UPPER: u8 = 2;
    pub(super) const VALUE: u8 = 4;
    pub(super) const VISIBLE: u8 = 8;
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let of = byte as u8;
        if of.is_ascii_alphanumeric()
            || matches!(
                of,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            classes[byte] |= class::TOKEN;
        }
        if of.is_ascii_uppercase() {
            classes[byte] |= class::UPPER;
        }
        if of == b'\t' || (of >= b' ' && of != 0x7f) {
            classes[byte] |= class::VALUE;
        }
        if of > b' ' && of != 0x7f {
            classes[byte] |= class::VISIBLE;
        }
        byte += 1;
    }
    classes
};

fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class::TOKEN != 0
}

fn is_lower_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & (class::TOKEN | class::UPPER) == class::TOKEN
}

fn is_of_values(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class::VALUE != 0
}

fn is_visible(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class::VISIBLE != 0
}

fn has_space_around(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

#[cfg(test)]
mod tests {
    use bs9_net::BufferPool;
    use proptest::prelude::*;

    use super::*;
    use crate::http1::{BodyFraming, HeadLimits, HeaderStorage, Parsed, parse_request};

    fn asked(fields: &[(&str, &[u8])], ended: bool, room: usize) -> Result<Asked, Malformed> {
        let mut scratch = Scratch::default();
        let mut head = HeadWriter::new(&mut scratch, BufferPool::new(room, 1).take());
        for (name, value) in fields {
            head.field(name.as_bytes(), value);
        }
        head.finish(ended, || [7; 16])
    }

    fn written(fields: &[(&str, &str)], ended: bool) -> Result<(Shape, String), Failure> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let (head, shape) = asked(&fields, ended, 4096).expect("a request").head?;
        Ok((shape, std::str::from_utf8(head.filled()).unwrap().to_owned()))
    }

    const PLAIN: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/a?b"), (":authority", "site.test")];

    #[test]
    fn a_head_is_written_as_http_1_1_would_bring_it() {
        let more = [
            ("host", "SITE.test"),
            ("cookie", "a=1"),
            ("te", "trailers"),
            ("cookie", "b=2"),
            ("x", "y"),
        ];
        let (shape, head) = written(&[&PLAIN[..], &more].concat(), false).unwrap();
        assert_eq!(shape, Shape::Chunked);
        assert_eq!(
            head,
            "GET /a?b HTTP/1.1\r\nhost: site.test\r\nx: y\r\ntransfer-encoding: chunked\r\n\
             cookie: a=1; b=2\r\n\r\n"
        );
        let by_host = [&PLAIN[..3], &[("host", "site.test")]].concat();
        let (shape, head) = written(&by_host, true).unwrap();
        assert_eq!((shape, &*head), (Shape::Plain, "GET /a?b HTTP/1.1\r\nhost: site.test\r\n\r\n"));
    }

    #[test]
    fn a_connect_that_names_a_protocol_is_an_upgrade() {
        let mut fields = PLAIN.to_vec();
        fields[0].1 = "CONNECT";
        fields.push((":protocol", "websocket"));
        let (shape, head) = written(&fields, false).unwrap();
        assert_eq!(shape, Shape::Tunnel);
        assert_eq!(
            head,
            "GET /a?b HTTP/1.1\r\nhost: site.test\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-key: BwcHBwcHBwcHBwcHBwcHBw==\r\n\r\n"
        );
        let plain = [(":method", "CONNECT"), (":authority", "site.test:443")];
        assert_eq!(written(&plain, true), Err(Failure::Connect));
    }

    #[test]
    fn a_head_that_does_not_fit_is_too_large_at_every_size() {
        let fields: Vec<_> = [&PLAIN[..], &[("cookie", "a=1"), ("x", "y")]]
            .concat()
            .into_iter()
            .map(|(name, value)| (name, value.as_bytes()))
            .collect();
        let (head, _) = asked(&fields, true, 4096).unwrap().head.unwrap();
        let too_large = Failure::Request(RequestError::Head(HeadFault::TooLarge));
        for room in 1..head.len() {
            assert_eq!(asked(&fields, true, room).unwrap().head.unwrap_err(), too_large, "{room}");
        }
        assert!(asked(&fields, true, head.len()).unwrap().head.is_ok());
    }

    #[test]
    fn calls_are_told_from_other_requests() {
        let call = [("content-type", &b"application/grpc"[..]), ("grpc-timeout", b"1S")];
        let plain: Vec<_> = PLAIN.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        assert!(asked(&[&plain[..], &call].concat(), true, 4096).unwrap().call.is_some());
        assert!(asked(&[&plain[..], &call[1..]].concat(), true, 4096).unwrap().call.is_none());
    }

    proptest! {
        /// Whatever fields come, the parser finds one head, to its last byte, with the framing that
        /// was meant; or it refuses it.
        #[test]
        fn one_request_in_is_one_request_out(
            path in "[/a#?%]{0,3}[ -~]{0,20}|[^a]{0,5}",
            authority in "[a-z0-9.:@_-]{1,12}|[^a]{0,5}",
            method in "GET|POST|HEAD|[A-Z ]{1,5}",
            names in prop::collection::vec(
                "[a-z0-9!#$%&'*+.^_`|~-]{1,12}|host|te|cookie|expect|[^a]{0,4}", 0..6,
            ),
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 6),
            length in prop::option::of("[0-9]{1,3}"),
            ended: bool,
        ) {
            let mut fields: Vec<(&str, &[u8])> = vec![
                (":method", method.as_bytes()),
                (":scheme", b"http"),
                (":path", path.as_bytes()),
                (":authority", authority.as_bytes()),
            ];
            fields.extend(names.iter().map(String::as_str).zip(values.iter().map(Vec::as_slice)));
            fields.extend(length.iter().map(|length| ("content-length", length.as_bytes())));
            let Ok(asked) = asked(&fields, ended, 4096) else { return Ok(()) };
            let Ok((head, shape)) = asked.head else { return Ok(()) };
            let mut storage = HeaderStorage::new();
            match parse_request(head.filled(), &HeadLimits::default(), &mut storage) {
                Err(_) => {}
                Ok(Parsed::Partial) => prop_assert!(false, "a whole head is whole"),
                Ok(Parsed::Complete(parsed)) => {
                    prop_assert_eq!(parsed.head_len, head.len());
                    let stated = length.map_or(0, |length| length.parse().unwrap());
                    let framing = match (shape, stated) {
                        (Shape::Chunked, _) => BodyFraming::Chunked,
                        (_, 0) => BodyFraming::None,
                        (_, length) => BodyFraming::Length(length),
                    };
                    prop_assert_eq!(parsed.framing, framing);
                }
            }
        }
    }
}
