//! SASLprep (RFC 4013) the way PostgreSQL applies it.

use std::borrow::Cow;

/// The password SCRAM hashes. PostgreSQL takes a password that is not UTF-8, or holds characters
/// SASLprep prohibits, as the bytes it is; so does this.
pub fn saslprep(password: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = str::from_utf8(password) else { return Cow::Borrowed(password) };
    match stringprep::saslprep(text) {
        Ok(Cow::Borrowed(_)) | Err(_) => Cow::Borrowed(password),
        // Preparing may leave nothing; an empty password is none.
        Ok(Cow::Owned(prepared)) if prepared.is_empty() => Cow::Borrowed(password),
        Ok(Cow::Owned(prepared)) => Cow::Owned(prepared.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepares_what_can_be_and_leaves_the_rest() {
        let table: &[(&[u8], &[u8])] = &[
            (b"pencil", b"pencil"),
            ("I\u{ad}X".as_bytes(), b"IX"), // soft hyphen maps to nothing
            ("\u{aa}".as_bytes(), b"a"),    // NFKC
            ("\u{2168}".as_bytes(), b"IX"), // NFKC of a Roman numeral
            ("a\u{a0}b".as_bytes(), b"a b"), // no-break space maps to space
            (b"\x07bell", b"\x07bell"),     // prohibited: as it is
            ("\u{627}1".as_bytes(), "\u{627}1".as_bytes()), // bidi violation: as it is
            (b"\xff\xfe", b"\xff\xfe"),     // not UTF-8: as it is
            ("\u{ad}".as_bytes(), "\u{ad}".as_bytes()), // nothing would be left
            (b"", b""),
        ];
        for (password, prepared) in table {
            assert_eq!(&*saslprep(password), *prepared, "{password:?}");
        }
    }
}
