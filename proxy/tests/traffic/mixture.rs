//! Requests and responses of every kind, cut into pieces at random, and sides that leave in the middle. The random numbers
//! are always the same ones.

use std::{thread, time::Duration};

use crate::{
    fixture::{Proxy, Site, eventually},
    origin::{Log, Origin},
    wire::{Wire, noise},
};

/// Numbers that look random and can be had again.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Mostly small, sometimes large.
    fn size(&mut self) -> usize {
        let most = [1, 40, 3_000, 20_000, 200_000][self.below(5)];
        self.below(most)
    }

    fn pieces<'b>(&mut self, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let most = [2, 50, 5_000, 100_000][self.below(4)];
            let (piece, rest) = bytes.split_at(bytes.len().min(1 + self.below(most)));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }

    fn chunks(&mut self, body: &[u8]) -> Vec<u8> {
        let mut chunked = Vec::new();
        for piece in self.pieces(body) {
            chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            chunked.extend(piece);
            chunked.extend(b"\r\n");
        }
        chunked.extend(b"0\r\n");
        if self.below(3) == 0 {
            chunked.extend(b"X-Trailer: yes\r\n");
        }
        chunked.extend(b"\r\n");
        chunked
    }
}

/// How a response is framed; the request's target says it to the endpoint.
const FRAMINGS: [&str; 5] = ["length", "chunked", "nothing", "unchanged", "close"];

/// Answers `/framing/size/seed` with `size` bytes of noise, in pieces.
fn answer(_: usize, mut wire: Wire, _: &Log) {
    while let Ok(Some(request)) = wire.try_request() {
        let parts: Vec<_> = request.target().split('/').collect();
        let (framing, size, seed): (_, usize, u64) =
            (parts[1], parts[2].parse().unwrap(), parts[3].parse().unwrap());
        let (mut dice, body) = (Dice::new(seed), noise(size));
        let echo = noise_sum(&request.body);
        let head_only = request.line().starts_with("HEAD");
        let mut response = format!("HTTP/1.1 200 OK\r\nX-Sum: {echo}\r\n").into_bytes();
        match framing {
            "length" => response.extend(format!("Content-Length: {size}\r\n\r\n").into_bytes()),
            "chunked" => response.extend(b"Transfer-Encoding: chunked\r\n\r\n"),
            "nothing" => {
                response = format!("HTTP/1.1 204 No\r\nX-Sum: {echo}\r\n\r\n").into_bytes()
            }
            "unchanged" => {
                response = format!("HTTP/1.1 304 No\r\nX-Sum: {echo}\r\nContent-Length: 7\r\n\r\n")
                    .into_bytes();
            }
            // Without a body, its end does not say that the connection ends.
            _ if head_only => response.extend(b"Connection: close\r\n\r\n"),
            _ => response.extend(b"\r\n"),
        }
        match framing {
            _ if head_only => {}
            "length" | "close" => response.extend(body),
            "chunked" => response.extend(dice.chunks(&body)),
            _ => {}
        }
        for piece in dice.pieces(&response) {
            if wire.try_send(piece).is_err() {
                return;
            }
        }
        if framing == "close" {
            return;
        }
    }
}

/// Tells bodies apart.
fn noise_sum(body: &[u8]) -> u64 {
    body.iter().fold(body.len() as u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte))
}

struct Asked {
    request: Vec<u8>,
    framing: &'static str,
    head_only: bool,
    size: usize,
    sum: u64,
}

fn ask(dice: &mut Dice, framing: &'static str) -> Asked {
    let size = dice.size();
    let method = ["GET", "HEAD", "POST", "PUT", "POST"][dice.below(5)];
    let seed = dice.below(1 << 30);
    let mut request =
        format!("{method} /{framing}/{size}/{seed} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    let mut sum = noise_sum(b"");
    if matches!(method, "POST" | "PUT") {
        let length = dice.size();
        let body = noise(length);
        if dice.below(2) == 0 {
            sum = noise_sum(&body);
            request.extend(format!("Content-Length: {length}\r\n\r\n").into_bytes());
            request.extend(body);
        } else {
            let chunked = dice.chunks(&body);
            sum = noise_sum(&chunked);
            request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            request.extend(chunked);
        }
    } else {
        request.extend(b"\r\n");
    }
    Asked { request, framing, head_only: method == "HEAD", size, sum }
}

fn dechunked(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = raw.iter().position(|byte| *byte == b'\r').unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend(&raw[end + 2..][..size]);
        raw = &raw[end + 2 + size + 2..];
    }
}

