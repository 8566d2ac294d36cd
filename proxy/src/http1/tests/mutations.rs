//! Damaged input in bulk: nothing panics, verdicts settle, and what is accepted is forwarded with
//! the same framing.

use super::*;

const ROUNDS: usize = 100_000;

const REQUESTS: [&[u8]; 4] = [
    b"GET /a?b HTTP/1.1\r\nHost: a.example:80\r\nConnection: keep-alive\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\nhello, world",
    b"PUT http://b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
];

const RESPONSES: [&[u8]; 3] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
];

const BODY: &[u8] =
    b"5;a=\"b\\\"c\";d\r\nhello\r\n000A\r\n0123456789\r\n0\r\nX-Checksum: abc\r\n\r\nGET /";

/// Pieces that matter to the grammar.
const PIECES: [&[u8]; 22] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\0",
    b"\x7f",
    b"\xff",
    b"0",
    b"9",
    b"f",
    b"\"",
    b"\\",
    b"chunked",
    b"close",
    b"Content-Length: 7\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: b\r\n",
    b"HTTP/1.0",
];

/// xorshift64: the same inputs in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Damages `bytes` in one to four places.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(12)).min(bytes.len());
            match self.below(5) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
                2 => drop(bytes.splice(at..end, PIECES[self.below(PIECES.len())].iter().copied())),
                3 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                _ => {
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    drop(bytes.splice(to..to, copy));
                }
            }
        }
    }
}

fn check_request(bytes: &[u8], cut: usize, out: &mut Vec<u8>) {
    let verdict = request_verdict(bytes, &LIMITS);
    let early = request_verdict(&bytes[..cut], &LIMITS);
    assert!(
        early == "partial" || early == verdict,
        "{early}, then {verdict}: {}",
        bytes.escape_ascii()
    );
    let mut storage = HeaderStorage::new();
    if let Ok(Parsed::Complete(head)) = parse_request(bytes, &LIMITS, &mut storage) {
        out.clear();
        let edits = RequestEdits { host_if_absent: "h", upgrade: true, ..RequestEdits::default() };
        write_request_head(out, &head, &edits);
        assert_eq!(request_verdict(out, &LIMITS), verdict, "{}", bytes.escape_ascii());
        follow_body(BodyReader::from(head.framing), &bytes[head.head_len..], cut);
    }
}

fn check_response(bytes: &[u8], cut: usize, out: &mut Vec<u8>) {
    let request = ResponseTo { upgrade: true, ..ResponseTo::default() };
    let verdict = response_verdict(bytes, request, &LIMITS);
    let early = response_verdict(&bytes[..cut], request, &LIMITS);
    assert!(
        early == "partial" || early == verdict,
        "{early}, then {verdict}: {}",
        bytes.escape_ascii()
    );
    let mut storage = HeaderStorage::new();
    if let Ok(Parsed::Complete(head)) = parse_response(bytes, &LIMITS, request, &mut storage) {
        out.clear();
        let edits = ResponseEdits {
            keep_alive: true,
            client_version: Version::Http11,
            recode: Recode::Keep,
            set: &[],
            remove: &[],
        };
        write_response_head(out, &head, &edits);
        assert_eq!(response_verdict(out, request, &LIMITS), verdict, "{}", bytes.escape_ascii());
        follow_body(BodyReader::from(head.framing), &bytes[head.head_len..], cut);
    }
}

/// A body ends at the same place whether it comes whole or in two.
fn follow_body(reader: BodyReader, bytes: &[u8], cut: usize) {
    let (mut whole, mut halves) = (reader, reader);
    let at_once = whole.advance(bytes);
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    let in_two = halves.advance(first).and_then(|(taken, done)| {
        if done {
            return Ok((taken, done));
        }
        halves.advance(second).map(|(more, done)| (taken + more, done))
    });
    assert_eq!(at_once, in_two, "{}", bytes.escape_ascii());
}

#[test]
fn damaged_messages_are_read_the_same_by_everyone() {
    let mut seeded = Seeded(0x5eed_0001);
    let mut out = Vec::new();
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let mut request = REQUESTS[round % REQUESTS.len()].to_vec();
        seeded.damage(&mut request);
        let cut = seeded.below(request.len() + 1);
        check_request(&request, cut, &mut out);
        accepted += usize::from(!request_verdict(&request, &LIMITS).contains('_'));

        let mut response = RESPONSES[round % RESPONSES.len()].to_vec();
        seeded.damage(&mut response);
        let cut = seeded.below(response.len() + 1);
        check_response(&response, cut, &mut out);
    }
    assert!(
        (ROUNDS / 10..ROUNDS * 9 / 10).contains(&accepted),
        "the damage is neither nil nor total: {accepted}"
    );
}

#[test]
fn damaged_chunks_end_where_they_end() {
    let mut seeded = Seeded(0x5eed_0002);
    for _ in 0..ROUNDS {
        let mut body = BODY.to_vec();
        seeded.damage(&mut body);
        let cut = seeded.below(body.len() + 1);
        follow_body(BodyReader::from(BodyFraming::Chunked), &body, cut);
    }
}
