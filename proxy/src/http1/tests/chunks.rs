//! Chunked bodies: the grammar by table, and the scanner held against a plain decoder however bytes
//! arrive.

use proptest::prelude::*;

use super::*;

/// What follows the size of a chunk of one byte, and the verdict: `ok`, or the reason of the
/// refusal.
const EXTENSIONS: &[(&str, &str)] = &[
    ("", "ok"),
    (";a", "ok"),
    (";a=b", "ok"),
    (";a=\"b\"", "ok"),
    (";a=\"\"", "ok"),
    (";a=\"b\\\"c;d\"", "ok"),
    (";a=\"\t \u{e9}\"", "ok"),
    (";a;b=c;d=\"e\"", "ok"),
    (" ; a = b ; c", "ok"),
    ("\t;\ta\t=\tb", "ok"),
    (" ", "invalid_chunk_extension"),
    ("\t", "invalid_chunk_extension"),
    (";", "invalid_chunk_extension"),
    (";;a", "invalid_chunk_extension"),
    (";a;", "invalid_chunk_extension"),
    (";a=", "invalid_chunk_extension"),
    (";=b", "invalid_chunk_extension"),
    (";a=b=c", "invalid_chunk_extension"),
    (";a b", "invalid_chunk_extension"),
    (";a=b c", "invalid_chunk_extension"),
    (";a ", "invalid_chunk_extension"),
    (";a=b ", "invalid_chunk_extension"),
    (";a=\"b", "invalid_chunk_extension"),
    (";a=\"b\"c", "invalid_chunk_extension"),
    (";a=\"\x01\"", "invalid_chunk_extension"),
    (";a=\"\\\x01\"", "invalid_chunk_extension"),
    (";a\0", "invalid_chunk_extension"),
    (";a=\x7f", "invalid_chunk_extension"),
    (";a\nb", "invalid_chunk_line_end"),
    (";a=\"\n\"", "invalid_chunk_line_end"),
    (";a\rb", "invalid_chunk_line_end"),
    (";\u{e9}", "invalid_chunk_extension"),
];

