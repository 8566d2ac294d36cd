use super::*;
use crate::tag::Tag as _;

fn read(tag: u8, body: &[u8]) -> Result<BackendMessage<'_>, MessageError> {
    BackendMessage::read(BackendTag::from_byte(tag).unwrap(), body)
}

#[test]
fn every_form_is_read() {
    use BackendMessage as M;
    let key = |secret| M::BackendKeyData(BackendKeyData { process_id: 7, secret });
    let auth = M::Authentication;
    let table: Vec<(u8, &[u8], BackendMessage<'_>)> = vec![
        (b'R', b"\0\0\0\0", auth(Authentication::Ok)),
        (b'R', b"\0\0\0\x03", auth(Authentication::CleartextPassword)),
        (b'R', b"\0\0\0\x05salt", auth(Authentication::Md5Password { salt: *b"salt" })),
        (b'R', b"\0\0\0\x0br=x", auth(Authentication::SaslContinue(b"r=x"))),
        (b'R', b"\0\0\0\x0cv=x", auth(Authentication::SaslFinal(b"v=x"))),
        (b'R', b"\0\0\0\x07", auth(Authentication::Unsupported { code: 7 })),
        (b'K', b"\0\0\0\x07abcd", key(b"abcd")),
        (
            b'K',
            b"\0\0\0\x070123456789abcdef0123456789abcdef",
            key(b"0123456789abcdef0123456789abcdef"),
        ),
        (
            b'S',
            b"TimeZone\0UTC\0",
            M::ParameterStatus(ParameterStatus { name: b"TimeZone", value: b"UTC" }),
        ),
        (
            b'A',
            b"\0\0\0\x07chan\0\0",
            M::NotificationResponse(Notification { process_id: 7, channel: b"chan", payload: b"" }),
        ),
        (b'C', b"SELECT 1\0", M::CommandComplete(b"SELECT 1")),
        (b'Z', b"I", M::ReadyForQuery(TransactionStatus::Idle)),
        (b'Z', b"T", M::ReadyForQuery(TransactionStatus::InTransaction)),
        (b'Z', b"E", M::ReadyForQuery(TransactionStatus::Failed)),
        (b'1', b"", M::ParseComplete),
        (b'2', b"", M::BindComplete),
        (b'3', b"", M::CloseComplete),
        (b'I', b"", M::EmptyQueryResponse),
        (b'n', b"", M::NoData),
        (b's', b"", M::PortalSuspended),
        (b'c', b"", M::CopyDone),
        (b'd', b"row", M::CopyData(b"row")),
        (b'D', b"\0\0", M::DataRow(b"\0\0")),
        (b'T', b"\0\0", M::RowDescription(b"\0\0")),
        (b't', b"\0\0", M::ParameterDescription(b"\0\0")),
        (b'G', b"\0\0\0", M::CopyInResponse(b"\0\0\0")),
        (b'H', b"\0\0\0", M::CopyOutResponse(b"\0\0\0")),
        (b'W', b"\0\0\0", M::CopyBothResponse(b"\0\0\0")),
        (b'V', b"\xff\xff\xff\xff", M::FunctionCallResponse(b"\xff\xff\xff\xff")),
    ];
    for (tag, body, message) in table {
        assert_eq!(read(tag, body), Ok(message), "{} {body:?}", char::from(tag));
    }
}

#[test]
fn malformed_bodies_are_refused() {
    let table: &[(u8, &[u8])] = &[
        (b'R', b""),
        (b'R', b"\0\0\0"),
        (b'R', b"\0\0\0\0x"),
        (b'R', b"\0\0\0\x05sal"),
        (b'R', b"\0\0\0\x05salty"),
        (b'R', b"\0\0\0\x0a"),
        (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0"),
        (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0x"),
        (b'K', b"\0\0\0\x07abc"),
        (b'K', b"\0\0\0"),
        (b'S', b"TimeZone\0UTC"),
        (b'S', b"TimeZone\0"),
        (b'S', b"TimeZone\0UTC\0x"),
        (b'A', b"\0\0\0\x07chan\0"),
        (b'C', b"SELECT 1"),
        (b'C', b""),
        (b'Z', b""),
        (b'Z', b"X"),
        (b'Z', b"II"),
        (b'1', b"x"),
        (b'c', b"x"),
        (b'E', b""),
        (b'E', b"SERROR"),
        (b'E', b"SERROR\0"),
        (b'E', b"\0x"),
        (b'v', b"\0\x03\0\0"),
        (b'v', b"\0\x03\0\0\0\0\0\x01"),
        (b'v', b"\0\x03\0\0\xff\xff\xff\xff"),
        (b'v', b"\0\x03\0\0\0\0\0\0x"),
    ];
    for (tag, body) in table {
        assert!(read(*tag, body).is_err(), "{} {body:?}", char::from(*tag));
    }
    let long_secret = [&b"\0\0\0\x07"[..], &[b'k'; 257]].concat();
    assert!(read(b'K', &long_secret).is_err());
    assert!(read(b'K', &long_secret[..260]).is_ok());
}

#[test]
fn mechanisms_are_listed_in_order() {
    let body = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    let Ok(Authentication::Sasl(mechanisms)) = Authentication::read(body) else {
        panic!("a list of mechanisms")
    };
    let names: Vec<_> = mechanisms.iter().collect();
    assert_eq!(names, [&b"SCRAM-SHA-256-PLUS"[..], b"SCRAM-SHA-256"]);
    assert!(mechanisms.offers("SCRAM-SHA-256"));
    assert!(!mechanisms.offers("SCRAM-SHA"));
}

#[test]
fn an_error_may_lack_any_field() {
    let full = Report::read(b"SFEHLER\0VERROR\0C42P01\0Mno such table\0Hlook again\0\0").unwrap();
    assert_eq!(full.severity(), Some(&b"ERROR"[..]), "the untranslated one");
    assert_eq!(full.sqlstate(), Some(&b"42P01"[..]));
    assert_eq!(full.message(), Some(&b"no such table"[..]));
    assert_eq!(full.get(b'H'), Some(&b"look again"[..]));
    assert_eq!(full.fields().count(), 5);
    assert!(!full.is_fatal());

    let old = Report::read(b"SFATAL\0\0").unwrap();
    assert!(old.is_fatal());
    assert_eq!((old.sqlstate(), old.message()), (None, None));

    let empty = Report::read(b"\0").unwrap();
    assert_eq!((empty.severity(), empty.is_fatal()), (None, false));
    assert_eq!(empty.fields().count(), 0);
}

#[test]
fn a_counter_offer_names_version_and_options() {
    let body = b"\0\x03\0\x02\0\0\0\x02_pq_.a\0_pq_.b\0";
    let offer = NegotiateProtocolVersion::read(body).unwrap();
    assert_eq!((offer.minor, offer.count), (2, 2));
    assert_eq!(offer.unsupported().collect::<Vec<_>>(), [&b"_pq_.a"[..], b"_pq_.b"]);
    // By the manual's letter: the minor number alone.
    assert_eq!(NegotiateProtocolVersion::read(b"\0\0\0\0\0\0\0\0").unwrap().minor, 0);
}
