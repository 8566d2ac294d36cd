use bs9_wire::{frame::Frame, message::frontend::FrontendMessage};
use proptest::prelude::*;

use super::*;
use crate::failure::FailureKind;

fn postgres(mode: QueryMode) -> Postgres {
    let identity = Identity::new("app".into(), None, "shop".into());
    Postgres::new(identity, &[Template::verbatim(b"SELECT 1")], mode, Arc::new([]))
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn tags(mut bytes: &[u8]) -> String {
    let mut tags = String::new();
    while let Some(frame) = Frame::<FrontendTag>::parse(bytes).unwrap() {
        FrontendMessage::read(frame.tag, frame.body).unwrap();
        tags.push(char::from(frame.tag as u8));
        bytes = &bytes[frame.bytes.len()..];
    }
    assert!(bytes.is_empty());
    tags
}

#[test]
fn each_mode_sends_well_formed_messages() {
    for (mode, preparation, request) in [
        (QueryMode::Simple, "", "Q"),
        (QueryMode::Extended, "", "PBDES"),
        (QueryMode::Prepared, "PS", "BDES"),
    ] {
        let postgres = postgres(mode);
        assert_eq!(tags(&postgres.preparation), preparation, "{mode}");
        assert_eq!(tags(postgres.statements[0].fixed()), request, "{mode}");
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    let mut postgres = postgres(QueryMode::Simple);
    let mut out = Vec::new();
    postgres.farewell(&mut postgres.session(), &mut out);
    assert_eq!(tags(&out), "X");
}

fn reply() -> Vec<u8> {
    [
        message(b'T', &[0, 0]),
        message(b'D', &[7; 300]),
        message(b'N', b"SNOTICE\0\0"),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat()
}

fn feed(bytes: &[u8], size: usize) -> Result<Option<Result<(), Failure>>, Failure> {
    let mut postgres = postgres(QueryMode::Simple);
    let mut session = postgres.session();
    postgres.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
    for piece in bytes.chunks(size) {
        if let Receipt::Complete(complete) =
            postgres.receive(&mut session, piece, &mut Vec::new())?
        {
            return Ok(Some(complete.outcome));
        }
    }
    postgres.ended(&mut session).map(|complete| Some(complete.outcome))
}

#[test]
fn replies_end_with_ready_for_query() {
    let error = message(b'E', b"SERROR\0C42P01\0Mno such table\0\0");
    let ready = message(b'Z', b"I");
    let failed = feed(&[error.clone(), ready.clone()].concat(), 1000).unwrap().unwrap();
    assert_eq!(failed.unwrap_err().to_string(), "query failed: 42P01 no such table");
    // The server's last word says more than that it closed.
    assert_eq!(feed(&error, 1000).unwrap_err().kind(), FailureKind::Query);
    assert_eq!(feed(&reply()[..20], 1000).unwrap_err().kind(), FailureKind::Closed);
    for broken in [
        ready,
        [reply(), message(b'D', b"late")].concat(),
        message(b'G', &[0, 0, 0]),
        message(b'R', &[0, 0, 0, 0]),
        vec![b'?', 0, 0, 0, 4],
        vec![b'D', 0, 0, 0, 1],
    ] {
        let failure = feed(&broken, 1000).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Protocol, "{broken:?}");
    }
}

#[test]
fn only_asynchronous_messages_come_unasked() {
    let mut postgres = postgres(QueryMode::Simple);
    let mut session = postgres.session();
    let parameter = message(b'S', b"TimeZone\0UTC\0");
    assert_eq!(postgres.idle(&mut session, &parameter, &mut Vec::new()), Reuse::Keep);
    let fatal = message(b'E', b"SFATAL\0C57P01\0Mterminating\0\0");
    assert_eq!(postgres.idle(&mut session, &fatal, &mut Vec::new()), Reuse::Close);
}

#[test]
fn a_server_has_to_prove_itself() {
    let identity =
        Identity::new("app".into(), Some(crate::target::Password("x".into())), "d".into());
    let mut postgres = Postgres::new(
        identity,
        &[Template::verbatim(b"SELECT 1")],
        QueryMode::Simple,
        Arc::new([]),
    );
    let mut session = postgres.session();
    let mut out = Vec::new();
    assert_eq!(postgres.connected(&mut session, &mut out).unwrap(), Login::Pending);
    let offer = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    assert_eq!(postgres.login(&mut session, &offer, &mut out).unwrap(), Login::Pending);
    let failure = postgres.login(&mut session, &message(b'R', &[0; 4]), &mut out).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Protocol);
}

#[test]
fn a_missing_password_is_said() {
    let mut postgres = postgres(QueryMode::Simple);
    let mut session = postgres.session();
    let mut out = Vec::new();
    postgres.connected(&mut session, &mut out).unwrap();
    let md5 = message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]);
    let failure = postgres.login(&mut session, &md5, &mut out).unwrap_err();
    assert!(failure.to_string().contains("PGPASSWORD"), "{failure}");
}

proptest! {
    #[test]
    fn pieces_make_no_difference(size in 1usize..40) {
        prop_assert!(matches!(feed(&reply(), size), Ok(Some(Ok(())))));
    }

    #[test]
    fn noise_is_no_reason_to_panic(noise in prop::collection::vec(any::<u8>(), 1..300), login: bool) {
        let mut postgres = postgres(QueryMode::Prepared);
        let mut session = postgres.session();
        let mut out = Vec::new();
        if login {
            postgres.connected(&mut session, &mut out).unwrap();
            let _either_way = postgres.login(&mut session, &noise, &mut out);
        } else {
            postgres.begin(&mut session, Beginning::default(), &mut Vec::new()).unwrap();
            let _either_way = postgres.receive(&mut session, &noise, &mut Vec::new());
        }
    }
}
