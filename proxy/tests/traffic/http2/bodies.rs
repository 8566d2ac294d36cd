//! Bodies as streams: the slow side sets the pace, and what waits is bounded.

use std::{
    cell::Cell,
    fs,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use bytes::Bytes;
use h2::Reason;

use super::{
    frames::{HEADERS, PING, Raw, SETTINGS, WINDOW_UPDATE, frame, get},
    session::{Session, on_a_runtime, request, upload, whole},
};
use crate::{
    fixture::{Rest, Site, eventually},
    origin::Origin,
    wire::{PATIENCE, Wire, noise, ok},
};

const LARGE: usize = 8 * 1024 * 1024;

fn memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn large_bodies_come_back_byte_for_byte_on_several_streams() {
    let origin = Origin::answering(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        [head.as_bytes(), &request.body].concat()
    });
    let proxy = Site::of([origin.address()]).start();
    let body = Bytes::from(noise(LARGE));
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            let asked = request("POST", "/").header("content-length", LARGE.to_string());
            let (response, mut stream) = session.begin(asked, false).await;
            let body = body.clone();
            let sending = tokio::spawn(async move { upload(&mut stream, body, true).await });
            let reading = tokio::spawn(async { whole(response.await.unwrap()).await.unwrap() });
            answers.push((sending, reading));
        }
        for (sending, reading) in answers {
            sending.await.unwrap().unwrap();
            assert!(reading.await.unwrap().body == body, "the body came back changed");
        }
    });
}

#[test]
fn chunks_of_every_size_come_back_byte_for_byte() {
    let origin = Origin::answering(|request| {
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &request.body[..]].concat()
    });
    let proxy = Site::of([origin.address()]).start();
    let body = Bytes::from(noise(1 << 20));
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (response, mut stream) = session.begin(request("POST", "/"), false).await;
        let sent = body.clone();
        let sending = tokio::spawn(async move {
            for (number, piece) in (1..).zip(sent.chunks(30_011)) {
                let (first, second) = piece.split_at(number % piece.len());
                upload(&mut stream, Bytes::copy_from_slice(first), false).await.unwrap();
                upload(&mut stream, Bytes::copy_from_slice(second), false).await.unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        });
        let response = whole(response.await.unwrap()).await.unwrap();
        assert!(response.body == body, "the body came back changed");
        sending.await.unwrap();
    });
}

/// Answers `/turn` at once, as often as it is asked; gives the head of the first other request.
fn other_than_turns(wire: &mut Wire) -> Option<String> {
    loop {
        let head = wire.try_head().ok()??;
        if !head.starts_with("GET /turn ") {
            return Some(head);
        }
        wire.try_send(ok("turned")).ok()?;
    }
}

/// Clients with windows wide open that read nothing must not fill our memory.
#[test]
fn what_a_hundred_stalled_streams_hold_is_bounded() {
    const STREAMS: u32 = 100;
    let offered = Arc::new(AtomicU64::new(0));
    let begun = Arc::new(AtomicU64::new(0));
    let (counted, begins) = (Arc::clone(&offered), Arc::clone(&begun));
    let origin = Origin::scripted(move |_, mut wire, _| {
        let Some(_request) = other_than_turns(&mut wire) else { return };
        begins.fetch_add(1, SeqCst);
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
        let piece = vec![7; 64 * 1024];
        while wire.try_send(&piece).is_ok() {
            counted.fetch_add(piece.len() as u64, SeqCst);
        }
    });
    let proxy = Site::of([origin.address()]).start();
    let before = memory_bytes();
    let mut raw = Raw::open(&proxy);
    let window = 1_u32 << 30;
    let setting = [[0, 4].as_slice(), &window.to_be_bytes()].concat();
    raw.send(frame(SETTINGS, 0, 0, &setting));
    raw.send(frame(WINDOW_UPDATE, 0, 0, &window.to_be_bytes()));
    (0..STREAMS).for_each(|number| raw.send(get(number * 2 + 1)));
    eventually("every stream has begun", || begun.load(SeqCst) == u64::from(STREAMS));
    let (mut rest, mut other) = (Rest::default(), proxy.web());
    eventually("the endpoints stall", || {
        assert_eq!(other.get("/turn").text(), "turned");
        rest.after_a_turn(offered.load(SeqCst))
    });
    let grown = memory_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
}

#[test]
fn a_client_is_told_how_much_it_may_send_ahead() {
    let origin = Origin::named("ok");
    let listener = "http2 = { stream_window = \"64KiB\", connection_window = \"128KiB\" }";
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let mut raw = Raw::open(&proxy);
    let settings = raw.next_of(&[SETTINGS]).payload;
    // RFC 9113 section 6.5.2: SETTINGS_INITIAL_WINDOW_SIZE.
    let window = [[0, 4].as_slice(), &(64_u32 << 10).to_be_bytes()].concat();
    assert!(settings.chunks(6).any(|setting| setting == window), "{settings:?}");
    // Section 6.9.2: a connection's window is 65,535 bytes until it is told otherwise.
    let update = raw.next_of(&[WINDOW_UPDATE]);
    let more = (128_u32 << 10) - 65_535;
    assert_eq!((update.stream, &update.payload[..]), (0, &more.to_be_bytes()[..]));
}

