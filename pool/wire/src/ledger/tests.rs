use super::*;
use crate::tag::BackendTag;

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
