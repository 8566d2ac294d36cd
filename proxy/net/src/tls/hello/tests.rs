use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConfig, RootCertStore, client::ClientConnection, crypto::aws_lc_rs};

use super::*;

/// What rustls says first to `name`.
fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

fn complete(name: Option<&str>) -> Hello {
    Hello::Complete { server_name: name.map(str::to_owned) }
}

/// The same message in records of `size` bytes each.
fn cut(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let mut record = vec![HANDSHAKE, 3, 1];
        record.extend_from_slice(&(part.len() as u16).to_be_bytes());
        record.extend_from_slice(part);
        record
    };
    hello[5..].chunks(size).flat_map(record).collect()
}

#[test]
fn the_name_is_found_and_every_shorter_prefix_is_partial() {
    let bytes = hello("api.example.com");
    for end in 0..bytes.len() {
        assert_eq!(peek_hello(&bytes[..end]), Ok(Hello::Partial), "at {end}");
    }
    assert_eq!(peek_hello(&bytes), Ok(complete(Some("api.example.com"))));
    let more = [bytes, b"and more".to_vec()].concat();
    assert_eq!(peek_hello(&more), Ok(complete(Some("api.example.com"))));
}

#[test]
fn a_message_cut_into_records_of_any_size_is_the_same() {
    let whole = hello("api.example.com");
    for size in [1, 2, 3, 4, 5, 7, 50, 100, 500] {
        let bytes = cut(&whole, size);
        assert_eq!(peek_hello(&bytes), Ok(complete(Some("api.example.com"))), "size {size}");
        assert_eq!(peek_hello(&bytes[..bytes.len() - 1]), Ok(Hello::Partial), "size {size}");
    }
}

#[test]
fn an_address_is_no_name() {
    assert_eq!(peek_hello(&hello("127.0.0.1")), Ok(complete(None)));
}

#[test]
fn other_protocols_are_told_apart_by_their_first_byte() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"\x17\x03\x03",
        b"\x16\x02",
    ] {
        assert_eq!(peek_hello(bytes), Err(HelloError::NotTls), "{bytes:?}");
    }
    // A ServerHello is TLS, but nothing a client says first.
    assert_eq!(peek_hello(b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"), Err(HelloError::NotTls));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    assert_eq!(peek_hello(b"\x16\x03\x01\x00\x00"), Err(HelloError::Malformed));
    assert_eq!(peek_hello(b"\x16\x03\x01\x40\x01"), Err(HelloError::Malformed));
    assert_eq!(peek_hello(b"\x16\x03\x01\x10\x00\x01\xff\xff\xff"), Err(HelloError::TooLarge));
    let endless = cut(&[&[0; 5][..], b"\x01\x00\x3f\xff", &[0; 20_000]].concat(), 1);
    assert_eq!(peek_hello(&endless[..MAX_HELLO_BYTES]), Err(HelloError::TooLarge));
    let mut short = hello("api.example.com");
    let end = short.len();
    // The last extension claims one byte more than there is.
    short[end - 1] = short[end - 1].wrapping_add(1);
    let _any_verdict_without_a_panic = peek_hello(&short);
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _verdict = peek_hello(&bytes);
    }

    #[test]
    fn no_changed_hello_panics_and_a_prefix_never_knows_more(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        end in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = hello("api.example.com");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let whole = peek_hello(&bytes);
        let prefix = peek_hello(&bytes[..end.index(bytes.len())]);
        // What a prefix has decided, more bytes do not change.
        if prefix != Ok(Hello::Partial) {
            prop_assert_eq!(prefix, whole);
        }
    }
}
