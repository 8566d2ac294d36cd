use proptest::prelude::*;
use rustls::crypto::cipher::{AeadKey, Iv};

use super::*;

const KINDS: usize = 6;

/// Two ends of one direction; every version and cipher has a number.
fn pair(kind: usize) -> (RecordKey, RecordKey) {
    let secrets = || {
        let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
        match kind % 3 {
            0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
            1 => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
            _ => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        }
    };
    let version = if kind < 3 { Version::Tls13 } else { Version::Tls12 };
    let key = || RecordKey::new(version, (5, secrets()), 1 << 24).unwrap();
    (key(), key())
}

fn seal(key: &mut RecordKey, content: Content, parts: &[&[u8]]) -> Vec<u8> {
    let room = parts.iter().map(|part| part.len()).sum::<usize>() + key.overhead();
    let mut out = vec![0; room];
    assert_eq!(key.seal(content, parts, &mut out), Ok(room));
    out
}

#[test]
fn what_is_sealed_opens_both_ways_and_in_order_only() {
    for kind in 0..KINDS {
        let (mut sender, mut receiver) = pair(kind);
        let first = seal(&mut sender, Content::Application, &[b"hello, ", b"", b"world"]);
        let second = seal(&mut sender, Content::Alert, &[&[1, 0]]);
        assert_eq!(record_length(&first), Ok(Some(first.len())));

        let mut early = second.clone();
        assert_eq!(receiver.open_in_place(&mut early), Err(RecordError::BadMac), "kind {kind}");
        let mut opened = first.clone();
        let (content, at) = receiver.open_in_place(&mut opened).unwrap();
        assert_eq!((content, &opened[at]), (Content::Application, &b"hello, world"[..]));
        let mut room = vec![0xff; receiver.text_room(second.len())];
        assert_eq!(receiver.open_into(&second, &mut room), Ok((Content::Alert, 2)));
        assert_eq!(room[..2], [1, 0]);
        let mut again = first;
        assert_eq!(receiver.open_in_place(&mut again), Err(RecordError::BadMac), "kind {kind}");
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    for kind in 0..KINDS {
        let (mut sender, _) = pair(kind);
        let sealed = seal(&mut sender, Content::Application, &[b"hello"]);
        // The length in the header is what cuts the record out of the stream.
        let length = 3 * 8..HEADER_BYTES * 8;
        for bit in (0..sealed.len() * 8).filter(|bit| !length.contains(bit)) {
            let (_, mut receiver) = pair(kind);
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(receiver.open_in_place(&mut changed).is_err(), "kind {kind}, bit {bit}");
        }
    }
}

#[test]
fn a_record_shorter_than_its_tag_is_refused() {
    for kind in 0..KINDS {
        let (_, mut receiver) = pair(kind);
        for length in HEADER_BYTES..HEADER_BYTES + 17 {
            let mut short = vec![0; length];
            write_header(&mut short, Content::Application, length - HEADER_BYTES);
            assert!(receiver.open_in_place(&mut short.clone()).is_err());
            assert!(receiver.open_into(&short, &mut []).is_err());
        }
    }
}

#[test]
fn lengths_and_versions_that_cannot_be_are_refused_from_the_header() {
    assert_eq!(record_length(b"\x17\x03\x03\x41"), Ok(None));
    assert_eq!(record_length(b"\x17\x03\x03\x41\x00"), Ok(Some(MAX_SEALED_BYTES + HEADER_BYTES)));
    assert_eq!(record_length(b"\x17\x03\x03\x41\x01"), Err(RecordError::Overflow));
    assert_eq!(record_length(b"HTTP/1.1"), Err(RecordError::Unexpected));
}

#[test]
fn zeros_at_the_end_of_a_text_are_no_padding() {
    let (mut sender, mut receiver) = pair(0);
    let mut opened = seal(&mut sender, Content::Application, &[b"x\x17\0\0\0"]);
    let (content, at) = receiver.open_in_place(&mut opened).unwrap();
    assert_eq!((content, at.len()), (Content::Application, 5));
}

#[test]
fn a_key_says_when_it_is_worn() {
    let (mut sender, _) = pair(0);
    sender.limit = 6;
    assert!(!sender.is_worn());
    seal(&mut sender, Content::Application, &[b"x"]);
    assert!(sender.is_worn());
}

proptest! {
    #[test]
    fn any_text_in_any_parts(
        kind in 0..KINDS,
        text in proptest::collection::vec(any::<u8>(), 0..2_000),
        cut in any::<proptest::sample::Index>(),
    ) {
        let (mut sender, mut receiver) = pair(kind);
        let (a, b) = text.split_at(cut.index(text.len() + 1));
        let sealed = seal(&mut sender, Content::Application, &[a, b]);
        let single = seal(&mut sender, Content::Application, &[&text]);
        let mut room = vec![0; receiver.text_room(sealed.len())];
        let (_, count) = receiver.open_into(&sealed, &mut room).unwrap();
        prop_assert_eq!(&room[..count], &text[..]);
        let mut single = single;
        let (_, at) = receiver.open_in_place(&mut single).unwrap();
        prop_assert_eq!(&single[at], &text[..]);
    }

    #[test]
    fn no_record_panics(kind in 0..KINDS, bytes in proptest::collection::vec(any::<u8>(), 5..200)) {
        let (_, mut receiver) = pair(kind);
        let mut room = vec![0; receiver.text_room(bytes.len())];
        let _verdict = receiver.open_into(&bytes, &mut room);
        let _verdict = receiver.open_in_place(&mut bytes.clone());
    }
}
