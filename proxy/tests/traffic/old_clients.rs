//! Clients and endpoints of HTTP/1.0.

use crate::{fixture::Site, origin::Origin, wire::ok};

#[test]
fn a_client_may_ask_to_keep_its_connection() {
    let origin = Origin::answering(|request| ok(request.target()));
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    for target in ["/a", "/b"] {
        client.send(format!("GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.text(), target);
        assert_eq!(response.header("connection"), Some("keep-alive"));
    }
    client.send("GET /c HTTP/1.0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.text(), response.closes()), ("/c".to_owned(), true));
    client.expect_closed();
    let requests = origin.requests();
    assert!(requests.iter().all(|(_, request)| request.line().ends_with(" HTTP/1.1")));
    assert!(requests.iter().all(|(_, request)| request.header("host").is_some()));
}

#[test]
fn chunks_are_taken_apart() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
            .to_vec()
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!(response.header("transfer-encoding"), None);
    assert!(response.closes(), "its end is the end of the body");
    assert_eq!(response.text(), "hello world");
}

#[test]
fn a_large_chunked_response_is_taken_apart_as_it_comes() {
    let origin = Origin::answering(|_| {
        let mut response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in crate::wire::noise(2_000_000).chunks(3_333) {
            response.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            response.extend(piece);
            response.extend(b"\r\n");
        }
        response.extend(b"0\r\n\r\n");
        response
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert!(client.response().body == crate::wire::noise(2_000_000));
}

#[test]
fn a_body_may_still_come_while_chunks_are_taken_apart() {
    const SIZE: usize = 1_000_000;
    let origin = Origin::scripted(|_, mut wire, _| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut left = SIZE;
        while left > 0 {
            let piece = wire.some();
            left -= piece.len();
            wire.send(format!("{:x}\r\n", piece.len()));
            wire.send(piece);
            wire.send("\r\n");
        }
        wire.send("0\r\n\r\n");
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    let mut sender = client.second();
    let sending = std::thread::spawn(move || {
        sender.send(format!("POST / HTTP/1.0\r\nContent-Length: {SIZE}\r\n\r\n"));
        sender.send(crate::wire::noise(SIZE));
    });
    assert!(client.response().body == crate::wire::noise(SIZE));
    sending.join().unwrap();
}

#[test]
fn an_endpoint_of_http_1_0_is_not_kept_unless_it_says_so() {
    let origin = Origin::answering(|request| match request.target() {
        "/kept" => {
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok".to_vec()
        }
        _ => b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
    });
    let proxy = Site::of([origin.address()]).start();
    let mut client = proxy.web();
    let response = client.get("/");
    assert_eq!(response.line(), "HTTP/1.1 200 OK");
    assert!(!response.closes());
    client.get("/kept");
    assert_eq!(origin.connections(), 2);
    client.get("/kept");
    assert_eq!(origin.connections(), 2);
}
