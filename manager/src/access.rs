//! Tokens that are made and revoked while the manager runs.
//!
//! A token is 256 random bits; the file holds its SHA-256. So many random bits
//! cannot be guessed, which is why no slow hash is needed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bs9_api::{
    ApiError,
    server::{Keyring, KnownToken},
    types::{CreateToken, CreatedToken, SCHEMA, TokenSummary},
};
use bs9_config::Role;
use jiff::{SignedDuration, Timestamp};
use rand::TryRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::audit::hexadecimal;

/// Tokens in the file; those that do not work any more make way.
const MAX_TOKENS: usize = 1_000;
/// What every token begins with, so that scanners for leaked secrets know it.
const PREFIX: &str = "bs9_";
const RANDOM_BYTES: usize = 32;

/// The tokens; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct TokenBook {
    path: Arc<PathBuf>,
    tokens: Arc<Mutex<Vec<Entry>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    summary: TokenSummary,
    /// SHA-256 of the token, hexadecimal.
    sha256: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    schema: u32,
    tokens: Vec<Entry>,
}

impl Entry {
    fn works(&self, now: Timestamp) -> bool {
        self.summary.revoked_at.is_none()
            && self.summary.expires_at.is_none_or(|expires| now < expires)
    }
}

impl TokenBook {
    /// Reads the tokens in `folder`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not what this wrote: a token must not come
    /// back, nor be lost, because somebody changed it by hand.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("tokens.json");
        let document = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Document::default(),
            Err(error) => return Err(error),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("{} is not a file of tokens: {error}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?,
        };
        Ok(Self { path: Arc::new(path), tokens: Arc::new(Mutex::new(document.tokens)) })
    }

    fn tokens(&self) -> MutexGuard<'_, Vec<Entry>> {
        // It is changed only once the file is.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self) -> Vec<TokenSummary> {
        let mut all: Vec<_> = self.tokens().iter().map(|entry| entry.summary.clone()).collect();
        all.sort_by(|a, b| (&a.name, a.created_at).cmp(&(&b.name, b.created_at)));
        all
    }

    /// Makes a token. Blocks: not for the runtime's thread.
    pub(crate) fn create(&self, asked: CreateToken) -> Result<CreatedToken, ApiError> {
        check_name(&asked.name)?;
        let now = Timestamp::now();
        let expires_at = match asked.expires_in_seconds {
            None => None,
            Some(0) => {
                return Err(ApiError::invalid_request("a token works for a second at least"));
            }
            Some(seconds) => {
                let after = i64::try_from(seconds).ok().map(SignedDuration::from_secs);
                let at = after.and_then(|after| now.checked_add(after).ok());
                Some(at.ok_or_else(|| ApiError::invalid_request("that is too far in the future"))?)
            }
        };
        let mut tokens = self.tokens();
        if tokens.iter().any(|entry| entry.summary.name == asked.name && entry.works(now)) {
            return Err(ApiError::conflict(format!(
                "a token named {} works already; revoke it first, or choose another name",
                asked.name
            )));
        }
        let token = random_token()?;
        let summary = TokenSummary {
            name: asked.name,
            role: asked.role,
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        let mut next = tokens.clone();
        if next.len() >= MAX_TOKENS {
            next.retain(|entry| entry.works(now));
        }
        if next.len() >= MAX_TOKENS {
            return Err(ApiError::conflict(format!("there are {MAX_TOKENS} tokens already")));
        }
        next.push(Entry { summary: summary.clone(), sha256: hash(token.as_bytes()) });
        self.save(&next)?;
        *tokens = next;
        Ok(CreatedToken { schema: SCHEMA, token, summary })
    }

    /// Revokes the token of that name that works. Blocks: not for the runtime's
    /// thread.
    pub(crate) fn revoke(&self, name: &str) -> Result<(TokenSummary, TokenSummary), ApiError> {
        let now = Timestamp::now();
        let mut tokens = self.tokens();
        let mut next = tokens.clone();
        let working = next.iter_mut().find(|e| e.summary.name == name && e.works(now));
        let Some(entry) = working else {
            return Err(ApiError::not_found(format!("no token named {name} works")));
        };
        let before = entry.summary.clone();
        entry.summary.revoked_at = Some(now);
        let after = entry.summary.clone();
        self.save(&next)?;
        *tokens = next;
        Ok((before, after))
    }

    /// Replaces the file whole.
    fn save(&self, tokens: &[Entry]) -> Result<(), ApiError> {
        let write = || -> io::Result<()> {
            let document = Document { schema: SCHEMA, tokens: tokens.to_vec() };
            let text = serde_json::to_vec_pretty(&document)?;
            let new = self.path.with_extension("json.new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &*self.path)?;
            match self.path.parent() {
                Some(folder) => File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|error| {
            tracing::error!(%error, path = %self.path.display(), "tokens cannot be written");
            ApiError::unavailable(format!("tokens cannot be written: {error}"))
        })
    }
}

impl Keyring for TokenBook {
    fn find(&self, presented: &[u8]) -> Option<KnownToken> {
        let presented = hash(presented);
        let now = Timestamp::now();
        let mut found = None;
        // Every one is compared, whatever was found.
        for entry in self.tokens().iter() {
            let same = bool::from(entry.sha256.as_bytes().ct_eq(presented.as_bytes()));
            if same && entry.works(now) {
                found = Some(KnownToken {
                    name: entry.summary.name.as_str().into(),
                    role: Role::from(entry.summary.role),
                });
            }
        }
        found
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return Err(ApiError::invalid_request(
            "a token's name has letters, digits, `-`, `_` and `.`, and at most 64 of them",
        ));
    }
    Ok(())
}

fn random_token() -> Result<String, ApiError> {
    let mut bytes = [0; RANDOM_BYTES];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
        ApiError::unavailable(format!("the system gives no random numbers: {error}"))
    })?;
    Ok(format!("{PREFIX}{}", hexadecimal(&bytes)))
}