/// Whole bodies and the verdict: the payload in brackets, `more`, or the reason of the refusal.
const BODIES: &[(&[u8], &str)] = &[
    (b"0\r\n\r\n", "[]"),
    (b"5\r\nhello\r\n0\r\n\r\n", "[hello]"),
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "[hello world]"),
    (b"A\r\n0123456789\r\n00\r\n\r\n", "[0123456789]"),
    (b"0000000000000001\r\na\r\n0\r\n\r\n", "[a]"),
    (b"1\r\na\r\n0\r\nX: y\r\nEtag:\r\n\r\n", "[a]"),
    (b"1\r\n\r\r\n0\r\n\r\n", "[\\r]"),
    (b"0;a=b\r\n\r\n", "[]"),
    (b"", "more"),
    (b"5\r\nhel", "more"),
    (b"0\r\n", "more"),
    (b"0\r\n\r", "more"),
    (b"0\r\nX: y\r\n", "more"),
    (b"\r\n", "invalid_chunk_size"),
    (b"x\r\n", "invalid_chunk_size"),
    (b" 1\r\na\r\n", "invalid_chunk_size"),
    (b"-1\r\n", "invalid_chunk_size"),
    (b"+1\r\n", "invalid_chunk_size"),
    (b"0x1\r\n", "invalid_chunk_size"),
    (b"1g\r\n", "invalid_chunk_size"),
    (b"1,\r\n", "invalid_chunk_size"),
    (b"1_0\r\n", "invalid_chunk_size"),
    (b";a\r\n", "invalid_chunk_size"),
    (b"\xd9\xa1\r\n", "invalid_chunk_size"),
    (b"00000000000000001\r\na\r\n", "chunk_size_too_long"),
    (b"10000000000000000\r\n", "chunk_size_too_long"),
    (b"8000000000000000\r\n", "chunk_size_too_long"),
    (b"ffffffffffffffff\r\n", "chunk_size_too_long"),
    (b"7fffffffffffffff\r\na", "more"),
    (b"1\na\r\n0\r\n\r\n", "invalid_chunk_line_end"),
    (b"1\r\na\n0\r\n\r\n", "invalid_chunk_line_end"),
    (b"1\r\na\r0\r\n\r\n", "invalid_chunk_line_end"),
    (b"1\r\nab\r\n0\r\n\r\n", "invalid_chunk_line_end"),
    (b"1\r\na0\r\n\r\n", "invalid_chunk_line_end"),
    (b"1\rX", "invalid_chunk_line_end"),
    (b"1\r\na\r\n\r\n0\r\n\r\n", "invalid_chunk_size"),
    (b"0\n\n", "invalid_chunk_line_end"),
    (b"0\r\n\n", "invalid_chunk_line_end"),
    (b"0\r\n\rX", "invalid_chunk_line_end"),
    (b"0\r\nX: y\n\r\n", "invalid_chunk_line_end"),
    (b"0\r\nX: y\rZ", "invalid_chunk_line_end"),
    (b"0\r\nX\r\n\r\n", "invalid_trailer"),
    (b"0\r\nX : y\r\n\r\n", "invalid_trailer"),
    (b"0\r\n: y\r\n\r\n", "invalid_trailer"),
    (b"0\r\n X: y\r\n\r\n", "invalid_trailer"),
    (b"0\r\nX: y\r\n z\r\n\r\n", "invalid_trailer"),
    (b"0\r\nX: \0\r\n\r\n", "invalid_trailer"),
    (b"0\r\nX: \x7f\r\n\r\n", "invalid_trailer"),
    (b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "invalid_trailer"),
    (b"0\r\nContent-Length: 5\r\n\r\n", "forbidden_trailer"),
    (b"0\r\ntransfer-ENCODING: chunked\r\n\r\n", "forbidden_trailer"),
    (b"0\r\nHost: a\r\n\r\n", "forbidden_trailer"),
    (b"0\r\nX: y\r\nTrailer: a\r\n\r\n", "forbidden_trailer"),
    (b"0\r\nX-Forwarded-For: a\r\n\r\n", "forbidden_trailer"),
    (b"0\r\nX-Forwarded-Client-Certificate: a\r\n\r\n", "forbidden_trailer"),
    (b"0\r\nProxy-Authorization: a\r\n\r\n", "forbidden_trailer"),
    (b"0\r\nA-Name-That-Is-Longer-Than-All-Of-Them: a\r\n\r\n", "[]"),
];

/// Scans `bytes`, given in pieces that end at `cuts`, and says what came of it and how many bytes
/// were taken.
fn scan(bytes: &[u8], cuts: &[usize]) -> (String, usize) {
    let mut scanner = ChunkedScanner::new();
    let mut payload = Vec::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        let piece = &bytes[from..cut];
        match scanner.decode_spans(piece, |span| payload.extend_from_slice(span)) {
            Ok((taken, Scan::Done)) => {
                assert!(scanner.is_done());
                return (format!("[{}]", payload.escape_ascii()), from + taken);
            }
            Ok((taken, Scan::NeedMore)) => {
                assert_eq!(taken, piece.len(), "takes everything while it needs more")
            }
            Err(error) => return (error.reason().into(), 0),
        }
        from = cut;
    }
    ("more".into(), bytes.len())
}

#[track_caller]
fn assert_body(body: &[u8], verdict: &str) {
    let whole = scan(body, &[]);
    assert_eq!(whole.0, verdict, "{}", body.escape_ascii());
    let every_byte: Vec<_> = (0..body.len()).collect();
    assert_eq!(scan(body, &every_byte), whole, "byte by byte: {}", body.escape_ascii());
    for cut in 0..body.len() {
        assert_eq!(scan(body, &[cut]), whole, "in two at {cut}: {}", body.escape_ascii());
    }
}

