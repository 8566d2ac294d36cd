//! What bs9 itself answers to a call is said in gRPC's words, in a head that is its trailers.

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::{
    fixture::{Proxy, Site},
    h2_upstream::origin::{H2Origin, begin},
    http2::session::{Session, eventually, on_a_runtime, request, upload, whole},
    origin::Refusing,
};

/// The head of the answer to a call, which has to be all of it.
async fn called(proxy: &Proxy, path: &str) -> HeaderMap {
    let session = Session::open(proxy).await;
    let asked = request("POST", path).header("content-type", "application/grpc+proto");
    let (response, mut stream) = session.begin(asked.header("te", "trailers"), false).await;
    // It may have been answered before.
    let _all = upload(&mut stream, Bytes::from_static(&[0; 5]), true).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.body().is_end_stream(), "trailers only");
    response.headers().clone()
}

fn assert_says(head: &HeaderMap, status: &str, message: &str) {
    assert_eq!(head["grpc-status"], status, "{head:?}");
    assert_eq!(head["grpc-message"], message);
    assert_eq!(head["content-type"], "application/grpc");
    assert!(!head.contains_key("content-length"), "{head:?}");
}

#[test]
fn an_endpoint_that_is_not_there_is_unavailable() {
    let refusing = Refusing::new();
    let site = Site {
        cluster: "protocol = \"h2\"",
        listener: "reason_header = true",
        ..Site::of([refusing.address()])
    };
    let proxy = site.start();
    on_a_runtime(async {
        let head = called(&proxy, "/a.B/C").await;
        assert_says(&head, "14", "no endpoint accepted a connection");
        assert_eq!(head["x-bs9-reason"], "connect_failed");
    });
    let none = Site { cluster: "protocol = \"h2\"", ..Site::default() }.start();
    on_a_runtime(async {
        assert_says(&called(&none, "/a.B/C").await, "14", "the cluster has no endpoints");
    });
    // The words of HTTP for everybody else.
    assert_eq!(proxy.web().get("/").status(), 502);
}

#[test]
fn what_takes_too_long_has_exceeded_its_deadline() {
    let origin = silent();
    let site = Site {
        cluster: "protocol = \"h2\"",
        route: "timeout = \"200ms\"",
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    on_a_runtime(async {
        assert_says(&called(&proxy, "/a.B/C").await, "4", "the response did not begin in time");
    });
}

/// Who never answers.
fn silent() -> H2Origin {
    H2Origin::answering(|asked, respond| async move {
        let _kept = (asked, respond);
        std::future::pending::<()>().await;
    })
}

/// A call whose caller waits `timeout`, of an endpoint that never answers.
fn waited_for(timeout: &str, site: &Site) -> HeaderMap {
    let origin = silent();
    let proxy = Site { endpoints: vec![origin.address().to_string()], ..site.clone() }.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let asked = request("POST", "/a.B/C").header("content-type", "application/grpc");
        let (response, _stream) = session.begin(asked.header("grpc-timeout", timeout), false).await;
        let head = response.await.unwrap().headers().clone();
        let (_, sent) = origin.requests().into_iter().next().unwrap();
        assert_eq!(sent.headers()["grpc-timeout"], timeout, "the endpoint is told the same");
        head
    })
}

#[test]
fn the_sooner_deadline_of_caller_and_route_counts() {
    let http2 = "protocol = \"h2\"";
    let site = Site { cluster: http2, listener: "reason_header = true", ..Site::default() };
    // The request's body, which does not end, is not waited for either.
    let head = waited_for("200m", &site);
    assert_says(&head, "4", "the response did not begin in time");
    assert_eq!(head["x-bs9-reason"], "response_timeout");
    // What is no timeout shortens nothing, and what is longer than the route's does not either.
    for timeout in ["soon", "1H", "99999999H"] {
        let head =
            waited_for(timeout, &Site { listener: "body_timeout = \"200ms\"", ..site.clone() });
        assert_says(&head, "4", "the request body did not arrive in time");
    }
}

