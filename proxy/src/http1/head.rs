//! What request and response heads share: limits, storage for parsed header fields, versions.

use std::fmt;
use std::mem::MaybeUninit;

/// Hard cap on the number of header fields of one head; [`HeadLimits::max_headers`] can only lower
/// it.
pub const MAX_HEADERS: usize = 128;

/// Limits on one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes from the first of the start line to the last of the empty line that ends the head,
    /// both included.
    pub max_head_bytes: usize,
    /// Header fields; values above [`MAX_HEADERS`] mean [`MAX_HEADERS`].
    pub max_headers: usize,
    /// Bytes of the request target; responses have none.
    pub max_uri_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_head_bytes: 32 * 1024, max_headers: MAX_HEADERS, max_uri_bytes: 8 * 1024 }
    }
}

/// The outcome of a parse that found nothing wrong so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The head is not complete yet; parse again when more bytes have been appended to the same
    /// buffer.
    Partial,
    /// A whole head.
    Complete(T),
}

/// The protocol version of a message; every other version is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    pub(super) fn from_minor(minor: u8) -> Self {
        if minor == 0 { Self::Http10 } else { Self::Http11 }
    }
}

/// Uninitialised room for the header fields of one head.
///
/// Creating one costs nothing, and it is used once. It is large (4 KiB), so keep it in a function
/// that is not `async`: a future that held it across an `await` would carry it.
pub struct HeaderStorage<'b> {
    pub(super) slots: [MaybeUninit<httparse::Header<'b>>; MAX_HEADERS],
}

impl HeaderStorage<'_> {
    /// Room for [`MAX_HEADERS`] fields.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: [const { MaybeUninit::uninit() }; MAX_HEADERS] }
    }
}

impl Default for HeaderStorage<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HeaderStorage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderStorage").finish_non_exhaustive()
    }
}
