//! What a password file, the configuration or `pg_authid` holds for a user.

use std::fmt;

use super::Redacted;
use super::md5::Md5Secret;
use super::scram::ScramVerifier;

/// A stored password, in any of the forms PostgreSQL and PgBouncer know.
#[derive(Clone, PartialEq, Eq)]
pub enum Verifier {
    /// The password itself.
    Plain(String),
    /// `md5` and 32 hex digits.
    Md5(Md5Secret),
    /// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    Scram(ScramVerifier),
}

/// A stored password that looks like a verifier and is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Starts with `SCRAM-SHA-256$`.
    #[error("a SCRAM-SHA-256 verifier must read SCRAM-SHA-256$<iterations>:<salt>$<key>:<key>")]
    BadScram,
    /// Nothing at all: nobody may log in with an empty password.
    #[error("the password is empty")]
    Empty,
}

impl Verifier {
    /// Reads a stored password. As in PostgreSQL, what has the exact form of an md5 verifier is
    /// one, and anything else without a known prefix is a password in the clear.
    ///
    /// # Errors
    /// [`VerifierError`] for an empty one, and for a SCRAM prefix with something else behind:
    /// treating that as a password would hide a mistake.
    pub fn parse(stored: &str) -> Result<Self, VerifierError> {
        if stored.is_empty() {
            return Err(VerifierError::Empty);
        }
        if stored.starts_with(ScramVerifier::PREFIX) {
            return ScramVerifier::parse(stored).map(Self::Scram).ok_or(VerifierError::BadScram);
        }
        let md5 = stored.strip_prefix("md5").and_then(|hex| Md5Secret::from_hex(hex.as_bytes()));
        Ok(md5.map_or_else(|| Self::Plain(stored.to_owned()), Self::Md5))
    }

    /// Whether this is the password, in the clear. Derives keys when the verifier is SCRAM's.
    pub fn matches(&self, user: &str, password: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        match self {
            Self::Plain(plain) => plain.as_bytes().ct_eq(password).into(),
            Self::Md5(secret) => secret.matches(user, password),
            Self::Scram(verifier) => verifier.matches(password),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Plain(_) => "Plain",
            Self::Md5(_) => "Md5",
            Self::Scram(_) => "Scram",
        };
        f.debug_tuple(kind).field(&Redacted).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAM: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn every_stored_form_is_told_apart() {
        let md5 = format!("md5{}", "0a".repeat(16));
        assert!(matches!(Verifier::parse(&md5), Ok(Verifier::Md5(_))));
        assert!(matches!(Verifier::parse(SCRAM), Ok(Verifier::Scram(_))));
        for plain in ["pencil", "md5", "md5short", "scram-sha-256$", "SCRAM-SHA-1$x"] {
            assert_eq!(Verifier::parse(plain), Ok(Verifier::Plain(plain.to_owned())));
        }
        assert_eq!(Verifier::parse(""), Err(VerifierError::Empty));
        for bad in ["SCRAM-SHA-256$", "SCRAM-SHA-256$4096", &SCRAM[..60], &format!("{SCRAM}x")] {
            assert_eq!(Verifier::parse(bad), Err(VerifierError::BadScram), "{bad}");
        }
    }

    #[test]
    fn a_password_in_the_clear_is_held_against_each() {
        for (stored, user, right) in [("pencil", "any", "pencil"), (SCRAM, "user", "pencil")] {
            let verifier = Verifier::parse(stored).unwrap();
            assert!(verifier.matches(user, right.as_bytes()), "{stored}");
            assert!(!verifier.matches(user, b"pencils"), "{stored}");
            assert!(!verifier.matches(user, b""), "{stored}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let shown = format!("{:?}", Verifier::parse("pencil").unwrap());
        assert_eq!(shown, "Plain(…)");
    }
}
