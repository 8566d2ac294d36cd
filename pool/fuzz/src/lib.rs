//! What must hold for any bytes whatever: the fuzz targets call these, and so does a test of
//! `bs9-wire` that mutates good input.
//!
//! Nothing may panic. What a stream means may not depend on the pieces it comes in. What was
//! understood and is written again means the same.

use bs9_wire::auth::Verifier;
use bs9_wire::auth::scram::{Binding, ClientFirst, Exchange, Nonce, ScramKeys, ScramVerifier};
use bs9_wire::auth::scram::{DEFAULT_MAX_ITERATIONS, SaltedPassword};
use bs9_wire::frame::{Frame, FrameCursor, FrameError, HEADER_LEN, Step};
use bs9_wire::ledger::{Ledger, Origin, Request};
use bs9_wire::message::backend::{Authentication, TransactionStatus};
use bs9_wire::message::frontend::{SaslInitialResponse, password_text};
use bs9_wire::message::{BackendMessage, FrontendMessage};
use bs9_wire::startup::{
    FirstPacket, MAX_STARTUP_LEN, Opening, StartupMessage, StartupParameters, options,
    startup_message,
};
use bs9_wire::tag::{BackendTag, FrontendTag, Tag};

/// Entries the ledgers below may hold.
const LEDGER_LIMIT: usize = 32;

/// Bytes from a client, after startup. The first byte is the size of the pieces they come in.
pub fn frontend(input: &[u8]) {
    let Some((&piece, stream)) = input.split_first() else { return };
    same_in_pieces::<FrontendTag>(stream, usize::from(piece).max(1));
    let mut ledger = Ledger::new(LEDGER_LIMIT);
    for frame in frames::<FrontendTag>(stream) {
        let read = FrontendMessage::read(frame.tag, frame.body);
        if let Ok(FrontendMessage::Password(body)) = read {
            let _ = password_text(body);
            let _ = SaslInitialResponse::read(body);
            scram_from_client(body);
        }
        if let Some(request) = Request::of(frame.tag, frame.body.first().copied()) {
            let _ = ledger.expect(request, Origin::Client, 0);
            assert!(ledger.len() <= LEDGER_LIMIT);
        }
    }
}

/// Bytes from a server, after startup. The first byte is the size of the pieces they come in,
/// the next says how many bytes behind it stand for messages sent before.
pub fn backend(input: &[u8]) {
    let [piece, sent, rest @ ..] = input else { return };
    let (sent, stream) = rest.split_at(usize::from(*sent).min(rest.len()));
    same_in_pieces::<BackendTag>(stream, usize::from(*piece).max(1));
    let mut ledger = Ledger::new(LEDGER_LIMIT);
    sent.iter().for_each(|&byte| send(&mut ledger, byte));
    for frame in frames::<BackendTag>(stream) {
        let Ok(message) = BackendMessage::read(frame.tag, frame.body) else { break };
        read_fully(message);
        let clean = ledger.is_clean();
        let observed = match message {
            BackendMessage::ReadyForQuery(status) => ledger.ready(status),
            _ => ledger.observe(frame.tag),
        };
        if observed.is_err() {
            break;
        }
        while ledger.settle().is_some() {}
        assert!(ledger.len() <= LEDGER_LIMIT);
        assert!(!clean || ledger.is_empty(), "nothing is owed without being sent");
    }
    if ledger.is_clean() {
        assert!(ledger.is_empty() && ledger.status() == TransactionStatus::Idle);
    }
}

/// Bytes a connection opens with; also the texts that come from outside around a login.
pub fn startup(input: &[u8]) {
    let mut opening = Opening::new();
    let mut rest = input;
    while let Ok(Some((packet, len))) = opening.next(rest) {
        assert!(len <= rest.len() && len <= MAX_STARTUP_LEN);
        for cut in 0..len {
            assert_eq!(FirstPacket::parse(&rest[..cut]), Ok(None), "a part is never a packet");
        }
        if let FirstPacket::Startup(message) = &packet {
            same_when_sent_on(message);
        }
        if len == 0 {
            break;
        }
        rest = &rest[len..];
    }
    scram_from_client(input);
    scram_from_server(input);
    if let Ok(text) = str::from_utf8(input) {
        let _ = options::settings(text);
        if let Some(verifier) = ScramVerifier::parse(text) {
            assert_eq!(ScramVerifier::parse(&verifier.to_text()), Some(verifier));
        }
        let _ = Verifier::parse(text);
    }
}

fn frames<T: Tag>(mut stream: &[u8]) -> impl Iterator<Item = Frame<'_, T>> {
    std::iter::from_fn(move || {
        let frame = Frame::<T>::parse(stream).ok().flatten()?;
        stream = &stream[frame.bytes.len()..];
        Some(frame)
    })
}

/// What a cursor makes of a stream: where each message starts, how long it says it is, how much
/// of it came, and how the stream ends.
type Walk<T> = (Vec<(T, u32, usize)>, Result<(), FrameError>);

