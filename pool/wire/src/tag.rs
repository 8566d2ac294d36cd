//! Message types: the first byte of every message after startup ("Message Formats").
//!
//! The same byte can mean two things, depending on who sent it (`D` is Describe or DataRow), so
//! each direction has an enum of its own. An unknown byte is a protocol violation.

use std::fmt::Debug;

/// Who wrote a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A client, or the pool towards a server.
    Frontend,
    /// A server, or the pool towards a client.
    Backend,
}

/// A message type of one direction.
pub trait Tag: Copy + Eq + Debug {
    /// Which side sends messages of this kind.
    const SENDER: Sender;

    /// The message type a byte stands for, if there is one.
    fn from_byte(byte: u8) -> Option<Self>;

    /// The byte on the wire.
    fn byte(self) -> u8;

    /// The most bytes the length field of this message may claim. The field counts itself
    /// (4 bytes) but not the tag.
    fn max_len(self) -> u32;
}

/// Cap on small frontend messages: `PQ_SMALL_MESSAGE_LIMIT` of the server.
pub const SMALL_FRONTEND_LEN: u32 = 10_000;
/// Cap on authentication answers: `PG_MAX_AUTH_TOKEN_LENGTH` of the server.
pub const AUTH_LEN: u32 = 65_535;
/// Cap on messages that carry data, just under 1 GiB: `PQ_LARGE_MESSAGE_LIMIT` of the server.
pub const LARGE_LEN: u32 = 0x3fff_fffe;
/// Cap on small backend messages: above it libpq takes the stream for desynchronised.
pub const SMALL_BACKEND_LEN: u32 = 30_000;

macro_rules! tags {
    (
        $(#[$meta:meta])* $name:ident from $sender:expr;
        $($(#[$vmeta:meta])* $variant:ident = $byte:literal, $cap:expr;)+
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $byte,)+
        }

        impl $name {
            /// Every message type of this direction.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }

        impl Tag for $name {
            const SENDER: Sender = $sender;

            #[inline]
            fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$variant),)+
                    _ => None,
                }
            }

            #[inline]
            fn byte(self) -> u8 {
                self as u8
            }

            #[inline]
            fn max_len(self) -> u32 {
                match self {
                    $(Self::$variant => $cap,)+
                }
            }
        }
    };
}

tags! {
    /// What a frontend sends.
    FrontendTag from Sender::Frontend;
    /// Bind parameters to a statement, making a portal.
    Bind = b'B', LARGE_LEN;
    /// Close a statement or portal.
    Close = b'C', SMALL_FRONTEND_LEN;
    /// A piece of COPY data.
    CopyData = b'd', LARGE_LEN;
    /// End of COPY data.
    CopyDone = b'c', SMALL_FRONTEND_LEN;
    /// The frontend gives COPY up.
    CopyFail = b'f', SMALL_FRONTEND_LEN;
    /// Describe a statement or portal.
    Describe = b'D', SMALL_FRONTEND_LEN;
    /// Run a portal.
    Execute = b'E', SMALL_FRONTEND_LEN;
    /// Send what is buffered.
    Flush = b'H', SMALL_FRONTEND_LEN;
    /// Call a function by object id (legacy, used for large objects).
    FunctionCall = b'F', LARGE_LEN;
    /// Make a prepared statement.
    Parse = b'P', LARGE_LEN;
    /// A password, SASLInitialResponse, SASLResponse or GSSResponse, by context.
    Password = b'p', AUTH_LEN;
    /// A simple query.
    Query = b'Q', LARGE_LEN;
    /// End of an extended-query batch.
    Sync = b'S', SMALL_FRONTEND_LEN;
    /// Goodbye.
    Terminate = b'X', SMALL_FRONTEND_LEN;
}

tags! {
    /// What a backend sends.
    BackendTag from Sender::Backend;
    /// Authentication request or outcome.
    Authentication = b'R', SMALL_BACKEND_LEN;
    /// Key for a cancel request.
    BackendKeyData = b'K', SMALL_BACKEND_LEN;
    /// Bind succeeded.
    BindComplete = b'2', SMALL_BACKEND_LEN;
    /// Close succeeded.
    CloseComplete = b'3', SMALL_BACKEND_LEN;
    /// A statement ended.
    CommandComplete = b'C', SMALL_BACKEND_LEN;
    /// A piece of COPY data.
    CopyData = b'd', LARGE_LEN;
    /// End of COPY data.
    CopyDone = b'c', SMALL_BACKEND_LEN;
    /// COPY FROM STDIN starts.
    CopyInResponse = b'G', SMALL_BACKEND_LEN;
    /// COPY TO STDOUT starts.
    CopyOutResponse = b'H', SMALL_BACKEND_LEN;
    /// Streaming replication starts.
    CopyBothResponse = b'W', SMALL_BACKEND_LEN;
    /// A row.
    DataRow = b'D', LARGE_LEN;
    /// The query string was empty; stands for CommandComplete.
    EmptyQueryResponse = b'I', SMALL_BACKEND_LEN;
    /// An error.
    ErrorResponse = b'E', LARGE_LEN;
    /// Result of a FunctionCall.
    FunctionCallResponse = b'V', LARGE_LEN;
    /// The server speaks an older minor version or knows fewer options.
    NegotiateProtocolVersion = b'v', SMALL_BACKEND_LEN;
    /// Describe: returns no rows.
    NoData = b'n', SMALL_BACKEND_LEN;
    /// A notice.
    NoticeResponse = b'N', LARGE_LEN;
    /// A NOTIFY from another session.
    NotificationResponse = b'A', LARGE_LEN;
    /// Parameter types of a statement: up to 65,535 of 4 bytes.
    ParameterDescription = b't', LARGE_LEN;
    /// A run-time parameter the client is told about.
    ParameterStatus = b'S', SMALL_BACKEND_LEN;
    /// Parse succeeded.
    ParseComplete = b'1', SMALL_BACKEND_LEN;
    /// Execute reached its row limit; stands for CommandComplete.
    PortalSuspended = b's', SMALL_BACKEND_LEN;
    /// The server awaits the next cycle.
    ReadyForQuery = b'Z', SMALL_BACKEND_LEN;
    /// Columns of the rows to come.
    RowDescription = b'T', LARGE_LEN;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Tag + 'static>(all: &[T], count: usize) {
        assert_eq!(all.len(), count);
        for &tag in all {
            assert_eq!(T::from_byte(tag.byte()), Some(tag));
            assert!(tag.max_len() >= 4);
        }
        let known = (0..=255u8).filter(|&byte| T::from_byte(byte).is_some()).count();
        assert_eq!(known, count, "no two types share a byte, no byte is known twice");
    }

    #[test]
    fn every_byte_is_one_type_or_none() {
        round_trip(FrontendTag::ALL, 14);
        round_trip(BackendTag::ALL, 24);
    }
}
