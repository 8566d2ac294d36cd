//! What is written is read back.

use super::backend::{self, ErrorReport};
use super::frontend;
use crate::frame::Frame;
use crate::message::backend::{Authentication, BackendKeyData, ParameterStatus, TransactionStatus};
use crate::message::frontend::{Bind, Execute, Parse, SaslInitialResponse, Target, password_text};
use crate::message::{BackendMessage, FrontendMessage};
use crate::sqlstate::SqlState;
use crate::startup::ProtocolVersion;
use crate::tag::{BackendTag, FrontendTag};

#[track_caller]
fn backend_reads(write: impl FnOnce(&mut Vec<u8>), check: impl FnOnce(BackendMessage<'_>)) {
    let mut out = b"before".to_vec();
    write(&mut out);
    let frame = Frame::<BackendTag>::parse(&out[6..]).unwrap().unwrap();
    assert_eq!(frame.bytes.len(), out.len() - 6, "one message, and nothing behind it");
    check(BackendMessage::read(frame.tag, frame.body).unwrap());
}

#[track_caller]
fn frontend_reads(write: impl FnOnce(&mut Vec<u8>), check: impl FnOnce(FrontendMessage<'_>)) {
    let mut out = b"before".to_vec();
    write(&mut out);
    let frame = Frame::<FrontendTag>::parse(&out[6..]).unwrap().unwrap();
    assert_eq!(frame.bytes.len(), out.len() - 6, "one message, and nothing behind it");
    check(FrontendMessage::read(frame.tag, frame.body).unwrap());
}

#[test]
fn backend_messages() {
    use BackendMessage as M;
    type Case = (fn(&mut Vec<u8>), BackendMessage<'static>);
    let auth = M::Authentication;
    let table: Vec<Case> = vec![
        (backend::authentication_ok, auth(Authentication::Ok)),
        (backend::authentication_cleartext, auth(Authentication::CleartextPassword)),
        (
            |out| backend::authentication_md5(out, [1, 2, 3, 4]),
            auth(Authentication::Md5Password { salt: [1, 2, 3, 4] }),
        ),
        (
            |out| backend::authentication_sasl_continue(out, b"r=x"),
            auth(Authentication::SaslContinue(b"r=x")),
        ),
        (
            |out| backend::authentication_sasl_final(out, b"v=x"),
            auth(Authentication::SaslFinal(b"v=x")),
        ),
        (
            |out| backend::parameter_status(out, b"a", b"b"),
            M::ParameterStatus(ParameterStatus { name: b"a", value: b"b" }),
        ),
        (
            |out| backend::backend_key_data(out, -7, b"key!"),
            M::BackendKeyData(BackendKeyData { process_id: -7, secret: b"key!" }),
        ),
        (
            |out| backend::ready_for_query(out, TransactionStatus::Failed),
            M::ReadyForQuery(TransactionStatus::Failed),
        ),
        (backend::parse_complete, M::ParseComplete),
        (backend::bind_complete, M::BindComplete),
        (backend::close_complete, M::CloseComplete),
        (backend::empty_query_response, M::EmptyQueryResponse),
        (backend::no_data, M::NoData),
        (|out| backend::command_complete(out, "SHOW"), M::CommandComplete(b"SHOW")),
        (
            |out| backend::data_row(out, [Some("on"), None].into_iter()),
            M::DataRow(b"\0\x02\0\0\0\x02on\xff\xff\xff\xff"),
        ),
        (
            |out| backend::row_description(out, [("a", 25)].into_iter()),
            M::RowDescription(b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"),
        ),
    ];
    for (write, expected) in table {
        backend_reads(write, |message| assert_eq!(message, expected));
    }
}

#[test]
fn sasl_offers_and_counter_offers() {
    backend_reads(
        |out| backend::authentication_sasl(out, &["SCRAM-SHA-256"]),
        |message| {
            let BackendMessage::Authentication(Authentication::Sasl(offer)) = message else {
                panic!("an offer, not {message:?}")
            };
            assert_eq!(offer.iter().collect::<Vec<_>>(), [b"SCRAM-SHA-256"]);
        },
    );
    backend_reads(
        |out| {
            let options = ["_pq_.a", "_pq_.b"].into_iter();
            backend::negotiate_protocol_version(out, ProtocolVersion::V3_2, options);
        },
        |message| {
            let BackendMessage::NegotiateProtocolVersion(offer) = message else {
                panic!("a counter-offer, not {message:?}")
            };
            assert_eq!((offer.minor, offer.count), (2, 2));
            assert_eq!(offer.unsupported().last(), Some(&b"_pq_.b"[..]));
        },
    );
}

#[test]
fn errors_and_notices() {
    let report = ErrorReport::fatal(SqlState::TOO_MANY_CONNECTIONS, "no server connection")
        .with_detail("20 of 20 active")
        .with_hint("raise pool_size");
    backend_reads(
        |out| backend::error_response(out, &report),
        |message| {
            let BackendMessage::ErrorResponse(error) = message else { panic!("an error") };
            assert!(error.is_fatal());
            assert_eq!(error.sqlstate(), Some(&b"53300"[..]));
            assert_eq!(error.message(), Some(&b"no server connection"[..]));
            assert_eq!(error.get(b'D'), Some(&b"20 of 20 active"[..]));
            assert_eq!(error.get(b'H'), Some(&b"raise pool_size"[..]));
        },
    );
    backend_reads(
        |out| backend::notice_response(out, &ErrorReport::error(SqlState::INTERNAL_ERROR, "m")),
        |message| assert!(matches!(message, BackendMessage::NoticeResponse(_))),
    );
}

#[test]
fn a_nul_in_a_string_ends_nothing_early() {
    let report = ErrorReport::error(SqlState::INTERNAL_ERROR, "a\0Cb\0\0Z");
    backend_reads(
        |out| backend::error_response(out, &report),
        |message| {
            let BackendMessage::ErrorResponse(error) = message else { panic!("an error") };
            assert_eq!(error.message(), Some(&b"aCbZ"[..]));
            assert_eq!(error.sqlstate(), Some(&b"XX000"[..]));
        },
    );
}

#[test]
fn frontend_messages() {
    use FrontendMessage as M;
    type Case = (fn(&mut Vec<u8>), FrontendMessage<'static>);
    let parse = Parse { statement: b"s", query: b"select $1", parameter_types: b"\0\0\0\x17" };
    let table: Vec<Case> = vec![
        (|out| frontend::query(out, "select 1"), M::Query(b"select 1")),
        (|out| frontend::parse(out, b"s", b"select $1", b"\0\0\0\x17"), M::Parse(parse)),
        (
            |out| frontend::describe(out, Target::Statement(b"s")),
            M::Describe(Target::Statement(b"s")),
        ),
        (|out| frontend::close(out, Target::Portal(b"p")), M::Close(Target::Portal(b"p"))),
        (frontend::sync, M::Sync),
        (frontend::flush, M::Flush),
        (frontend::terminate, M::Terminate),
        (|out| frontend::copy_fail(out, "client gone"), M::CopyFail(b"client gone")),
        (|out| frontend::sasl_response(out, b"c=biws"), M::Password(b"c=biws")),
        (
            |out| {
                frontend::bind_head(out, b"", b"s_42", 6);
                out.extend_from_slice(&[0; 6]);
            },
            M::Bind(Bind { portal: b"", statement: b"s_42", rest: &[0; 6] }),
        ),
    ];
    for (write, expected) in table {
        frontend_reads(write, |message| assert_eq!(message, expected));
    }
    assert_eq!(Execute::read(b"\0\0\0\0\0"), Ok(Execute { portal: b"", max_rows: 0 }));
}

#[test]
fn passwords_and_sasl_openings() {
    frontend_reads(
        |out| frontend::password(out, b"secret"),
        |message| {
            let FrontendMessage::Password(body) = message else { panic!("a password") };
            assert_eq!(password_text(body), Ok(&b"secret"[..]));
        },
    );
    frontend_reads(
        |out| frontend::sasl_initial_response(out, "SCRAM-SHA-256", b"n,,n=,r=x"),
        |message| {
            let FrontendMessage::Password(body) = message else { panic!("a SASL response") };
            let first = SaslInitialResponse::read(body).unwrap();
            assert_eq!(first.mechanism, b"SCRAM-SHA-256");
            assert_eq!(first.response, Some(&b"n,,n=,r=x"[..]));
        },
    );
}
