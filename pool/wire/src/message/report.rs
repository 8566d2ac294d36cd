//! The fields of an ErrorResponse or NoticeResponse ("Error and Notice Message Fields").

use super::{MessageError, Reader};

/// An error or notice: a list of one-byte field codes with a string each. Any field may be
/// missing, whatever the manual says about "always present": servers are not alone in sending
/// these, other poolers and proxies do too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    fields: &'a [u8],
}

impl<'a> Report<'a> {
    /// Checks the list and its terminator.
    ///
    /// # Errors
    /// [`MessageError`] when a field or the list is not terminated, or something follows it.
    pub fn read(body: &'a [u8]) -> Result<Self, MessageError> {
        let mut reader = Reader::new(body);
        while reader.u8("field code")? != 0 {
            reader.cstr("field value")?;
        }
        reader.finish()?;
        Ok(Self { fields: body })
    }

    /// Code and value of each field, in the order sent.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.fields);
        std::iter::from_fn(move || match reader.u8("field code") {
            Ok(0) | Err(_) => None,
            Ok(code) => reader.cstr("field value").ok().map(|value| (code, value)),
        })
    }

    /// The first field with this code.
    pub fn get(&self, code: u8) -> Option<&'a [u8]> {
        self.fields().find_map(|(found, value)| (found == code).then_some(value))
    }

    /// ERROR, FATAL, PANIC, WARNING, …: the untranslated one (`V`, since 9.6) when there is one.
    pub fn severity(&self) -> Option<&'a [u8]> {
        self.get(b'V').or_else(|| self.get(b'S'))
    }

    /// Whether the server ends the connection with this.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity(), Some(b"FATAL" | b"PANIC"))
    }

    /// The five-character SQLSTATE (`C`).
    pub fn sqlstate(&self) -> Option<&'a [u8]> {
        self.get(b'C')
    }

    /// The primary message (`M`).
    pub fn message(&self) -> Option<&'a [u8]> {
        self.get(b'M')
    }
}
