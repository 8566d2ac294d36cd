//! Takes fields off the front of a message body.

use super::MessageError;

/// A body being read, front to back. Field names passed in end up in the error only.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `body`.
    #[inline]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// What has not been read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`MessageError::Truncated`] when fewer are left.
    #[inline]
    pub fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], MessageError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(MessageError::Truncated { field });
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], MessageError> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(MessageError::Truncated { field });
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`MessageError::Truncated`] when none is left.
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, MessageError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// An Int16.
    ///
    /// # Errors
    /// [`MessageError::Truncated`] when fewer than two bytes are left.
    #[inline]
    pub fn i16(&mut self, field: &'static str) -> Result<i16, MessageError> {
        self.array(field).map(i16::from_be_bytes)
    }

    /// An Int32.
    ///
    /// # Errors
    /// [`MessageError::Truncated`] when fewer than four bytes are left.
    #[inline]
    pub fn i32(&mut self, field: &'static str) -> Result<i32, MessageError> {
        self.array(field).map(i32::from_be_bytes)
    }

    /// A string up to its NUL, which is taken but not returned.
    ///
    /// # Errors
    /// [`MessageError::Truncated`] when there is no NUL.
    #[inline]
    pub fn cstr(&mut self, field: &'static str) -> Result<&'a [u8], MessageError> {
        let Some(end) = memchr::memchr(0, self.rest) else {
            return Err(MessageError::Truncated { field });
        };
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// Ends the reading: nothing may be left.
    ///
    /// # Errors
    /// [`MessageError::Trailing`] when something is.
    #[inline]
    pub fn finish(self) -> Result<(), MessageError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(MessageError::Trailing { count: self.rest.len() })
        }
    }
}
