use proptest::prelude::*;

use super::*;
use crate::http2::{
    frame::{HEADER_BYTES, Header, flag, kind},
    fuzzing::{Followed, follow},
    preface::PREFACE,
};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&Header { length: payload.len(), kind, flags, stream }.bytes()[..], payload].concat()
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let (mut encoder, mut block) = (Encoder::default(), Vec::new());
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), &mut block);
    }
    block
}

fn fields(method: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![(":method", method), (":scheme", "http"), (":path", "/a"), (":authority", "site.test")]
}

fn get(stream: u32) -> Vec<u8> {
    let flags = flag::END_HEADERS | flag::END_STREAM;
    frame(kind::HEADERS, flags, stream, &block(&fields("GET")))
}

fn post(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, stream, &block(&fields("POST")))
}

fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let entry = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(kind::SETTINGS, 0, 0, &entries.iter().flat_map(entry).collect::<Vec<_>>())
}

/// What a connection begins with, and `frames` behind it.
fn begun(frames: &[u8]) -> Vec<u8> {
    [&PREFACE[..], &settings(&[]), frames].concat()
}

fn followed(frames: &[Vec<u8>]) -> Followed {
    let bytes = begun(&frames.concat());
    let whole = follow(&bytes, bytes.len());
    for step in [1, 2, 7, 9] {
        assert_eq!(follow(&bytes, step), whole, "in pieces of {step}");
    }
    whole
}

/// The code that ends the connection.
fn broken(frames: &[Vec<u8>]) -> Option<Code> {
    use Code::*;
    let code = followed(frames).broken?;
    let all = [ProtocolError, FlowControlError, FrameSizeError, CompressionError, EnhanceYourCalm];
    Some(all.into_iter().find(|known| *known as u32 == code).expect("a known code"))
}

/// The codes that streams were reset with.
fn resets(frames: &[Vec<u8>]) -> Vec<(u32, u8)> {
    let followed = followed(frames);
    assert_eq!(followed.broken, None);
    let resets = followed.answers.iter().filter(|(of, ..)| *of == kind::RST_STREAM);
    resets.map(|(_, stream, payload)| (*stream, payload[3])).collect()
}

#[test]
fn a_request_is_the_same_however_it_is_framed() {
    let plain = followed(&[get(1)]).requests;
    assert_eq!(plain, ["Plain GET /a HTTP/1.1\r\nhost: site.test\r\n\r\n end"]);
    let block = block(&fields("GET"));
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let padded = [&[3][..], &block, &[0; 3]].concat();
    let weighted = [&[0, 0, 0, 0, 16][..], &block].concat();
    let both = [&[1, 0, 0, 0, 0, 16][..], &block, &[0]].concat();
    let (first, rest) = block.split_at(5);
    for frames in [
        vec![frame(kind::HEADERS, flags | flag::PADDED, 1, &padded)],
        vec![frame(kind::HEADERS, flags | flag::PRIORITY, 1, &weighted)],
        vec![frame(kind::HEADERS, flags | flag::PRIORITY | flag::PADDED, 1, &both)],
        vec![
            frame(kind::HEADERS, flag::END_STREAM, 1, first),
            frame(kind::CONTINUATION, 0, 1, &rest[..4]),
            frame(kind::CONTINUATION, 0, 1, &[]),
            frame(kind::CONTINUATION, flag::END_HEADERS, 1, &rest[4..]),
        ],
    ] {
        assert_eq!(followed(&frames).requests, plain);
    }
}

