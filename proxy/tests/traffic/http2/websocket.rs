//! WebSockets on a stream (RFC 8441).

use bytes::Bytes;
use h2::ext::Protocol;

use super::session::{Session, eventually, on_a_runtime, request, upload, whole};
use crate::{
    fixture::{Proxy, Site},
    origin::Origin,
    wire::noise,
};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: abc\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

fn chat() -> http::request::Builder {
    request("CONNECT", "/chat")
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
}

/// A connection whose server has said that it knows the extension.
async fn session(proxy: &Proxy) -> Session {
    let session = Session::open(proxy).await;
    eventually("the settings have come", || session.knows_extended_connect()).await;
    session
}

#[test]
fn bytes_pass_both_ways_and_each_side_may_end() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        log.push(connection, &wire.request());
        wire.send(format!("{SWITCH}from the endpoint"));
        assert_eq!(wire.exact(15), b"from the client");
        let echo = wire.exact(1_000_000);
        wire.send(&echo);
        assert_eq!(wire.rest(), b"");
    });
    let proxy = Site::of([origin.address()]).start();
    let sent = noise(1_000_000);
    on_a_runtime(async {
        let session = session(&proxy).await;
        let (response, mut stream) = session.begin(chat(), false).await;
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        for absent in ["sec-websocket-accept", "connection", "upgrade"] {
            assert!(!response.headers().contains_key(absent), "{absent}");
        }
        let all = Bytes::from([b"from the client", &sent[..]].concat());
        let sending = tokio::spawn(async move { upload(&mut stream, all, true).await });
        let received = whole(response).await.unwrap().body;
        assert!(received == [b"from the endpoint", &sent[..]].concat());
        sending.await.unwrap().unwrap();
    });
    let request = origin.only_request();
    assert_eq!(request.line(), "GET /chat HTTP/1.1");
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("connection"), Some("upgrade"));
    assert_eq!(request.header("sec-websocket-version"), Some("13"));
    assert_eq!(request.header("sec-websocket-key").map(str::len), Some(24));
}

#[test]
fn an_endpoint_may_decline() {
    let origin =
        Origin::answering(|_| b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_vec());
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = session(&proxy).await;
        let (response, _stream) = session.begin(chat(), false).await;
        let response = whole(response.await.unwrap()).await.unwrap();
        assert_eq!((response.status, response.text()), (403, "no"));
        assert_eq!(session.get("/").await.status, 403, "the connection goes on");
    });
}

#[test]
fn a_client_that_resets_its_stream_ends_it_at_the_endpoint() {
    let (ended, wait) = std::sync::mpsc::channel();
    let origin = Origin::scripted(move |_, mut wire, _| {
        let _request = wire.request();
        wire.send(SWITCH);
        let _an_end_or_a_reset = wire.try_rest();
        ended.send(()).unwrap();
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = session(&proxy).await;
        let (response, mut stream) = session.begin(chat(), false).await;
        assert_eq!(response.await.unwrap().status(), 200);
        stream.send_reset(h2::Reason::CANCEL);
        eventually("the endpoint sees it", || wait.try_recv().is_ok()).await;
    });
}
