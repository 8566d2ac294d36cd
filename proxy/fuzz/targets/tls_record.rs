//! TLS records: what was sealed comes out, what was changed does not, and no bytes panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| bs9_net::tls::fuzzing::records(input));
