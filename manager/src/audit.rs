//! The log of changes: who did what through the admin API, and what came of it.
//!
//! An [`Audit`] is the witness of the admin server. Before a change is carried out
//! a record says so, after it another one says what came of it; each carries the
//! hash of the one before. What cannot be recorded is not done. The newest hash is
//! published with the status, the metrics and the log, so that cutting records off
//! the end shows to whoever kept one.

mod definition;
mod log;
mod redact;
mod seal;
mod verify;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bs9_api::{
    ApiError,
    server::{Asked, Outcome, Pending, Witness},
    types::{AuditHead, AuditPage, AuditPhase, AuditVerdict, Happening, PageQuery, SCHEMA},
};

use log::{Draft, Log};
use redact::redacted;

pub use verify::{page as read_log, verify as verify_log};

pub(crate) use seal::hexadecimal;

use crate::event::Events;

/// Records of one answer.
const MAX_PAGE: usize = 1_000;
const DEFAULT_PAGE: usize = 100;

/// The log; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    log: Arc<Mutex<Log>>,
    folder: Arc<PathBuf>,
    events: Events,
}

impl Audit {
    /// Opens the log in `folder`.
    pub(crate) fn open(folder: &Path, size_limit_bytes: u64, events: Events) -> io::Result<Self> {
        let (mut log, opening) = Log::open(folder, size_limit_bytes)?;
        if let Some(torn) = opening.torn {
            let path = torn.display().to_string();
            let reason = "a crash left half a record at its end".to_owned();
            tracing::warn!(path, "the audit log ended in half a record; it is set aside");
            log.append(Draft::upkeep("set_aside", format!("{reason}; it is in {path}")))?;
            events.publish(Happening::SetAside { path, reason });
        }
        if let Some(flaw) = opening.flaw {
            tracing::error!(flaw, "the audit log was tampered with; see bs9 audit verify");
            log.append(Draft::upkeep("flaw", flaw))?;
        }
        Ok(Self { log: Arc::new(Mutex::new(log)), folder: Arc::new(folder.to_owned()), events })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // The head changes only once a record is on disk.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest record.
    pub(crate) fn head(&self) -> AuditHead {
        self.log().head().clone()
    }

    /// Some records. Blocks: not for the runtime's thread.
    pub(crate) fn page(&self, asked: &PageQuery) -> io::Result<AuditPage> {
        let limit = asked.limit.map_or(DEFAULT_PAGE, |limit| (limit as usize).min(MAX_PAGE));
        let head = self.head();
        let records = verify::page(&self.folder, asked.after, limit)?;
        Ok(AuditPage { schema: SCHEMA, records, head })
    }

    /// Checks the whole log. Blocks: not for the runtime's thread.
    pub(crate) fn verify(&self, expected: Option<&str>) -> io::Result<AuditVerdict> {
        let head = self.head();
        verify::verify(&self.folder, expected, Some(&head))
    }

    fn append(&self, draft: Draft) -> io::Result<u64> {
        let mut log = self.log();
        let sequence = log.append(draft)?;
        if let Some(draft) = log.make_room()? {
            log.append(draft)?;
        }
        let AuditHead { sequence: newest, hash, .. } = log.head();
        tracing::info!(sequence = newest, hash, "audit head");
        Ok(sequence)
    }

    /// Appends on a thread that may wait for the disk.
    async fn record(&self, draft: Draft) -> io::Result<u64> {
        let audit = self.clone();
        tokio::task::spawn_blocking(move || audit.append(draft))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

fn draft(phase: AuditPhase, change: &Asked) -> Draft {
    Draft {
        phase,
        begun: None,
        who: change.caller.to_string(),
        role: change.caller.role().map(|role| bs9_api::endpoints::role_word(role).to_owned()),
        from: change.caller.from(),
        operation: change.operation.to_owned(),
        target: change.target.clone(),
        request: change.request.as_ref().map(redacted),
        before: None,
        after: None,
        ok: None,
        code: None,
        message: None,
    }
}

impl Witness for Audit {
    fn begin(&self, change: Asked) -> Pending<'_, Result<u64, ApiError>> {
        Box::pin(async move {
            self.record(draft(AuditPhase::Begun, &change)).await.map_err(|error| {
                tracing::error!(%error, "a change was refused: it cannot be recorded");
                ApiError::unavailable(format!(
                    "the change cannot be recorded in the audit log, so it was not done: {error}"
                ))
            })
        })
    }

    fn end(&self, ticket: u64, change: Asked, outcome: Outcome) -> Pending<'_, ()> {
        Box::pin(async move {
            let Outcome { failure, before, after } = outcome;
            let ok = failure.is_none();
            let ended = Draft {
                begun: Some(ticket),
                request: None,
                before: before.as_ref().map(redacted),
                after: after.as_ref().map(redacted),
                ok: Some(ok),
                code: failure.as_ref().map(|failure| failure.code.to_string()),
                message: failure.map(|failure| failure.message),
                ..draft(AuditPhase::Ended, &change)
            };
            match self.record(ended).await {
                Ok(audit_sequence) => self.events.publish(Happening::Change {
                    operation: change.operation.to_owned(),
                    who: change.caller.to_string(),
                    ok,
                    audit_sequence,
                }),
                // The record of its beginning stands, so the change is not unknown.
                Err(error) => {
                    tracing::error!(%error, ticket, "the end of a change cannot be recorded")
                }
            }
        })
    }

    fn refused(&self, change: Asked, reason: ApiError) -> Pending<'_, ()> {
        Box::pin(async move {
            let refused = Draft {
                ok: Some(false),
                code: Some(reason.code.to_string()),
                message: Some(reason.message),
                ..draft(AuditPhase::Refused, &change)
            };
            if let Err(error) = self.record(refused).await {
                tracing::error!(%error, "a refusal cannot be recorded");
            }
        })
    }
}

#[cfg(test)]
mod tests;