#[test]
fn bodies_come_with_padding_and_trailers() {
    let mut asked = fields("POST");
    asked.push(("content-length", "5"));
    let head = frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&asked));
    let padded = [&[2][..], b"llo", &[0; 2]].concat();
    let frames = [
        head.clone(),
        frame(kind::DATA, 0, 1, b"he"),
        frame(kind::DATA, flag::PADDED, 1, &padded),
        frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &block(&[("x", "y")])),
    ];
    let requests = followed(&frames).requests;
    assert!(requests[0].ends_with("content-length: 5\r\n\r\nhello end"), "{requests:?}");
    // Neither more nor less than announced.
    let more = frame(kind::DATA, flag::END_STREAM, 1, b"hello!");
    let less = frame(kind::DATA, flag::END_STREAM, 1, b"hell");
    for wrong in [more, less] {
        assert_eq!(resets(&[head.clone(), wrong]), [(1, Code::ProtocolError as u8)]);
    }
    // Trailers end a stream, and hold no pseudo-header fields.
    let open = frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&[("x", "y")]));
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let pseudo = frame(kind::HEADERS, flags, 1, &block(&[(":path", "/b")]));
    for wrong in [open, pseudo] {
        assert_eq!(resets(&[post(1), wrong]), [(1, Code::ProtocolError as u8)]);
    }
    // Nothing follows the end.
    let late = frame(kind::DATA, 0, 1, b"late");
    assert_eq!(resets(&[get(1), late]), [(1, Code::StreamClosed as u8)]);
    assert_eq!(resets(&[get(1), get(1)]), [(1, Code::StreamClosed as u8)]);
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    use Code::*;
    let increment = |by: u32| by.to_be_bytes();
    let open = frame(kind::HEADERS, 0, 1, &block(&fields("GET")));
    let cases = [
        (vec![frame(kind::DATA, 0, 0, b"x")], ProtocolError),
        (vec![frame(kind::DATA, 0, 1, b"x")], ProtocolError),
        (vec![get(2)], ProtocolError),
        (vec![get(0)], ProtocolError),
        (vec![frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[])], ProtocolError),
        (vec![open.clone(), get(3)], ProtocolError),
        (vec![open.clone(), frame(kind::PING, 0, 0, &[0; 8])], ProtocolError),
        (vec![open, frame(kind::CONTINUATION, flag::END_HEADERS, 3, &[])], ProtocolError),
        (vec![frame(kind::HEADERS, flag::END_HEADERS, 1, &[0xff; 20])], CompressionError),
        (vec![frame(kind::HEADERS, flag::END_HEADERS | flag::PADDED, 1, &[9])], ProtocolError),
        (vec![frame(kind::HEADERS, flag::END_HEADERS | flag::PADDED, 1, &[])], FrameSizeError),
        (
            vec![frame(kind::HEADERS, flag::END_HEADERS | flag::PRIORITY, 1, &[0; 4])],
            FrameSizeError,
        ),
        (vec![frame(kind::PING, 0, 0, &[0; 7])], FrameSizeError),
        (vec![frame(kind::PING, 0, 1, &[0; 8])], ProtocolError),
        (vec![frame(kind::PRIORITY, 0, 0, &[0; 5])], ProtocolError),
        (vec![frame(kind::RST_STREAM, 0, 1, &[0; 4])], ProtocolError),
        (vec![frame(kind::RST_STREAM, 0, 0, &[0; 4])], ProtocolError),
        (vec![get(1), frame(kind::RST_STREAM, 0, 1, &[0; 5])], FrameSizeError),
        (vec![frame(kind::SETTINGS, 0, 1, &[])], ProtocolError),
        (vec![frame(kind::SETTINGS, 0, 0, &[0; 5])], FrameSizeError),
        (vec![frame(kind::SETTINGS, flag::ACK, 0, &[0; 6])], FrameSizeError),
        (vec![settings(&[(setting::ENABLE_PUSH, 2)])], ProtocolError),
        (vec![settings(&[(setting::MAX_FRAME_SIZE, 16_383)])], ProtocolError),
        (vec![settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)])], ProtocolError),
        (vec![settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)])], FlowControlError),
        (vec![frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0; 4])], ProtocolError),
        (vec![frame(kind::GOAWAY, 0, 1, &[0; 8])], ProtocolError),
        (vec![frame(kind::WINDOW_UPDATE, 0, 0, &increment(0))], ProtocolError),
        (vec![frame(kind::WINDOW_UPDATE, 0, 0, &increment(MAX_WINDOW_BYTES))], FlowControlError),
        (vec![frame(kind::WINDOW_UPDATE, 0, 1, &increment(1))], ProtocolError),
    ];
    for (frames, code) in cases {
        assert_eq!(broken(&frames), Some(code), "{frames:02x?}");
    }
    let too_large = Header { length: 16_385, kind: kind::DATA, flags: 0, stream: 1 };
    let mut header = too_large;
    header.length = 0;
    let mut bytes = header.bytes();
    bytes[..3].copy_from_slice(&[0, 0x40, 1]);
    assert_eq!(broken(&[bytes.to_vec()]), Some(FrameSizeError));
    // SETTINGS come first, and not their acknowledgement.
    let ack = frame(kind::SETTINGS, flag::ACK, 0, &[]);
    for first in [get(1), ack] {
        let bytes = [&PREFACE[..], &first].concat();
        assert_eq!(follow(&bytes, 100).broken, Some(ProtocolError as u32));
    }
    // And before them the preface, to the last byte.
    for at in 0..PREFACE.len() {
        let mut bytes = begun(&get(1));
        bytes[at] ^= 1;
        assert_eq!(follow(&bytes, 5).broken, Some(ProtocolError as u32), "byte {at}");
    }
}