#[test]
fn a_response_that_has_begun_may_take_longer_than_the_caller_said() {
    let (pass, passed) = tokio::sync::watch::channel(false);
    let origin = H2Origin::answering(move |asked, mut respond| {
        let mut passed = passed.clone();
        async move {
            if asked.path() == "/a.B/Silent" {
                std::future::pending::<()>().await;
            }
            let head = Response::builder().header("content-type", "application/grpc");
            let mut stream = begin(&mut respond, head);
            passed.wait_for(|passed| *passed).await.unwrap();
            upload(&mut stream, Bytes::from_static(&[0; 5]), false).await.unwrap();
            let status = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
            stream.send_trailers(HeaderMap::from_iter(status)).unwrap();
        }
    });
    let proxy = Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let call = |path| {
            let asked = request("POST", path).header("content-type", "application/grpc");
            asked.header("grpc-timeout", "500m")
        };
        let (response, mut stream) = session.begin(call("/a.B/C"), false).await;
        let response = response.await.unwrap();
        // A later call, for which the same time has passed, shows that it has passed for the first.
        let late = session.ask(call("/a.B/Silent")).await;
        assert_eq!(late.header("grpc-status"), Some("4"));
        pass.send(true).unwrap();
        // More of the request does not remind anybody of it.
        upload(&mut stream, Bytes::from_static(&[0; 5]), false).await.unwrap();
        let answer = whole(response).await.unwrap();
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    });
}

#[test]
fn who_has_waited_in_the_queue_for_too_long_has_exceeded_its_deadline() {
    let origin = silent();
    let cluster = "protocol = \"h2\"\nmax_connections = 1\nqueue = { timeout = \"20s\" }";
    let proxy = Site { cluster, ..Site::of([origin.address()]) }.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let call = || request("POST", "/a.B/C").header("content-type", "application/grpc");
        let (_held, _stream) = session.begin(call(), true).await;
        eventually("it is under way", || origin.requests().len() == 1).await;
        let (response, _) = session.begin(call().header("grpc-timeout", "100m"), true).await;
        let head = response.await.unwrap().headers().clone();
        assert_says(&head, "4", "the response did not begin in time");
    });
}

#[test]
fn what_a_route_does_not_take_has_a_status_of_its_own() {
    let origin = H2Origin::named("here");
    let cases = [
        ("deny = [\"127.0.0.0/8\"]", "7", "this address is not allowed on this route"),
        ("path = \"/other.C/\"", "12", "no route matches"),
    ];
    for (route, status, message) in cases {
        let site = Site { cluster: "protocol = \"h2\"", route, ..Site::of([origin.address()]) };
        let proxy = site.start();
        on_a_runtime(async { assert_says(&called(&proxy, "/a.B/C").await, status, message) });
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn what_an_endpoint_says_in_its_head_alone_stays_as_it_is() {
    let origin = H2Origin::answering(|_, mut respond| async move {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .header("grpc-message", "there is none");
        respond.send_response(head.body(()).unwrap(), true).unwrap();
    });
    let proxy = Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }.start();
    on_a_runtime(async {
        let head = called(&proxy, "/a.B/C").await;
        assert_eq!(
            (&head["grpc-status"], &head["grpc-message"]),
            (&"5".parse().unwrap(), &"there is none".parse().unwrap())
        );
        assert!(!head.contains_key("content-length"), "{head:?}");
    });
}

#[test]
fn trailers_come_even_where_a_length_was_stated() {
    let origin = H2Origin::answering(|_, mut respond| async move {
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .header("content-length", "5");
        let mut stream = begin(&mut respond, head);
        upload(&mut stream, Bytes::from_static(&[0; 5]), false).await.unwrap();
        let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        stream.send_trailers(status).unwrap();
    });
    let proxy = Site { cluster: "protocol = \"h2\"", ..Site::of([origin.address()]) }.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let asked = request("POST", "/a.B/C").header("content-type", "application/grpc");
        let (response, _) = session.begin(asked, true).await;
        let answer = whole(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.body, [0; 5]);
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    });
}
