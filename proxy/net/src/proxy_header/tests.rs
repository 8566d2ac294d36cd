use proptest::prelude::*;

use super::*;

fn proxied(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Proxied {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn complete(len: usize, header: ProxyHeader) -> Result<HeaderProgress, HeaderFault> {
    Ok(HeaderProgress::Complete { len, header })
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

#[test]
fn lines() {
    let v4 = proxied("192.0.2.1:56324", "198.51.100.2:443");
    let v6 = proxied("[2001:db8::1]:1", "[::1]:65535");
    for (line, header) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", v4),
        ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", v6),
        ("PROXY UNKNOWN\r\n", ProxyHeader::Local),
        ("PROXY UNKNOWN whatever 1 2 3\r\n", ProxyHeader::Local),
    ] {
        let sent = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(parse(sent.as_bytes()), complete(line.len(), header), "{line:?}");
        for end in 0..line.len() {
            assert_eq!(parse(&sent.as_bytes()[..end]), Ok(HeaderProgress::Partial), "{line:?}");
        }
    }
}

#[test]
fn lines_that_are_none() {
    for (line, fault) in [
        ("GET / HTTP/1.1\r\n", HeaderFault::Absent),
        ("POST / HTTP/1.1\r\n", HeaderFault::Absent),
        ("PROXYTCP4", HeaderFault::Absent),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", HeaderFault::Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", HeaderFault::Line),
        ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", HeaderFault::Line),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", HeaderFault::Line),
        ("PROXY TCP6 1.1.1.1 1.1.1.1 1 2\r\n", HeaderFault::Line),
        ("PROXY UDP4 1.1.1.1 1.1.1.1 1 2\r\n", HeaderFault::Line),
        ("PROXY UNKNOWNX\r\n", HeaderFault::Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", HeaderFault::Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", HeaderFault::Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", HeaderFault::Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2  2\r\n", HeaderFault::Line),
        ("PROXY \r\n", HeaderFault::Line),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(fault), "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(parse(endless.as_bytes()), Err(HeaderFault::TooLong));
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(HeaderProgress::Partial));
}

#[test]
fn binary_headers() {
    let v4 = [1, 1, 1, 1, 2, 2, 2, 2, 0, 7, 0, 8];
    let header = proxied("1.1.1.1:7", "2.2.2.2:8");
    assert_eq!(parse(&binary(0x21, 0x11, &v4)), complete(28, header));
    // Extensions follow the addresses.
    let extended = [&v4[..], &[3, 0, 1, 0]].concat();
    assert_eq!(parse(&binary(0x21, 0x12, &extended)), complete(32, header));
    assert_eq!(parse(&binary(0x20, 0, &[])), complete(16, ProxyHeader::Local));
    assert_eq!(parse(&binary(0x20, 0x11, &v4)), complete(28, ProxyHeader::Local));
    assert_eq!(parse(&binary(0x21, 0, b"xyz")), complete(19, ProxyHeader::Local));
    assert_eq!(parse(&binary(0x21, 0x31, &[0; 216])), complete(232, ProxyHeader::Local));
    for (bytes, fault) in [
        (binary(0x21, 0x11, &v4[..11]), HeaderFault::Binary),
        (binary(0x21, 0x21, &[0; 35]), HeaderFault::Binary),
        (binary(0x22, 0x11, &v4), HeaderFault::Binary),
        (binary(0x11, 0x11, &v4), HeaderFault::Binary),
        (binary(0x21, 0x41, &v4), HeaderFault::Binary),
        (binary(0x21, 0x13, &v4), HeaderFault::Binary),
        (binary(0x20, 0x00, &[0; 5000]), HeaderFault::TooLong),
        (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), HeaderFault::Absent),
        (b"\x16\x03\x01".to_vec(), HeaderFault::Absent),
    ] {
        assert_eq!(parse(&bytes), Err(fault), "{bytes:?}");
    }
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
}

proptest! {
    #[test]
    fn what_is_written_is_read_at_every_split(
        source in any_address(), destination in any_address(), rest in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        for write in [write_v1, write_v2] {
            let mut out = Vec::new();
            write(&mut out, ProxyHeader::Proxied { source, destination });
            let len = out.len();
            for end in 0..len {
                prop_assert_eq!(parse(&out[..end]), Ok(HeaderProgress::Partial));
            }
            out.extend_from_slice(&rest);
            let Ok(HeaderProgress::Complete { len: read, header: ProxyHeader::Proxied { source: s, destination: d } }) = parse(&out) else {
                return Err(TestCaseError::fail("a header"));
            };
            prop_assert_eq!(read, len);
            prop_assert_eq!(s.ip().to_canonical(), source.ip());
            prop_assert_eq!(d.ip().to_canonical(), destination.ip());
            prop_assert_eq!((s.port(), d.port()), (source.port(), destination.port()));
        }
    }

    #[test]
    fn whatever_comes_the_verdict_does_not_depend_on_how(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for begin in [&b""[..], b"PROXY ", &SIGNATURE] {
            let bytes = [begin, &bytes].concat();
            let verdict = parse(&bytes);
            if let Ok(HeaderProgress::Complete { len, .. }) = verdict {
                prop_assert!(len <= bytes.len() && len <= MAX_HEADER_BYTES);
                prop_assert_eq!(parse(&bytes[..len]), verdict);
            }
            for end in 0..bytes.len() {
                match parse(&bytes[..end]) {
                    Ok(HeaderProgress::Partial) => {}
                    early => prop_assert_eq!(early, verdict),
                }
            }
        }
    }
}