fn hash(token: &[u8]) -> String {
    hexadecimal(&Sha256::digest(token))
}

#[cfg(test)]
mod tests {
    use bs9_api::types::RoleName;

    use super::*;

    fn asked(name: &str, seconds: Option<u64>) -> CreateToken {
        CreateToken { name: name.to_owned(), role: RoleName::Operator, expires_in_seconds: seconds }
    }

    #[test]
    fn a_token_opens_until_it_is_revoked_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let book = TokenBook::open(folder.path()).unwrap();
        let made = book.create(asked("deploy", None)).unwrap();
        assert!(made.token.starts_with(PREFIX) && made.token.len() == PREFIX.len() + 64);
        let known = book.find(made.token.as_bytes()).unwrap();
        assert_eq!((&*known.name, known.role), ("deploy", Role::Operator));
        let text = fs::read_to_string(folder.path().join("tokens.json")).unwrap();
        assert!(!text.contains(&made.token), "only its hash is kept");

        let again = TokenBook::open(folder.path()).unwrap();
        assert!(again.find(made.token.as_bytes()).is_some());
        assert_eq!(again.create(asked("deploy", None)).unwrap_err().code.as_str(), "conflict");
        again.revoke("deploy").unwrap();
        assert!(again.find(made.token.as_bytes()).is_none());
        assert_eq!(again.revoke("deploy").unwrap_err().code.as_str(), "not_found");
        assert!(again.create(asked("deploy", None)).is_ok(), "the name is free again");
        assert_eq!(again.list().len(), 2);
    }

    #[test]
    fn one_that_expired_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let book = TokenBook::open(folder.path()).unwrap();
        let made = book.create(asked("short", Some(3_600))).unwrap();
        book.tokens()[0].summary.expires_at = Some(Timestamp::UNIX_EPOCH);
        assert!(book.find(made.token.as_bytes()).is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let book = TokenBook::open(folder.path()).unwrap();
        for (name, seconds) in [("", None), ("a b", None), ("ok", Some(0)), ("ok", Some(u64::MAX))]
        {
            let refused = book.create(asked(name, seconds)).unwrap_err();
            assert_eq!(refused.code.as_str(), "invalid_request", "{name} {seconds:?}");
        }
        assert!(book.find(b"").is_none());
        assert!(!folder.path().join("tokens.json").exists());
        fs::write(folder.path().join("tokens.json"), "{").unwrap();
        assert!(TokenBook::open(folder.path()).is_err());
    }
}
