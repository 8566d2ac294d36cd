//! Buffers for sealed bytes. A record does not fit the buffers that text is read into.

use std::rc::Rc;

use super::record::{MAX_OVERHEAD_BYTES, MAX_PLAINTEXT_BYTES, MAX_SEALED_BYTES};
use crate::BufferPool;

/// Room that is left for records of our own behind text: an alert, a change of keys.
pub(super) const RESERVE_BYTES: usize = 2 * (8 + MAX_OVERHEAD_BYTES);
/// Two full records: a large body is sealed in one go, and opened as it comes.
const RECORD_BUFFER_BYTES: usize = 2 * (MAX_PLAINTEXT_BYTES + MAX_OVERHEAD_BYTES) + RESERVE_BYTES;
/// Buffers that a shard keeps, used or not: 2 MiB.
const MAX_FREE_BUFFERS: usize = 64;

const _: () = assert!(RECORD_BUFFER_BYTES > MAX_SEALED_BYTES + 5, "a record fits");

thread_local! {
    static RECORDS: Rc<BufferPool> = BufferPool::new(RECORD_BUFFER_BYTES, MAX_FREE_BUFFERS);
}

/// This shard's.
pub(super) fn records() -> Rc<BufferPool> {
    RECORDS.with(Rc::clone)
}
