//! What replies of a server mean for prepared statements.

use bs9_wire::{
    encode::backend::{self, ErrorReport},
    ledger::{Entry, Observed, Request, Settled},
    message::Report,
    sqlstate::SqlState,
    tag::BackendTag,
};

use super::{
    exchange::Exchange,
    journal::{Change, record_of},
};
use crate::listen::Unlistened;

/// Where PostgreSQL finds that a result has changed; its message is translated, this is not.
const RESULT_CHANGED: &[u8] = b"RevalidateCachedQuery";

impl Exchange<'_> {
    /// Follows up on a message that was checked off. What the pool answers goes behind `answers`.
    /// True when one of those stands for the message itself.
    pub(crate) fn follow_up(
        &mut self,
        tag: BackendTag,
        body: &[u8],
        observed: Observed,
        answers: &mut Vec<u8>,
    ) -> bool {
        if tag == BackendTag::ErrorResponse {
            return self.error(body, observed, answers);
        }
        if tag == BackendTag::CommandComplete && changes_schema(body, &mut self.cache.altered) {
            self.store.note_change_of_schema();
        }
        if tag == BackendTag::CommandComplete && forgets_all(body) {
            self.cache.forget();
            if let Some(statements) = self.statements.as_mut() {
                statements.forget(self.cache);
                if statements.subscribed && body.starts_with(b"DISCARD") {
                    let effects = statements.effects.get_or_insert_default();
                    effects.unlistened.push(Unlistened::All);
                    effects.listens = true;
                }
            }
        }
        let Some(statements) = self.statements.as_mut() else { return false };
        if statements.journal.is_empty() {
            return false;
        }
        if let Some(id) = observed.closed.as_ref().and_then(record_of)
            && let Some(change) = statements.journal.take(id)
        {
            let is_done = match change {
                Change::Forgotten { .. } => body == b"DEALLOCATE\0",
                Change::ForgottenAll { .. } => forgets_all(body),
                _ => true,
            };
            if is_done {
                statements.done(change, self.cache, self.settings.context());
            } else {
                statements.undone(change, self.cache);
            }
        }
        self.settle(answers);
        false
    }

    /// Gives the answers that are due, and takes back what the server skips.
    pub(crate) fn settle(&mut self, answers: &mut Vec<u8>) {
        let mut skipped = None;
        while let Some(settled) = self.ledger.settle() {
            match settled {
                Settled::Skipped(entry) => skipped = record_of(&entry).or(skipped),
                Settled::Answer(entry) => {
                    match entry.request {
                        Request::Close => backend::close_complete(answers),
                        _ => backend::parse_complete(answers),
                    }
                    if let Some(statements) = self.statements.as_mut()
                        && let Some(change) = statements.journal.take(entry.token)
                    {
                        statements.done(change, self.cache, self.settings.context());
                    }
                }
            }
        }
        if let (Some(last), Some(statements)) = (skipped, self.statements.as_mut()) {
            for change in statements.journal.take_back_to(last) {
                statements.undone(change, self.cache);
            }
        }
    }

    fn error(&mut self, body: &[u8], observed: Observed, answers: &mut Vec<u8>) -> bool {
        let report = Report::read(body).ok();
        let closed = observed.closed;
        let record = closed.as_ref().and_then(record_of);
        if let Some(effects) = self.statements.as_mut().and_then(|known| known.effects.as_mut()) {
            effects.unlistened.clear();
        }
        let failed = record.zip(self.statements.as_mut());
        let failed = failed.and_then(|(id, statements)| statements.journal.take(id));
        self.settle(answers);
        if let Some(entry) = closed.filter(uses_a_number)
            && report.as_ref().is_some_and(result_changed)
        {
            self.renew(entry.token);
        }
        if let Some(entry) = closed.filter(uses_a_number)
            && report.as_ref().is_some_and(is_unknown)
        {
            self.cache.distrust(entry.token);
        }
        let (Some(change), Some(statements)) = (failed, self.statements.as_mut()) else {
            return false;
        };
        let sqlstate = report.as_ref().and_then(|report| report.sqlstate());
        let replaced = stand_in(&change, sqlstate, answers);
        statements.failed(change, self.cache);
        replaced
    }

    /// A statement's result is not what it was. The client has been told, like without a pool;
    /// from now on whoever prepares the text gets it anew, and so does this client's next use.
    fn renew(&mut self, number: u32) {
        let Some(before) = self.cache.remove(number) else { return };
        self.cache.close_later(number);
        before.mark_stale();
        let Ok(fresh) = self.store.share(self.settings.context(), before.body()) else { return };
        if let Some(statements) = self.statements.as_mut() {
            statements.renew(&before, &fresh);
        }
    }
}

