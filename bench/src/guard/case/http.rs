//! HTTP/1.1 heads: parsed on one side, written for the other.

use std::hint::black_box;

use bs9_proxy::http1::{
    HeadLimits, HeaderStorage, Parsed, Recode, RequestEdits, ResponseEdits, ResponseTo, Version,
    parse_request, parse_response, write_request_head, write_response_head,
};

/// What wrk and many a client in a data centre send.
const SMALL: &[u8] = b"GET /v1/orders/4711?expand=lines HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

const BROWSER: &[u8] = b"GET /shop/items/4711?ref=mail HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: none\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: session=0f8fad5b-d9cb-469f-a165-70867728950e; theme=dark\r\n\
    \r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: origin\r\n\
    Date: Sat, 21 Nov 2026 00:00:00 GMT\r\n\
    Content-Type: application/json\r\n\
    Cache-Control: no-store\r\n\
    ETag: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\n\
    Content-Length: 130\r\n\
    \r\n";

pub(super) fn small_request() -> Box<dyn FnMut()> {
    request(SMALL)
}

pub(super) fn browser_request() -> Box<dyn FnMut()> {
    request(BROWSER)
}

fn request(bytes: &'static [u8]) -> Box<dyn FnMut()> {
    let limits = HeadLimits::default();
    let mut out = Vec::new();
    Box::new(move || {
        let mut storage = HeaderStorage::new();
        let Ok(Parsed::Complete(head)) = parse_request(black_box(bytes), &limits, &mut storage)
        else {
            panic!("the request is whole and right");
        };
        let edits = RequestEdits {
            forwarded_for: Some("192.0.2.17"),
            forwarded_proto: Some("http"),
            forwarded_host: head.host,
            forward_expect: true,
            host_if_absent: "origin",
            ..RequestEdits::default()
        };
        out.clear();
        write_request_head(&mut out, &head, &edits);
        black_box(&mut out);
    })
}

pub(super) fn response() -> Box<dyn FnMut()> {
    let limits = HeadLimits::default();
    let mut out = Vec::new();
    let edits = ResponseEdits {
        keep_alive: true,
        client_version: Version::Http11,
        recode: Recode::Keep,
        set: &[],
        remove: &[],
    };
    Box::new(move || {
        let mut storage = HeaderStorage::new();
        let parsed =
            parse_response(black_box(RESPONSE), &limits, ResponseTo::default(), &mut storage);
        let Ok(Parsed::Complete(head)) = parsed else {
            panic!("the response is whole and right");
        };
        out.clear();
        write_response_head(&mut out, &head, &edits);
        black_box(&mut out);
    })
}