/// Endpoints that take nothing hold the client back: by its windows, not by our memory.
#[test]
fn what_a_hundred_uploads_to_stalled_endpoints_hold_is_bounded() {
    const STREAMS: usize = 100;
    let stalled = Arc::new(AtomicU64::new(0));
    let stalls = Arc::clone(&stalled);
    let origin = Origin::scripted(move |_, mut wire, _| {
        let Some(_request) = other_than_turns(&mut wire) else { return };
        stalls.fetch_add(1, SeqCst);
        // Its socket is closed with the test.
        thread::park_timeout(PATIENCE);
    });
    // And room for one that moves.
    let listener = "http2 = { max_concurrent_streams = 101 }";
    let proxy = Site { listener, ..Site::of([origin.address()]) }.start();
    let before = memory_bytes();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let (mut uploads, taken) = (Vec::new(), Rc::new(Cell::new(0_u64)));
        for _ in 0..STREAMS {
            let asked = request("POST", "/").header("content-length", (1_u64 << 30).to_string());
            let (response, mut stream) = session.begin(asked, false).await;
            let taken = Rc::clone(&taken);
            uploads.push(async move {
                let _response = response;
                loop {
                    stream.reserve_capacity(16 << 10);
                    let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                    let capacity = capacity.unwrap().unwrap();
                    stream.send_data(vec![7; capacity].into(), false).unwrap();
                    taken.set(taken.get() + capacity as u64);
                }
            });
        }
        let locals = tokio::task::LocalSet::new();
        uploads.into_iter().for_each(|upload| drop(locals.spawn_local(upload)));
        let all_stall = async {
            let mut rest = Rest::default();
            while stalled.load(SeqCst) < STREAMS as u64 || !rest.after_a_turn(taken.get()) {
                assert_eq!(session.get("/turn").await.text(), "turned");
            }
        };
        locals.run_until(all_stall).await;
    });
    let grown = memory_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
}

#[test]
fn an_answer_may_come_before_the_body_has_ended() {
    let origin = Origin::scripted(|_, mut wire, _| {
        while let Ok(Some(head)) = wire.try_head() {
            if head.starts_with("GET") {
                wire.send(ok("next"));
                continue;
            }
            wire.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            return;
        }
    });
    let proxy = Site::of([origin.address()]).start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let asked = request("POST", "/").header("content-length", "1000000");
        let (response, mut stream) = session.begin(asked, false).await;
        upload(&mut stream, Bytes::from_static(b"some of it"), false).await.unwrap();
        let response = whole(response.await.unwrap()).await.unwrap();
        assert_eq!((response.status, response.text()), (403, "no"));
        // RFC 9113 section 8.1: it need not send the rest.
        let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        assert_eq!(reason.unwrap(), Reason::NO_ERROR);
        assert_eq!(session.get("/").await.text(), "next");
    });
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let origin = Origin::answering(|request| ok(&request.text()));
    let site = Site { listener: "max_body_size = \"1KiB\"", ..Site::of([origin.address()]) };
    let proxy = site.start();
    on_a_runtime(async {
        let session = Session::open(&proxy).await;
        let stated = request("POST", "/").header("content-length", "1025");
        let (response, _stream) = session.begin(stated, false).await;
        assert_eq!(response.await.unwrap().status(), 413);
        let (response, mut stream) = session.begin(request("POST", "/"), false).await;
        stream.send_data(vec![7; 1025].into(), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 413);
    });
    assert_eq!(proxy.failures()["body_too_large"], 2);
}

/// The socket looks then as if it had more, and has nothing.
#[test]
fn what_fills_a_buffer_to_its_last_byte_is_not_the_end() {
    const BUFFER: usize = 16 << 10;
    let origin = Origin::named("ok");
    let proxy = Site::of([origin.address()]).start();
    let mut raw = Raw::open(&proxy);
    for number in 0..20_u64 {
        let ping = frame(PING, 0, 0, &number.to_be_bytes());
        // RFC 9113 section 5.5: frames of unknown types are ignored.
        let unknown = frame(0x42, 0, 0, &vec![0; BUFFER - 9 - ping.len()]);
        let both = [unknown, ping].concat();
        assert_eq!(both.len(), BUFFER);
        raw.send(both);
        while raw.next_of(&[PING]).payload != number.to_be_bytes() {}
    }
    raw.send(get(1));
    assert_eq!(raw.next_of(&[HEADERS]).status(), 200);
}
