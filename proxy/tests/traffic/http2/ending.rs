//! Connections begin as HTTP/2 where that is spoken, and end in good order.

use std::sync::mpsc;

use super::{
    frames::{GOAWAY, HEADERS, PING, PREFACE, Raw, frame, get},
    session::{Session, eventually, on_a_runtime, request, whole},
};
use crate::{
    fixture::Site,
    origin::Origin,
    wire::{PATIENCE, ok},
};

fn until_told() -> (mpsc::Sender<()>, Origin) {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            let _test_over = wait.lock().unwrap().recv_timeout(PATIENCE);
        }
        ok("finished")
    });
    (go_on, origin)
}

#[test]
fn a_drain_says_goaway_and_what_is_under_way_finishes() {
    let (go_on, origin) = until_told();
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let busy = Session::open(&proxy).await;
        let idle = Session::open(&proxy).await;
        assert_eq!(idle.get("/").await.text(), "finished");
        let (response, _) = busy.begin(request("GET", "/slow"), true).await;
        eventually("it is under way", || origin.requests().len() == 2).await;
        let ended = proxy.drain(PATIENCE);
        idle.ended.await.unwrap().expect("GOAWAY without an error");
        assert!(ended.try_recv().is_err(), "a request is still under way");
        go_on.send(()).unwrap();
        assert_eq!(whole(response.await.unwrap()).await.unwrap().text(), "finished");
        busy.ended.await.unwrap().expect("GOAWAY without an error");
        eventually("the drain ends", || ended.try_recv().is_ok()).await;
    });
}

#[test]
fn a_listener_that_goes_says_goaway_and_others_stay() {
    let (go_on, origin) = until_told();
    let site = Site::of([origin.address()]);
    let proxy = site.start();
    let other = "[listeners.other]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
                 [[listeners.other.routes]]\ncluster = \"app\"\n\
                 [runtime]\nshards = 1\npin = false\n";
    let without = format!("{other}[clusters.app]\nendpoints = [\"{}\"]\n", origin.address());
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, _) = session.begin(request("GET", "/slow"), true).await;
        eventually("it is under way", || origin.requests().len() == 1).await;
        // The same again: nothing ends.
        proxy.reload(&site.toml()).unwrap();
        assert_eq!(session.get("/").await.text(), "finished");
        proxy.reload(&without).unwrap();
        go_on.send(()).unwrap();
        assert_eq!(whole(response.await.unwrap()).await.unwrap().text(), "finished");
        session.ended.await.unwrap().expect("GOAWAY without an error");
    });
}

#[test]
fn a_connection_without_requests_is_closed_in_time() {
    let origin = Origin::named("here");
    let site = Site { listener: "idle_timeout = \"200ms\"", ..Site::of([origin.address()]) };
    let proxy = site.start();
    let mut raw = Raw::open(&proxy);
    raw.send(get(1));
    assert_eq!(raw.next_of(&[HEADERS]).status(), 200);
    assert_eq!(raw.next_of(&[GOAWAY]).code(), 0);
    while raw.try_next().is_ok() {}
}

#[test]
fn a_preface_that_stops_half_way_is_closed_in_time() {
    let origin = Origin::named("here");
    let site = Site {
        listener: "head_timeout = \"200ms\"\nidle_timeout = \"200ms\"",
        ..Site::of([origin.address()])
    };
    let proxy = site.start();
    for sent in [10, PREFACE.len() - 1, PREFACE.len()] {
        let mut client = proxy.web();
        client.send(&PREFACE[..sent]);
        let _frames_or_an_answer = client.try_rest();
    }
}

#[test]
fn a_preface_in_pieces_is_a_preface() {
    let origin = Origin::named("here");
    let proxy = Site::of([origin.address()]).start();
    let mut wire = proxy.web();
    for byte in PREFACE {
        wire.send([*byte]);
    }
    let mut raw = Raw(wire);
    raw.send(frame(4, 0, 0, &[]));
    for byte in [frame(PING, 0, 0, b"pingpong"), get(1)].concat() {
        raw.send([byte]);
    }
    assert_eq!(raw.next_of(&[PING]).payload, b"pingpong");
    assert_eq!(raw.next_of(&[HEADERS]).status(), 200);
    assert_eq!(origin.only_request().line(), "GET / HTTP/1.1");
}

#[test]
fn where_it_is_switched_off_the_preface_is_a_bad_request() {
    let origin = Origin::named("here");
    let proxy = Site { listener: "http2 = false", ..Site::of([origin.address()]) }.start();
    let mut client = proxy.web();
    client.send(PREFACE);
    assert_eq!(client.response().status(), 505);
    assert_eq!(proxy.web().get("/").text(), "here");
}
