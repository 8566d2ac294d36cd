//! Borrowed views of message bodies.
//!
//! Only what a pool has to understand is taken apart; the rest stays a slice. Strings are bytes:
//! their encoding is the session's `client_encoding`, which is not a codec's business.

pub mod backend;
pub mod frontend;
mod reader;
mod report;

pub use backend::BackendMessage;
pub use frontend::FrontendMessage;
pub use reader::Reader;
pub use report::Report;

/// A body that does not have the form its message type requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The body ends before the field does.
    #[error("message body ends inside {field}")]
    Truncated {
        /// The field that is cut short.
        field: &'static str,
    },
    /// Bytes are left behind the last field.
    #[error("{count} bytes left behind the end of the message")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A field holds something it may not.
    #[error("{field} holds {value}, which it may not")]
    BadValue {
        /// The field.
        field: &'static str,
        /// What was found.
        value: i64,
    },
}
