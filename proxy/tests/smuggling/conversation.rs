//! What a client sends, byte for byte, and what it is told.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    case::{Case, NEXT},
    strict::find,
};

/// How an input gets to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    AtOnce,
    /// As many writes as there are bytes, for inputs that are not large.
    InPieces,
}

/// An answer, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    /// Number and summary of the request that the origin answered so.
    pub(crate) saw: Option<(usize, String)>,
    /// The origin's complaint about what it was sent.
    fault: Option<String>,
}

/// Everything a client was told until the connection ended.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) told: Vec<Told>,
    /// Nothing came any more, and the connection stayed open.
    waited: bool,
    /// Bytes that are no answer.
    garbage: Option<String>,
}

impl Heard {
    /// In short, as `docs/SMUGGLING.md` writes it.
    pub(crate) fn verdict(&self) -> String {
        let mut parts: Vec<String> = self.told.iter().map(Told::shown).collect();
        parts.extend(self.garbage.as_ref().map(|bytes| format!("not HTTP/1.1: {bytes}")));
        if self.waited {
            parts.push("waits".to_owned());
        }
        if parts.is_empty() { "closed".to_owned() } else { parts.join(", ") }
    }

    /// The requests that were answered by the origin.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        self.told.iter().filter_map(|told| told.saw.as_ref()).map(|(number, _)| *number).collect()
    }
}

impl Told {
    fn shown(&self) -> String {
        match (&self.saw, &self.fault) {
            (_, Some(fault)) => format!("passes on {fault}"),
            (Some((_, summary)), _) if summary == "GET /next @next.test" => "next".to_owned(),
            (Some((_, summary)), _) => summary.clone(),
            _ => self.status.to_string(),
        }
    }
}

/// Sends the input of a case and what follows, and listens to the end. `patience` is how long a peer may be silent.
pub(crate) fn hold(
    address: SocketAddr,
    case: &Case,
    delivery: Delivery,
    patience: Duration,
) -> Heard {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.set_write_timeout(Some(patience)).unwrap();
    let mut bytes = case.input.clone();
    if !case.ends {
        bytes.extend_from_slice(NEXT.as_bytes());
    }
    let piece = match delivery {
        Delivery::InPieces if bytes.len() < 1_000 => 1,
        Delivery::InPieces => 997,
        Delivery::AtOnce => bytes.len().max(1),
    };
    // Whoever refuses need not take the rest.
    let _refused = bytes.chunks(piece).try_for_each(|piece| stream.write_all(piece));
    if case.ends {
        let _gone = stream.shutdown(Shutdown::Write);
    }
    let (received, waited) = listen(&mut stream);
    let (told, garbage) = answers(&received);
    Heard { told, waited, garbage }
}

/// Everything up to the end, and whether there was none.
fn listen(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut received, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (received, false),
            Ok(count) => received.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (received, true);
            }
            Err(_) => return (received, false),
        }
    }
}

fn answers(mut bytes: &[u8]) -> (Vec<Told>, Option<String>) {
    let mut told = Vec::new();
    while !bytes.is_empty() {
        let end = find(bytes, b"\r\n\r\n").filter(|_| bytes.starts_with(b"HTTP/1."));
        let Some(end) = end else {
            return (told, Some(crate::case::shown(&bytes[..bytes.len().min(40)], 40)));
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let field = |name: &str| {
            let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            let found = lines.find(|(own, _)| own.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().to_owned())
        };
        let status = head.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0);
        let length = field("content-length").and_then(|text| text.parse().ok());
        let interim = (100..200).contains(&status);
        // Without a length, the rest is the body.
        let body = if interim { 0 } else { length.unwrap_or(usize::MAX) };
        let body = body.min(bytes.len() - end - 4);
        bytes = &bytes[end + 4 + body..];
        if !interim {
            let saw = field("x-saw").and_then(|text| {
                let (number, summary) = text.split_once(' ')?;
                Some((number.parse().ok()?, summary.to_owned()))
            });
            told.push(Told { status, saw, fault: field("x-fault") });
        }
    }
    (told, None)
}

/// Asks on a connection of its own; what the origin saw.
pub(crate) fn probe(address: SocketAddr, patience: Duration) -> Heard {
    let text = "GET /probe HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let (received, waited) = listen(&mut stream);
    let (told, garbage) = answers(&received);
    Heard { told, waited, garbage }
}