#[test]
fn bodies_follow_the_grammar() {
    for (body, verdict) in BODIES {
        assert_body(body, verdict);
    }
}

#[test]
fn extensions_follow_the_grammar() {
    for (extension, verdict) in EXTENSIONS {
        let body = format!("1{extension}\r\na\r\n0\r\n\r\n");
        assert_body(body.as_bytes(), if *verdict == "ok" { "[a]" } else { verdict });
    }
}

#[test]
fn everything_but_the_payload_is_bounded() {
    let one_line = |len: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "e".repeat(len));
    assert_eq!(scan(one_line(4094).as_bytes(), &[]).0, "[a]");
    assert_eq!(scan(one_line(4095).as_bytes(), &[]).0, "chunk_extensions_too_long");
    let many_lines = |count: usize| format!("{}0\r\n\r\n", "1;eeeeeee\r\na\r\n".repeat(count));
    assert_eq!(scan(many_lines(2048).as_bytes(), &[]).0, format!("[{}]", "a".repeat(2048)));
    assert_eq!(scan(many_lines(2049).as_bytes(), &[]).0, "chunk_extensions_too_long");
    let trailers = |len: usize| format!("0\r\nX: {}\r\n\r\n", "v".repeat(len));
    assert_eq!(scan(trailers(8000).as_bytes(), &[]).0, "[]");
    assert_eq!(scan(trailers(9000).as_bytes(), &[]).0, "trailers_too_long");
}

#[test]
fn what_follows_a_body_is_not_taken() {
    let body = b"1\r\na\r\n0\r\n\r\n";
    let two = [body.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
    assert_eq!(scan(&two, &[]), ("[a]".into(), body.len()));
    let mut scanner = ChunkedScanner::new();
    assert_eq!(scanner.scan(body), Ok((body.len(), Scan::Done)));
    assert_eq!(scanner.scan(b"more"), Ok((0, Scan::Done)));
}

#[test]
fn body_readers_stop_at_the_end_of_their_body() {
    let mut reader = BodyReader::from(BodyFraming::Length(5));
    assert_eq!(reader.advance(b"hel"), Ok((3, false)));
    assert!(!reader.may_end_here());
    assert_eq!(reader.advance(b""), Ok((0, false)));
    assert_eq!(reader.advance(b"lo|next"), Ok((2, true)));
    assert_eq!(reader.advance(b"next"), Ok((0, true)));
    assert!(reader.is_done());

    let mut reader = BodyReader::from(ResponseFraming::UntilClose);
    assert_eq!(reader.advance(b"all"), Ok((3, false)));
    assert!(reader.may_end_here() && !reader.is_done());

    let mut reader = BodyReader::from(ResponseFraming::Chunked);
    let mut payload = Vec::new();
    assert_eq!(
        reader.advance_decoding(b"2\r\nab\r\n0", |span| payload.extend_from_slice(span)),
        Ok((8, false))
    );
    assert!(!reader.may_end_here());
    assert_eq!(reader.advance(b"\r\n\r\nX"), Ok((4, true)));
    assert_eq!(payload, b"ab");
    assert!(reader.may_end_here());
    assert_eq!(
        BodyReader::from(BodyFraming::Chunked).advance(b"x").map_err(BodyError::reason),
        Err("invalid_chunk_size")
    );
    assert!(BodyReader::from(ResponseFraming::Tunnel).is_done());
}

/// A body decoded in the plainest way, with all of it at hand; `None` for anything that is not
/// simple and right.
fn plain_decode(mut body: &[u8]) -> Option<(Vec<u8>, usize)> {
    let whole = body.len();
    let mut payload = Vec::new();
    loop {
        let line_end = body.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&body[..line_end]);
        let digits = line.split(';').next()?.trim_end_matches([' ', '\t']);
        let size = usize::from_str_radix(digits, 16).ok()?;
        body = &body[line_end + 2..];
        if size == 0 {
            break;
        }
        payload.extend_from_slice(body.get(..size)?);
        body = body[size..].strip_prefix(b"\r\n")?;
    }
    while !body.starts_with(b"\r\n") {
        let line_end = body.windows(2).position(|pair| pair == b"\r\n")?;
        body = &body[line_end + 2..];
    }
    Some((payload, whole - (body.len() - 2)))
}