fn check(client: &mut Wire, asked: &Asked) {
    let Asked { framing, head_only, size, sum, .. } = asked;
    if *head_only {
        let head = client.head();
        assert!(head.contains(&format!("X-Sum: {sum}\r\n")), "{head}");
        return;
    }
    let response = client.response();
    let known = response.header("x-sum");
    assert_eq!(known, Some(sum.to_string().as_str()), "{framing}: {}", response.head);
    let body = match *framing {
        "chunked" => dechunked(&response.body),
        _ => response.body,
    };
    let expected = if matches!(*framing, "nothing" | "unchanged") { 0 } else { *size };
    assert!(body == noise(expected), "{framing}: {} of {expected} bytes", body.len());
}

#[test]
fn pipelined_mixtures_come_out_in_order_and_whole() {
    let origin = Origin::scripted(answer);
    let proxy = Site { shards: 2, ..Site::of([origin.address()]) }.start();
    for seed in 0..150 {
        let mut dice = Dice::new(seed);
        let count = 1 + dice.below(10);
        let mut batch: Vec<_> = (0..count)
            .map(|_| {
                let framing = FRAMINGS[dice.below(4)];
                ask(&mut dice, framing)
            })
            .collect();
        // What ends with the connection can only come last.
        batch.push(ask(&mut dice, FRAMINGS[4]));
        let bytes: Vec<u8> = batch.iter().flat_map(|asked| asked.request.clone()).collect();
        let mut client = proxy.web();
        let mut sender = client.second();
        let sending = thread::spawn(move || {
            dice.pieces(&bytes).into_iter().for_each(|piece| sender.send(piece));
        });
        batch.iter().for_each(|asked| check(&mut client, asked));
        sending.join().unwrap();
    }
    assert_eq!(proxy.failures().len(), 0, "{:?}", proxy.failures());
    expect_nothing_left(&proxy, &origin);
}

fn expect_nothing_left(proxy: &Proxy, origin: &Origin) {
    eventually("nothing is open", || proxy.open_connections() == 0);
    eventually("nothing is under way", || proxy.endpoint(origin.address()).active == 0);
}

/// Like [`answer`], but hangs up now and then: after a number of bytes, in good order or not.
fn unreliable(connection: usize, wire: Wire, log: &Log) {
    let mut dice = Dice::new(connection as u64);
    match dice.below(4) {
        0 => {
            let mut wire = wire;
            let size = dice.size();
            let _cut_off = wire.try_exact(size);
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size + 1);
            let bytes = [response.into_bytes(), noise(size)].concat();
            let _cut_off = wire.try_send(&bytes[..dice.below(bytes.len())]);
            if dice.below(2) == 0 {
                wire.reset();
            }
        }
        _ => answer(connection, wire, log),
    }
}

#[test]
fn sides_that_leave_in_the_middle_leave_nothing_behind() {
    let origin = Origin::scripted(unreliable);
    let site = Site { shards: 2, ..Site::of([origin.address()]) };
    let (listener, route) = ("body_timeout = \"2s\"", "timeout = \"2s\"");
    let proxy = Site { listener, route, ..site }.start();
    let address = proxy.address("web");
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let address = address.clone();
            thread::spawn(move || {
                for round in 0..25 {
                    let mut dice = Dice::new(client * 1_000 + round);
                    let framing = FRAMINGS[dice.below(5)];
                    let asked = ask(&mut dice, framing);
                    let mut wire = Wire::connect(&address);
                    let sent = match dice.below(3) {
                        0 => dice.below(asked.request.len()),
                        _ => asked.request.len(),
                    };
                    let _cut_off = wire.try_send(&asked.request[..sent]);
                    if sent == asked.request.len() && dice.below(3) > 0 {
                        wire.socket().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                        let wanted = dice.size() + 1;
                        let _cut_off = wire.try_exact_or_silence(wanted);
                    }
                    if dice.below(2) == 0 {
                        wire.reset();
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    expect_nothing_left(&proxy, &origin);
    // And it still works.
    let sound = Origin::named("still here");
    proxy.reload(&Site { shards: 2, ..Site::of([sound.address()]) }.toml()).unwrap();
    for _ in 0..10 {
        assert_eq!(proxy.web().get("/").text(), "still here");
    }
    eventually("nothing is open", || proxy.open_connections() == 0);
}

impl Wire {
    /// Reads up to `count` bytes; stops at the end, at an error, and when nothing more comes.
    fn try_exact_or_silence(&mut self, count: usize) -> std::io::Result<()> {
        let mut socket = self.socket();
        let mut left = vec![0; count];
        let mut read = 0;
        while read < count {
            match std::io::Read::read(&mut socket, &mut left[read..])? {
                0 => return Ok(()),
                more => read += more,
            }
        }
        Ok(())
    }
}
