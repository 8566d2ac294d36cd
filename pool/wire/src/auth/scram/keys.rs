//! The keys behind a SCRAM password (RFC 5802 section 3).

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::auth::{Redacted, saslprep};

/// Bytes of a SHA-256 digest, so of every key, proof and signature.
pub(super) const KEY_LEN: usize = 32;

type Key = [u8; KEY_LEN];

/// SaltedPassword: the slow part.
#[derive(Clone)]
pub struct SaltedPassword(Key);

/// ClientKey: proves to a server that one knows the password.
#[derive(Clone)]
pub struct ClientKey(pub(super) Key);

/// ServerKey: proves to a client that the server knows the verifier.
#[derive(Clone)]
pub struct ServerKey(pub(super) Key);

/// What a login at a server takes.
#[derive(Debug, Clone)]
pub struct ScramKeys {
    /// Ours to prove.
    pub client_key: ClientKey,
    /// The server's to prove.
    pub server_key: ServerKey,
}

/// Keys of a client that logged in at the pool, good for logging in as that client at a server
/// that holds the very same verifier: same salt, same iterations.
#[derive(Debug, Clone)]
pub struct Passthrough {
    pub(super) keys: ScramKeys,
    pub(super) salt: Box<[u8]>,
    pub(super) iterations: u32,
}

impl SaltedPassword {
    /// `Hi(Normalize(password), salt, iterations)`: PBKDF2 with HMAC-SHA-256, `iterations` times
    /// two hash blocks. No iterations at all count as one.
    pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let prf = keyed(&saslprep(password));
        let mut first = prf.clone();
        first.update(salt);
        first.update(&1u32.to_be_bytes());
        let mut block: Key = first.finalize().into_bytes().into();
        let mut salted = block;
        for _ in 1..iterations {
            let mut next = prf.clone();
            next.update(&block);
            block = next.finalize().into_bytes().into();
            xor(&mut salted, &block);
        }
        Self(salted)
    }

    /// Both keys that follow from it.
    pub fn keys(&self) -> ScramKeys {
        ScramKeys {
            client_key: ClientKey(hmac(&self.0, &[b"Client Key"])),
            server_key: ServerKey(hmac(&self.0, &[b"Server Key"])),
        }
    }
}

impl ClientKey {
    /// StoredKey: what the server keeps instead.
    pub(super) fn stored_key(&self) -> Key {
        Sha256::digest(self.0).into()
    }

    /// ClientProof over an exchange.
    pub(super) fn proof(&self, exchange: &[&[u8]]) -> Key {
        let mut proof = self.0;
        xor(&mut proof, &hmac(&self.stored_key(), exchange));
        proof
    }

    /// The key a proof over an exchange was made with, if it is the one behind `stored_key`.
    pub(super) fn recover(proof: &Key, stored_key: &Key, exchange: &[&[u8]]) -> Option<Self> {
        let mut key = *proof;
        xor(&mut key, &hmac(stored_key, exchange));
        let key = Self(key);
        bool::from(key.stored_key().ct_eq(stored_key)).then_some(key)
    }
}

impl ServerKey {
    /// ServerSignature over an exchange.
    pub(super) fn signature(&self, exchange: &[&[u8]]) -> Key {
        hmac(&self.0, exchange)
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn xor(into: &mut Key, from: &Key) {
    for (into, from) in into.iter_mut().zip(from) {
        *into ^= from;
    }
}

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SaltedPassword").field(&Redacted).finish()
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientKey").field(&Redacted).finish()
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerKey").field(&Redacted).finish()
    }
}
