//! Bodies get across byte for byte, in bounded memory, and none waits for another.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{
    origin::{H2Origin, begin, ok},
    requests::site,
};
use crate::{
    fixture::{Rest, Site, eventually},
    http2::session::{Session, on_a_runtime, request, upload, whole},
    wire::{Wire, get, noise},
};

const LARGE_BYTES: usize = 4 << 20;

fn echo(settings: super::origin::Settings) -> H2Origin {
    H2Origin::with(settings, |mut asked, mut respond| async move {
        let mut stream = begin(&mut respond, Response::builder());
        let body = asked.request.body_mut();
        while let Some(data) = body.data().await {
            let Ok(data) = data else { return };
            body.flow_control().release_capacity(data.len()).unwrap();
            if upload(&mut stream, data, false).await.is_err() {
                return;
            }
        }
        let _ended = stream.send_data(Bytes::new(), true);
    })
}

#[test]
fn large_bodies_come_back_byte_for_byte() {
    let small = super::origin::Settings { window: Some(16 << 10), ..Default::default() };
    for settings in [Default::default(), small] {
        let origin = echo(settings);
        let proxy = site(&origin).start();
        let sent = noise(LARGE_BYTES);
        let mut client = proxy.web();
        let mut sender = client.second();
        let body = sent.clone();
        let sending = std::thread::spawn(move || {
            sender.send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            sender.send(body);
        });
        let answer = client.response();
        assert!(decoded(&answer.body) == sent, "by HTTP/1.1");
        sending.join().unwrap();
        on_a_runtime(async {
            let session = Session::open(&proxy).await;
            let (response, mut stream) = session.begin(request("POST", "/"), false).await;
            let body = Bytes::from(sent.clone());
            let sending = tokio::spawn(async move { upload(&mut stream, body, true).await });
            let received = whole(response.await.unwrap()).await.unwrap().body;
            assert!(received == sent, "by HTTP/2");
            sending.await.unwrap().unwrap();
        });
        assert_eq!(origin.connections(), 1);
    }
}

/// The payload of chunks.
pub(super) fn decoded(mut chunks: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    loop {
        let line = chunks.windows(2).position(|pair| pair == b"\r\n").unwrap();
        let size = std::str::from_utf8(&chunks[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return payload;
        }
        payload.extend_from_slice(&chunks[line + 2..][..size]);
        chunks = &chunks[line + 2 + size + 2..];
    }
}

#[test]
fn what_a_stalled_client_holds_is_bounded_and_holds_up_nobody() {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let origin = H2Origin::answering(move |asked, mut respond| {
        let counter = Arc::clone(&counter);
        async move {
            if asked.path() == "/short" {
                return ok(respond, "short").await;
            }
            let mut stream = begin(&mut respond, Response::builder());
            let piece = Bytes::from(vec![7; 16 << 10]);
            while upload(&mut stream, piece.clone(), false).await.is_ok() {
                counter.fetch_add(piece.len() as u64, SeqCst);
            }
        }
    });
    let cluster = "protocol = \"h2\"\nhttp2 = { connections = 1, stream_window = \"64KiB\" }";
    let proxy = Site { cluster, ..site(&origin) }.start();
    let bs9_config::BindAddress::Tcp(address) = proxy.address("web") else { unreachable!() };
    let stalled: Vec<Wire> = (0..20)
        .map(|_| {
            let mut client = Wire::connect_tcp(address, Some(4096));
            client.send(get("/endless"));
            client
        })
        .collect();
    eventually("every response is under way", || origin.requests().len() == stalled.len());
    // All that fits has been sent when the endpoint does not get on any more, on a connection that
    // brings other answers.
    let (mut rest, mut other) = (Rest::default(), proxy.web());
    eventually("the endpoint stalls", || {
        assert_eq!(other.get("/short").text(), "short");
        rest.after_a_turn(taken.load(SeqCst))
    });
    let each = taken.load(SeqCst) / stalled.len() as u64;
    // The window, what the kernel takes towards a client, and what the endpoint's side buffers.
    assert!(each < 6 << 20, "{each} bytes of each response were taken");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_endpoint_that_takes_nothing_stops_its_client() {
    let origin = H2Origin::answering(|asked, respond| async move {
        // Neither read nor answered.
        let _kept = (asked, respond);
        std::future::pending::<()>().await;
    });
    let proxy = Site { listener: "body_timeout = \"500ms\"", ..site(&origin) }.start();
    let mut client = proxy.web();
    let length = 1usize << 30;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    let piece = vec![7; 64 << 10];
    let mut sent = 0;
    while sent < length && client.try_send(&piece).is_ok() {
        sent += piece.len();
    }
    assert!(sent < 64 << 20, "{sent} bytes went nowhere");
}

#[test]
fn an_answer_may_come_before_the_body_has_ended() {
    let origin = H2Origin::answering(|_, respond| ok(respond, "enough"));
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (200, "enough".to_owned()));
    assert_eq!(proxy.web().get("/").text(), "enough");
    assert_eq!(origin.connections(), 1, "its stream ended, not its connection");
}

/// Peers that read as much as their windows allow, and never allow for more.
#[test]
fn the_end_of_a_body_needs_no_window() {
    const WINDOW: usize = 65_535;
    async fn unreleased(stream: &mut h2::RecvStream) -> (usize, HeaderMap) {
        let mut count = 0;
        while let Some(data) = stream.data().await {
            count += data.unwrap().len();
        }
        (count, stream.trailers().await.unwrap().unwrap())
    }
    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())])
    }
    let settings = super::origin::Settings { window: Some(1000), ..Default::default() };
    let origin = H2Origin::with(settings, |mut asked, mut respond| async move {
        assert_eq!(unreleased(asked.request.body_mut()).await, (1000, trailers()));
        let mut stream = begin(&mut respond, Response::builder());
        upload(&mut stream, vec![7; WINDOW].into(), false).await.unwrap();
        stream.send_trailers(trailers()).unwrap();
    });
    let proxy = site(&origin).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, mut stream) = session.begin(request("POST", "/"), false).await;
        upload(&mut stream, vec![7; 1000].into(), false).await.unwrap();
        stream.send_trailers(trailers()).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(unreleased(&mut body).await, (WINDOW, trailers()));
    });
}
