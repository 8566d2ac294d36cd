//! PostgreSQL messages: entered in the ledger when sent, checked off when
//! answered, as the pool's relay does it.

use std::hint::black_box;

use bs9_wire::encode::{backend, frontend};
use bs9_wire::frame::{FrameCursor, HEADER_LEN, Header, Step};
use bs9_wire::ledger::{Ledger, Origin, Request, Verdict};
use bs9_wire::message::backend::TransactionStatus;
use bs9_wire::message::frontend::Target;
use bs9_wire::tag::{BackendTag, FrontendTag};

const LEDGER_LIMIT: usize = 1024;
/// Rows of a scan, and the bytes of the stream that are read at once.
const ROWS: usize = 1_000;
const READ_BYTES: usize = 16 * 1024;

const QUERY: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;";

/// One query with one row for an answer.
pub(super) fn simple_query() -> Box<dyn FnMut()> {
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    frontend::query(&mut request, QUERY);
    backend::row_description(&mut reply, [("abalance", 23)].into_iter());
    one_row(&mut reply);
    cycle(request, reply)
}

/// The same with the five messages of the extended protocol.
pub(super) fn extended_query() -> Box<dyn FnMut()> {
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    frontend::parse(
        &mut request,
        b"",
        b"SELECT abalance FROM pgbench_accounts WHERE aid = $1",
        &[],
    );
    // One parameter, in text, and the result in text.
    let parameters = *b"\0\0\0\x01\0\0\0\x044711\0\0";
    frontend::bind_head(&mut request, b"", b"", parameters.len());
    request.extend_from_slice(&parameters);
    frontend::describe(&mut request, Target::Portal(b""));
    // Execute of the unnamed portal, all rows.
    request.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
    frontend::sync(&mut request);
    backend::parse_complete(&mut reply);
    backend::bind_complete(&mut reply);
    backend::row_description(&mut reply, [("abalance", 23)].into_iter());
    one_row(&mut reply);
    cycle(request, reply)
}

fn one_row(reply: &mut Vec<u8>) {
    backend::data_row(reply, [Some("-1820")].into_iter());
    backend::command_complete(reply, "SELECT 1");
    backend::ready_for_query(reply, TransactionStatus::Idle);
}

/// `request` sent and `reply` received; the server is clean before and after.
fn cycle(request: Vec<u8>, reply: Vec<u8>) -> Box<dyn FnMut()> {
    let mut ledger = Ledger::new(LEDGER_LIMIT);
    Box::new(move || {
        let mut unread = black_box(&*request);
        while let Some(header) = head::<FrontendTag>(unread) {
            let entry = Request::of(header.tag, unread.get(HEADER_LEN).copied());
            let entry = entry.expect("all of them are requests");
            let _ = ledger.expect(entry, Origin::Client, 0).expect("the ledger has room");
            unread = &unread[header.total_len()..];
        }
        let mut unread = black_box(&*reply);
        while let Some(header) = head::<BackendTag>(unread) {
            let body = &unread[HEADER_LEN..header.total_len()];
            let observed = match header.tag {
                BackendTag::ReadyForQuery => {
                    ledger.ready(TransactionStatus::read(body).expect("a status is one of three"))
                }
                tag => ledger.observe(tag),
            };
            let observed = observed.expect("the replies are those asked for");
            assert_eq!(observed.verdict, Verdict::Forward);
            unread = &unread[header.total_len()..];
        }
        assert!(ledger.is_clean());
    })
}

fn head<T: bs9_wire::tag::Tag>(unread: &[u8]) -> Option<Header<T>> {
    Header::parse(unread).expect("the messages are well formed")
}

/// A thousand rows, read in pieces that cut messages anywhere.
pub(super) fn row_scan() -> Box<dyn FnMut()> {
    let mut stream = Vec::new();
    let row = ["4711", "1", "-1820", "the quick brown fox jumps over the lazy dog", ""].map(Some);
    (0..ROWS).for_each(|_| backend::data_row(&mut stream, row.into_iter()));
    Box::new(move || {
        let mut cursor = FrameCursor::<BackendTag>::new();
        let (mut at, mut rows) = (0, 0);
        let mut received = READ_BYTES;
        while at < stream.len() {
            let here = &black_box(&*stream)[at..received.min(stream.len())];
            match cursor.step(here).expect("the messages are well formed") {
                Step::Incomplete => received += READ_BYTES,
                Step::Start { bytes, ends, .. } | Step::Continue { bytes, ends } => {
                    at += bytes.len();
                    rows += usize::from(ends);
                }
            }
        }
        assert_eq!(rows, ROWS);
    })
}
