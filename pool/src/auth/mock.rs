//! What is asked of users that do not exist: what most of the others are asked.

use bs9_wire::auth::{
    Verifier,
    md5::Md5Secret,
    scram::{DEFAULT_ITERATIONS, ScramVerifier},
};

/// Decided once for each configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mock {
    iterations: u32,
    /// Under `md5`: most users have a SCRAM verifier, and are asked for SCRAM.
    pub(crate) prefers_scram: bool,
}

impl Mock {
    /// Like most of these.
    pub(crate) fn like<'a>(users: impl Iterator<Item = &'a Verifier>) -> Self {
        let (mut scram, mut others) = (Vec::new(), 0);
        for user in users {
            match user {
                Verifier::Scram(verifier) => scram.push(verifier.iterations()),
                Verifier::Plain(_) | Verifier::Md5(_) => others += 1,
            }
        }
        let prefers_scram = scram.len() > others;
        scram.sort_unstable();
        let most = scram.chunk_by(PartialEq::eq).max_by_key(|alike| alike.len());
        let most = most.filter(|alike| alike.len() > others).and_then(|alike| alike.first());
        Self { iterations: most.copied().unwrap_or(DEFAULT_ITERATIONS), prefers_scram }
    }

    /// For a user of this name, the same at each attempt.
    pub(crate) fn scram(self, name: &str, secret: &[u8; 32]) -> ScramVerifier {
        ScramVerifier::mock(name, secret, self.iterations)
    }

    /// Nobody knows its password: it is drawn anew each time.
    pub(crate) fn md5(self, name: &str) -> Md5Secret {
        Md5Secret::from_password(name, &rand::random::<[u8; 32]>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_like_most_users() {
        let scram = |rounds| Verifier::Scram(ScramVerifier::from_password(b"x", b"salt", rounds));
        let plain = || Verifier::Plain("x".to_owned());
        let like = |users: &[Verifier]| Mock::like(users.iter());
        let usual = |prefers_scram| Mock { iterations: DEFAULT_ITERATIONS, prefers_scram };
        assert_eq!(like(&[]), usual(false));
        assert_eq!(like(&[plain(), scram(7)]), usual(false));
        let many = like(&[scram(7), scram(9), scram(9), plain()]);
        assert_eq!(many, Mock { iterations: 9, prefers_scram: true });
        assert_eq!(many.scram("eve", &[1; 32]), many.scram("eve", &[1; 32]));
        assert_ne!(many.scram("eve", &[1; 32]), many.scram("eva", &[1; 32]));
    }
}
