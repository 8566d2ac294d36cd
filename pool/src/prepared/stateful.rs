//! Texts that change what outlives their transaction.

use bs9_config::Stateful;
use bs9_wire::{
    encode::frontend,
    ledger::{Origin, Refused, Request},
    sqlstate::SqlState,
};

use super::{
    exchange::{Exchange, Step},
    journal::Refusal,
    names::Statements,
};
use crate::session::{Effects, Reason};

impl Exchange<'_> {
    fn policy(&self, reason: Reason) -> Stateful {
        let session = &self.session;
        match reason {
            Reason::AdvisoryLock => session.advisory_locks,
            Reason::TemporaryTable => session.temporary_tables,
            Reason::HoldCursor => session.hold_cursors,
            Reason::Listen => session.listen,
            Reason::Setting if session.track_settings => Stateful::Pin,
            Reason::Setting => Stateful::Ignore,
        }
    }

    /// Why `text` is refused, if it is.
    #[cold]
    pub(super) fn refusal_of(&self, text: &[u8]) -> Option<Refusal> {
        let reasons = Effects::of(text)?.pins;
        let refused = |reason: &Reason| self.policy(*reason) == Stateful::Refuse;
        let message = match reasons.into_iter().find(refused)? {
            Reason::AdvisoryLock => {
                "session-level advisory locks are not allowed through this pool"
            }
            Reason::TemporaryTable => {
                "temporary tables are not allowed through this pool unless they are created with ON COMMIT DROP"
            }
            Reason::HoldCursor => "cursors WITH HOLD are not allowed through this pool",
            Reason::Listen => "LISTEN is not allowed through this pool",
            Reason::Setting => return None,
        };
        Some(Refusal { sqlstate: SqlState::FEATURE_NOT_SUPPORTED, message })
    }

    /// The server is about to run `text`.
    #[cold]
    pub(super) fn note_effects(&mut self, text: &[u8]) {
        let Some(mut effects) = Effects::of(text) else { return };
        effects.pins.retain(|reason| self.policy(*reason) == Stateful::Pin);
        if !self.session.track_settings {
            effects = Effects { pins: effects.pins, ..Effects::default() };
        }
        if effects == Effects::default() {
            return;
        }
        let store = self.store;
        let statements = self.statements.get_or_insert_with(|| Statements::new(store));
        statements.effects.get_or_insert_default().add(effects);
    }

    /// In place of a Query goes a batch that fails, so that the transaction fails, too, and as
    /// many ReadyForQuery come as were asked for.
    pub(super) fn refuse_query(
        &mut self,
        refusal: Refusal,
        length: usize,
    ) -> Result<Step, Refused> {
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        self.refuse(refusal)?;
        let _owed = self.ledger.expect(Request::Sync, Origin::Client, 0)?;
        if let Some(statements) = self.statements.as_mut() {
            frontend::sync(&mut statements.scratch);
        }
        self.query_sent();
        Ok(Step::Edited { taken: length })
    }
}