fn encoded_chunk() -> impl Strategy<Value = Vec<u8>> {
    let extension = prop::sample::select(vec!["", ";a", ";a=b", ";a=\"q q\""]);
    (prop::collection::vec(any::<u8>(), 1..40), extension, any::<bool>()).prop_map(
        |(payload, extension, upper)| {
            let size = if upper {
                format!("{:X}", payload.len())
            } else {
                format!("{:04x}", payload.len())
            };
            [size.as_bytes(), extension.as_bytes(), b"\r\n", &payload, b"\r\n"].concat()
        },
    )
}

fn encoded_body() -> impl Strategy<Value = Vec<u8>> {
    let trailers = prop::sample::select(vec!["", "X: y\r\n", "X:\r\nEtag: \"z\"\r\n"]);
    (
        prop::collection::vec(encoded_chunk(), 0..6),
        trailers,
        prop::collection::vec(any::<u8>(), 0..10),
    )
        .prop_map(|(chunks, trailers, next)| {
            [chunks.concat(), b"0\r\n".to_vec(), trailers.into(), b"\r\n".to_vec(), next].concat()
        })
}

proptest! {
    #[test]
    fn the_scanner_agrees_with_a_plain_decoder(
        body in encoded_body(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        cuts.sort_unstable();
        let (payload, taken) = plain_decode(&body).unwrap();
        prop_assert_eq!(scan(&body, &cuts), (format!("[{}]", payload.escape_ascii()), taken));
    }

    #[test]
    fn damage_never_makes_the_scanner_differ_from_the_plain_decoder(
        mut body in encoded_body(),
        place in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"\r\n \t;:=\"0a\xff\x00".to_vec()),
    ) {
        let place = place.index(body.len());
        body[place] = byte;
        let (verdict, taken) = scan(&body, &[]);
        if verdict.starts_with('[') {
            let (payload, plain_taken) = plain_decode(&body).unwrap();
            prop_assert_eq!((verdict, taken), (format!("[{}]", payload.escape_ascii()), plain_taken));
        }
        let every_byte: Vec<_> = (0..body.len()).collect();
        prop_assert_eq!(scan(&body, &every_byte), scan(&body, &[]));
    }

    #[test]
    fn chunks_we_write_are_read_back(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..600), 0..6)) {
        let mut body = Vec::new();
        for chunk in &chunks {
            write_chunk_size(&mut body, chunk.len());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        write_chunk_end(&mut body);
        prop_assert_eq!(scan(&body, &[]), (format!("[{}]", chunks.concat().escape_ascii()), body.len()));
    }
}

/// What makes room for payload says where to stop; framing passes without.
#[test]
fn no_more_payload_is_taken_than_there_is_room_for() {
    let bytes = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: v\r\n\r\n";
    for most in 0..6 {
        let (mut scanner, mut at, mut payload, mut trailer) =
            (ChunkedScanner::new(), 0, Vec::new(), Vec::new());
        loop {
            let before = payload.len();
            let take = |span: &[u8]| payload.extend_from_slice(span);
            let (len, scan) =
                scanner.decode(&bytes[at..], most, take, |byte| trailer.push(byte)).unwrap();
            at += len;
            assert!(payload.len() - before <= most, "{most}");
            match scan {
                Scan::Done => break,
                Scan::NeedMore if most == 0 && len == 0 => break,
                Scan::NeedMore => assert!(len > 0, "{most}: stopped at {at}"),
            }
        }
        let whole = (bytes.len(), &b"abcde"[..], &b"t: v\r\n\r\n"[..]);
        let expected = if most == 0 { (7, &b""[..], &b""[..]) } else { whole };
        assert_eq!((at, &payload[..], &trailer[..]), expected, "{most}");
    }
}
