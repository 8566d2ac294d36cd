use proptest::prelude::*;

use super::options::{Setting, settings};
use super::*;
use crate::startup::FirstPacket;

fn packet(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as i32 + 4).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn startup(list: &[u8]) -> Vec<u8> {
    packet(&[b"\0\x03\0\0", list].concat())
}

fn parse(input: &[u8]) -> Result<Option<(FirstPacket<'_>, usize)>, StartupError> {
    FirstPacket::parse(input)
}

/// The parameters of a StartupMessage with this list of pairs.
fn parameters(list: &[u8]) -> Result<Vec<(String, String)>, StartupError> {
    let bytes = startup(list);
    match parse(&bytes)? {
        Some((FirstPacket::Startup(message), len)) => {
            assert_eq!(len, bytes.len());
            let pairs = message.parameters.iter();
            Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }
        other => panic!("not a StartupMessage: {other:?}"),
    }
}

#[test]
fn requests_are_told_apart() {
    let mut out = Vec::new();
    ssl_request(&mut out);
    assert_eq!(out, b"\0\0\0\x08\x04\xd2\x16\x2f");
    assert_eq!(parse(&out), Ok(Some((FirstPacket::SslRequest, 8))));

    out.clear();
    gss_request(&mut out);
    assert_eq!(out, b"\0\0\0\x08\x04\xd2\x16\x30");
    assert_eq!(parse(&out), Ok(Some((FirstPacket::GssRequest, 8))));

    assert_eq!(parse(b"\x16"), Ok(Some((FirstPacket::DirectTls, 0))));
    assert_eq!(parse(b""), Ok(None));
}

#[test]
fn cancel_keys_have_4_to_256_bytes() {
    for len in [4, 32, 256] {
        let secret = vec![7; len];
        let mut out = Vec::new();
        cancel_request(&mut out, -5, &secret);
        let expected = CancelRequest { process_id: -5, secret: &secret };
        assert_eq!(parse(&out), Ok(Some((FirstPacket::Cancel(expected), out.len()))));
    }
    for len in [0, 3, 257] {
        let mut out = Vec::new();
        cancel_request(&mut out, -5, &vec![7; len]);
        assert_eq!(parse(&out), Err(StartupError::BadCancelKey { len }));
    }
    let no_id = packet(b"\x04\xd2\x16\x2e\0\0\0");
    assert_eq!(parse(&no_id), Err(StartupError::BadCancelKey { len: 0 }));
}

#[test]
fn lengths_that_cannot_be_are_refused_early() {
    let table: &[(&[u8], i32)] = &[
        (b"\0\0\0\0", 0),
        (b"\0\0\0\x07", 7),
        (b"\0\0\x27\x11", 10_001),
        (b"\x7f\xff\xff\xff", i32::MAX),
        (b"\xff\xff\xff\xff", -1),
        (b"\x80\0\0\0", i32::MIN),
        (b"GET / HTTP/1.1\r\n", 0x4745_5420),
        (b"G", 0x4700_0000),
        (b"\0\x01", 0x1_0000),
        (b"\0\0\x28", 0x2800),
    ];
    for &(input, len) in table {
        assert_eq!(parse(input), Err(StartupError::BadLength { len }), "{input:?}");
    }
    for input in [&b"\0"[..], b"\0\0", b"\0\0\x27", b"\0\0\x27\x10", b"\0\0\0\x08\0\x03\0"] {
        assert_eq!(parse(input), Ok(None), "{input:?}");
    }
    // A request with something behind it, inside its own length.
    assert!(matches!(parse(&packet(b"\x04\xd2\x16\x2f!")), Err(StartupError::BadLength { .. })));
}

