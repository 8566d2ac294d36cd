//! Requests: the verdict does not depend on how bytes arrive, and what is forwarded reads the same.
#![no_main]

use bs9_proxy::http1::{
    BodyFraming, BodyReader, HeadLimits, HeaderStorage, Parsed, RequestEdits, RequestError,
    parse_request, write_request_head,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 2048, max_headers: 32, max_uri_bytes: 256 };

/// What a recipient makes of a head.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    method: String,
    host: Option<String>,
    framing: BodyFraming,
    upgrade: Option<String>,
    head_len: usize,
}

fn read(bytes: &[u8]) -> Result<Option<Reading>, RequestError> {
    let mut storage = HeaderStorage::new();
    Ok(match parse_request(bytes, &LIMITS, &mut storage)? {
        Parsed::Partial => None,
        Parsed::Complete(head) => Some(Reading {
            method: head.method.to_owned(),
            host: head.host.map(str::to_owned),
            framing: head.framing,
            upgrade: head.upgrade.map(str::to_owned),
            head_len: head.head_len,
        }),
    })
}

fn forward(bytes: &[u8], trust: bool) -> Vec<u8> {
    let mut storage = HeaderStorage::new();
    let mut out = Vec::new();
    if let Ok(Parsed::Complete(head)) = parse_request(bytes, &LIMITS, &mut storage) {
        let edits = RequestEdits {
            forwarded_for: Some("192.0.2.1"),
            forwarded_proto: Some("http"),
            forwarded_host: head.host,
            trust_incoming_forwarded: trust,
            keep_forwarded: trust,
            upgrade: true,
            forward_expect: true,
            host_if_absent: "fallback",
            ..RequestEdits::default()
        };
        write_request_head(&mut out, &head, &edits);
    }
    out
}

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let cut = usize::from(*choice) * bytes.len() / 256;
    let whole = read(bytes);
    match read(&bytes[..cut]) {
        Ok(None) => {}
        early => assert_eq!(early, whole),
    }
    let Ok(Some(reading)) = whole else { return };
    let out = forward(bytes, choice % 2 == 0);
    // The edits add lines, so the forwarded head may be beyond limits that the received one was
    // within.
    let mut storage = HeaderStorage::new();
    let Ok(Parsed::Complete(forwarded)) = parse_request(&out, &HeadLimits::default(), &mut storage)
    else {
        panic!("refused when forwarded: {}", out.escape_ascii());
    };
    assert_eq!(forwarded.head_len, out.len());
    assert_eq!(forwarded.framing, reading.framing);
    assert_eq!(forwarded.method, reading.method);
    assert_eq!(forwarded.host, Some(reading.host.as_deref().unwrap_or("fallback")));
    assert_eq!(forwarded.upgrade, reading.upgrade.as_deref());
    let mut body = BodyReader::from(reading.framing);
    if let Ok((taken, _)) = body.advance(&bytes[reading.head_len..]) {
        assert!(taken <= bytes.len() - reading.head_len);
    }
});
