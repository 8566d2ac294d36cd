use proptest::prelude::*;

use super::*;
use crate::{
    frame::Frame,
    tag::{BackendTag, Tag as _},
};

/// One pipelined round: a batch that works, one that fails, a query.
fn round(ledger: &mut Ledger) {
    use Request as R;
    let client = Origin::Client;
    for request in [R::Parse, R::Bind, R::Execute, R::Sync, R::Bind, R::Execute, R::Sync, R::Query]
    {
        assert_eq!(ledger.expect(request, client, 0), Ok(Placed::Owed));
    }
    for tag in [BackendTag::ParseComplete, BackendTag::BindComplete, BackendTag::CommandComplete] {
        assert!(ledger.observe(tag).is_ok());
    }
    assert!(ledger.ready(TransactionStatus::Idle).is_ok());
    assert!(ledger.observe(BackendTag::ErrorResponse).is_ok());
    while ledger.settle().is_some() {}
    assert!(ledger.ready(TransactionStatus::Idle).is_ok());
    assert!(ledger.observe(BackendTag::CommandComplete).is_ok());
    assert!(ledger.ready(TransactionStatus::Idle).is_ok());
    assert!(ledger.is_clean());
}

#[test]
fn the_queue_stops_growing() {
    let mut ledger = Ledger::new(1024);
    round(&mut ledger);
    let capacity = ledger.queue.capacity();
    for _ in 0..1000 {
        round(&mut ledger);
    }
    assert_eq!(ledger.queue.capacity(), capacity);
    ledger.reset();
    assert_eq!(ledger.queue.capacity(), capacity, "memory is kept for the next connection");
    assert_eq!(size_of::<Entry>(), 8, "as the limit's documentation says");
}

fn message(tag: u8, len: u32) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend(len.to_be_bytes());
    message.resize(1 + len.max(4) as usize, 0);
    message
}

/// Ledgers in which a client's query, and what is not one, is answered next.
fn ledgers() -> impl Strategy<Value = Ledger> {
    let request = prop::sample::select(vec![
        Request::Query,
        Request::Execute,
        Request::DescribeStatement,
        Request::FunctionCall,
        Request::Sync,
    ]);
    let origin = prop::sample::select(vec![Origin::Client, Origin::Pool]);
    let tags = prop::collection::vec(prop::sample::select(b"TDCEIGH".to_vec()), 0..3);
    (prop::collection::vec((request, origin), 0..3), tags).prop_map(|(requests, tags)| {
        let mut ledger = Ledger::new(16);
        for (request, origin) in requests {
            let _refused = ledger.expect(request, origin, 0);
        }
        for tag in tags {
            let _out_of_place = ledger.observe(BackendTag::from_byte(tag).unwrap());
        }
        ledger
    })
}

proptest! {
    /// What is passed over is what would have been forwarded without a trace, and nothing
    /// that could have been passed over is left behind a row.
    #[test]
    fn leading_rows_are_those_that_change_nothing(
        ledger in ledgers(),
        messages in prop::collection::vec((prop::sample::select(b"TDCZ1n".to_vec()), 2u32..40), 0..6),
        cut in 0usize..8,
    ) {
        let mut input: Vec<u8> =
            messages.iter().flat_map(|(tag, len)| message(*tag, *len)).collect();
        input.truncate(input.len().saturating_sub(cut));
        let passed = ledger.leading_rows(&input);
        let mut rest = &input[..passed];
        while let Some(frame) = Frame::<BackendTag>::parse(rest).unwrap() {
            let mut observing = ledger.clone();
            let observed = observing.observe(frame.tag).unwrap();
            prop_assert_eq!(observed, Observed { verdict: Verdict::Forward, closed: None });
            prop_assert_eq!(format!("{observing:?}"), format!("{ledger:?}"));
            rest = &rest[frame.bytes.len()..];
        }
        prop_assert!(rest.is_empty(), "whole messages only");
        let next = Frame::<BackendTag>::parse(&input[passed..]).ok().flatten();
        prop_assert!(!(passed > 0 && next.is_some_and(|next| next.tag == BackendTag::DataRow)));
    }
}
