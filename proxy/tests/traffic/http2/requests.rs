//! Requests and responses come out as they went in, whatever the version in between.

use std::sync::{Arc, Barrier};

use bytes::Bytes;
use http::HeaderMap;

use super::session::{Session, on_a_runtime, request, upload, whole};
use crate::{
    fixture::{Site, eventually},
    origin::{Origin, Refusing},
    wire::{Wire, ok},
};

#[test]
fn a_request_reaches_the_endpoint_as_any_other_would() {
    let origin = Origin::named("here");
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let asked = request("GET", "/a?b=c")
            .header("x-forwarded-for", "10.9.8.7")
            .header("cookie", "one=1")
            .header("cookie", "two=2")
            .header("te", "trailers")
            .header("x-kept", "as it is");
        let response = session.ask(asked).await;
        assert_eq!((response.status, response.text()), (200, "here"));
        assert_eq!(response.header("content-length"), Some("4"));
    });
    let seen = origin.only_request();
    assert_eq!(seen.line(), "GET /a?b=c HTTP/1.1");
    assert_eq!(seen.headers("host"), ["site.test"]);
    assert_eq!(seen.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.headers("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.headers("x-forwarded-host"), ["site.test"]);
    assert_eq!(seen.headers("cookie"), ["one=1; two=2"]);
    assert_eq!(seen.headers("x-kept"), ["as it is"]);
    for absent in ["te", "connection", "transfer-encoding", "content-length"] {
        assert_eq!(seen.header(absent), None);
    }
}

#[test]
fn fields_of_a_connection_do_not_reach_a_client_of_http2() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
          Proxy-Connection: keep-alive\r\nX-Kept: yes\r\nTransfer-Encoding: chunked\r\n\r\n\
          2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n"
            .to_vec()
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let response = Session::open(&proxy).await.get("/").await;
        assert_eq!(response.text(), "abcde");
        let names: Vec<_> = response.headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["x-kept"]);
        assert!(response.trailers.is_none());
    });
}

#[test]
fn a_hundred_requests_are_under_way_at_once() {
    const STREAMS: usize = 100;
    let together = Arc::new(Barrier::new(STREAMS));
    let origin = Origin::answering(move |request| {
        together.wait();
        ok(request.target())
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let mut answers = Vec::new();
        for number in 0..STREAMS {
            answers.push(session.begin(request("GET", &format!("/{number}")), true).await.0);
        }
        for (number, answer) in answers.into_iter().enumerate() {
            let response = whole(answer.await.unwrap()).await.unwrap();
            assert_eq!(response.text(), format!("/{number}"));
        }
    });
    assert_eq!(origin.connections(), STREAMS);
    let report = proxy.report("web");
    assert_eq!(report.listener.accepted_connections(), 1);
    let status = proxy.engine.http_status(report.listener.id).unwrap();
    assert_eq!(status.requests_total, STREAMS as u64);
    let http2 = status.http2.expect("HTTP/2 was spoken");
    assert_eq!((http2.connections_total, http2.requests_total), (1, STREAMS as u64));
    assert_eq!(http2.resets_total, 0);
}

#[test]
fn answers_without_a_body_have_none() {
    let origin = Origin::scripted(|connection, mut wire, log| {
        while let Ok(Some(request)) = wire.try_request() {
            log.push(connection, &request);
            wire.send(match request.target() {
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            });
        }
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        for (method, path, status, length) in [
            ("HEAD", "/head", 200, Some("10")),
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, Some("7")),
            ("GET", "/empty", 200, Some("0")),
        ] {
            let response = session.ask(request(method, path)).await;
            assert_eq!((response.status, response.text()), (status, ""), "{path}");
            assert_eq!(response.header("content-length"), length, "{path}");
        }
    });
    assert_eq!(origin.connections(), 1, "the endpoint's connection is kept");
}

#[test]
fn a_body_is_framed_by_its_length_or_in_chunks() {
    let origin = Origin::answering(|request| ok(&request.text()));
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        for asked in [request("POST", "/").header("content-length", "5"), request("POST", "/")] {
            let (response, mut body) = session.begin(asked, false).await;
            upload(&mut body, Bytes::from_static(b"hel"), false).await.unwrap();
            upload(&mut body, Bytes::from_static(b"lo"), true).await.unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        }
    });
    let requests = origin.requests();
    let (sized, chunked) = (&requests[0].1, &requests[1].1);
    assert_eq!((sized.header("content-length"), sized.text().as_str()), (Some("5"), "hello"));
    assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    assert!(chunked.text().ends_with("\r\n0\r\n\r\n"), "{:?}", chunked.text());
}

#[test]
fn trailers_pass_both_ways() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
          4\r\nbody\r\n0\r\nGrpc-Status: 0\r\nX-Sum: a b\r\n\r\n"
            .to_vec()
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, mut body) = session.begin(request("POST", "/"), false).await;
        body.send_data(Bytes::from_static(b"ask"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().unwrap());
        body.send_trailers(trailers).unwrap();
        let response = whole(response.await.unwrap()).await.unwrap();
        assert_eq!(response.text(), "body");
        let trailers = response.trailers.expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-sum"], "a b");
    });
    let body = origin.only_request().text();
    assert_eq!(body, "3\r\nask\r\n0\r\nx-checksum: abc\r\n\r\n");
}

