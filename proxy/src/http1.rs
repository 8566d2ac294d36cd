//! HTTP/1.1 framing without I/O: bytes in, verdicts out.
//!
//! Heads are parsed by [`parse_request`] and [`parse_response`] as views of the read buffer; bodies
//! are followed by [`BodyReader`]; heads for the other side are written by [`write_request_head`]
//! and [`write_response_head`], which copy whatever needs no change in long runs. Nothing here
//! allocates per message, reads a clock or performs I/O.
//!
//! The reading of RFC 9112 is the strict one on both sides: whatever two recipients could frame
//! differently is refused, each way under a reason of its own ([`RequestError::reason`],
//! [`ResponseError::reason`]). Line ends of a bare LF are accepted (RFC 9112 section 2.2) and never
//! forwarded as such.

pub(crate) mod authority;
mod body;
mod chunked;
mod connection;
mod edit;
mod error;
mod fault;
mod field;
mod field_table;
mod framing;
mod generated;
mod head;
mod header_line;
mod raw;
mod request;
mod response;
mod target;
mod trailer;

pub use body::{BodyError, BodyReader};
pub use chunked::{ChunkError, ChunkedScanner, Scan, write_chunk_end, write_chunk_size};
pub use edit::{Recode, RequestEdits, ResponseEdits, write_request_head, write_response_head};
pub use error::{RequestError, ResponseError};
pub use fault::HeadFault;
pub use field::is_for_one_hop;
pub use framing::FramingFault;
pub(crate) use generated::push_decimal;
pub use generated::write_simple_response;
pub use head::{HeadLimits, HeaderStorage, MAX_HEADERS, Parsed, Version};
pub use header_line::{HeaderLine, HeaderLineError};
pub(crate) use raw::raw_lines;
pub use raw::{raw_fields, request_line};
pub use request::{BodyFraming, RequestHead, parse_request};
pub use response::{ResponseFraming, ResponseHead, ResponseTo, parse_response};
pub use target::Target;

#[cfg(test)]
mod tests;