#[test]
fn windows_are_kept_to_on_a_stream_and_on_the_connection() {
    // Until it has acknowledged ours, a client may send what everybody may.
    let data = |stream, bytes| frame(kind::DATA, 0, stream, &vec![0; bytes]);
    let mut frames = vec![post(1)];
    frames.extend((0..3).map(|_| data(1, 16_384)));
    frames.push(data(1, 16_383));
    assert_eq!(resets(&frames), []);
    frames.push(data(1, 1));
    assert_eq!(resets(&frames), [(1, Code::FlowControlError as u8)]);
    // From then on 8,192 here.
    let ack = frame(kind::SETTINGS, flag::ACK, 0, &[]);
    let frames = [ack.clone(), post(1), data(1, 8_192), data(1, 1)];
    assert_eq!(resets(&frames), [(1, Code::FlowControlError as u8)]);
    let later = [post(1), data(1, 8_192), ack, data(1, 1)];
    assert_eq!(resets(&later), [(1, Code::FlowControlError as u8)]);
    // All of them together 70,000.
    let mut frames = vec![post(1), post(3)];
    frames.extend((0..4).map(|at| data(at % 2 * 2 + 1, 16_384)));
    frames.push(data(1, 70_000 - 4 * 16_384));
    assert_eq!(broken(&frames), None);
    frames.push(data(3, 1));
    assert_eq!(broken(&frames), Some(Code::FlowControlError));
    // What arrives for streams that are gone counts, and is given back at once.
    let mut frames = vec![post(1), frame(kind::RST_STREAM, 0, 1, &[0; 4])];
    frames.extend((0..40).map(|_| data(1, 16_384)));
    assert_eq!(broken(&frames), None);
    // A window may not grow beyond the largest.
    let grow = frame(kind::WINDOW_UPDATE, 0, 1, &MAX_WINDOW_BYTES.to_be_bytes());
    assert_eq!(resets(&[get(1), grow]), [(1, Code::FlowControlError as u8)]);
    let none = frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4]);
    assert_eq!(resets(&[get(1), none]), [(1, Code::ProtocolError as u8)]);
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let frames: Vec<_> = (0..10).map(|number| get(2 * number + 1)).collect();
    let refused = Code::RefusedStream as u8;
    assert_eq!(resets(&frames), [(17, refused), (19, refused)]);
}

#[test]
fn a_stream_that_the_client_has_reset_makes_room_for_another_at_once() {
    let cancel = |stream| frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes());
    let mut frames: Vec<_> = (0..8).map(|number| get(2 * number + 1)).collect();
    frames.extend([cancel(1), get(17), get(19), cancel(3), cancel(3), get(21), get(23)]);
    let refused = Code::RefusedStream as u8;
    assert_eq!(resets(&frames), [(19, refused), (23, refused)]);
    // What its task has not seen yet is bounded, too.
    let mut frames: Vec<_> = (0..8).map(|number| get(2 * number + 1)).collect();
    for number in 8..18 {
        frames.extend([cancel(2 * (number - 8) + 1), get(2 * number + 1)]);
    }
    assert_eq!(resets(&frames), [(33, refused), (35, refused)]);
}

/// A connection, and what it has been sent.
struct Site {
    mux: Mux,
    pool: Rc<BufferPool>,
    begun: Vec<Begun>,
}

impl Site {
    fn new() -> Self {
        let pool = BufferPool::new(4096, 8);
        let mux = Mux::new(&Http2::default(), 4096, Rc::clone(&pool));
        let mut site = Self { mux, pool, begun: Vec::new() };
        site.receive(&begun(&[]));
        site
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut input = self.pool.take();
        input.spare()[..bytes.len()].copy_from_slice(bytes);
        input.commit(bytes.len());
        self.mux.receive(&mut input, &|| [0; 16], &mut self.begun).unwrap();
        assert!(input.is_empty());
    }

    fn begin(&mut self, bytes: &[u8]) -> usize {
        self.receive(bytes);
        self.begun.pop().unwrap().at
    }

    /// Types, streams and lengths of what waits, behind what the connection began with.
    fn frames(&self) -> Vec<(u8, u32, usize)> {
        let bytes = self.mux.waiting();
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while let Some(header) = rest.first_chunk::<HEADER_BYTES>() {
            let Header { length, kind, stream, .. } = Header::read(header);
            frames.push((kind, stream, length));
            rest = &rest[HEADER_BYTES + length..];
        }
        frames.split_off(3)
    }

