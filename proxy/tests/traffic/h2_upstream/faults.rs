//! What goes wrong at an endpoint is told apart, and tried again only where nothing was done.

use super::{
    origin::{H2Origin, begin},
    requests::site,
    scripted::scripted,
};
use crate::{
    fixture::{Proxy, Site, eventually},
    http2::session::{Session, on_a_runtime, request},
    origin::Origin,
    wire::{get, post},
};
use bytes::Bytes;
use h2::Reason;
use http::Response;

const REFUSED_STREAM: u8 = 7;
const INTERNAL_ERROR: u8 = 2;

fn h2(origin: &Origin) -> Site {
    Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }
}

fn failed(proxy: &Proxy, reason: &str) -> u64 {
    proxy.failures().get(reason).copied().unwrap_or_default()
}

#[test]
fn a_refused_stream_is_tried_again_whatever_was_asked() {
    let origin = scripted(|_, mut server| {
        let refused = server.request();
        server.reset(refused, REFUSED_STREAM);
        let again = server.request();
        assert!(again > refused);
        server.answer(again, &[("x-stream", "second")]);
        server.rest();
    });
    let proxy = h2(&origin).start();
    let mut client = proxy.web();
    client.send(post("/", "body"));
    let answer = client.response();
    assert_eq!((answer.status(), answer.header("x-stream")), (200, Some("second")));
    assert_eq!((origin.connections(), proxy.failures().len()), (1, 0));
}

#[test]
fn who_refuses_every_stream_is_told_apart() {
    let origin = scripted(|_, mut server| {
        while let Some(stream) = server.try_request() {
            server.reset(stream, REFUSED_STREAM);
        }
    });
    let proxy = h2(&origin).start();
    assert_eq!(proxy.web().get("/").status(), 502);
    assert_eq!(failed(&proxy, "stream_refused"), 1);
}

#[test]
fn a_reset_is_tried_again_only_where_that_does_nothing_more() {
    let resetting = scripted(|_, mut server| {
        while let Some(stream) = server.try_request() {
            server.reset(stream, INTERNAL_ERROR);
        }
    });
    let good = H2Origin::named("good");
    let both = Site {
        cluster: "protocol = \"h2\"\nbalance = \"round-robin\"",
        ..Site::of([resetting.address(), good.address()])
    };
    let proxy = both.start();
    for _ in 0..4 {
        assert_eq!(proxy.web().get("/").text(), "good");
    }
    let statuses = [(); 4].map(|()| {
        let mut client = proxy.web();
        client.send(post("/", "body"));
        client.response().status()
    });
    assert!(statuses.contains(&200) && statuses.contains(&502), "{statuses:?}");
    let refused = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(failed(&proxy, "stream_reset"), refused as u64);
}

#[test]
fn a_response_that_is_reset_half_way_is_cut_off() {
    let origin = H2Origin::answering(|_, mut respond| async move {
        let mut stream = begin(&mut respond, Response::builder());
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        // Sent before the reset.
        std::future::poll_fn(|cx| {
            stream.reserve_capacity(1 << 20);
            stream.poll_capacity(cx)
        })
        .await;
        tokio::task::yield_now().await;
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    client.send(get("/"));
    if let Ok(answer) = client.try_response() {
        assert_eq!(answer.status(), 502, "nothing of it had come: {answer:?}");
    }
    eventually("it is counted", || failed(&proxy, "stream_reset") >= 1);
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, _) = session.begin(request("POST", "/"), true).await;
        let ended = match response.await {
            Ok(response) if response.status() == 200 => {
                crate::http2::session::whole(response).await.map(|whole| whole.status)
            }
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(error),
        };
        assert!(!matches!(ended, Ok(200)), "half a response is not taken for a whole one");
    });
}

#[test]
fn an_endpoint_that_speaks_http_1_1_breaks_the_protocol() {
    let origin = Origin::scripted(|_, mut wire, _| {
        let _preface = wire.some();
        wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _until_closed = wire.try_rest();
    });
    let proxy = h2(&origin).start();
    assert_eq!(proxy.web().get("/").status(), 502);
    assert_eq!(failed(&proxy, "upstream_http2_error"), 1, "{:?}", proxy.failures());
}

#[test]
fn a_connection_that_is_closed_is_told_apart_from_one_that_is_refused() {
    let origin = scripted(|connection, mut server| {
        let stream = server.request();
        if connection > 0 {
            server.answer(stream, &[]);
            server.rest();
        }
    });
    let proxy = h2(&origin).start();
    let mut client = proxy.web();
    client.send(post("/", "body"));
    assert_eq!(client.response().status(), 502);
    assert_eq!(failed(&proxy, "upstream_closed"), 1, "{:?}", proxy.failures());
    assert_eq!(proxy.web().get("/").status(), 200, "by a new connection");
    let gone = origin.stop();
    let refused = Site { cluster: "protocol = \"h2\"", ..Site::of([gone]) }.start();
    assert_eq!(refused.web().get("/").status(), 502);
    assert_eq!(failed(&refused, "connect_failed"), 1);
}

#[test]
fn an_endpoint_that_falls_silent_is_asked_and_given_up() {
    let origin = scripted(|connection, mut server| {
        let stream = server.request();
        if connection > 0 {
            server.answer(stream, &[]);
        }
        // PINGs are read, and not answered.
        server.rest();
    });
    let cluster =
        "protocol = \"h2\"\nhttp2 = { ping_interval = \"100ms\", ping_timeout = \"200ms\" }";
    let proxy = Site { cluster, ..h2(&origin) }.start();
    let mut client = proxy.web();
    client.send(post("/", "body"));
    assert_eq!(client.response().status(), 504);
    assert_eq!(failed(&proxy, "upstream_ping_timeout"), 1, "{:?}", proxy.failures());
    assert_eq!(proxy.web().get("/").status(), 200, "by a new connection");
}

#[test]
fn an_endpoint_that_answers_pings_may_take_its_time() {
    let origin = scripted(|_, mut server| {
        let stream = server.request();
        // One was not enough, and none of them is the end of it.
        for _ in 0..5 {
            server.pong();
        }
        server.answer(stream, &[("x-pace", "slow")]);
        server.rest();
    });
    let cluster = "protocol = \"h2\"\nhttp2 = { ping_interval = \"20ms\", ping_timeout = \"5s\" }";
    let proxy = Site { cluster, ..h2(&origin) }.start();
    assert_eq!(proxy.web().get("/").header("x-pace"), Some("slow"));
    assert_eq!((origin.connections(), proxy.failures().len()), (1, 0));
}
