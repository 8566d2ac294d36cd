use proptest::prelude::*;

use super::*;
use crate::tag::{BackendTag, FrontendTag};

fn header(byte: u8, len: i32) -> Vec<u8> {
    let mut bytes = vec![byte];
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes
}

#[test]
fn a_header_needs_five_bytes_but_a_wrong_tag_needs_one() {
    let sync = header(b'S', 4);
    for len in 0..HEADER_LEN {
        assert_eq!(Header::<FrontendTag>::parse(&sync[..len]), Ok(None), "{len} bytes");
    }
    let head = Header::<FrontendTag>::parse(&sync).unwrap().unwrap();
    assert_eq!((head.tag, head.body_len, head.total_len()), (FrontendTag::Sync, 0, 5));
    let unknown = FrameError::UnknownTag { sender: Sender::Frontend, byte: b'Z' };
    assert_eq!(Header::<FrontendTag>::parse(b"Z"), Err(unknown));
    let unknown = FrameError::UnknownTag { sender: Sender::Backend, byte: b'Q' };
    assert_eq!(Header::<BackendTag>::parse(b"Q"), Err(unknown));
}

#[test]
fn lengths_are_checked_against_sense_and_cap() {
    for len in [i32::MIN, -1, 0, 3] {
        let bytes = header(b'Q', len);
        let wrong = FrameError::BadLength { byte: b'Q', len };
        assert_eq!(Header::<FrontendTag>::parse(&bytes), Err(wrong));
    }
    let table: &[(u8, u32)] =
        &[(b'S', 10_000), (b'Q', 0x3fff_fffe), (b'd', 0x3fff_fffe), (b'p', 65_535)];
    for &(byte, max) in table {
        let at_cap = header(byte, max.cast_signed());
        assert_eq!(Header::<FrontendTag>::parse(&at_cap).unwrap().unwrap().body_len, max - 4);
        let above = header(byte, max.cast_signed() + 1);
        let wrong = FrameError::TooLong { byte, len: max + 1, max };
        assert_eq!(Header::<FrontendTag>::parse(&above), Err(wrong));
    }
    let huge = header(b'D', i32::MAX);
    assert!(matches!(Header::<BackendTag>::parse(&huge), Err(FrameError::TooLong { .. })));
}

#[test]
fn a_frame_is_the_whole_message_or_nothing() {
    let mut bytes = header(b'C', 13);
    bytes.extend_from_slice(b"SELECT 1\0Z");
    for len in 0..14 {
        assert_eq!(Frame::<BackendTag>::parse(&bytes[..len]), Ok(None));
    }
    let frame = Frame::<BackendTag>::parse(&bytes).unwrap().unwrap();
    assert_eq!(frame.tag, BackendTag::CommandComplete);
    assert_eq!(frame.body, b"SELECT 1\0");
    assert_eq!(frame.bytes, &bytes[..14]);
}

#[test]
fn an_error_leaves_the_cursor_between_messages() {
    let mut cursor = FrameCursor::<BackendTag>::new();
    assert!(cursor.step(b"?").is_err());
    assert!(cursor.at_boundary());
    assert!(cursor.peek(b"?").is_err());
}

#[test]
fn bytes_that_went_elsewhere_are_counted_off() {
    let mut cursor = FrameCursor::<BackendTag>::new();
    let row = header(b'D', 104);
    let Step::Start { bytes, ends, .. } = cursor.step(&row).unwrap() else {
        panic!("a header starts a message")
    };
    assert_eq!((bytes.len(), ends), (5, false));
    assert_eq!(cursor.advance(60), 60);
    assert_eq!(cursor.remaining(), 40);
    assert_eq!(cursor.peek(b"?"), Ok(None), "no header inside a body");
    assert_eq!(cursor.advance(60), 40);
    assert!(cursor.at_boundary());
}

/// What a stream says, whatever pieces it comes in: each message's tag and bytes.
fn messages_in(chunks: &[&[u8]]) -> Vec<(BackendTag, Vec<u8>)> {
    let mut cursor = FrameCursor::<BackendTag>::new();
    let mut unread: Vec<u8> = Vec::new();
    let mut found: Vec<(BackendTag, Vec<u8>)> = Vec::new();
    let mut whole = true;
    for chunk in chunks {
        unread.extend_from_slice(chunk);
        let mut at = 0;
        loop {
            let (taken, ends) = match cursor.step(&unread[at..]).unwrap() {
                Step::Incomplete => break,
                Step::Start { header, bytes, ends } => {
                    assert!(whole, "a message starts where the last one ended");
                    found.push((header.tag, bytes.to_vec()));
                    (bytes.len(), ends)
                }
                Step::Continue { bytes, ends } => {
                    assert!(!whole);
                    found.last_mut().unwrap().1.extend_from_slice(bytes);
                    (bytes.len(), ends)
                }
            };
            at += taken;
            whole = ends;
            assert_eq!(whole, cursor.at_boundary());
        }
        unread.drain(..at);
        assert!(unread.len() < HEADER_LEN, "only a cut header is ever left over");
    }
    found
}

fn backend_stream() -> impl Strategy<Value = Vec<u8>> {
    let message = (0..BackendTag::ALL.len(), prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::vec(message, 0..12).prop_map(|messages| {
        let mut stream = Vec::new();
        for (tag, body) in messages {
            crate::encode::message(&mut stream, BackendTag::ALL[tag], |out| {
                out.extend_from_slice(&body);
            });
        }
        stream
    })
}

proptest! {
    #[test]
    fn split_at_every_byte(stream in backend_stream()) {
        let whole = messages_in(&[&stream]);
        for at in 0..=stream.len() {
            prop_assert_eq!(&messages_in(&[&stream[..at], &stream[at..]]), &whole);
        }
        let singly: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&messages_in(&singly), &whole);
        prop_assert_eq!(whole.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>(), stream);
    }
}
