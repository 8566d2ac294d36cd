//! What a text changes in a session that outlives its transaction.
//!
//! Parameters set with `SET`, `RESET` and `set_config` are to follow the client to its next
//! server; what cannot follow it (a lock, a temporary table, a cursor, a subscription, a
//! statement prepared in SQL) ties the client to the server it has. Texts are read only when they
//! begin with a word that may do such a thing, or something in them may; what the values are is
//! asked of the server when the transaction is over, so that savepoints, rollbacks and the
//! server's own spelling need not be known here.

use std::array;

use bs9_net::Counter;

use crate::{
    listen::Unlistened,
    settings,
    sql::{Kind, Lexer, Quoting, Token, is_space},
};

mod long;
mod read;
mod scan;

pub(crate) use long::LongText;

/// Bytes of a text that tell whether it is worth reading whole.
pub(crate) const TELLING_BYTES: usize = 16;
/// Longest text that is read all at once; longer ones are read as they pass.
pub(crate) const MAX_TEXT: usize = 16 * 1024;
/// Most parameters that one transaction may touch and be followed.
const MAX_NAMES: usize = 64;

/// Why a server connection stays with its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    AdvisoryLock,
    TemporaryTable,
    HoldCursor,
    /// `PREPARE` in SQL: the name is the server's, not one of the pool's.
    SqlPrepared,
    Listen,
    /// `set_config` of a name that only the server sees, more names than are followed, or acting as
    /// another user.
    Setting,
}

/// What a client's texts did since it got its server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Parameters that were given a value.
    pub(crate) set: Vec<Box<str>>,
    /// Parameters that were reset.
    pub(crate) reset: Vec<Box<str>>,
    /// All parameters were reset.
    pub(crate) reset_all: bool,
    /// Why the server has to stay with the client.
    pub(crate) pins: Vec<Reason>,
    /// Channels it listens to no longer.
    pub(crate) unlistened: Vec<Unlistened>,
    /// What the client listens to may change, or in which character set it hears. See
    /// [`listen`](crate::listen).
    pub(crate) listens: bool,
    /// Until the transaction is over, texts may mean something else than by the settings that are
    /// known, whether that outlives it or not.
    pub(crate) unsettles: bool,
}

/// Pins, by reason. Written by its shard alone.
#[derive(Debug)]
pub(crate) struct PinCounts([Counter; Reason::ALL.len()]);

impl Default for PinCounts {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()))
    }
}

impl PinCounts {
    pub(crate) fn count(&self, reason: Reason) {
        self.0[reason as usize].increment();
    }

    pub(crate) fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize].get()
    }
}

impl Reason {
    pub(crate) const ALL: [Self; 6] = [
        Self::AdvisoryLock,
        Self::TemporaryTable,
        Self::HoldCursor,
        Self::SqlPrepared,
        Self::Listen,
        Self::Setting,
    ];

    /// A stable word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AdvisoryLock => "advisory_lock",
            Self::TemporaryTable => "temporary_table",
            Self::HoldCursor => "hold_cursor",
            Self::SqlPrepared => "sql_prepared_statement",
            Self::Listen => "listen",
            Self::Setting => "setting",
        }
    }
}

