//! One message sent, or answered, and what is owed for it.

use crate::tag::FrontendTag;

/// A message as the ledger sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Request {
    /// Query.
    Query,
    /// FunctionCall.
    FunctionCall,
    /// Parse.
    Parse,
    /// Bind.
    Bind,
    /// Describe of a statement.
    DescribeStatement,
    /// Describe of a portal.
    DescribePortal,
    /// Execute.
    Execute,
    /// Close of a statement or portal.
    Close,
    /// Sync.
    Sync,
    /// Flush.
    Flush,
    /// CopyData.
    CopyData,
    /// CopyDone or CopyFail.
    CopyEnd,
}

/// Who a message came from, which decides who hears the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// The client: every reply is forwarded.
    Client,
    /// The pool, so that a message of the client can work (a Parse the server has not seen, a
    /// Close that makes room): success is swallowed, an error is the client's.
    Behalf,
    /// The pool, for itself (a reset query, a ROLLBACK): every reply is swallowed.
    Pool,
    /// The client, but answered by the pool and never sent: see
    /// [`Ledger::answer`](super::Ledger::answer).
    Local,
}

/// A line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The message.
    pub request: Request,
    /// Who it came from.
    pub origin: Origin,
    /// Whatever the caller wants to remember with it, such as the number of a statement.
    pub token: u32,
}

// === impl Request ===

impl Request {
    /// The request a frontend message makes. `first` is the first byte of its body, which says
    /// what a Describe is about. `None` for Terminate and for answers of a login, which have no
    /// place among requests, and for a Describe of neither statement nor portal.
    #[inline]
    pub fn of(tag: FrontendTag, first: Option<u8>) -> Option<Self> {
        Some(match tag {
            FrontendTag::Query => Self::Query,
            FrontendTag::FunctionCall => Self::FunctionCall,
            FrontendTag::Parse => Self::Parse,
            FrontendTag::Bind => Self::Bind,
            FrontendTag::Describe => match first? {
                b'S' => Self::DescribeStatement,
                b'P' => Self::DescribePortal,
                _ => return None,
            },
            FrontendTag::Execute => Self::Execute,
            FrontendTag::Close => Self::Close,
            FrontendTag::Sync => Self::Sync,
            FrontendTag::Flush => Self::Flush,
            FrontendTag::CopyData => Self::CopyData,
            FrontendTag::CopyDone | FrontendTag::CopyFail => Self::CopyEnd,
            FrontendTag::Password | FrontendTag::Terminate => return None,
        })
    }

    /// Whether it is part of an extended batch, where an error skips to the next Sync.
    #[inline]
    pub fn is_extended(self) -> bool {
        matches!(
            self,
            Self::Parse
                | Self::Bind
                | Self::DescribeStatement
                | Self::DescribePortal
                | Self::Execute
                | Self::Close
        )
    }

    /// Whether a ReadyForQuery ends it.
    #[inline]
    pub fn ends_with_ready(self) -> bool {
        matches!(self, Self::Query | Self::FunctionCall | Self::Sync)
    }
}
