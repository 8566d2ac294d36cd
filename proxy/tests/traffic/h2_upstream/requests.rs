//! Requests and responses come out as they went in, whatever the version on either side.

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::origin::{Asked, H2Origin, begin, ok};
use crate::{
    fixture::Site,
    http2::session::{Session, on_a_runtime, request, upload, whole},
    wire::get,
};

pub(super) fn site(origin: &H2Origin) -> Site {
    Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }
}

#[test]
fn a_request_by_http_1_1_reaches_an_endpoint_of_http2() {
    let origin = H2Origin::named("here");
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    client.send(
        "GET /a?b=c HTTP/1.1\r\nHost: site.test:81\r\nConnection: x-hop, te\r\nX-Hop: 1\r\n\
         TE: trailers, gzip\r\nKeep-Alive: timeout=5\r\nX-Kept: as it is\r\n\r\n",
    );
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (200, "here".to_owned()));
    assert_eq!(answer.header("content-length"), Some("4"));
    assert_eq!(client.get("/").text(), "here", "the client's connection is kept");
    let requests = origin.requests();
    let (_, seen) = &requests[0];
    assert_eq!(seen.method(), "GET");
    assert_eq!(seen.uri(), "http://site.test:81/a?b=c");
    let header = |name: &str| seen.headers().get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header("x-forwarded-host"), Some("site.test:81"));
    assert_eq!(header("x-kept"), Some("as it is"));
    assert_eq!(header("te"), Some("trailers"));
    for absent in ["host", "connection", "x-hop", "keep-alive", "transfer-encoding"] {
        assert_eq!(header(absent), None, "{absent}");
    }
    assert_eq!((requests[1].0, origin.connections()), (0, 1), "one connection for both");
}

#[test]
fn answers_without_a_body_have_none() {
    let origin = H2Origin::answering(|asked, mut respond| async move {
        let status: u16 = asked.path()[1..].parse().unwrap();
        let response = Response::builder().status(status).header("x", "y").body(()).unwrap();
        respond.send_response(response, true).unwrap();
    });
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    for status in [200, 204, 304, 404] {
        client.send(get(&format!("/{status}")));
        let answer = client.response();
        assert_eq!(
            (answer.status(), answer.header("x"), answer.text()),
            (status, Some("y"), String::new())
        );
    }
    client.send("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().lines().next(), Some("HTTP/1.1 200 OK"));
    assert_eq!(client.get("/200").status(), 200, "nothing was left in between");
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        for status in [200, 204, 304] {
            assert_eq!(session.get(&format!("/{status}")).await.status, status);
        }
    });
}

/// Answers with the body and the trailers it was sent.
async fn echo(mut asked: Asked, mut respond: h2::server::SendResponse<Bytes>) {
    let (body, trailers) = asked.read().await.unwrap();
    let mut stream = begin(&mut respond, Response::builder().header("x-kind", "echo"));
    upload(&mut stream, body.into(), false).await.unwrap();
    let mut fields = trailers.unwrap_or_default();
    fields.insert("x-last", "y".parse().unwrap());
    stream.send_trailers(fields).unwrap();
}

#[test]
fn trailers_pass_both_ways_between_clients_and_endpoints_of_http2() {
    let origin = H2Origin::answering(echo);
    let proxy = site(&origin).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, mut stream) = session.begin(request("POST", "/"), false).await;
        upload(&mut stream, Bytes::from_static(b"hello"), false).await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        let answer = whole(response.await.unwrap()).await.unwrap();
        assert_eq!((answer.text(), answer.header("x-kind")), ("hello", Some("echo")));
        let trailers = answer.trailers.unwrap();
        assert_eq!(
            (&trailers["x-sum"], &trailers["x-last"]),
            (&"42".parse().unwrap(), &"y".parse().unwrap())
        );
    });
}

#[test]
fn trailers_of_http_1_1_are_trailers_of_http2() {
    let origin = H2Origin::answering(echo);
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let head = client.head();
    assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
    let mut all = Vec::new();
    while !all.ends_with(b"\r\n\r\n") {
        all.extend(client.some());
    }
    assert_eq!(
        String::from_utf8(all).unwrap(),
        "5\r\nabcde\r\n0\r\nx-sum: 42\r\nx-last: y\r\n\r\n"
    );
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let origin = H2Origin::answering(|_, mut respond| async move {
        for link in ["a", "b"] {
            let hint = Response::builder().status(103).header("link", link).body(()).unwrap();
            respond.send_informational(hint).unwrap();
        }
        ok(respond, "final").await;
    });
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    client.send(get("/"));
    for link in ["a", "b"] {
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 103 "), "{head}");
        assert!(head.lines().any(|line| line == format!("link: {link}")), "{head}");
    }
    assert_eq!(client.response().text(), "final");
}

#[test]
fn a_client_that_waits_for_100_gets_it() {
    let origin = H2Origin::answering(|mut asked, mut respond| async move {
        assert_eq!(asked.request.headers()["expect"], "100-continue");
        let go_on = Response::builder().status(100).body(()).unwrap();
        respond.send_informational(go_on).unwrap();
        let (body, _) = asked.read().await.unwrap();
        ok(respond, body).await;
    });
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 100 "));
    client.send("body");
    assert_eq!(client.response().text(), "body");
}

#[test]
fn a_head_that_does_not_fit_is_a_bad_response() {
    let origin = H2Origin::answering(|_, mut respond| async move {
        let large = Response::builder().header("x-large", "y".repeat(20_000)).body(()).unwrap();
        let _refused = respond.send_response(large, true);
    });
    let proxy = site(&origin).start();
    assert_eq!(proxy.web().get("/").status(), 502);
}

#[test]
fn the_path_of_options_may_be_an_asterisk() {
    let origin = H2Origin::named("here");
    let proxy = site(&origin).start();
    let mut client = proxy.web();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.only_request().uri().path(), "*");
}