impl Effects {
    /// What `text` does; `None`: nothing of the kind.
    pub(crate) fn of(text: &[u8], quoting: Quoting) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return LongText::read_whole(text, quoting);
        }
        let mut effects = Self::default();
        read::read_more(text, quoting, &mut effects);
        (effects != Self::default()).then_some(effects)
    }

    /// What `text` may do that the server reads later: what is under way may change whether
    /// backslashes escape.
    pub(crate) fn in_doubt(text: &[u8], quoting: Quoting) -> Option<Self> {
        let effects = Self::of(text, quoting);
        if memchr::memchr(b'\\', text).is_none() {
            return effects;
        }
        Self::either(effects, Self::of(text, quoting.otherwise()))
    }

    /// What a text does of which there are two readings. Where they differ the client is tied to its
    /// server, and nothing is taken for undone.
    pub(crate) fn either(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        if one == other {
            return one;
        }
        let mut both = Self::default();
        for effects in [one, other].into_iter().flatten() {
            for name in effects.set.into_iter().chain(effects.reset) {
                both.note_set(name);
            }
            for pin in effects.pins {
                both.note_pin(pin);
            }
            both.unsettles |= effects.unsettles;
        }
        both.note_pin(Reason::Setting);
        Some(both)
    }

    /// Whether transactions of the session may be deferrable by default from now on.
    pub(crate) fn may_defer(&self) -> bool {
        self.set.iter().any(|name| **name == *settings::DEFAULT_DEFERRABLE)
    }

    /// Whether the client may speak another character set from now on.
    pub(crate) fn may_recode(&self) -> bool {
        let mut named = self.set.iter().chain(&self.reset);
        self.reset_all || named.any(|name| **name == *settings::CLIENT_ENCODING)
    }

    /// Whether this parameter was reset, if that was not rolled back.
    pub(crate) fn resets(&self, name: &str) -> bool {
        self.reset_all || self.reset.iter().any(|known| **known == *name)
    }

    /// As if the texts had been one.
    pub(crate) fn add(&mut self, other: Self) {
        // What was set before may be so again when a reset is rolled back: the server is asked.
        self.reset_all |= other.reset_all;
        self.unsettles |= other.unsettles;
        for name in other.reset {
            self.note_reset(name);
        }
        for name in other.set {
            self.note_set(name);
        }
        for pin in other.pins {
            self.note_pin(pin);
        }
        self.unlistened.extend(other.unlistened);
        self.listens |= other.listens;
    }

    /// A parameter is set for the transaction alone.
    fn note_local(&mut self, name: &str) {
        self.unsettles |= !settings::is_meaningless(name);
    }

    fn note_set(&mut self, name: Box<str>) {
        self.note_local(&name);
        if &*name == "session_authorization" {
            // Who may do what hangs on it: it does not follow.
            self.note_pin(Reason::Setting);
            return;
        }
        self.reset.retain(|known| *known != name);
        if self.set.len() + self.reset.len() >= MAX_NAMES {
            self.note_pin(Reason::Setting);
        } else if !self.set.contains(&name) {
            self.set.push(name);
        }
    }

    fn note_reset(&mut self, name: Box<str>) {
        self.note_local(&name);
        self.set.retain(|known| *known != name);
        if self.set.len() + self.reset.len() >= MAX_NAMES {
            self.note_pin(Reason::Setting);
        } else if !self.reset.contains(&name) {
            self.reset.push(name);
        }
    }

    pub(crate) fn note_pin(&mut self, reason: Reason) {
        self.unsettles |= reason == Reason::Setting;
        if !self.pins.contains(&reason) {
            self.pins.push(reason);
        }
    }
}

/// What a function does that is called by its number, which those of the server's own have for good
/// (`pg_proc.dat`).
pub(crate) fn called(function: u32) -> Option<Reason> {
    match function {
        2078 => Some(Reason::Setting),
        2880..=2883 | 2886..=2889 => Some(Reason::AdvisoryLock),
        _ => None,
    }
}

/// Whether a text may do any of it, in its first statement or further on.
#[inline]
pub(crate) fn may_matter(text: &[u8]) -> bool {
    let start = &text[..text.len().min(TELLING_BYTES)];
    may_begin_to_matter(start) || may_matter_further_on(text)
}

/// Whether there is more to a text than its beginning: a function that matters, a word that makes a
/// table temporary, or another statement.
#[inline]
pub(crate) fn may_matter_further_on(text: &[u8]) -> bool {
    scan::finds(text)
}

/// Whether a text that begins like this may do any of it.
#[inline]
pub(crate) fn may_begin_to_matter(text: &[u8]) -> bool {
    match text.first() {
        Some(b's' | b'S') => set_or_telling_select(text),
        Some(b'c' | b'C' | b'd' | b'D' | b'l' | b'L' | b'p' | b'P' | b'r' | b'R') => {
            begins_with_a_word(text)
        }
        Some(b'u' | b'U') => text.len() < 2 || text[1] | 0x20 == b'n',
        Some(b' ' | b'\n' | b'\t' | b'\r' | b'\x0b' | b'\x0c') => may_matter_trimmed(text),
        Some(b'/' | b'-') => true,
        _ => false,
    }
}

#[cold]
fn may_matter_trimmed(text: &[u8]) -> bool {
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    let trimmed = &text[spaces..];
    // Nothing but white space so far: who knows.
    trimmed.is_empty() && !text.is_empty() || may_begin_to_matter(trimmed)
}

/// `SET`, or `SELECT` right before a function that matters.
#[inline]
fn set_or_telling_select(text: &[u8]) -> bool {
    if text.len() < 10 {
        // What is not all here may be anything; no call that matters is that short.
        let whole = text.last() == Some(&0);
        return begins(text, "SET") || !whole && begins(text, "SELECT");
    }
    let lower = |at: usize| text[at] | 0x20;
    if lower(1) != b'e' {
        return false;
    }
    if lower(2) == b't' {
        return true;
    }
    match lower(7) {
        b'p' => lower(8) == b'g' && text[9] == b'_',
        b's' => lower(8) == b'e' && lower(9) == b't',
        b' ' | b'\n' | b'\t' => true,
        _ => false,
    }
}

fn begins_with_a_word(text: &[u8]) -> bool {
    const WORDS: [&str; 6] = ["CREATE", "DECLARE", "DISCARD", "LISTEN", "PREPARE", "RESET"];
    WORDS.iter().any(|word| begins(text, word))
}

/// Whether a text, as far as it goes, begins with this word.
fn begins(text: &[u8], word: &str) -> bool {
    let length = text.len().min(word.len());
    text[..length].eq_ignore_ascii_case(&word.as_bytes()[..length])
}

#[cfg(test)]
mod tests;
