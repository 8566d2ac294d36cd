//! Logging in at a server.

use subtle::ConstantTimeEq as _;

use super::attributes::{attribute, decode, decode_key, encode, message_text, nonce};
use super::keys::{KEY_LEN, Passthrough, SaltedPassword, ScramKeys};
use super::{Binding, Nonce, ScramError};

/// What opens the exchange.
#[derive(Debug, Clone)]
pub struct ClientFirst {
    nonce: Nonce,
    binding: Binding,
    message: String,
}

/// What the server asks for.
#[derive(Debug, Clone)]
pub struct Challenge {
    binding: Binding,
    client_first_bare: String,
    server_first: String,
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

/// Our answer, and what the server must say to it.
#[derive(Debug, Clone)]
pub struct Outcome {
    message: String,
    server_signature: [u8; KEY_LEN],
}

impl ClientFirst {
    /// Opens an exchange. The user name stays empty, as in libpq: PostgreSQL has it from the
    /// StartupMessage.
    pub fn new(nonce: Nonce) -> Self {
        Self::bound(nonce, Binding::None)
    }

    /// Likewise, on TLS: [`Binding::EndPoint`] goes with [`MECHANISM_PLUS`](super::MECHANISM_PLUS),
    /// [`Binding::Unused`] tells a server that did not offer it that it could have been.
    pub fn bound(nonce: Nonce, binding: Binding) -> Self {
        Self::naming("", nonce, binding)
    }

    pub(super) fn naming(user: &str, nonce: Nonce, binding: Binding) -> Self {
        let message = format!("{}n={user},r={}", binding.header(), nonce.as_str());
        Self { nonce, binding, message }
    }

    /// The client-first-message, for SASLInitialResponse.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Reads the server-first-message. Work beyond `max_iterations` is refused.
    ///
    /// # Errors
    /// [`ScramError`] when the message is malformed, not of this exchange, or asks too much.
    pub fn challenge(
        self,
        server_first: &[u8],
        max_iterations: u32,
    ) -> Result<Challenge, ScramError> {
        let text = message_text(server_first)?;
        let mut rest = text;
        if rest.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        let combined = nonce(&mut rest)?;
        // Ours, and something of the server's own behind it.
        match combined.strip_prefix(self.nonce.as_str()) {
            Some(own) if !own.is_empty() => {}
            _ => return Err(ScramError::NonceMismatch),
        }
        let salt = decode(attribute(&mut rest, 's', "salt")?, "salt in base64")?;
        if salt.is_empty() {
            return Err(ScramError::Malformed { expected: "salt" });
        }
        let iterations = attribute(&mut rest, 'i', "iteration count")?;
        let iterations = allowed_iterations(iterations, max_iterations)?;
        Ok(Challenge {
            client_first_bare: self.message[self.binding.header().len()..].to_owned(),
            binding: self.binding,
            server_first: text.to_owned(),
            nonce: combined.to_owned(),
            salt,
            iterations,
        })
    }
}

fn allowed_iterations(text: &str, max: u32) -> Result<u32, ScramError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScramError::Malformed { expected: "iteration count" });
    }
    let asked = text.parse().unwrap_or(u64::MAX);
    match u32::try_from(asked) {
        Ok(iterations) if (1..=max).contains(&iterations) => Ok(iterations),
        _ => Err(ScramError::Iterations { asked, max }),
    }
}

impl Challenge {
    /// The salt, for deriving keys elsewhere or looking them up.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iteration count.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Derives the keys of a password for this challenge: the slow part.
    pub fn derive(&self, password: &[u8]) -> ScramKeys {
        SaltedPassword::derive(password, &self.salt, self.iterations).keys()
    }

    /// The keys of a client that logged in at the pool, if the server's verifier is the one they
    /// belong to.
    ///
    /// # Errors
    /// [`ScramError::ForeignVerifier`] when it is not.
    pub fn accept<'a>(&self, client: &'a Passthrough) -> Result<&'a ScramKeys, ScramError> {
        if *client.salt == *self.salt && client.iterations == self.iterations {
            Ok(&client.keys)
        } else {
            Err(ScramError::ForeignVerifier)
        }
    }

    /// Answers with keys made for this salt and these iterations.
    pub fn answer(self, keys: &ScramKeys) -> Outcome {
        let input = self.binding.input(self.binding.header());
        let without_proof = format!("c={},r={}", encode(&input), self.nonce);
        let exchange = [
            self.client_first_bare.as_bytes(),
            b",",
            self.server_first.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let proof = keys.client_key.proof(&exchange);
        Outcome {
            message: format!("{without_proof},p={}", encode(&proof)),
            server_signature: keys.server_key.signature(&exchange),
        }
    }
}

impl Outcome {
    /// The client-final-message, for SASLResponse.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// Checks the server-final-message. Only then is the server known to be the right one, and
    /// only then may an AuthenticationOk be believed.
    ///
    /// # Errors
    /// [`ScramError`] when the server refuses, or cannot prove that it knows the verifier.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let mut rest = message_text(server_final)?;
        if rest.starts_with("e=") {
            return Err(ScramError::RefusedByServer);
        }
        let signature = attribute(&mut rest, 'v', "server signature")?;
        let signature = decode_key(signature, "server signature in base64")?;
        if bool::from(signature.ct_eq(&self.server_signature)) {
            Ok(())
        } else {
            Err(ScramError::WrongServerSignature)
        }
    }
}
