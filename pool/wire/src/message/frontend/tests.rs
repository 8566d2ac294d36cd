use super::*;
use crate::tag::Tag as _;

fn read(tag: u8, body: &[u8]) -> Result<FrontendMessage<'_>, MessageError> {
    FrontendMessage::read(FrontendTag::from_byte(tag).unwrap(), body)
}

/// One body of each form, by the manual's "Message Formats".
fn forms() -> Vec<(u8, &'static [u8], FrontendMessage<'static>)> {
    use FrontendMessage as M;
    vec![
        (b'Q', b"select 1\0", M::Query(b"select 1")),
        (b'Q', b"\0", M::Query(b"")),
        (
            b'P',
            b"s1\0select $1\0\0\x02\0\0\0\x17\0\0\0\x19",
            M::Parse(Parse {
                statement: b"s1",
                query: b"select $1",
                parameter_types: b"\0\0\0\x17\0\0\0\x19",
            }),
        ),
        (b'P', b"\0\0\0\0", M::Parse(Parse { statement: b"", query: b"", parameter_types: b"" })),
        (
            b'B',
            b"p\0s1\0\0\0\0\x01\0\0\0\x01x\0\0",
            M::Bind(Bind { portal: b"p", statement: b"s1", rest: b"\0\0\0\x01\0\0\0\x01x\0\0" }),
        ),
        (b'D', b"Ss1\0", M::Describe(Target::Statement(b"s1"))),
        (b'D', b"P\0", M::Describe(Target::Portal(b""))),
        (b'C', b"Pp\0", M::Close(Target::Portal(b"p"))),
        (b'E', b"p\0\0\0\0\x05", M::Execute(Execute { portal: b"p", max_rows: 5 })),
        (b'E', b"\0\xff\xff\xff\xff", M::Execute(Execute { portal: b"", max_rows: -1 })),
        (b'S', b"", M::Sync),
        (b'H', b"", M::Flush),
        (b'X', b"", M::Terminate),
        (b'd', b"any\0thing", M::CopyData(b"any\0thing")),
        (b'c', b"", M::CopyDone),
        (b'f', b"why\0", M::CopyFail(b"why")),
        (b'p', b"secret\0", M::Password(b"secret\0")),
        (
            b'F',
            b"\0\0\x03\xbb\0\0\0\0\0\0",
            M::FunctionCall(FunctionCall { function: 955, rest: b"\0\0\0\0\0\0" }),
        ),
    ]
}

#[test]
fn every_form_is_read() {
    for (tag, body, message) in forms() {
        assert_eq!(read(tag, body), Ok(message), "{}", char::from(tag));
    }
}

#[test]
fn every_body_cut_short_is_refused() {
    for (tag, body, _) in forms() {
        // These end where the body ends: shorter is another message, not a broken one.
        let least = match tag {
            b'd' | b'p' => continue,
            b'B' => 5,
            b'F' => 4,
            _ => body.len(),
        };
        for len in 0..least {
            assert!(read(tag, &body[..len]).is_err(), "{} at {len}", char::from(tag));
        }
    }
}

#[test]
fn every_body_with_bytes_behind_is_refused() {
    for (tag, body, _) in forms() {
        if matches!(tag, b'd' | b'p' | b'B' | b'F') {
            continue;
        }
        let longer = [body, b"\x01"].concat();
        let error = read(tag, &longer).unwrap_err();
        assert_eq!(error, MessageError::Trailing { count: 1 }, "{}", char::from(tag));
    }
}

#[test]
fn wrong_values_are_refused() {
    assert!(matches!(read(b'D', b"X\0"), Err(MessageError::BadValue { .. })));
    assert!(matches!(read(b'C', b"\0\0"), Err(MessageError::BadValue { .. })));
    // A count of -1 is 65,535 types, which are not there.
    assert!(matches!(read(b'P', b"\0\0\xff\xff"), Err(MessageError::Truncated { .. })));
}

#[test]
fn as_many_parameters_as_the_protocol_allows() {
    let mut body = b"\0\0\xff\xff".to_vec();
    body.resize(4 + 4 * 65_535, 0);
    let FrontendMessage::Parse(parse) = read(b'P', &body).unwrap() else { panic!("a Parse") };
    assert_eq!(parse.parameter_types.len(), 4 * 65_535);
}

#[test]
fn sasl_initial_responses() {
    let table: &[(&[u8], Option<SaslInitialResponse<'_>>)] = &[
        (
            b"SCRAM-SHA-256\0\0\0\0\x03n,,",
            Some(SaslInitialResponse { mechanism: b"SCRAM-SHA-256", response: Some(b"n,,") }),
        ),
        (b"X\0\xff\xff\xff\xff", Some(SaslInitialResponse { mechanism: b"X", response: None })),
        (b"X\0\0\0\0\0", Some(SaslInitialResponse { mechanism: b"X", response: Some(b"") })),
        (b"X\0\xff\xff\xff\xfe", None),
        (b"X\0\0\0\0\x04abc", None),
        (b"X\0\0\0\0\x02abc", None),
        (b"X\0\x7f\xff\xff\xff", None),
        (b"X\0\xff\xff\xff\xff!", None),
        (b"X", None),
        (b"", None),
    ];
    for (body, expected) in table {
        assert_eq!(SaslInitialResponse::read(body).ok(), *expected, "{body:?}");
    }
    assert_eq!(password_text(b"secret\0"), Ok(&b"secret"[..]));
    assert!(password_text(b"secret").is_err());
    assert!(password_text(b"se\0cret\0").is_err());
}
