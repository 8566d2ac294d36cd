//! The name in a ClientHello: the same however its bytes arrive and its records are cut.
#![no_main]

use bs9_net::tls::{Hello, HelloError, MAX_HELLO_BYTES, peek_hello};
use libfuzzer_sys::fuzz_target;

/// The message in records of `size` bytes each.
fn cut(message: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = (part.len() as u16).to_be_bytes();
        [&[22, 3, 1, length[0], length[1]], part].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

/// Reads it as it grows; what some bytes have decided, more do not change.
fn follow(bytes: &[u8], step: usize) -> Result<Hello, HelloError> {
    let mut end = 0;
    loop {
        end = (end + step).min(bytes.len());
        let verdict = peek_hello(&bytes[..end]);
        if verdict != Ok(Hello::Partial) || end == bytes.len() {
            return verdict;
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [size, step, bytes @ ..] = input else { return };
    let (size, step) = (usize::from(*size).max(1), usize::from(*step).max(1));
    assert_eq!(follow(bytes, step), peek_hello(bytes));
    // As the content of records: however they are cut, it is the same message.
    if bytes.is_empty() || bytes.len() > 4096 {
        return;
    }
    let whole = peek_hello(&cut(bytes, bytes.len()));
    let pieces = cut(bytes, size);
    if pieces.len() < MAX_HELLO_BYTES {
        assert_eq!(peek_hello(&pieces), whole);
        assert_eq!(follow(&pieces, step), whole);
    }
    if let Ok(Hello::Complete { server_name: Some(name) }) = whole {
        assert!(!name.is_empty() && name.len() <= 255 && name.is_ascii());
        assert_eq!(name, name.to_ascii_lowercase());
    }
});
