//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both sides.
//!
//! Towards a server: [`ClientFirst`] → [`Challenge`] → [`Outcome`]. Towards a client:
//! [`Exchange`] → [`ProofCheck`]. Each step consumes the one before, so no step can be skipped
//! or repeated.

mod attributes;
mod binding;
mod client;
mod keys;
mod nonce;
mod server;
mod verifier;

pub use binding::Binding;
pub use client::{Challenge, ClientFirst, Outcome};
pub use keys::{ClientKey, Passthrough, SaltedPassword, ScramKeys, ServerKey};
pub use nonce::Nonce;
pub use server::{Exchange, Proof, ProofCheck};
pub use verifier::ScramVerifier;

/// The name of the mechanism.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// The mechanism that is bound to the TLS connection it runs in.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// PostgreSQL's default number of iterations.
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// Iterations a server may ask of the pool unless configured otherwise. A hostile or broken
/// server could otherwise keep a core busy for minutes (CVE-2026-42198 in pgjdbc).
pub const DEFAULT_MAX_ITERATIONS: u32 = 100_000;
/// Longest SCRAM message accepted, in bytes: `PG_MAX_SASL_MESSAGE_LENGTH`.
pub const MAX_MESSAGE_LEN: usize = 1024;

/// A SCRAM exchange that failed. What a client is told is always the same ("password
/// authentication failed"); this is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message does not have the form RFC 5802 gives it.
    #[error("malformed SCRAM message: {expected} expected")]
    Malformed {
        /// What should have been there.
        expected: &'static str,
    },
    /// A message is longer than [`MAX_MESSAGE_LEN`].
    #[error("SCRAM message of {len} bytes")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// The client asks for channel binding, which was not offered.
    #[error("the client asked for channel binding, which was not offered")]
    ChannelBinding,
    /// The client chose the mechanism with channel binding, and does not bind.
    #[error("the client chose SCRAM-SHA-256-PLUS without channel binding")]
    UnboundPlus,
    /// The client could bind and believes that we cannot, though it was offered: somebody took
    /// the offer out on its way.
    #[error(
        "the client supports channel binding but was not offered it: the offer was tampered with"
    )]
    Downgraded,
    /// The client wants another kind of channel binding.
    #[error("unsupported SCRAM channel binding type")]
    BindingType,
    /// The channel binding data of the final message is not what the first message announced.
    #[error("SCRAM channel binding check failed")]
    ChannelBindingMismatch,
    /// The client asks to act as someone else.
    #[error("the client uses an authorization identity, which is not supported")]
    AuthorizationIdentity,
    /// The peer demands an extension.
    #[error("the peer requires a SCRAM extension, which is not supported")]
    Extension,
    /// The nonce is not the one of this exchange.
    #[error("SCRAM nonce mismatch")]
    NonceMismatch,
    /// The server asks for more work than allowed, or for none.
    #[error("the server asks for {asked} iterations, at most {max} are allowed")]
    Iterations {
        /// What it asked for.
        asked: u64,
        /// The cap.
        max: u32,
    },
    /// The server holds another credential than the client logged in with: its salt or iteration
    /// count differ, so the client's key is of no use.
    #[error("the server's SCRAM verifier is not the one the client's keys were made for")]
    ForeignVerifier,
    /// The password is wrong, or there is no such user.
    #[error("SCRAM proof does not match")]
    WrongProof,
    /// The server does not know the password either.
    #[error("the server's SCRAM signature does not match")]
    WrongServerSignature,
    /// The server says no.
    #[error("the server refused the SCRAM exchange")]
    RefusedByServer,
}

#[cfg(test)]
mod tests;
