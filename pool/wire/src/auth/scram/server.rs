//! Letting a client log in.

use super::attributes::{attribute, decode_key, encode, message_text, nonce};
use super::keys::{ClientKey, Passthrough, ScramKeys};
use super::{Binding, Nonce, ScramError, ScramVerifier};

/// An exchange that waits for the client-first-message.
#[derive(Debug, Clone)]
pub struct Exchange {
    verifier: ScramVerifier,
    nonce: Nonce,
    binding: Binding,
}

/// An exchange that waits for the client-final-message.
#[derive(Debug, Clone)]
pub struct ProofCheck {
    verifier: ScramVerifier,
    /// What `c=` must hold: the GS2 header of the first message, and what it is bound to.
    binding_input: Vec<u8>,
    client_first_bare: String,
    server_first: String,
    /// Both nonces.
    nonce: String,
}

/// A client that proved it knows the password.
#[derive(Debug, Clone)]
pub struct Proof {
    message: String,
    passthrough: Passthrough,
}

impl Exchange {
    /// Starts an exchange against a verifier. For a user that does not exist, that is
    /// [`ScramVerifier::mock`].
    pub fn new(verifier: ScramVerifier, nonce: Nonce) -> Self {
        Self { verifier, nonce, binding: Binding::None }
    }

    /// The same exchange on TLS, where binding was offered. The mechanism that the client chose
    /// decides: [`Binding::EndPoint`] with [`MECHANISM_PLUS`](super::MECHANISM_PLUS), else
    /// [`Binding::Unused`].
    pub fn bound(self, binding: Binding) -> Self {
        Self { binding, ..self }
    }

    /// Reads the client-first-message.
    ///
    /// # Errors
    /// [`ScramError`] when it is malformed or asks for something that was not offered.
    pub fn client_first(self, message: &[u8]) -> Result<ProofCheck, ScramError> {
        let (gs2_header, bare) = split_gs2_header(message_text(message)?, &self.binding)?;
        let mut rest = bare;
        if rest.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        // Whoever it says it is, it is who the StartupMessage says.
        attribute(&mut rest, 'n', "user name")?;
        let nonce = format!("{}{}", nonce(&mut rest)?, self.nonce.as_str());
        let server_first =
            format!("r={nonce},s={},i={}", encode(&self.verifier.salt), self.verifier.iterations);
        Ok(ProofCheck {
            verifier: self.verifier,
            binding_input: self.binding.input(gs2_header),
            client_first_bare: bare.to_owned(),
            server_first,
            nonce,
        })
    }
}

/// Splits off the channel binding flag and authorization identity. `n`: the client has no
/// channel binding. `y`: it has, and believes we have not. `p=`: it binds.
fn split_gs2_header<'a>(
    text: &'a str,
    binding: &Binding,
) -> Result<(&'a str, &'a str), ScramError> {
    let expected = |expected| ScramError::Malformed { expected };
    let rest = match (text.as_bytes().first(), binding) {
        (Some(b'n' | b'y'), Binding::EndPoint(_)) => return Err(ScramError::UnboundPlus),
        (Some(b'y'), Binding::Unused) => return Err(ScramError::Downgraded),
        (Some(b'n' | b'y'), _) => &text[1..],
        (Some(b'p'), Binding::EndPoint(_)) => {
            let kind = text.strip_prefix("p=").ok_or(expected("channel binding type"))?;
            let end = kind.find(',').unwrap_or(kind.len());
            if !Binding::is_known(&kind[..end]) {
                return Err(ScramError::BindingType);
            }
            &kind[end..]
        }
        (Some(b'p'), _) => return Err(ScramError::ChannelBinding),
        _ => return Err(expected("channel binding flag")),
    };
    let rest = rest.strip_prefix(',').ok_or(expected("comma behind the flag"))?;
    if rest.starts_with("a=") {
        return Err(ScramError::AuthorizationIdentity);
    }
    let bare = rest.strip_prefix(',').ok_or(expected("GS2 header"))?;
    Ok((&text[..text.len() - bare.len()], bare))
}

impl ProofCheck {
    /// The server-first-message, for AuthenticationSASLContinue.
    pub fn message(&self) -> &[u8] {
        self.server_first.as_bytes()
    }

    /// Checks the client-final-message. The work is the same whether the user exists or not.
    ///
    /// # Errors
    /// [`ScramError`] when it is malformed, not of this exchange, or the proof is wrong.
    pub fn client_final(self, message: &[u8]) -> Result<Proof, ScramError> {
        let text = message_text(message)?;
        let malformed = ScramError::Malformed { expected: "proof" };
        // The proof comes last; all before it is signed, extensions included.
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(malformed)?;
        let proof = decode_key(proof, "proof in base64")?;
        let mut rest = without_proof;
        if attribute(&mut rest, 'c', "channel binding")? != encode(&self.binding_input) {
            return Err(ScramError::ChannelBindingMismatch);
        }
        if nonce(&mut rest)? != self.nonce {
            return Err(ScramError::NonceMismatch);
        }
        let exchange = [
            self.client_first_bare.as_bytes(),
            b",",
            self.server_first.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ];
        let client_key = ClientKey::recover(&proof, &self.verifier.stored_key, &exchange);
        let client_key = client_key.filter(|_| !self.verifier.mock);
        let client_key = client_key.ok_or(ScramError::WrongProof)?;
        let signature = self.verifier.server_key.signature(&exchange);
        Ok(Proof {
            message: format!("v={}", encode(&signature)),
            passthrough: Passthrough {
                keys: ScramKeys { client_key, server_key: self.verifier.server_key },
                salt: self.verifier.salt,
                iterations: self.verifier.iterations,
            },
        })
    }
}

impl Proof {
    /// The server-final-message, for AuthenticationSASLFinal.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// The client's keys, for logging in at a server in its name.
    pub fn into_passthrough(self) -> Passthrough {
        self.passthrough
    }
}
