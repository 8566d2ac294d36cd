//! Headers of the PROXY protocol: the verdict does not depend on how the bytes arrive, and what a
//! header says can be said again.
#![no_main]

use bs9_net::proxy_header::{
    HeaderProgress, MAX_HEADER_BYTES, ProxyHeader, parse, write_v1, write_v2,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let verdict = parse(bytes);
    for end in 0..bytes.len() {
        match parse(&bytes[..end]) {
            Ok(HeaderProgress::Partial) => {}
            early => assert_eq!(early, verdict, "known early, known for good"),
        }
    }
    let Ok(HeaderProgress::Complete { len, header }) = verdict else { return };
    assert!(len <= bytes.len() && len <= MAX_HEADER_BYTES);
    assert_eq!(parse(&bytes[..len]), verdict, "what follows does not matter");
    for write in [write_v1, write_v2] {
        let mut out = Vec::new();
        write(&mut out, header);
        let Ok(HeaderProgress::Complete { len, header: again }) = parse(&out) else {
            panic!("what we write we can read");
        };
        assert_eq!(len, out.len());
        match (header, again) {
            (ProxyHeader::Local, ProxyHeader::Local) => {}
            (
                ProxyHeader::Proxied { source, destination },
                ProxyHeader::Proxied { source: from, destination: to },
            ) => {
                assert_eq!(source.ip().to_canonical(), from.ip().to_canonical());
                assert_eq!(destination.ip().to_canonical(), to.ip().to_canonical());
                assert_eq!((source.port(), destination.port()), (from.port(), to.port()));
            }
            other => panic!("{other:?}"),
        }
    }
});
