//! Requests of HTTP/2 that would become something else in HTTP/1.1 (RFC 9113 section 10.3).

mod cases;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    book::Row,
    case::shown,
    conversation::probe,
    fixture::Proxy,
    frames::{
        DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS,
        block, frame,
    },
    requests::{address, site},
    strict_origin::StrictOrigin,
    wire::PATIENCE,
};

/// A request of HTTP/2, as its client sends it.
pub(crate) struct Stream {
    pub(crate) section: &'static str,
    pub(crate) what: &'static str,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    /// DATA frames; `None`: HEADERS end the stream.
    pub(crate) data: Option<Vec<&'static str>>,
    pub(crate) trailers: Vec<(&'static str, &'static str)>,
    pub(crate) verdict: &'static str,
}

impl Stream {
    fn frames(&self) -> Vec<u8> {
        let last = if self.data.is_none() { END_STREAM } else { 0 };
        let mut bytes = frame(HEADERS, END_HEADERS | last, 1, &block(&self.fields));
        let data = self.data.as_deref().unwrap_or_default();
        for (number, piece) in data.iter().enumerate() {
            let last = self.trailers.is_empty() && number + 1 == data.len();
            let flags = if last { END_STREAM } else { 0 };
            bytes.extend(frame(DATA, flags, 1, piece.as_bytes()));
        }
        if !self.trailers.is_empty() {
            let flags = END_HEADERS | END_STREAM;
            bytes.extend(frame(HEADERS, flags, 1, &block(&self.trailers)));
        }
        bytes
    }

    fn input(&self) -> String {
        let list = |fields: &[(&str, &str)]| {
            let lines: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            shown(lines.join(" | ").as_bytes(), 300)
        };
        let mut text = format!("HEADERS {{{}}}", list(&self.fields));
        for piece in self.data.iter().flatten() {
            text.push_str(&format!(" DATA ({})", shown(piece.as_bytes(), 100)));
        }
        if !self.trailers.is_empty() {
            text.push_str(&format!(" HEADERS {{{}}}", list(&self.trailers)));
        }
        text
    }
}

/// A client's connection of HTTP/2.
struct Client {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Client {
    fn open(address: SocketAddr, patience: Duration) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    fn exact(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        let mut piece = [0; 16 * 1024];
        while self.ahead.len() < count {
            match self.stream.read(&mut piece)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => self.ahead.extend_from_slice(&piece[..count]),
            }
        }
        Ok(self.ahead.drain(..count).collect())
    }

    fn next(&mut self) -> std::io::Result<Frame> {
        let header = self.exact(9)?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let stream = u32::from_be_bytes(header[5..9].try_into().unwrap());
        let mut payload = self.exact(length as usize)?;
        if header[3] == HEADERS {
            // Changes of the table's size may come first (RFC 7541 section 6.3).
            let changes = payload.iter().take_while(|byte| **byte & 0xe0 == 0x20).count();
            payload.drain(..changes);
        }
        Ok(Frame { kind: header[3], stream, payload })
    }

    /// What becomes of a stream: a status, or how it ended without.
    fn outcome(&mut self, stream: u32) -> String {
        loop {
            match self.next() {
                Ok(frame) if frame.kind == GOAWAY && frame.code() != 0 => return "goaway".into(),
                Ok(frame) if frame.stream != stream => {}
                Ok(frame) if frame.kind == HEADERS => {
                    // 1xx are not asked for here.
                    return frame.status().to_string();
                }
                Ok(frame) if frame.kind == RST_STREAM => return "reset".into(),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return "waits".into();
                }
                Err(_) => return "closed".into(),
            }
        }
    }
}

/// What whoever listens at `address` makes of a request, and what is wrong with that beyond the verdict. Other clients
/// ask at `plain`.
pub(crate) fn judged(
    origin: &StrictOrigin,
    address: SocketAddr,
    plain: SocketAddr,
    request: &Stream,
    patience: Duration,
) -> (String, Vec<String>) {
    let mut client = Client::open(address, patience);
    let _refused = client.stream.write_all(&request.frames());
    let outcome = client.outcome(1);
    let faults = origin.take_faults();
    let mut seen: Vec<_> = origin.take_requests().into_iter().map(|seen| seen.summary).collect();
    let mut parts = Vec::new();
    if outcome != "200" {
        parts.push(outcome.clone());
    }
    let mut wrong: Vec<String> =
        faults.iter().map(|fault| format!("the origin was sent {fault}")).collect();
    if (outcome == "200") != (seen.len() == 1) {
        wrong.push(format!("answered {outcome}, but the origin answered {seen:?}"));
    }
    parts.append(&mut seen);
    if !matches!(outcome.as_str(), "goaway" | "closed") {
        let next = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/next"),
            (":authority", "next.test"),
        ];
        let _gone =
            client.stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(&next)));
        let outcome = client.outcome(3);
        let seen: Vec<_> = origin.take_requests().into_iter().map(|seen| seen.summary).collect();
        if outcome == "200" && seen == ["GET /next @next.test"] {
            parts.push("next".to_owned());
        } else {
            parts.push(format!("then {outcome} {seen:?}"));
        }
    }
    drop(client);
    if probe(plain, patience).verdict() != "GET /probe" || origin.take_requests().len() != 1 {
        wrong.push("the next client is told something else".to_owned());
    }
    if let [fault, ..] = faults[..] {
        parts.push(format!("passes on {fault}"));
    }
    (parts.join(", "), wrong)
}

fn expect_verdicts(origin: &StrictOrigin, proxy: &Proxy) {
    let mut wrong = Vec::new();
    let address = address(proxy);
    for request in all() {
        let (found, more) = judged(origin, address, address, &request, PATIENCE);
        let (section, what, verdict) = (request.section, request.what, request.verdict);
        if found != verdict {
            wrong.push(format!("RFC {section} {what}: {found:?} instead of {verdict:?}"));
        }
        wrong.extend(more.into_iter().map(|more| format!("{what}: {more}")));
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), all().len());
}

#[test]
fn what_http_1_could_read_otherwise_is_not_passed_down() {
    let origin = StrictOrigin::start();
    let proxy = site(origin.address);
    expect_verdicts(&origin, &proxy);
    drop(proxy);
    origin.expect_one_reading();
}

#[test]
fn two_hops_agree_on_what_came_by_http_2() {
    let origin = StrictOrigin::start();
    let inner = site(origin.address);
    let outer = site(address(&inner));
    expect_verdicts(&origin, &outer);
    drop(outer);
    drop(inner);
    origin.expect_one_reading();
}

pub(crate) use cases::all;

/// Rows of the book.
pub(crate) fn rows() -> Vec<Row> {
    let row = |request: &Stream| Row {
        section: request.section,
        what: request.what.to_owned(),
        input: request.input(),
        bs9: request.verdict.to_owned(),
    };
    all().iter().map(row).collect()
}
