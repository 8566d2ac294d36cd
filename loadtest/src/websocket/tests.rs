use super::*;

const ACCEPTED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";

fn websocket(bytes: usize) -> WebSocket {
    WebSocket::new(Upgrade::new("h", "/", &[]).unwrap(), Payloads::new(bytes))
}

/// A connection that is ready, and what `behind` the handshake came to.
fn connected(websocket: &mut WebSocket, behind: &[u8]) -> (Session, Result<Login, Failure>) {
    let mut session = websocket.session();
    let mut out = Vec::new();
    assert_eq!(websocket.connected(&mut session, &mut out).unwrap(), Login::Pending);
    let asked = String::from_utf8(out).unwrap();
    let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let proof = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let answer = format!("{ACCEPTED}Sec-WebSocket-Accept: {proof}\r\n\r\n");
    let answer = [answer.as_bytes(), behind].concat();
    let login = websocket.login(&mut session, &answer, &mut Vec::new());
    (session, login)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126);
    [&[first, len], payload].concat()
}

#[test]
fn a_message_comes_back() {
    let mut websocket = websocket(20);
    let (mut session, login) = connected(&mut websocket, &frame(0x89, b"hi"));
    assert_eq!(login.unwrap(), Login::Done);
    for _ in 0..3 {
        let mut out = Vec::new();
        websocket.begin(&mut session, Beginning::default(), &mut out).unwrap();
        let (mask, payload) = out[2..].split_at(4);
        let mut payload = payload.to_vec();
        frame::cover(&mut payload, mask.try_into().unwrap());
        let pieces =
            [frame(0x02, &payload[..5]), frame(0x89, b"?"), frame(0x80, &payload[5..])].concat();
        out.clear();
        let receipt = websocket.receive(&mut session, &pieces, &mut out).unwrap();
        assert!(matches!(receipt, Receipt::Complete(Complete { outcome: Ok(()), .. })));
        assert_eq!(out.len(), 2 + 4 + 1, "the ping was answered");
    }
}

#[test]
fn anything_else_does_not_pass() {
    for (answer, kind) in [
        (frame(0x82, b"other"), "Body"),
        (frame(0x81, b"text"), "Body"),
        (frame(0x82, b""), "Body"),
        (frame(0x88, &[3, 232]), "Closed"),
        (frame(0x80, b"x"), "Protocol"),
    ] {
        let mut websocket = websocket(4);
        let (mut session, _) = connected(&mut websocket, b"");
        websocket.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
        let failure = websocket.receive(&mut session, &answer, &mut Vec::new()).unwrap_err();
        assert!(format!("{:?}", failure.kind()).starts_with(kind), "{answer:?}: {failure}");
    }
}

#[test]
fn nobody_waits_for_greetings() {
    let mut websocket = websocket(4);
    let (mut session, login) = connected(&mut websocket, &frame(0x82, b"welcome"));
    assert!(matches!(login, Err(Failure::Protocol(_))));
    let mut out = Vec::new();
    let (idle, close) = (frame(0x8a, b""), frame(0x88, b""));
    session.reader = Reader::default();
    assert_eq!(websocket.idle(&mut session, &idle, &mut out), Reuse::Keep);
    assert_eq!(websocket.idle(&mut session, &close, &mut out), Reuse::Close);
}
