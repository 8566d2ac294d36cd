//! Header fields as HTTP/2 writes them (RFC 7541).

mod decode;
pub(super) mod encode;
mod huffman;
mod static_table;

pub(super) use decode::{Decoder, Wanted};

/// Size of the dynamic table unless a peer says otherwise (RFC 9113 section 6.5.2).
pub(super) const DEFAULT_TABLE_BYTES: usize = 4_096;
/// What an entry costs beside name and value (RFC 7541 section 4.1).
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 32;
/// The index of the first entry of the dynamic table.
pub(super) const FIRST_DYNAMIC: usize = static_table::FIELDS.len() + 1;
