//! What is asked of users that do not exist: what the others are asked, in the same proportion.
//!
//! Which of it a name is asked hangs on a secret, and is the same at each attempt: neither what is
//! rare nor what is usual says that a user exists.

use std::collections::BTreeMap;

use bs9_wire::auth::{
    Verifier,
    md5::Md5Secret,
    scram::{DEFAULT_ITERATIONS, ScramVerifier},
};
use sha2::{Digest as _, Sha256};

/// Numbers of iterations that are told apart; users can come up with any.
const MAX_KINDS: usize = 16;

/// How passwords are stored, and for how many users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<Kind, usize>);

/// What a user is asked under `md5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Md5,
    Scram { iterations: u32 },
}

/// What one name is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mock {
    kind: Kind,
}

impl Kind {
    fn of(verifier: &Verifier) -> Self {
        match verifier {
            Verifier::Scram(verifier) => Self::Scram { iterations: verifier.iterations() },
            Verifier::Plain(_) | Verifier::Md5(_) => Self::Md5,
        }
    }
}

impl Tally {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn count(&mut self, verifier: &Verifier) {
        let kind = Kind::of(verifier);
        if self.0.len() < MAX_KINDS || self.0.contains_key(&kind) {
            *self.0.entry(kind).or_default() += 1;
        }
    }

    /// A user that was counted is stored so now; `None`: in no way, or it was not counted.
    pub(crate) fn recount(&mut self, before: Option<&Verifier>, now: Option<&Verifier>) {
        if before.map(Kind::of) == now.map(Kind::of) {
            return;
        }
        if let Some(kind) = before.map(Kind::of)
            && let Some(users) = self.0.get_mut(&kind)
        {
            *users -= 1;
            if *users == 0 {
                self.0.remove(&kind);
            }
        }
        if let Some(now) = now {
            self.count(now);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, users) in &other.0 {
            *self.0.entry(*kind).or_default() += users;
        }
    }

    /// For a user of this name. Of nobody there is nothing to be said: then it is md5.
    pub(crate) fn mock(&self, name: &str, secret: &[u8; 32]) -> Mock {
        // No name begins with that: it has nothing to do with the salt.
        let hash = Sha256::new().chain_update(secret).chain_update([0xFF]).chain_update(name);
        let drawn = u64::from_le_bytes(*hash.finalize().first_chunk().expect("32 bytes"));
        let users: usize = self.0.values().sum();
        let mut left = (u128::from(drawn) * users as u128) >> 64;
        let found = self.0.iter().find(|(_, users)| {
            let users = **users as u128;
            let is = left < users;
            left = left.saturating_sub(users);
            is
        });
        Mock { kind: found.map_or(Kind::Md5, |(kind, _)| *kind) }
    }
}

impl Mock {
    /// As servers ask when nobody has changed their settings.
    pub(crate) fn usual() -> Self {
        Self { kind: Kind::Scram { iterations: DEFAULT_ITERATIONS } }
    }

    /// Whether it is asked for SCRAM under `md5`.
    pub(crate) fn prefers_scram(self) -> bool {
        matches!(self.kind, Kind::Scram { .. })
    }

    /// For a user of this name, the same at each attempt.
    pub(crate) fn scram(self, name: &str, secret: &[u8; 32]) -> ScramVerifier {
        let iterations = match self.kind {
            Kind::Md5 => DEFAULT_ITERATIONS,
            Kind::Scram { iterations } => iterations,
        };
        ScramVerifier::mock(name, secret, iterations)
    }

    /// Nobody knows its password: it is drawn anew each time.
    pub(crate) fn md5(self, name: &str) -> Md5Secret {
        Md5Secret::from_password(name, &rand::random::<[u8; 32]>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scram(rounds: u32) -> Verifier {
        Verifier::Scram(ScramVerifier::from_password(b"x", b"salt", rounds))
    }

    fn plain() -> Verifier {
        Verifier::Plain("x".to_owned())
    }

    fn tally(users: &[Verifier]) -> Tally {
        let mut tally = Tally::default();
        users.iter().for_each(|user| tally.count(user));
        tally
    }

    #[test]
    fn it_is_like_the_others_in_their_proportion() {
        let secret = [1; 32];
        assert!(!tally(&[]).mock("eve", &secret).prefers_scram());
        assert_eq!(tally(&[scram(DEFAULT_ITERATIONS)]).mock("eve", &secret), Mock::usual());
        let many = tally(&[scram(7), scram(9), scram(9), plain()]);
        let mocks: Vec<_> =
            (0..4000).map(|user| many.mock(&format!("user{user}"), &secret)).collect();
        for (kind, share) in [
            (Kind::Md5, 1000),
            (Kind::Scram { iterations: 7 }, 1000),
            (Kind::Scram { iterations: 9 }, 2000),
        ] {
            let asked = mocks.iter().filter(|mock| mock.kind == kind).count();
            assert!(asked.abs_diff(share) < 200, "{kind:?}: {asked}");
        }
    }

    #[test]
    fn it_is_the_same_each_time() {
        let many = tally(&[scram(7), plain()]);
        let mock = |name: &str| many.mock(name, &[1; 32]).scram(name, &[1; 32]);
        assert_eq!(mock("eve"), mock("eve"));
        assert_ne!(mock("eve"), mock("eva"));
    }

    #[test]
    fn who_is_stored_in_another_way_is_counted_once() {
        let mut found = Tally::default();
        found.recount(None, Some(&plain()));
        found.recount(Some(&plain()), Some(&scram(7)));
        found.recount(Some(&scram(7)), Some(&scram(7)));
        assert_eq!(found, tally(&[scram(7)]));
        let mut both = tally(&[plain(), scram(7)]);
        both.add(&found);
        assert_eq!(both, tally(&[plain(), scram(7), scram(7)]));
        found.recount(Some(&scram(7)), None);
        assert!(found.is_empty());
    }
}