#[test]
fn a_trailer_that_frames_or_routes_is_refused() {
    let origin = Origin::named("never");
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, mut body) = session.begin(request("POST", "/"), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
        body.send_trailers(trailers).unwrap();
        assert_eq!(response.await.unwrap().status(), 400);
    });
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let origin = Origin::scripted(|_, mut wire, _| {
        let head = wire.head();
        assert!(head.to_ascii_lowercase().contains("\r\nexpect: 100-continue\r\n"), "{head}");
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(wire.exact(4), b"body");
        wire.send(ok("done"));
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let asked =
            request("POST", "/").header("expect", "100-continue").header("content-length", "4");
        let (mut response, mut body) = session.begin(asked, false).await;
        for status in [103, 100] {
            let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
            assert_eq!(interim.unwrap().unwrap().status(), status);
        }
        upload(&mut body, Bytes::from_static(b"body"), true).await.unwrap();
        assert_eq!(whole(response.await.unwrap()).await.unwrap().text(), "done");
    });
}

#[test]
fn the_proxy_answers_for_itself_what_it_does_for_any_client() {
    let rest = "[[listeners.web.routes]]\npath = \"/moved\"\nredirect = \"https://else.test/\"\n\
                [[listeners.web.routes]]\npath = \"/fixed\"\nrespond = { status = 418, body = \"tea\" }\n\
                [listeners.other]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
                [[listeners.other.routes]]\nhost = \"x\"\nrespond = { status = 200 }\n";
    let refusing = Refusing::new();
    let site =
        Site { rest: rest.to_owned(), route: "path = \"/app\"", ..Site::of([refusing.address()]) };
    let proxy = site.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let moved = session.get("/moved").await;
        assert_eq!((moved.status, moved.header("location")), (308, Some("https://else.test/")));
        let fixed = session.get("/fixed").await;
        assert_eq!((fixed.status, fixed.text()), (418, "tea"));
        assert_eq!(session.get("/nowhere").await.status, 404);
        assert_eq!(session.get("/app").await.status, 502);
        assert_eq!(session.ask(request("HEAD", "/fixed")).await.text(), "");
    });
    assert_eq!(proxy.failures()["no_route"], 1);
    assert_eq!(proxy.failures()["connect_failed"], 1);
}

#[test]
fn another_endpoint_is_tried_when_one_refuses() {
    let (refusing, origin) = (Refusing::new(), Origin::named("here"));
    let proxy = Site::of([refusing.address(), origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        for _ in 0..4 {
            assert_eq!(session.get("/").await.text(), "here");
        }
    });
}

#[test]
fn a_response_that_ends_with_its_connection_is_whole_and_one_cut_off_is_not() {
    let origin = Origin::scripted(|_, mut wire, _| {
        let whole = wire.request().target() == "/whole";
        if whole {
            wire.send("HTTP/1.1 200 OK\r\n\r\nall of it");
        } else {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome of it");
        }
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        assert_eq!(session.get("/whole").await.text(), "all of it");
        let (response, _) = session.begin(request("GET", "/cut"), true).await;
        // The reset may overtake what is still to be sent, the head included.
        let error = match response.await {
            Ok(response) => whole(response).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        assert_eq!(session.get("/whole").await.text(), "all of it", "the connection goes on");
    });
}

#[test]
fn a_request_that_was_given_up_ends_at_the_endpoint() {
    let (ended, wait) = std::sync::mpsc::channel();
    let origin = Origin::scripted(move |connection, mut wire: Wire, log| {
        log.push(connection, &wire.request());
        wire.expect_closed();
        ended.send(()).unwrap();
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, mut stream) = session.begin(request("GET", "/"), true).await;
        super::session::eventually("it is under way", || !origin.requests().is_empty()).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop(response);
        let closed = || wait.try_recv().is_ok();
        super::session::eventually("the endpoint's connection is closed", closed).await;
    });
    let id = proxy.report("web").listener.id;
    eventually("the reset is counted", || {
        let status = proxy.engine.http_status(id).unwrap();
        status.http2.is_some_and(|http2| http2.resets_total == 1)
    });
}

#[test]
fn each_request_has_timeouts_of_its_own() {
    let origin = Origin::scripted(|_, mut wire, _| {
        while let Ok(Some(head)) = wire.try_head() {
            if head.starts_with("GET /fast") {
                wire.send(ok("fast"));
            } else {
                let _until_closed = wire.try_rest();
                return;
            }
        }
    });
    let site = Site {
        route: "timeout = \"1s\"",
        listener: "body_timeout = \"1s\"",
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (slow, _) = session.begin(request("GET", "/slow"), true).await;
        let (stalled, mut body) = session.begin(request("POST", "/stalled"), false).await;
        body.send_data(Bytes::from_static(b"x"), false).unwrap();
        assert_eq!(session.get("/fast").await.text(), "fast");
        assert_eq!(slow.await.unwrap().status(), 504);
        assert_eq!(stalled.await.unwrap().status(), 408);
        assert_eq!(session.get("/fast").await.text(), "fast");
    });
}