/// The tag of a statement after which a session has no prepared statements.
pub(crate) fn forgets_all(tag: &[u8]) -> bool {
    tag.first() == Some(&b'D') && matches!(tag, b"DEALLOCATE ALL\0" | b"DISCARD ALL\0")
}

/// Whether a command's tag tells something about prepared statements.
#[inline]
pub(crate) fn is_telling(tag: &[u8]) -> bool {
    matches!(
        tag,
        [b'D', b'E' | b'I' | b'R', ..] | [b'C', b'R', ..] | [b'A', b'L', ..] | [b'R', b'O', ..]
    )
}

/// Whether texts may mean something else behind a command with this tag. `altered`: the server
/// has changed definitions before.
fn changes_schema(tag: &[u8], altered: &mut bool) -> bool {
    let begins = |word: &[u8]| tag.starts_with(word);
    if begins(b"CREATE ") || begins(b"ALTER ") || begins(b"DROP ") {
        *altered = true;
        return true;
    }
    begins(b"ROLLBACK") && std::mem::take(altered)
}

fn result_changed(report: &Report<'_>) -> bool {
    report.sqlstate() == Some(SqlState::FEATURE_NOT_SUPPORTED.as_bytes())
        && report.get(b'R') == Some(RESULT_CHANGED)
}

/// Whether the entry may carry the number of a statement that is used.
fn uses_a_number(entry: &Entry) -> bool {
    matches!(entry.request, Request::Bind | Request::DescribeStatement) && entry.token != 0
}

fn is_unknown(report: &Report<'_>) -> bool {
    report.sqlstate() == Some(SqlState::INVALID_STATEMENT_NAME.as_bytes())
}

/// Writes what the client is told in place of the server's error, which names what the client
/// does not know.
fn stand_in(change: &Change, sqlstate: Option<&[u8]>, answers: &mut Vec<u8>) -> bool {
    let (says, name, wanted) = match change {
        Change::Again { name, .. } => ("already exists", name, SqlState::DUPLICATE_STATEMENT),
        Change::Unknown { name } => ("does not exist", name, SqlState::INVALID_STATEMENT_NAME),
        Change::Refused(refusal) => {
            let report = ErrorReport {
                hint: refusal.hint,
                ..ErrorReport::error(refusal.sqlstate, refusal.message)
            };
            backend::error_response(answers, &report);
            return true;
        }
        _ => return false,
    };
    if sqlstate != Some(wanted.as_bytes()) {
        return false;
    }
    let message = format!("prepared statement \"{}\" {says}", String::from_utf8_lossy(name));
    backend::error_response(answers, &ErrorReport::error(wanted, &message));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_tell() {
        let mut altered = false;
        for (tag, telling, changes) in [
            (&b"SELECT 1\0"[..], false, false),
            (b"COMMIT\0", false, false),
            (b"COPY 3\0", false, false),
            (b"ROLLBACK\0", true, false),
            (b"CREATE TABLE\0", true, true),
            (b"ROLLBACK\0", true, true),
            (b"ROLLBACK\0", true, false),
            (b"DROP TYPE\0", true, true),
            (b"ALTER TABLE\0", true, true),
            (b"DELETE 1\0", true, false),
            (b"DISCARD ALL\0", true, false),
            (b"DEALLOCATE ALL\0", true, false),
            (b"\0", false, false),
        ] {
            assert_eq!(is_telling(tag), telling, "{tag:?}");
            assert_eq!(changes_schema(tag, &mut altered), changes, "{tag:?}");
            assert!(is_telling(tag) || !forgets_all(tag));
        }
    }
}
