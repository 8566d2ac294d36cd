//! The way from HTTP/1.1 to WebSocket (RFC 6455 section 4).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use httparse::{EMPTY_HEADER, Header, Response, Status};

use crate::{
    failure::Failure,
    http::{RequestError, check_field},
};

/// Longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Most header fields of one.
const MAX_FIELDS: usize = 96;
/// What every server adds to every key (section 1.3).
const SERVERS_WORD: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The header that asks for a protocol inside.
const PROTOCOL: &str = "sec-websocket-protocol";

/// What asks a server to change to WebSocket, up to the key.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade {
    head: Arc<str>,
    asks_for_protocol: bool,
}

/// One connection's key, and the proof of a server that has read it.
#[derive(Debug, Default)]
pub(super) struct Key {
    text: String,
    proof: String,
}

/// A server's answer, as far as it is here.
#[derive(Debug, Default)]
pub(super) struct Answer {
    cut: Vec<u8>,
}

// === impl Upgrade ===

impl Upgrade {
    /// With further header fields.
    ///
    /// # Errors
    /// When one of them cannot be sent, or is the handshake's own.
    pub(crate) fn new(
        authority: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<Self, RequestError> {
        let agent = concat!("bs9-loadtest/", env!("CARGO_PKG_VERSION"));
        let given =
            |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut head = format!("GET {path} HTTP/1.1\r\n");
        for (name, value) in [("Host", authority), ("User-Agent", agent)] {
            if !given(name) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        for (name, value) in headers {
            check_field(name, value)?;
            let own = ["sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"];
            if own.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err(RequestError::Framing { name: name.clone() });
            }
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        Ok(Self { head: head.into(), asks_for_protocol: given(PROTOCOL) })
    }

    pub(super) fn ask(&self, key: &Key, out: &mut Vec<u8>) {
        for part in [&*self.head, "Sec-WebSocket-Key: ", &key.text, "\r\n\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

// === impl Key ===

impl Key {
    pub(super) fn new(random: [u8; 16]) -> Self {
        let text = STANDARD.encode(random);
        let proof = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{text}{SERVERS_WORD}").as_bytes());
        Self { proof: STANDARD.encode(proof), text }
    }
}

// === impl Answer ===

impl Answer {
    /// Takes what has arrived. When the answer is complete and right, says what lies behind it.
    pub(super) fn read<'a>(
        &mut self,
        upgrade: &Upgrade,
        key: &Key,
        input: &'a [u8],
    ) -> Result<Option<&'a [u8]>, Failure> {
        let before = self.cut.len();
        self.cut.extend_from_slice(input);
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        let mut response = Response::new(&mut fields);
        match response.parse(&self.cut) {
            Ok(Status::Complete(len)) => {
                let status = response.code.unwrap_or_default();
                if status != 101 {
                    return Err(Failure::Status(status));
                }
                check(upgrade, key, response.headers)?;
                // It was not complete before this input, so it ends within it.
                Ok(Some(&input[len - before..]))
            }
            Ok(Status::Partial) if self.cut.len() <= MAX_ANSWER_BYTES => Ok(None),
            Ok(Status::Partial) => {
                Err(Failure::Protocol("the answer to the handshake is longer than 64 KiB"))
            }
            Err(_) => Err(Failure::Protocol("the answer to the handshake is malformed")),
        }
    }
}

/// What a client has to look at (section 4.1).
fn check(upgrade: &Upgrade, key: &Key, fields: &[Header<'_>]) -> Result<(), Failure> {
    let values = |wanted: &'static str| {
        let same = move |field: &&Header<'_>| field.name.eq_ignore_ascii_case(wanted);
        fields.iter().filter(same).map(|field| field.value.trim_ascii())
    };
    let says = |name: &'static str, word: &[u8]| {
        let elements = |value: &[u8]| {
            value
                .split(|&byte| byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
        };
        values(name).any(elements)
    };
    if !says("upgrade", b"websocket") || !says("connection", b"upgrade") {
        return Err(Failure::Protocol("the server changes to something else than WebSocket"));
    }
    if !values("sec-websocket-accept").eq([key.proof.as_bytes()]) {
        return Err(Failure::Protocol("the server has not read the key of the handshake"));
    }
    if values("sec-websocket-extensions").next().is_some() {
        return Err(Failure::Protocol("the server uses an extension nobody asked for"));
    }
    if values(PROTOCOL).next().is_some() && !upgrade.asks_for_protocol {
        return Err(Failure::Protocol("the server speaks a protocol nobody asked for"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Upgrade, Key) {
        let upgrade = Upgrade::new("server.example.com", "/chat", &[]).unwrap();
        (upgrade, Key::new(*b"the sample nonce"))
    }

    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_example_of_the_standard() {
        // RFC 6455 section 1.3.
        let (upgrade, key) = sample();
        assert_eq!(key.text, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(key.proof, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut out = Vec::new();
        upgrade.ask(&key, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("GET /chat HTTP/1.1\r\nHost: server.example.com\r\n"), "{text}");
        assert!(text.ends_with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), "{text}");
    }

    #[test]
    fn an_answer_may_come_in_pieces_with_frames_behind_it() {
        let (upgrade, key) = sample();
        let input = format!("{ANSWER}frames");
        for split in 0..ANSWER.len() {
            let mut answer = Answer::default();
            let (first, second) = input.as_bytes().split_at(split);
            assert!(answer.read(&upgrade, &key, first).unwrap().is_none(), "{split}");
            assert_eq!(answer.read(&upgrade, &key, second).unwrap(), Some(&b"frames"[..]));
        }
    }

    #[test]
    fn only_the_right_answer_will_do() {
        let (upgrade, key) = sample();
        let read = |text: &str| {
            Answer::default().read(&upgrade, &key, text.as_bytes()).map(|rest| rest.is_some())
        };
        for (from, to) in [
            ("Upgrade: WebSocket", "Upgrade: h2c"),
            ("keep-alive, upgrade", "keep-alive"),
            ("s3pPLM", "S3pPLM"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
            ("HTTP/1.1 101", "SSH-2.0"),
        ] {
            let wrong = read(&ANSWER.replace(from, to));
            assert!(matches!(wrong, Err(Failure::Protocol(_))), "{to}: {wrong:?}");
        }
        let refused = read("HTTP/1.1 404 Not Found\r\n\r\n");
        assert!(matches!(refused, Err(Failure::Status(404))));
        assert!(matches!(
            read(&format!("HTTP/1.1 101 {}", "x".repeat(70_000))),
            Err(Failure::Protocol(_))
        ));
    }

    #[test]
    fn the_handshake_has_headers_of_its_own() {
        let with = |name: &str| Upgrade::new("h", "/", &[(name.to_owned(), "x".to_owned())]);
        assert!(with("Sec-WebSocket-Key").is_err() && with("Connection").is_err());
        assert!(with("Sec-WebSocket-Protocol").unwrap().asks_for_protocol);
    }
}
