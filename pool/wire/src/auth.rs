//! Password authentication, both sides: md5 and SCRAM-SHA-256 ("Password Authentication",
//! "SASL Authentication").
//!
//! Nothing here waits or blocks, but deriving SCRAM keys from a password is thousands of hash
//! rounds: milliseconds. Whoever must not stall calls [`scram::SaltedPassword::derive`] and what
//! is said to derive on another thread. Secrets are compared in constant time and print as `…`.

pub mod md5;
mod saslprep;
pub mod scram;
mod verifier;

pub use saslprep::saslprep;
pub use verifier::{Verifier, VerifierError};

/// Prints a secret's place, not the secret.
pub(crate) struct Redacted;

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}
