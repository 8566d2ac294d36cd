//! How work is told: in texts such as `c3s1 n17 echo`: who wants it (client 3, in its first
//! session), a number that nobody else has, and what it is.
//!
//! What the pool is to take note of is SQL; what else is told stands behind it, as a comment.

use std::fmt;

/// Who wants something: a client, in one of its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) client: usize,
    /// From 1.
    pub(super) session: u64,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}s{}", self.client, self.session)
    }
}

/// What is told, without the SQL before it.
pub(super) fn told_in(text: &str) -> &str {
    text.rsplit_once("-- ").map_or(text, |(_, told)| told)
}

/// Who a text is of.
pub(super) fn sender_of(text: &str) -> Option<Sender> {
    let (client, session) = told_in(text).strip_prefix('c')?.split(' ').next()?.split_once('s')?;
    Some(Sender { client: client.parse().ok()?, session: session.parse().ok()? })
}

pub(super) fn verb_of(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}

/// What outlives its transaction and belongs to one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    Lock,
    Table,
    Cursor,
    Plan,
}

impl Kept {
    pub(super) const ALL: [Self; 4] = [Self::Lock, Self::Table, Self::Cursor, Self::Plan];

    /// What makes one, and what ends it.
    fn verbs(self) -> [&'static str; 2] {
        match self {
            Self::Lock => ["lock", "unlock"],
            Self::Table => ["table", "drop"],
            Self::Cursor => ["hold", "close"],
            Self::Plan => ["prepare", "deallocate"],
        }
    }

    pub(super) fn verb(self, makes: bool) -> &'static str {
        self.verbs()[usize::from(!makes)]
    }

    /// What a verb is about, and whether it makes it.
    pub(super) fn by(verb: &str) -> Option<(Self, bool)> {
        Self::ALL.into_iter().find_map(|kept| {
            let at = kept.verbs().iter().position(|known| *known == verb)?;
            Some((kept, at == 0))
        })
    }

    /// As it is said to a server. `filler` makes it longer.
    pub(super) fn sql(self, makes: bool, filler: &str) -> String {
        match (self, makes) {
            (Self::Lock, true) => format!("SELECT '{filler}', pg_advisory_lock(1)"),
            (Self::Lock, false) => "SELECT pg_advisory_unlock(1)".into(),
            (Self::Table, true) => format!("CREATE TEMP TABLE t (a text DEFAULT '{filler}')"),
            (Self::Table, false) => "DROP TABLE t".into(),
            (Self::Cursor, true) => format!("DECLARE h CURSOR WITH HOLD FOR SELECT '{filler}'"),
            (Self::Cursor, false) => "CLOSE h".into(),
            (Self::Plan, true) => format!("PREPARE p AS SELECT '{filler}'"),
            (Self::Plan, false) => "DEALLOCATE p".into(),
        }
    }

    /// Whether a text makes any of them.
    pub(super) fn is_made_by(sql: &str) -> bool {
        let words = ["pg_advisory_lock", "CREATE TEMP ", "DECLARE ", "PREPARE "];
        words.iter().any(|word| sql.contains(word))
    }

    /// What a server answers.
    pub(super) fn tag(self, makes: bool) -> &'static str {
        match (self, makes) {
            (Self::Lock, _) => "SELECT 1",
            (Self::Table, true) => "CREATE TABLE",
            (Self::Table, false) => "DROP TABLE",
            (Self::Cursor, true) => "DECLARE CURSOR",
            (Self::Cursor, false) => "CLOSE CURSOR",
            (Self::Plan, true) => "PREPARE",
            (Self::Plan, false) => "DEALLOCATE",
        }
    }
}

/// What is done with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Listen,
    Unlisten,
    Notify,
}

/// Instead of a channel: all of them.
pub(super) const ALL_CHANNELS: &str = "*";

impl Word {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Listen, "LISTEN"), (Self::Unlisten, "UNLISTEN"), (Self::Notify, "NOTIFY")];

    /// As it is said to a server, and as the server says that it is done.
    pub(super) fn sql(self) -> &'static str {
        let known = Self::ALL.into_iter().find(|(word, _)| *word == self);
        known.expect("each of them").1
    }

    pub(super) fn verb(self, channel: &str) -> String {
        format!("{}-{channel}", self.sql())
    }

    /// What a verb is, and which channel it is about.
    pub(super) fn by(verb: &str) -> Option<(Self, &str)> {
        let (name, channel) = verb.split_once('-')?;
        let known = Self::ALL.into_iter().find(|(_, sql)| *sql == name)?;
        Some((known.0, channel))
    }
}
