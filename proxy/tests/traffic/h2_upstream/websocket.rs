//! WebSockets of clients, on streams of an endpoint (RFC 8441).

use bytes::Bytes;
use h2::ext::Protocol;
use http::Response;

use super::origin::{H2Origin, Settings, begin};
use crate::{fixture::Site, http2::session::upload};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn echo(extended_connect: bool) -> H2Origin {
    let settings = Settings { extended_connect, ..Settings::default() };
    H2Origin::with(settings, |mut asked, mut respond| async move {
        if asked.request.extensions().get::<Protocol>().is_none() {
            let refusal = Response::builder().status(426).body(()).unwrap();
            respond.send_response(refusal, true).unwrap();
            return;
        }
        let mut stream = begin(&mut respond, Response::builder());
        let body = asked.request.body_mut();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            upload(&mut stream, data, false).await.unwrap();
        }
        let _ended = stream.send_data(Bytes::new(), true);
    })
}

#[test]
fn an_upgrade_of_http_1_1_is_a_connect_of_http2() {
    let origin = echo(true);
    let proxy = Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(ASK);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    client.send("hello");
    assert_eq!(client.exact(5), b"hello");
    client.finish();
    assert_eq!(client.rest(), b"");
    let request = origin.only_request();
    assert_eq!((request.method().as_str(), request.uri().path()), ("CONNECT", "/chat"));
    assert!(!request.headers().contains_key("sec-websocket-key"));
}

#[test]
fn an_endpoint_that_does_not_know_it_answers_what_it_likes() {
    let origin = echo(false);
    let proxy = Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(ASK);
    assert_eq!(client.response().status(), 426);
    assert_eq!(origin.only_request().method(), "GET");
}
