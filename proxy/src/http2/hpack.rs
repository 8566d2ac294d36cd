//! Header compression (RFC 7541).

mod decoder;
mod encoder;
mod huffman;
mod table;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// Bytes of a dynamic table, as long as nobody says otherwise (RFC 9113 section 6.5.2), which we
/// do not.
const DEFAULT_TABLE_BYTES: usize = 4096;

/// What is no header block (RFC 7541): a COMPRESSION_ERROR, which ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no header block")]
pub struct Malformed;
