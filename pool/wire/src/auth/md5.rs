//! md5 passwords: what is stored is `md5` and the hex digest of password and user name; what is
//! sent is `md5` and the hex digest of that digest and a salt.

use std::fmt;

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use super::Redacted;

/// Bytes of an answer: `md5` and 32 hex digits.
const ANSWER_LEN: usize = 35;

/// The hex digest of password and user name: the secret behind an md5 login.
#[derive(Clone, PartialEq, Eq)]
pub struct Md5Secret([u8; 32]);

/// The body of the PasswordMessage that answers AuthenticationMD5Password.
#[derive(Clone, PartialEq, Eq)]
pub struct Md5Answer([u8; ANSWER_LEN]);

impl Md5Secret {
    /// From a password in the clear.
    pub fn from_password(user: &str, password: &[u8]) -> Self {
        Self(hex_digest(&[password, user.as_bytes()]))
    }

    /// From 32 hex digits, lower case as PostgreSQL writes them.
    pub(super) fn from_hex(digits: &[u8]) -> Option<Self> {
        let digits = *digits.first_chunk::<32>().filter(|_| digits.len() == 32)?;
        digits.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')).then_some(Self(digits))
    }

    /// The answer to a salt.
    pub fn answer(&self, salt: [u8; 4]) -> Md5Answer {
        let mut answer = *b"md5................................";
        answer[3..].copy_from_slice(&hex_digest(&[&self.0, &salt]));
        Md5Answer(answer)
    }

    /// Whether `answer` is the answer to `salt`. Takes the same time wherever it differs.
    pub fn verify(&self, salt: [u8; 4], answer: &[u8]) -> bool {
        self.answer(salt).0.ct_eq(answer).into()
    }

    /// Whether this is the password, in the clear.
    pub fn matches(&self, user: &str, password: &[u8]) -> bool {
        self.0.ct_eq(&Self::from_password(user, password).0).into()
    }
}

impl Md5Answer {
    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn hex_digest(parts: &[&[u8]]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    let mut hex = [0; 32];
    for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(hash.finalize()) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    hex
}

impl fmt::Debug for Md5Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Md5Secret").field(&Redacted).finish()
    }
}

impl fmt::Debug for Md5Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Md5Answer").field(&Redacted).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_a_server_expects() {
        // printf secretalice | md5sum, then that digest and the salt through md5sum again.
        let secret = Md5Secret::from_password("alice", b"secret");
        assert_eq!(&secret.0, b"4a0a68b43b6cd5cf266fa02f196e2371");
        let salt = [1, 2, 3, 4];
        let answer = secret.answer(salt);
        assert_eq!(answer.as_bytes(), b"md598a0412b9c31436fc53776e863350083");
        assert!(secret.verify(salt, answer.as_bytes()));
        assert!(!secret.verify([1, 2, 3, 5], answer.as_bytes()));
        assert!(!secret.verify(salt, b"md5"));
        assert!(!secret.verify(salt, b""));
        assert!(secret.matches("alice", b"secret"));
        assert!(!secret.matches("bob", b"secret"));
        assert!(!secret.matches("alice", b"Secret"));
    }

    #[test]
    fn stored_digests_are_lower_case_hex() {
        let secret = Md5Secret::from_password("alice", b"secret");
        assert_eq!(Md5Secret::from_hex(&secret.0), Some(secret.clone()));
        assert_eq!(Md5Secret::from_hex(&secret.0.map(|c| c.to_ascii_uppercase())), None);
        assert_eq!(Md5Secret::from_hex(b"xyz"), None);
        assert_eq!(Md5Secret::from_hex(&[b'g'; 32]), None);
        assert_eq!(Md5Secret::from_hex(&[b'a'; 33]), None);
    }
}
