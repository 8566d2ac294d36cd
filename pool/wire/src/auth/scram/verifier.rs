//! What a server keeps of a password (PostgreSQL: `pg_authid.rolpassword`).

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::attributes::{decode, decode_key, encode};
use super::keys::{KEY_LEN, SaltedPassword, ServerKey};
use crate::auth::Redacted;

/// Most bytes a salt may have: it has to fit a message several times over.
const MAX_SALT_LEN: usize = 256;

/// Bytes of the salts PostgreSQL makes.
const SALT_LEN: usize = 16;

/// A SCRAM-SHA-256 verifier.
#[derive(Clone)]
pub struct ScramVerifier {
    pub(super) iterations: u32,
    pub(super) salt: Box<[u8]>,
    pub(super) stored_key: [u8; KEY_LEN],
    pub(super) server_key: ServerKey,
    /// Made up for a user that does not exist: no proof matches it.
    pub(super) mock: bool,
}

impl ScramVerifier {
    /// What each verifier starts with.
    pub const PREFIX: &'static str = "SCRAM-SHA-256$";

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (work, keys) = text.strip_prefix(Self::PREFIX)?.split_once('$')?;
        let (iterations, salt) = work.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let digits = iterations.bytes().all(|byte| byte.is_ascii_digit());
        let iterations = iterations.parse().ok().filter(|&count| digits && count > 0)?;
        let salt = decode(salt, "salt").ok()?;
        if salt.is_empty() || salt.len() > MAX_SALT_LEN {
            return None;
        }
        Some(Self {
            iterations,
            salt: salt.into(),
            stored_key: decode_key(stored_key, "StoredKey").ok()?,
            server_key: ServerKey(decode_key(server_key, "ServerKey").ok()?),
            mock: false,
        })
    }

    /// Makes one from a password. Derives keys: see [`SaltedPassword::derive`].
    pub fn from_password(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let keys = SaltedPassword::derive(password, salt, iterations).keys();
        Self {
            iterations: iterations.max(1),
            salt: salt.into(),
            stored_key: keys.client_key.stored_key(),
            server_key: keys.server_key,
            mock: false,
        }
    }

    /// Makes one from a password with a random salt and PostgreSQL's default of iterations.
    pub fn generate(password: &[u8]) -> Self {
        let salt = rand::random::<[u8; SALT_LEN]>();
        Self::from_password(password, &salt, super::DEFAULT_ITERATIONS)
    }

    /// One for a user that does not exist, so that the exchange looks as for any other. `secret`
    /// must stay the same over the life of the pool, for a salt that changed from login to login
    /// would give the user away, as would an iteration count no real user has.
    pub fn mock(user: &str, secret: &[u8; 32], iterations: u32) -> Self {
        let digest = Sha256::new().chain_update(secret).chain_update(user).finalize();
        Self {
            iterations: iterations.max(1),
            salt: digest[..SALT_LEN].into(),
            stored_key: [0; KEY_LEN],
            server_key: ServerKey([0; KEY_LEN]),
            mock: true,
        }
    }

    /// Whether this is the password, in the clear. Derives keys.
    pub fn matches(&self, password: &[u8]) -> bool {
        let keys = SaltedPassword::derive(password, &self.salt, self.iterations).keys();
        bool::from(keys.client_key.stored_key().ct_eq(&self.stored_key)) && !self.mock
    }

    /// The number of iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The text PostgreSQL stores.
    pub fn to_text(&self) -> String {
        format!(
            "{}{}:{}${}:{}",
            Self::PREFIX,
            self.iterations,
            encode(&self.salt),
            encode(&self.stored_key),
            encode(&self.server_key.0)
        )
    }
}

impl PartialEq for ScramVerifier {
    fn eq(&self, other: &Self) -> bool {
        let keys =
            self.stored_key.ct_eq(&other.stored_key) & self.server_key.0.ct_eq(&other.server_key.0);
        (self.iterations, &self.salt, self.mock) == (other.iterations, &other.salt, other.mock)
            && bool::from(keys)
    }
}

impl Eq for ScramVerifier {}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier")
            .field("iterations", &self.iterations)
            .field("mock", &self.mock)
            .field("keys", &Redacted)
            .finish_non_exhaustive()
    }
}
