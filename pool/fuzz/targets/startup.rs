#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| bs9_pool_fuzz::startup(input));
