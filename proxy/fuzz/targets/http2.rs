//! Frames of a client of HTTP/2: the same requests, answers and end however they are cut.
#![no_main]

use bs9_proxy::http2::fuzzing::follow;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [step, bytes @ ..] = input else { return };
    // The preface and SETTINGS come first: without them there is nothing to see.
    let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], bytes].concat();
    let whole = follow(&bytes, bytes.len());
    assert_eq!(follow(&bytes, usize::from(*step).max(1)), whole);
    assert_eq!(follow(&bytes, 1), whole);
});
