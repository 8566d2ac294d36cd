//! A way into the record layer for its fuzz target; there is none in any other build.

use rustls::{
    ConnectionTrafficSecrets,
    crypto::cipher::{AeadKey, Iv},
};

use super::record::{Content, MAX_PLAINTEXT_BYTES, RecordKey, Version, record_length};

/// Versions and ciphers that differ.
const KINDS: usize = 4;

fn key(kind: usize) -> RecordKey {
    let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
    let secrets = match kind % 2 {
        0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
    };
    let version = if kind < 2 { Version::Tls13 } else { Version::Tls12 };
    RecordKey::new(version, (0, secrets), 1 << 24).expect("a cipher that is offered")
}

/// What a peer's bytes come to: the content types and texts up to the first fault. Both ways of
/// opening a record must come to the same.
fn open_all(kind: usize, mut stream: &[u8]) -> Vec<(Content, Vec<u8>)> {
    let (mut here, mut elsewhere) = (key(kind), key(kind));
    let mut opened = Vec::new();
    while let Ok(Some(length)) = record_length(stream) {
        let Some((sealed, rest)) = stream.split_at_checked(length) else { break };
        stream = rest;
        let mut place = sealed.to_vec();
        let one = here.open_in_place(&mut place).map(|(content, at)| (content, place[at].to_vec()));
        let mut room = vec![0; elsewhere.text_room(length)];
        let other = elsewhere
            .open_into(sealed, &mut room)
            .map(|(content, count)| (content, room[..count].to_vec()));
        assert_eq!(one, other, "both ways come to the same");
        match one {
            Ok(record) => opened.push(record),
            Err(_) => break,
        }
    }
    opened
}

/// Takes an input apart into texts and a change; seals the texts, changes what was sealed, and
/// opens it: nothing but what was sealed ever comes out, in order and from the start.
///
/// # Panics
/// When that does not hold.
pub fn records(input: &[u8]) {
    let [kind, place_high, place_low, change, cut, rest @ ..] = input else { return };
    // As a peer might send it that knows no key.
    for kind in 0..KINDS {
        open_all(kind, input);
    }
    let kind = usize::from(*kind) % KINDS;
    let mut sender = key(kind);
    let contents =
        [Content::Application, Content::Alert, Content::Handshake, Content::ChangeCipherSpec];
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    for text in rest.chunks(usize::from(*cut).max(1)).take(16) {
        let text = &text[..text.len().min(MAX_PLAINTEXT_BYTES)];
        let content = contents[text.len() % contents.len()];
        let (one, other) = text.split_at(text.len() / 2);
        let start = stream.len();
        stream.resize(start + text.len() + sender.overhead(), 0);
        let sealed = sender.seal(content, &[one, other], &mut stream[start..]);
        assert_eq!(sealed, Ok(stream.len() - start));
        sent.push((content, text.to_vec()));
    }
    assert_eq!(open_all(kind, &stream), sent, "unchanged, all of it comes out");
    if stream.is_empty() || *change == 0 {
        return;
    }
    let place = usize::from(u16::from_be_bytes([*place_high, *place_low])) % stream.len();
    stream[place] ^= change;
    let opened = open_all(kind, &stream);
    assert!(opened.len() < sent.len(), "a change is noticed");
    assert_eq!(opened, sent[..opened.len()], "what comes before it comes out");
}
