//! A client of the pool and one of the server, who do the same.

use proptest::prelude::*;

use super::{Cluster, Dialogue, Pooler};

/// Parameters of which a client is told, those that change.
const REPORTED: [&str; 7] = [
    "DateStyle",
    "TimeZone",
    "client_encoding",
    "application_name",
    "IntervalStyle",
    "is_superuser",
    "session_authorization",
];

/// A client of the pool, and the same at the server.
pub(crate) struct Pair {
    pooled: Dialogue,
    direct: Dialogue,
    /// One error is as good as another.
    any_error: bool,
}

impl Pair {
    pub(crate) fn new(pooler: &Pooler) -> Self {
        let log_in = |address| Dialogue::log_in(address, "alice", &[]);
        let (pooled, direct) = (log_in(pooler.address), log_in(Cluster::shared().address()));
        Self { pooled, direct, any_error: false }
    }

    /// Where two things are wrong at once, the pool may tell of the other one.
    pub(crate) fn with_any_error(self) -> Self {
        Self { any_error: true, ..self }
    }

    /// Sends the same to both, who answer alike with so many ReadyForQuery.
    pub(crate) fn same(&mut self, bytes: &[u8], replies: usize) -> Result<(), TestCaseError> {
        self.direct.send(bytes);
        self.pooled.send(bytes);
        for _ in 0..replies {
            let essence = |client: &mut Dialogue| -> Vec<_> {
                let readable = |(tag, body): (char, Vec<u8>)| match tag {
                    'E' if self.any_error => (tag, String::new()),
                    _ => (tag, body.escape_ascii().to_string()),
                };
                client.until_ready().iter().map(|reply| readable(reply.essence())).collect()
            };
            let direct = essence(&mut self.direct);
            prop_assert_eq!(essence(&mut self.pooled), direct, "{}", bytes.escape_ascii());
        }
        for name in REPORTED {
            prop_assert_eq!(self.pooled.parameter(name), self.direct.parameter(name), "{}", name);
        }
        Ok(())
    }
}
