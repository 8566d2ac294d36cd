//! Endpoints that are killed, stall, reset, answer garbage, half a response or one too many, while
//! load runs: no client gets a wrong byte, and everything recovers.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use crate::{
    fixture::{Site, eventually},
    origin::Origin,
    wire::{Message, Wire, noise, ok},
};

/// What an endpoint does to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Reset,
    Close,
    Garbage,
    Half,
    HalfHead,
    OneTooMany,
    Stall,
    Unavailable,
}

const MOODS: [Mood; 8] = [
    Mood::Reset,
    Mood::Close,
    Mood::Garbage,
    Mood::Half,
    Mood::HalfHead,
    Mood::OneTooMany,
    Mood::Stall,
    Mood::Unavailable,
];

/// The only right answer to a request: it says which one it was, and goes on with bytes that
/// show when one is missing.
fn right(request: &Message) -> Vec<u8> {
    let name = request.header("x-request").unwrap_or("none");
    let mut body = format!("{name} {}|", request.text()).into_bytes();
    let size: usize = name.bytes().map(usize::from).sum::<usize>() * 7 % 9_000;
    body.extend(noise(size));
    body
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Every third request is treated badly, in one way after the other.
fn moody(mayhem: &Arc<AtomicBool>) -> Origin {
    let (mayhem, turn) = (Arc::clone(mayhem), AtomicUsize::new(0));
    let mood = move || match turn.fetch_add(1, SeqCst) {
        turn if mayhem.load(SeqCst) && turn.is_multiple_of(3) => MOODS[turn / 3 % MOODS.len()],
        _ => Mood::Well,
    };
    Origin::scripted(move |_, wire, _| play(wire, &mood))
}

fn play(mut wire: Wire, mood: &dyn Fn() -> Mood) {
    while let Ok(Some(request)) = wire.try_request() {
        let whole = answer(&right(&request));
        let sent = match mood() {
            Mood::Well => wire.try_send(whole),
            Mood::Reset => return wire.reset(),
            Mood::Close => return,
            Mood::Garbage => wire.try_send("\0\x01\x02 what is this\r\n\r\n"),
            Mood::Half => {
                let _taken_or_not = wire.try_send(&whole[..whole.len() / 2 + 20]);
                return;
            }
            Mood::HalfHead => {
                let _taken_or_not = wire.try_send("HTTP/1.1 200 OK\r\nContent-Le");
                return;
            }
            Mood::OneTooMany => wire.try_send([whole, ok("stray")].concat()),
            Mood::Stall => {
                let _cut_off = wire.try_rest();
                return;
            }
            Mood::Unavailable => wire.try_send("HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nbad"),
        };
        if sent.is_err() {
            return;
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    right: AtomicUsize,
    refused: AtomicUsize,
    cut: AtomicUsize,
}

/// Sends one request and judges what comes.
fn exchange(client: &mut Wire, name: &str, put: bool, tally: &Tally) -> bool {
    let body = if put { format!("body of {name}") } else { String::new() };
    let method = if put { "PUT" } else { "GET" };
    let length = if put { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let request =
        format!("{method} / HTTP/1.1\r\nHost: a\r\nX-Request: {name}\r\n{length}\r\n{body}");
    let sent =
        Message { head: request.split_once("\r\n\r\n").unwrap().0.to_owned(), body: body.into() };
    client.send(&request);
    let response = match client.try_response() {
        Ok(response) => response,
        Err(error) => {
            // Half a response, which nobody can take for a whole one.
            let cut = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
            assert!(cut.contains(&error.kind()), "{error}");
            tally.cut.fetch_add(1, SeqCst);
            return false;
        }
    };
    match response.status() {
        200 => {
            assert!(response.body == right(&sent), "{name}: somebody else's answer, or a bent one");
            tally.right.fetch_add(1, SeqCst);
        }
        502..=504 => {
            tally.refused.fetch_add(1, SeqCst);
        }
        other => panic!("{name}: {other}"),
    }
    !response.closes()
}

fn load(shards: usize, route: &'static str, cluster: &'static str) -> (f64, Tally) {
    const CLIENTS: usize = 6;
    const EACH: usize = 120;
    let mayhem = Arc::new(AtomicBool::new(true));
    let origins = [moody(&mayhem), moody(&mayhem), moody(&mayhem)];
    let site = Site { shards, route, cluster, ..Site::of(origins.iter().map(Origin::address)) };
    let proxy = site.start();
    let address = proxy.address("web");
    let tally = Tally::default();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (address, tally) = (&address, &tally);
            scope.spawn(move || {
                let mut client = Wire::connect(address);
                for count in 0..EACH {
                    let name = format!("{number}-{count}");
                    if !exchange(&mut client, &name, count % 4 == 3, tally) {
                        client = Wire::connect(address);
                    }
                }
            });
        }
    });
    // When it is over, everything is as it was before.
    mayhem.store(false, SeqCst);
    let calm = Tally::default();
    eventually("all endpoints take traffic", || {
        origins.iter().all(|origin| !proxy.endpoint(origin.address()).ejected)
    });
    let mut client = proxy.web();
    for count in 0..30 {
        assert!(exchange(&mut client, &format!("calm-{count}"), false, &calm));
    }
    assert_eq!(calm.right.load(SeqCst), 30);
    eventually("nothing is left under way", || {
        origins.iter().all(|origin| proxy.endpoint(origin.address()).active == 0)
    });
    let right = tally.right.load(SeqCst) as f64 / (CLIENTS * EACH) as f64;
    (right, tally)
}

const ALL_REASONS: &str = "timeout = \"20s\"\nretries = { attempts = 2, budget = 1.0, \
    per_try_timeout = \"150ms\", on = [\"connect-failure\", \"reset\", \"timeout\", \"503\"] }";
const NO_RETRIES: &str = "timeout = \"150ms\"\nretries = { attempts = 0 }";

#[test]
fn no_client_gets_a_wrong_byte_and_retries_hide_most_of_it() {
    for shards in [1, 2] {
        let (with, tally) = load(shards, ALL_REASONS, "balance = \"p2c\"");
        // What cannot be tried again: garbage, half a head, half a response.
        assert!(with > 0.75, "{with}: {tally:?}");
        assert!(tally.cut.load(SeqCst) > 0, "half a response reached somebody: {tally:?}");
    }
    let (without, tally) = load(1, NO_RETRIES, "balance = \"round-robin\"");
    assert!(without < 0.80, "{without}: {tally:?}");
}

#[test]
fn ejected_endpoints_come_back_after_the_mayhem() {
    let cluster = "balance = \"peak-ewma\"\noutlier_detection = { consecutive_failures = 2, \
        ejection_time = \"50ms\", max_ejection_time = \"200ms\" }";
    let (right, tally) = load(2, ALL_REASONS, cluster);
    assert!(right > 0.5, "{right}: {tally:?}");
}