#[test]
fn versions() {
    type Case = (&'static [u8; 4], Result<u16, (u16, u16)>);
    let table: &[Case] = &[
        (b"\0\x03\0\0", Ok(0)),
        (b"\0\x03\0\x02", Ok(2)),
        (b"\0\x03\x27\x0f", Ok(9999)),
        (b"\0\x02\0\0", Err((2, 0))),
        (b"\0\x04\0\0", Err((4, 0))),
        (b"\x04\xd2\0\x01", Err((1234, 1))),
    ];
    for (word, expected) in table {
        let bytes = packet(&[&word[..], b"user\0u\0\0"].concat());
        let found = parse(&bytes).map(|first| match first {
            Some((FirstPacket::Startup(message), _)) => message.version.minor(),
            other => panic!("not a StartupMessage: {other:?}"),
        });
        let expected =
            expected.map_err(|(major, minor)| StartupError::UnsupportedVersion { major, minor });
        assert_eq!(found, expected);
    }
    let newest = ProtocolVersion::NEWEST;
    assert_eq!(ProtocolVersion::with_minor(9999).agree(newest), ProtocolVersion::V3_2);
    assert_eq!(ProtocolVersion::V3_0.agree(newest), ProtocolVersion::V3_0);
    assert!(ProtocolVersion::V3_2.has_long_secrets());
    assert!(!ProtocolVersion::V3_0.has_long_secrets());
    assert_eq!(ProtocolVersion::V3_2.to_string(), "3.2");
    assert_eq!(ProtocolVersion::V3_0.word(), 196_608);
}

#[test]
fn parameters_by_name() {
    let bytes = startup(
        b"user\0alice\0application_name\0a\0_pq_.x\x001\0options\0-c a=b\0DateStyle\0ISO\0\
          application_name\0b\0\0",
    );
    let Ok(Some((FirstPacket::Startup(message), _))) = parse(&bytes) else { panic!("a startup") };
    let parameters = message.parameters;
    assert_eq!(parameters.user(), "alice");
    assert_eq!(parameters.database(), "alice", "the user's own by default");
    assert_eq!(parameters.replication(), Replication::None);
    assert_eq!(parameters.application_name(), Some("b"), "the last one counts");
    assert_eq!(parameters.options(), Some("-c a=b"));
    assert_eq!(parameters.protocol_options().collect::<Vec<_>>(), ["_pq_.x"]);
    let settings: Vec<_> = parameters.settings().collect();
    assert_eq!(
        settings,
        [("application_name", "a"), ("DateStyle", "ISO"), ("application_name", "b")]
    );
    assert_eq!(parameters.get("nothing"), None);
}

#[test]
fn databases() {
    for (list, database) in [
        (&b"user\0u\0\0"[..], "u"),
        (b"user\0u\0database\0\0\0", "u"),
        (b"database\0d\0user\0u\0\0", "d"),
    ] {
        let bytes = startup(list);
        let Ok(Some((FirstPacket::Startup(message), _))) = parse(&bytes) else {
            panic!("{list:?}")
        };
        assert_eq!(message.parameters.database(), database);
    }
}

#[test]
fn layouts_that_are_none() {
    let table: &[(&[u8], StartupError)] = &[
        (b"", StartupError::BadLayout),
        (b"\0", StartupError::MissingUser),
        (b"user\0u", StartupError::BadLayout),
        (b"user\0u\0", StartupError::BadLayout),
        (b"user\0\0", StartupError::BadLayout),
        (b"user\0u\0\0database\0d\0\0", StartupError::BadLayout),
        (b"user\0u\0\0\0", StartupError::BadLayout),
        (b"user\0\0\0", StartupError::MissingUser),
        (b"database\0d\0\0", StartupError::MissingUser),
        (b"user\0\xff\0\0", StartupError::NotUtf8),
        (b"user\0u\0user\0v\0\0", StartupError::Duplicate { name: "user" }),
        (b"user\0u\0user\0u\0\0", StartupError::Duplicate { name: "user" }),
        (b"user\0u\0database\0a\0database\0b\0\0", StartupError::Duplicate { name: "database" }),
        (b"user\0u\0replication\0maybe\0\0", StartupError::BadReplication),
        (b"user\0u\0replication\0\0\0", StartupError::BadReplication),
        (b"user\0u\0replication\0o\0\0", StartupError::BadReplication),
    ];
    for (list, error) in table {
        assert_eq!(parameters(list), Err(*error), "{list:?}");
    }
}

#[test]
fn replication_is_a_boolean_or_database() {
    for (value, expected) in [
        ("database", Replication::Logical),
        ("true", Replication::Physical),
        ("T", Replication::Physical),
        ("yes", Replication::Physical),
        ("on", Replication::Physical),
        ("1", Replication::Physical),
        ("false", Replication::None),
        ("No", Replication::None),
        ("of", Replication::None),
        ("0", Replication::None),
    ] {
        let list = format!("user\0u\0replication\0{value}\0\0");
        let bytes = startup(list.as_bytes());
        let Ok(Some((FirstPacket::Startup(message), _))) = parse(&bytes) else { panic!("{value}") };
        assert_eq!(message.parameters.replication(), expected, "{value}");
    }
}

#[test]
fn options_hold_settings() {
    let table: &[(&str, &[(&str, &str)])] = &[
        ("", &[]),
        ("  \t ", &[]),
        ("-c a=b", &[("a", "b")]),
        ("-ca=b", &[("a", "b")]),
        ("--a=b", &[("a", "b")]),
        ("--search-path=x", &[("search_path", "x")]),
        ("-c  a=b --c=d\n-ce=", &[("a", "b"), ("c", "d"), ("e", "")]),
        (r"-c a=b\ c", &[("a", "b c")]),
        (r"-c a=b\\c", &[("a", r"b\c")]),
        (r"-c a=\-\-x\", &[("a", "--x")]),
        ("-c a=b=c", &[("a", "b=c")]),
        ("-c näme=wért", &[("näme", "wért")]),
        ("-c\x0ba=b", &[("a", "b")]),
    ];
    for (options, expected) in table {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| Setting { name: (*name).to_owned(), value: (*value).to_owned() })
            .collect();
        assert_eq!(settings(options), Ok(expected), "{options:?}");
    }
    for bad in ["-c", "-c a", "--a", "-d 3", "a=b", "-c =b", "--", "-", "-c a=b -e", r"\ -ca=b"] {
        assert_eq!(settings(bad), Err(StartupError::BadOptions), "{bad:?}");
    }
}

#[test]
fn encryption_is_asked_for_once_and_alone() {
    let (mut ssl, mut gss) = (Vec::new(), Vec::new());
    ssl_request(&mut ssl);
    gss_request(&mut gss);
    let hello = startup(b"user\0u\0\0");

    let mut opening = Opening::new();
    assert_eq!(opening.next(&gss), Ok(Some((FirstPacket::GssRequest, 8))));
    assert_eq!(opening.next(&ssl), Ok(Some((FirstPacket::SslRequest, 8))));
    assert!(matches!(opening.next(&hello), Ok(Some((FirstPacket::Startup(_), _)))));
    assert_eq!(opening.next(&ssl), Err(StartupError::Repeated));

    let injected = [&ssl[..], &hello].concat();
    let count = hello.len();
    let error = StartupError::BufferedBehindRequest { count };
    assert_eq!(Opening::new().next(&injected), Err(error));
    assert_eq!(Opening::new().next(b"\x16\x03\x01"), Ok(Some((FirstPacket::DirectTls, 0))));

    let mut inside = Opening::new();
    inside.encrypted();
    assert_eq!(inside.clone().next(&ssl), Err(StartupError::Repeated));
    assert_eq!(inside.clone().next(&gss), Err(StartupError::Repeated));
    assert_eq!(inside.next(b"\x16"), Err(StartupError::Repeated));
}

#[test]
fn what_the_pool_sends_is_what_it_reads() {
    let mut out = Vec::new();
    let session = StartupParameters { user: "alice", database: "app" };
    let further = [("application_name", "bs9"), ("", "lost"), ("a\0b", "c\0d")];
    startup_message(&mut out, ProtocolVersion::V3_2, session, further);
    let Ok(Some((FirstPacket::Startup(message), len))) = parse(&out) else { panic!("a startup") };
    assert_eq!(len, out.len());
    assert_eq!(message.version, ProtocolVersion::V3_2);
    assert_eq!((message.parameters.user(), message.parameters.database()), ("alice", "app"));
    let settings: Vec<_> = message.parameters.settings().collect();
    assert_eq!(settings, [("application_name", "bs9"), ("ab", "cd")]);
}

proptest! {
    #[test]
    fn split_at_every_byte(user in "[a-z]{1,8}", value in "[^\0]{0,20}", behind in any::<Vec<u8>>()) {
        let mut out = Vec::new();
        let session = StartupParameters { user: &user, database: "d" };
        startup_message(&mut out, ProtocolVersion::V3_0, session, [("options", &*value)]);
        let whole = out.len();
        for len in 0..whole {
            prop_assert_eq!(parse(&out[..len]), Ok(None));
        }
        let alone = out.clone();
        out.extend_from_slice(&behind);
        prop_assert_eq!(parse(&out), parse(&alone), "what follows does not matter");
        prop_assert!(matches!(parse(&out), Ok(Some((_, len))) if len == whole));
    }

    #[test]
    fn escaped_options_come_back(value in "[^\0]{0,20}") {
        let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
        let found = settings(&format!("-c name={escaped}")).unwrap();
        prop_assert_eq!(&found, &[Setting { name: "name".into(), value }]);
    }
}
