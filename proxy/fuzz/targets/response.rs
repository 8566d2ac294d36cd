//! Responses: the verdict does not depend on how bytes arrive, and what is forwarded reads the
//! same.
#![no_main]

use bs9_proxy::http1::{
    BodyReader, HeadLimits, HeaderStorage, Parsed, Recode, ResponseEdits, ResponseError,
    ResponseFraming, ResponseTo, Version, parse_response, write_response_head,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits { max_head_bytes: 2048, max_headers: 32, max_uri_bytes: 256 };

type Reading = (u16, ResponseFraming, bool, usize);

fn read(bytes: &[u8], request: ResponseTo) -> Result<Option<Reading>, ResponseError> {
    let mut storage = HeaderStorage::new();
    Ok(match parse_response(bytes, &LIMITS, request, &mut storage)? {
        Parsed::Partial => None,
        Parsed::Complete(head) => Some((head.status, head.framing, head.keep_alive, head.head_len)),
    })
}

fn forward(bytes: &[u8], request: ResponseTo, keep_alive: bool) -> Vec<u8> {
    let mut storage = HeaderStorage::new();
    let mut out = Vec::new();
    if let Ok(Parsed::Complete(head)) = parse_response(bytes, &LIMITS, request, &mut storage) {
        let edits = ResponseEdits {
            keep_alive,
            client_version: Version::Http11,
            recode: Recode::Keep,
            set: &[],
            remove: &[],
        };
        write_response_head(&mut out, &head, &edits);
    }
    out
}

fuzz_target!(|input: &[u8]| {
    let [kind, choice, bytes @ ..] = input else { return };
    let request =
        ResponseTo { head: kind % 4 == 1, connect: kind % 4 == 2, upgrade: kind % 4 == 3 };
    let cut = usize::from(*choice) * bytes.len() / 256;
    let whole = read(bytes, request);
    match read(&bytes[..cut], request) {
        Ok(None) => {}
        early => assert_eq!(early, whole),
    }
    let Ok(Some((status, framing, _, head_len))) = whole else { return };
    let out = forward(bytes, request, choice % 2 == 0);
    let mut storage = HeaderStorage::new();
    let Ok(Parsed::Complete(forwarded)) =
        parse_response(&out, &HeadLimits::default(), request, &mut storage)
    else {
        panic!("refused when forwarded: {}", out.escape_ascii());
    };
    assert_eq!(
        (forwarded.status, forwarded.framing, forwarded.head_len),
        (status, framing, out.len())
    );
    let mut body = BodyReader::from(framing);
    if let Ok((taken, _)) = body.advance(&bytes[head_len..]) {
        assert!(taken <= bytes.len() - head_len);
    }
});