fn walk<T: Tag>(stream: &[u8], piece: usize) -> Walk<T> {
    let mut cursor = FrameCursor::<T>::new();
    let mut messages: Vec<(T, u32, usize)> = Vec::new();
    let mut at = 0;
    for end in (1..=stream.len().div_ceil(piece)).map(|count| stream.len().min(count * piece)) {
        loop {
            let (taken, ends) = match cursor.step(&stream[at..end]) {
                Err(error) => return (messages, Err(error)),
                Ok(Step::Incomplete) => break,
                Ok(Step::Start { header, bytes, ends }) => {
                    messages.push((header.tag, header.body_len, bytes.len()));
                    (bytes.len(), ends)
                }
                Ok(Step::Continue { bytes, ends }) => {
                    assert!(!bytes.is_empty(), "a step takes something");
                    if let Some((_, _, len)) = messages.last_mut() {
                        *len += bytes.len();
                    }
                    (bytes.len(), ends)
                }
            };
            assert_eq!(ends, cursor.at_boundary());
            at += taken;
        }
        assert!(end - at < HEADER_LEN, "only a cut header is left over");
    }
    (messages, Ok(()))
}

fn same_in_pieces<T: Tag>(stream: &[u8], piece: usize) {
    let whole = walk::<T>(stream, stream.len().max(1));
    assert_eq!(walk::<T>(stream, piece), whole);
    let frames = frames::<T>(stream).map(|frame| frame.bytes.len());
    let complete = whole.0.iter().filter(|(_, body, len)| HEADER_LEN + *body as usize == *len);
    assert!(frames.eq(complete.map(|(_, _, len)| *len)), "frames are what the cursor completes");
}

fn send(ledger: &mut Ledger, byte: u8) {
    let request = match byte % 12 {
        0 => Request::Query,
        1 => Request::FunctionCall,
        2 => Request::Parse,
        3 => Request::Bind,
        4 => Request::DescribeStatement,
        5 => Request::DescribePortal,
        6 => Request::Execute,
        7 => Request::Close,
        8 => Request::Flush,
        9 => Request::CopyEnd,
        _ => Request::Sync,
    };
    let _ = match byte / 12 % 8 {
        0 => ledger.expect(request, Origin::Pool, 0),
        1 => ledger.expect(request, Origin::Behalf, 0),
        2 if request.is_extended() => ledger.answer(request, 0),
        _ => ledger.expect(request, Origin::Client, 0),
    };
    while ledger.settle().is_some() {}
}

/// Reads what is only read on demand.
fn read_fully(message: BackendMessage<'_>) {
    match message {
        BackendMessage::ErrorResponse(report) | BackendMessage::NoticeResponse(report) => {
            let _ = (report.severity(), report.sqlstate(), report.message(), report.is_fatal());
            assert!(report.fields().all(|(code, _)| code != 0));
        }
        BackendMessage::NegotiateProtocolVersion(offer) => {
            assert_eq!(offer.unsupported().count(), offer.count as usize);
        }
        BackendMessage::Authentication(Authentication::Sasl(mechanisms)) => {
            assert!(mechanisms.iter().all(|name| !name.is_empty()));
        }
        BackendMessage::Authentication(
            Authentication::SaslContinue(text) | Authentication::SaslFinal(text),
        ) => scram_from_server(text),
        _ => {}
    }
}

fn same_when_sent_on(message: &StartupMessage<'_>) {
    let parameters = &message.parameters;
    let session = StartupParameters { user: parameters.user(), database: parameters.database() };
    let mut out = Vec::new();
    startup_message(&mut out, message.version, session, parameters.settings());
    // With the database spelled out it may have grown beyond the cap.
    if out.len() > MAX_STARTUP_LEN {
        return;
    }
    let Ok(Some((FirstPacket::Startup(again), _))) = FirstPacket::parse(&out) else {
        panic!("a StartupMessage sent on is one")
    };
    assert_eq!(again.version, message.version);
    assert_eq!(again.parameters.user(), parameters.user());
    assert_eq!(again.parameters.database(), parameters.database());
    assert!(again.parameters.settings().eq(parameters.settings()));
    if let Some(text) = parameters.options() {
        let _ = options::settings(text);
    }
    let _ = parameters.protocol_options().count();
}

/// A client's side of SCRAM: the first line is its first message, the rest its final one.
fn scram_from_client(text: &[u8]) {
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    let (first, last) = text.split_at(end);
    let verifier = ScramVerifier::from_password(b"", b"salt", 1);
    for binding in bindings() {
        let exchange = Exchange::new(verifier.clone(), nonce("server")).bound(binding);
        if let Ok(check) = exchange.client_first(first) {
            let _ = check.client_final(last.get(1..).unwrap_or_default());
        }
    }
}

/// A server's side of SCRAM, likewise.
fn scram_from_server(text: &[u8]) {
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    let (first, last) = text.split_at(end);
    for binding in bindings() {
        let opened = ClientFirst::bound(nonce("client"), binding);
        if let Ok(challenge) = opened.challenge(first, DEFAULT_MAX_ITERATIONS) {
            let outcome = challenge.answer(&keys());
            let _ = outcome.verify(last.get(1..).unwrap_or_default());
        }
    }
}

fn bindings() -> [Binding; 3] {
    [Binding::None, Binding::Unused, Binding::EndPoint([7; 32].into())]
}

fn nonce(text: &str) -> Nonce {
    Nonce::from_text(text).expect("it is printable")
}

/// Of no password in particular: what matters here is not who they belong to.
fn keys() -> ScramKeys {
    SaltedPassword::derive(b"", b"salt", 1).keys()
}
