use proptest::prelude::*;

use super::{
    frame::{HEADER_LEN, Header},
    hpack::{
        Decoder, Wanted,
        encode::{self, Keep},
    },
    *,
};
use crate::{checks::Checks, failure::FailureKind, http::Request, plan::HttpOptions};

fn call(options: &HttpOptions, path: &str) -> Call {
    let request = Request::new("example.com", path, options, true).unwrap();
    Call { request, checks: Checks::default() }
}

fn http2(lanes: usize) -> Http2 {
    let calls = vec![call(&HttpOptions::default(), "/a")];
    Http2::new(calls, Arc::new([]), "http", lanes).unwrap()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, flags, stream, payload);
    out
}

fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pair =
        |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(frame::SETTINGS, 0, 0, &pairs.iter().flat_map(pair).collect::<Vec<_>>())
}

fn headers(stream: u32, status: &str, flags: u8) -> Vec<u8> {
    let mut block = Vec::new();
    encode::field(&mut block, ":status", status.as_bytes(), Keep::No);
    encode::field(&mut block, "server", b"test", Keep::Yes);
    frame(frame::HEADERS, flags | frame::END_HEADERS, stream, &block)
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(frame::GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// Every frame in `bytes`: kind, flags, stream and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    bytes = bytes.strip_prefix(frame::PREFACE).unwrap_or(bytes);
    while let Some(head) = bytes.first_chunk() {
        let Header { len, kind, flags, stream } = Header::read(head);
        frames.push((kind, flags, stream, bytes[HEADER_LEN..HEADER_LEN + len].to_vec()));
        bytes = &bytes[HEADER_LEN + len..];
    }
    assert!(bytes.is_empty());
    frames
}

/// A connection whose server has said `greeting`.
fn connected(http2: &mut Http2, greeting: &[u8]) -> Session {
    let mut session = http2.session();
    let mut out = Vec::new();
    assert_eq!(http2.connected(&mut session, &mut out).unwrap(), Login::Pending);
    assert_eq!(http2.login(&mut session, greeting, &mut out).unwrap(), Login::Done);
    session
}

fn begin(http2: &mut Http2, session: &mut Session, lane: usize) -> Vec<u8> {
    let mut out = Vec::new();
    http2.begin(session, Beginning { lane, request: 0 }, &mut out).unwrap();
    out
}

/// What came of it, by lane.
fn outcomes(http2: &mut Http2, session: &mut Session) -> Vec<(usize, Result<u16, FailureKind>)> {
    std::iter::from_fn(|| http2.completed(session))
        .map(|complete| {
            let outcome = complete.outcome.map_err(|failure| failure.kind());
            (complete.lane, outcome.map(|()| complete.status.unwrap()))
        })
        .collect()
}

#[test]
fn what_requests_have_in_common_is_said_once() {
    let options =
        HttpOptions { headers: vec![("X-Tenant".into(), "blue".into())], ..HttpOptions::default() };
    let calls = vec![call(&options, "/a"), call(&options, "/b")];
    let mut http2 = Http2::new(calls, Arc::new([]), "https", 4).unwrap();
    let mut session = connected(&mut http2, &settings(&[]));
    let mut decoder = Decoder::new();
    let mut lengths = Vec::new();
    for (lane, request, path) in [(0, 1, "/b"), (1, 0, "/a"), (2, 1, "/b")] {
        let mut out = Vec::new();
        http2.begin(&mut session, Beginning { lane, request }, &mut out).unwrap();
        lengths.push(out.len());
        let [(kind, flags, stream, block)] = &frames(&out)[..] else { panic!("{out:?}") };
        assert_eq!((*kind, *stream), (frame::HEADERS, 2 * lane as u32 + 1));
        assert_eq!(*flags, frame::END_STREAM | frame::END_HEADERS);
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder.decode(block, Wanted::All, |n, v| fields.push((text(n), text(v)))).unwrap();
        let agent = concat!("bs9-loadtest/", env!("CARGO_PKG_VERSION"));
        let expected = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "example.com"),
            (":path", path),
            ("user-agent", agent),
            ("accept", "*/*"),
            ("x-tenant", "blue"),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    assert!(lengths[0] > 50 && lengths[1] < 25 && lengths[2] == lengths[1], "{lengths:?}");
}

#[test]
fn a_server_without_a_table_is_told_everything() {
    let mut http2 = http2(2);
    let mut session = connected(&mut http2, &settings(&[(frame::SETTING_TABLE_SIZE, 0)]));
    for lane in [0, 1] {
        let out = begin(&mut http2, &mut session, lane);
        let (_, _, _, block) = &frames(&out)[0];
        // The reduced table is acknowledged once, and nothing is put into it.
        assert_eq!(block.starts_with(&[0x20]), lane == 0);
        assert!(block.len() > 40);
        assert!(block.iter().all(|byte| byte & 0xc0 != 0x40 || byte.is_ascii_graphic()));
    }
}

#[test]
fn responses_find_their_lanes() {
    let mut http2 = http2(3);
    let mut session = connected(&mut http2, &settings(&[]));
    for lane in [2, 0, 1] {
        begin(&mut http2, &mut session, lane);
    }
    let answer = [
        headers(3, "200", 0),
        headers(5, "103", 0),
        frame(frame::DATA, 0, 3, b"hel"),
        headers(5, "404", frame::END_STREAM),
        frame(frame::DATA, frame::PADDED, 3, &[2, b'l', b'o', 0, 0]),
        frame(frame::DATA, frame::END_STREAM, 3, b""),
        headers(1, "200", 0),
        frame(frame::HEADERS, frame::END_STREAM | frame::END_HEADERS, 1, &[]),
    ]
    .concat();
    http2.receive(&mut session, &answer, &mut Vec::new()).unwrap();
    let expected = [(1, Err(FailureKind::Status)), (0, Ok(200)), (2, Ok(200))];
    assert_eq!(outcomes(&mut http2, &mut session), expected);
    // The lanes take the next requests.
    let out = begin(&mut http2, &mut session, 1);
    assert_eq!(frames(&out)[0].2, 7);
}

#[test]
fn bodies_keep_within_windows() {
    let options = HttpOptions { body: Some(vec![b'x'; 100_000]), ..HttpOptions::default() };
    let mut http2 = Http2::new(vec![call(&options, "/")], Arc::new([]), "http", 1).unwrap();
    let mut session = connected(&mut http2, &settings(&[(frame::SETTING_WINDOW, 20_000)]));
    let sent = |out: &[u8]| {
        let data = |frame: &&(u8, u8, u32, Vec<u8>)| frame.0 == frame::DATA;
        frames(out).iter().filter(data).map(|frame| frame.3.len()).collect::<Vec<_>>()
    };
    assert_eq!(sent(&begin(&mut http2, &mut session, 0)), [16_384, 3_616]);
    let mut receive = |bytes: Vec<u8>| {
        let mut out = Vec::new();
        http2.receive(&mut session, &bytes, &mut out).unwrap();
        sent(&out)
    };
    // 60 000 more for the stream, 45 535 of which the connection has room for.
    let more = |stream, bytes: u32| frame(frame::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    assert_eq!(receive(more(1, 60_000)).iter().sum::<usize>(), 45_535);
    assert_eq!(receive(more(0, 100_000)).iter().sum::<usize>(), 14_465);
    assert_eq!(receive(settings(&[(frame::SETTING_WINDOW, 50_000)])), [16_384, 3_616]);
    // An answer that does not wait for the end of the request ends it.
    let mut out = Vec::new();
    http2.receive(&mut session, &headers(1, "200", frame::END_STREAM), &mut out).unwrap();
    assert_eq!(outcomes(&mut http2, &mut session), [(0, Ok(200))]);
}

#[test]
fn an_early_answer_ends_the_request() {
    let options = HttpOptions { body: Some(vec![b'x'; 100_000]), ..HttpOptions::default() };
    let mut http2 = Http2::new(vec![call(&options, "/")], Arc::new([]), "http", 1).unwrap();
    let mut session = connected(&mut http2, &settings(&[]));
    begin(&mut http2, &mut session, 0);
    let mut out = Vec::new();
    http2.receive(&mut session, &headers(1, "413", frame::END_STREAM), &mut out).unwrap();
    assert_eq!(frames(&out)[0], (frame::RST_STREAM, 0, 1, frame::CANCEL.to_be_bytes().to_vec()));
    assert_eq!(outcomes(&mut http2, &mut session), [(0, Err(FailureKind::Status))]);
}

#[test]
fn streams_wait_for_their_turn() {
    let mut http2 = http2(3);
    let mut session = connected(&mut http2, &settings(&[(frame::SETTING_MAX_STREAMS, 1)]));
    assert!(!begin(&mut http2, &mut session, 0).is_empty());
    assert!(begin(&mut http2, &mut session, 1).is_empty());
    assert!(begin(&mut http2, &mut session, 2).is_empty());
    let mut out = Vec::new();
    http2.receive(&mut session, &headers(1, "200", frame::END_STREAM), &mut out).unwrap();
    assert_eq!(frames(&out).len(), 1);
    assert_eq!(frames(&out)[0].2, 3);
    // One that waits is abandoned without a word, one that is open with one.
    out.clear();
    http2.abandon(&mut session, 2, &mut out);
    assert!(out.is_empty());
    http2.abandon(&mut session, 1, &mut out);
    assert_eq!(frames(&out)[0].0, frame::RST_STREAM);
    // Whatever still comes for it is nobody's.
    http2.receive(&mut session, &headers(3, "200", frame::END_STREAM), &mut out).unwrap();
    assert_eq!(outcomes(&mut http2, &mut session), [(0, Ok(200))]);
}

#[test]
fn a_server_that_goes_away_says_what_it_has_seen() {
    for (code, lost) in [(frame::NO_ERROR, None), (11, Some(FailureKind::GoAway))] {
        let mut http2 = http2(3);
        let mut session = connected(&mut http2, &settings(&[(frame::SETTING_MAX_STREAMS, 2)]));
        for lane in 0..3 {
            begin(&mut http2, &mut session, lane);
        }
        http2.receive(&mut session, &goaway(1, code), &mut Vec::new()).unwrap();
        assert!(http2.is_draining(&session));
        let returned: Vec<_> = std::iter::from_fn(|| http2.returned(&mut session)).collect();
        match lost {
            None => assert_eq!(returned, [1, 2]),
            Some(kind) => {
                assert!(returned.is_empty());
                let expected = [(1, Err(kind)), (2, Err(kind))];
                assert_eq!(outcomes(&mut http2, &mut session), expected);
            }
        }
        // What it has seen it may still answer.
        let answer = headers(1, "200", frame::END_STREAM);
        http2.receive(&mut session, &answer, &mut Vec::new()).unwrap();
        assert_eq!(outcomes(&mut http2, &mut session), [(0, Ok(200))]);
        assert_eq!(http2.ended(&mut session).unwrap_err().kind(), FailureKind::GoAway);
    }
}

#[test]
fn a_reset_stream_is_one_failure() {
    let mut http2 = http2(2);
    let mut session = connected(&mut http2, &settings(&[]));
    begin(&mut http2, &mut session, 0);
    begin(&mut http2, &mut session, 1);
    let refused = frame(frame::RST_STREAM, 0, 1, &7u32.to_be_bytes());
    http2.receive(&mut session, &refused, &mut Vec::new()).unwrap();
    let complete = http2.completed(&mut session).unwrap();
    assert_eq!(
        complete.outcome.unwrap_err().to_string(),
        "stream reset by the server: REFUSED_STREAM"
    );
    assert!(!http2.is_draining(&session));
}

#[test]
fn signs_of_life_are_answered() {
    let mut http2 = http2(1);
    let mut session = connected(&mut http2, &settings(&[]));
    let mut out = Vec::new();
    let ping = frame(frame::PING, 0, 0, b"12345678");
    assert_eq!(http2.idle(&mut session, &ping, &mut out), Reuse::Keep);
    assert_eq!(frames(&out), [(frame::PING, frame::ACK, 0, b"12345678".to_vec())]);
    assert_eq!(http2.idle(&mut session, &goaway(0, 0), &mut out), Reuse::Close);
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    for greeting in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &frame(frame::PING, 0, 0, &[0; 8])] {
        let mut http2 = http2(1);
        let mut session = http2.session();
        http2.connected(&mut session, &mut Vec::new()).unwrap();
        let failure = http2.login(&mut session, greeting, &mut Vec::new()).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Protocol);
    }
    let block = |flags| frame(frame::HEADERS, flags, 1, &[0x88]);
    for wrong in [
        frame(frame::DATA, 0, 1, b"x"),
        frame(frame::DATA, frame::PADDED, 1, &[9, 0]),
        frame(frame::PUSH_PROMISE, frame::END_HEADERS, 1, &[0, 0, 0, 2]),
        frame(frame::PING, 0, 0, b"short"),
        frame(frame::GOAWAY, 0, 0, b"short"),
        frame(frame::RST_STREAM, 0, 1, b""),
        frame(frame::WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(frame::WINDOW_UPDATE, 0, 0, &frame::MAX_NUMBER.to_be_bytes()),
        frame(frame::SETTINGS, 0, 0, &[0; 5]),
        settings(&[(frame::SETTING_MAX_PAYLOAD, 1)]),
        frame(frame::CONTINUATION, frame::END_HEADERS, 1, &[0x88]),
        [block(0), frame(frame::PING, 0, 0, &[0; 8])].concat(),
        headers(2, "200", 0),
        headers(9, "200", 0),
        headers(1, "101", 0),
        headers(1, "100", frame::END_STREAM),
        headers(1, "20", 0),
        [headers(1, "200", 0), headers(1, "200", 0)].concat(),
        frame(frame::HEADERS, frame::END_HEADERS, 1, &[]),
        frame(frame::HEADERS, frame::END_HEADERS, 1, &[0xff]),
        vec![0xff; 9],
        (0..9).flat_map(|_| headers(1, "103", 0)).collect(),
        [block(0)]
            .into_iter()
            .chain((0..20).map(|_| frame(frame::CONTINUATION, 0, 1, &[0; 16_000])))
            .flatten()
            .collect(),
    ] {
        let mut http2 = http2(1);
        let mut session = connected(&mut http2, &settings(&[]));
        begin(&mut http2, &mut session, 0);
        let failure = http2.receive(&mut session, &wrong, &mut Vec::new());
        let failure = failure.expect_err(&format!("{:x?}", &wrong[..wrong.len().min(40)]));
        assert_eq!(failure.kind(), FailureKind::Protocol);
    }
}

#[test]
fn fields_of_one_connection_have_no_place_here() {
    let headers = vec![("Keep-Alive".to_owned(), "5".to_owned())];
    let options = HttpOptions { headers, ..HttpOptions::default() };
    assert!(Http2::new(vec![call(&options, "/")], Arc::new([]), "http", 1).is_err());
}

#[test]
fn long_blocks_are_sent_in_pieces() {
    let headers = vec![("X-Long".to_owned(), "y".repeat(40_000))];
    let options = HttpOptions { headers, ..HttpOptions::default() };
    let mut http2 = Http2::new(vec![call(&options, "/")], Arc::new([]), "http", 1).unwrap();
    let mut session = connected(&mut http2, &settings(&[]));
    let frames = frames(&begin(&mut http2, &mut session, 0));
    let shape: Vec<_> = frames.iter().map(|(kind, flags, ..)| (*kind, *flags)).collect();
    assert_eq!(
        shape,
        [
            (frame::HEADERS, frame::END_STREAM),
            (frame::CONTINUATION, 0),
            (frame::CONTINUATION, frame::END_HEADERS)
        ]
    );
    let block = frames.into_iter().flat_map(|frame| frame.3).collect::<Vec<_>>();
    let mut seen = 0;
    let look = |_: &[u8], value: &[u8]| seen = seen.max(value.len());
    Decoder::new().decode(&block, Wanted::All, look).unwrap();
    assert_eq!(seen, 40_000);
}

proptest! {
    /// However the bytes arrive, it comes to the same.
    #[test]
    fn pieces_make_no_difference(size in 1usize..40, status in 200u16..204, body in 0usize..50_000) {
        let mut http2 = http2(2);
        let mut session = connected(&mut http2, &settings(&[]));
        begin(&mut http2, &mut session, 0);
        begin(&mut http2, &mut session, 1);
        let body = vec![b'x'; body];
        let mut answer = headers(3, &status.to_string(), 0);
        answer.extend(frame(frame::HEADERS, 0, 1, &[0x88]));
        answer.extend(frame(frame::CONTINUATION, frame::END_HEADERS, 1, &[]));
        answer.extend(frame(frame::DATA, frame::END_STREAM, 1, b""));
        answer.extend(body.chunks(16_384).flat_map(|piece| frame(frame::DATA, 0, 3, piece)));
        answer.extend(frame(frame::DATA, frame::END_STREAM | frame::PADDED, 3, &[1, b'x', 0]));
        for piece in answer.chunks(size) {
            http2.receive(&mut session, piece, &mut Vec::new()).unwrap();
        }
        prop_assert_eq!(outcomes(&mut http2, &mut session), [(0, Ok(200)), (1, Ok(status))]);
    }

    #[test]
    fn noise_is_no_reason_to_panic(
        kinds in prop::collection::vec(
            (0u8..12, any::<u8>(), 0u32..8, prop::collection::vec(any::<u8>(), 0..40)), 0..20,
        ),
    ) {
        let mut http2 = http2(3);
        let mut session = connected(&mut http2, &settings(&[]));
        for lane in 0..3 {
            begin(&mut http2, &mut session, lane);
        }
        for (kind, flags, stream, payload) in kinds {
            let bytes = frame(kind, flags, stream, &payload);
            if http2.receive(&mut session, &bytes, &mut Vec::new()).is_err() {
                break;
            }
        }
    }
}