    fn room(&mut self, at: usize) -> Option<usize> {
        match self.mux.poll_room(at, &Context::from_waker(Waker::noop())) {
            Poll::Ready(room) => Some(room.unwrap()),
            Poll::Pending => None,
        }
    }
}

#[test]
fn answers_keep_to_the_windows_of_the_client() {
    let mut site = Site::new();
    site.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 10)]));
    let at = site.begin(&get(1));
    assert_eq!(site.room(at), Some(10));
    site.mux.send_data(at, &[0; 10], false).unwrap();
    assert_eq!(site.room(at), None);
    site.receive(&frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 5]));
    assert_eq!(site.room(at), Some(5));
    // A smaller initial window may leave less than nothing.
    site.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 2)]));
    assert_eq!(site.room(at), None);
    site.receive(&settings(&[(setting::INITIAL_WINDOW_SIZE, 100_000)]));
    assert_eq!(site.room(at), Some(16_384), "a frame");
    let mut sent = 10;
    while let Some(room) = site.room(at) {
        site.mux.send_data(at, &vec![0; room], false).unwrap();
        sent += room;
    }
    assert_eq!(sent, DEFAULT_WINDOW_BYTES as usize, "the connection's window");
    site.receive(&frame(kind::WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]));
    assert_eq!(site.room(at), None, "so much waits for the socket already");
    site.receive(&frame(kind::RST_STREAM, 0, 1, &[0; 4]));
    assert!(site.mux.send_data(at, b"x", true).is_err());
    let before = site.frames().len();
    site.mux.finish(at);
    assert_eq!((site.frames().len(), site.mux.active()), (before, 0), "nobody is told");
}

#[test]
fn a_stream_that_ends_early_is_reset_and_one_that_ends_well_is_not() {
    let mut site = Site::new();
    let answer = |site: &mut Site, at| {
        site.mux.send_headers(at, true, |encoder, block| encoder.status(200, block)).unwrap();
        site.mux.finish(at);
    };
    let at = site.begin(&get(1));
    answer(&mut site, at);
    assert_eq!(site.frames(), [(kind::HEADERS, 1, 1)]);
    // The rest of the question is not wanted.
    let at = site.begin(&post(3));
    answer(&mut site, at);
    assert_eq!(site.frames()[1..], [(kind::HEADERS, 3, 1), (kind::RST_STREAM, 3, 4)]);
    // There is no answer.
    let at = site.begin(&get(5));
    site.mux.finish(at);
    assert_eq!(site.frames()[3..], [(kind::RST_STREAM, 5, 4)]);
    assert_eq!(site.mux.active(), 0);
}

#[test]
fn goodbye_is_announced_then_said_then_over() {
    let mut site = Site::new();
    let at = site.begin(&get(1));
    site.mux.announce_parting();
    site.mux.announce_parting();
    assert_eq!(site.frames(), [(kind::GOAWAY, 0, 8), (kind::PING, 0, 8)]);
    // What was on its way is taken.
    let late = site.begin(&get(3));
    site.receive(&frame(kind::PING, flag::ACK, 0, &LAST_CALL));
    assert_eq!(site.frames()[2..], [(kind::GOAWAY, 0, 8)]);
    // What begins now is not.
    site.receive(&get(5));
    assert!(site.begun.is_empty());
    site.mux.finish(at);
    site.mux.finish(late);
    assert_eq!(site.mux.active(), 0);
}

fn frames_of_a_client() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop::sample::select(vec![0_u32, 1, 1, 1, 2, 3, 3, 5, 7]);
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(block(&fields("GET"))),
        Just(block(&fields("POST"))),
        Just(block(&[("x-trailer", "1")])),
        Just(block(&[(":method", "CONNECT"), ("cookie", "a"), ("cookie", "b")])),
        Just(vec![0; 4]),
        Just(vec![0; 8]),
    ];
    let flags = prop::sample::select(vec![0_u8, 1, 4, 5, 5, 5, 8, 12, 13, 0x24, 0x2d]);
    prop_oneof![
        4 => (stream.clone(), flags.clone(), payload.clone())
            .prop_map(|(stream, flags, payload)| frame(kind::HEADERS, flags, stream, &payload)),
        4 => (0_u8..11, flags, stream, payload)
            .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    /// Whatever a client sends, and however it is cut, it means the same; no limit is exceeded,
    /// and every answer is a frame.
    #[test]
    fn pieces_change_nothing(
        frames in prop::collection::vec(frames_of_a_client(), 0..12),
        step in 1_usize..50,
    ) {
        let bytes = begun(&frames.concat());
        prop_assert_eq!(follow(&bytes, step), follow(&bytes, bytes.len()));
    }
}
