//! Clients that attack lose their connection, are told to be calm, and are counted.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET, GOAWAY, HEADERS, PING,
    PRIORITY, REFUSED_STREAM, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::{
    fixture::{Proxy, Site, eventually},
    origin::Origin,
};

fn ended(proxy: &Proxy, reason: &str) -> u64 {
    let id = proxy.report("web").listener.id;
    let http2 = proxy.engine.http_status(id).unwrap().http2;
    let endings = http2.map(|http2| http2.endings_total).unwrap_or_default();
    endings.iter().find(|ending| ending.reason == reason).map_or(0, |ending| ending.count)
}

fn silent() -> Origin {
    Origin::scripted(|connection, mut wire, log| {
        log.push(connection, &wire.request());
        let _until_closed = wire.try_rest();
    })
}

/// Sends until the other side has had enough, and gives the code of its GOAWAY.
fn attack(proxy: &Proxy, mut frames: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let mut raw = Raw::open(proxy);
    let mut sender = raw.0.second();
    let reading = std::thread::spawn(move || raw.next_of(&[GOAWAY]).code());
    for number in 0..200_000 {
        if reading.is_finished() || sender.try_send(frames(number)).is_err() {
            break;
        }
    }
    reading.join().expect("the attack was met by GOAWAY")
}

#[test]
fn floods_of_frames_end_the_connection() {
    let origin = Origin::named("here");
    let proxy = Site::of([origin.address()]).start();
    let floods: [(&str, Vec<u8>); 6] = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(0x42, 0, 0, b"what")),
        ("PING answers", frame(PING, 1, 0, &[0; 8])),
    ];
    for ((name, one), before) in floods.into_iter().zip(0..) {
        assert_eq!(ended(&proxy, "frame_flood"), before);
        let burst = one.repeat(10);
        assert_eq!(attack(&proxy, |_| burst.clone()), ENHANCE_YOUR_CALM, "{name}");
        eventually("it is counted", || ended(&proxy, "frame_flood") == before + 1);
    }
    let mut calm = Raw::open(&proxy);
    calm.send(get(1));
    assert_eq!(calm.next_of(&[HEADERS]).status(), 200);
}

#[test]
fn requests_begun_only_to_be_reset_end_the_connection() {
    let origin = silent();
    let site = Site { listener: "http2 = { max_resets = 20 }", ..Site::of([origin.address()]) };
    let proxy = site.start();
    // All at once, and each when its request is under way.
    let at_once = |number: u32| {
        let stream = number * 2 + 1;
        [get(stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    assert_eq!(attack(&proxy, at_once), ENHANCE_YOUR_CALM);
    let mut raw = Raw::open(&proxy);
    let before = origin.requests().len();
    for number in 0..25 {
        let stream = number as u32 * 2 + 1;
        raw.send(get(stream));
        let sent = || origin.requests().len() > before + number || number >= 20;
        eventually("the request is under way", sent);
        raw.send(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    assert_eq!(raw.expect_goaway(), ENHANCE_YOUR_CALM);
    eventually("both are counted", || {
        ended(&proxy, "rapid_reset") + ended(&proxy, "frame_flood") == 2
    });
    assert!(ended(&proxy, "rapid_reset") >= 1);
}

#[test]
fn a_header_block_without_end_ends_the_connection() {
    let origin = Origin::named("here");
    let proxy = Site::of([origin.address()]).start();
    let code = attack(&proxy, |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, &block(&GET)),
        _ => frame(CONTINUATION, 0, 1, &block(&[("x-more", "more and more")])),
    });
    assert_eq!(code, ENHANCE_YOUR_CALM);
    let empty = |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, &block(&GET)),
        _ => frame(CONTINUATION, 0, 1, &[]),
    };
    assert_eq!(attack(&proxy, empty), ENHANCE_YOUR_CALM);
    eventually("both are counted", || ended(&proxy, "frame_flood") == 2);
    assert!(origin.requests().is_empty());
}

#[test]
fn empty_frames_of_a_body_end_the_connection() {
    let origin = silent();
    let proxy = Site::of([origin.address()]).start();
    let mut post = GET;
    post[0].1 = "POST";
    let code = attack(&proxy, |number| match number {
        0 => frame(HEADERS, END_HEADERS, 1, &block(&post)),
        _ => frame(DATA, 0, 1, &[]),
    });
    assert_eq!(code, ENHANCE_YOUR_CALM);
    eventually("it is counted", || ended(&proxy, "frame_flood") == 1);
}

#[test]
fn streams_beyond_the_limit_are_refused_for_the_client_to_try_again() {
    let origin = silent();
    let listener = "http2 = { max_concurrent_streams = 3 }";
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let mut raw = Raw::open(&proxy);
    let settings = raw.next_of(&[SETTINGS]);
    let limit = [0, 3, 0, 0, 0, 3];
    assert!(settings.payload.chunks(6).any(|one| one == limit), "{settings:?}");
    for stream in [1, 3, 5, 7] {
        raw.send(get(stream));
    }
    let refused = raw.next_of(&[RST_STREAM, GOAWAY]);
    assert_eq!((refused.stream, refused.code()), (7, REFUSED_STREAM));
    eventually("the others are under way", || origin.requests().len() == 3);
}
