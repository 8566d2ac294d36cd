//! What makes a session forget statements: Close, and DEALLOCATE in its two forms.

use std::sync::Weak;

use bs9_wire::{
    encode::frontend,
    frame::{HEADER_LEN, Header},
    ledger::{Origin, Refused, Request},
    message::{FrontendMessage, backend::TransactionStatus, frontend::Target},
    tag::FrontendTag,
};

use super::{Exchange, Noted, Step, never_known};
use crate::{
    prepared::{
        PREFIX, ServerName,
        deallocate::{self, Forgets},
        journal::Change,
        names::Bound,
    },
    session,
};

/// What is dropped on servers when a client drops a name of its own. It is none that the pool or a
/// client gives.
const SCAPEGOAT: &str = "bs9_scapegoat";
/// Portals that forget something which a client may have open at once. Of more, an earlier one drops
/// a scapegoat that is not there, or all without notice.
const MOST_BOUND: usize = 8;

impl Exchange<'_> {
    pub(super) fn close(&mut self, name: &[u8], length: usize) -> Result<Step, Refused> {
        let Some(statements) = self.statements.as_mut() else { return Ok(Step::Pass) };
        let change = if name.is_empty() {
            Change::ClosedUnnamed { before: statements.unnamed.take() }
        } else if let Some(statement) = statements.remove(name) {
            Change::Closed { name: name.into(), statement }
        } else if name.starts_with(PREFIX) {
            let name = never_known(name);
            self.say(|out| frontend::close(out, Target::Statement(&name)));
            let _owed = self.ledger.expect(Request::Close, Origin::Client, 0)?;
            return Ok(Step::Edited { taken: length });
        } else {
            // It may have been prepared in SQL.
            return Ok(Step::Pass);
        };
        self.answer(Request::Close, change)?;
        Ok(Step::Edited { taken: length })
    }

    pub(super) fn query(
        &mut self,
        header: Header<FrontendTag>,
        message: &[u8],
    ) -> Result<Step, Refused> {
        let text = &message[HEADER_LEN..];
        let whole = message.len() == header.total_len();
        if !whole && header.total_len() > session::MAX_TEXT {
            self.begin_long_query(text);
            return Ok(Step::Pass);
        }
        if !whole {
            return Ok(Step::Wait);
        }
        let start = &text[..text.len().min(session::TELLING_BYTES)];
        if !session::may_begin_to_matter(start)
            && !deallocate::may_forget(start)
            && !session::may_matter_further_on(text)
        {
            return Ok(Step::Pass);
        }
        self.telling_query(header.total_len(), text)
    }

    /// A query that begins like one that changes the session.
    fn telling_query(&mut self, length: usize, text: &[u8]) -> Result<Step, Refused> {
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        match deallocate::forgets(text) {
            Some(Forgets::All) => self.forgets = true,
            Some(Forgets::One(name)) => return self.deallocate(&name, length),
            None => {}
        }
        let Some(effects) = self.effects_of(text, self.ledger.is_empty()) else {
            return Ok(Step::Pass);
        };
        if let Some(refusal) = self.refusal_of(&effects) {
            return self.refuse_query(refusal, length);
        }
        match self.note_effects(effects, self.is_alone()) {
            Some(note) => self.query_after(&note),
            None => Ok(Step::Pass),
        }
    }

    /// `DEALLOCATE` of a name that is known to the pool alone. The statement stays, for others;
    /// in its place goes one made for the purpose, so that the server's replies are the real ones.
    fn deallocate(&mut self, name: &[u8], length: usize) -> Result<Step, Refused> {
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        if self.awaits_outcome_before(name) {
            return Ok(Step::Stall);
        }
        if !self.forget_one(name) {
            if !name.starts_with(PREFIX) {
                return Ok(Step::Pass);
            }
            // One of the pool's own: others use it.
            let _owed = self.ledger.expect(Request::Query, Origin::Client, 0)?;
            let text = deallocate_never_known(name);
            self.say(|out| frontend::query(out, &text));
            self.query_sent();
            return Ok(Step::Edited { taken: length });
        }
        let scapegoat = ServerName::new(self.cache.number());
        let scapegoat = String::from_utf8_lossy(scapegoat.as_bytes());
        let _owed = self.ledger.expect(Request::Query, Origin::Pool, 0)?;
        let _owed = self.ledger.expect(Request::Query, Origin::Client, 0)?;
        self.say(|out| {
            frontend::query(out, &format!("PREPARE {scapegoat} AS SELECT 1"));
            frontend::query(out, &format!("DEALLOCATE {scapegoat}"));
        });
        self.query_sent();
        Ok(Step::Edited { taken: length })
    }

    /// Parse of the unnamed statement, to `DEALLOCATE` a name like the pool's own: the server must
    /// not get to run that. What the client means by it is seen when it is bound.
    pub(super) fn parse_deallocate(
        &mut self,
        name: &[u8],
        body: &[u8],
        length: usize,
    ) -> Result<Step, Refused> {
        let text = deallocate_never_known(name);
        self.say(|out| frontend::parse(out, b"", text.as_bytes(), &[]));
        self.parse_unnamed(Some(body))?;
        Ok(Step::Edited { taken: length })
    }

    /// Bind of `DEALLOCATE name`: of one that drops the [`SCAPEGOAT`], which will be there when it
    /// is executed, if the name is in use by then.
    pub(super) fn bind_deallocate(
        &mut self,
        name: &[u8],
        portal: &[u8],
        rest: usize,
    ) -> Result<Noted, Refused> {
        let known = self.statements.as_ref().is_some_and(|known| known.get(name).is_some());
        let text = if known {
            self.note_bound(portal, Some(name.into()));
            format!("DEALLOCATE {SCAPEGOAT}")
        } else if name.starts_with(PREFIX) {
            deallocate_never_known(name)
        } else {
            // It may have been prepared in SQL.
            return Ok(Noted::Nothing);
        };
        let Some(statements) = self.statements.as_mut() else { return Ok(Noted::Nothing) };
        let on_server = self.cache.set_unnamed(Weak::new());
        let id = statements.journal.push(Change::UnnamedPrepared { on_server });
        let _owed = self.ledger.expect(Request::Parse, Origin::Behalf, id)?;
        let _owed = self.ledger.expect(Request::Bind, Origin::Client, 0)?;
        frontend::parse(&mut statements.scratch, b"", text.as_bytes(), &[]);
        frontend::bind_head(&mut statements.scratch, portal, b"", rest);
        Ok(Noted::Written)
    }

    /// A portal forgets a name when it is executed, or all of them.
    pub(super) fn note_bound(&mut self, portal: &[u8], name: Option<Box<[u8]>>) {
        if let Some(statements) = self.statements.as_mut() {
            statements.bound.truncate(MOST_BOUND - 1);
            statements.bound.insert(0, Bound { portal: portal.into(), name });
        }
    }

    /// Another statement is bound to a portal.
    #[cold]
    pub(super) fn bind_anew(&mut self, portal: &[u8]) {
        if let Some(statements) = self.statements.as_mut() {
            statements.bound.retain(|bound| *bound.portal != *portal);
        }
    }

    #[inline]
    pub(super) fn execute(
        &mut self,
        header: Header<FrontendTag>,
        message: &[u8],
    ) -> Result<Step, Refused> {
        match self.statements.as_ref() {
            Some(statements) if !statements.bound.is_empty() => self.execute_bound(header, message),
            _ => Ok(Step::Pass),
        }
    }

    /// What is to be forgotten is, unless that turns out not to have happened.
    #[cold]
    fn execute_bound(
        &mut self,
        header: Header<FrontendTag>,
        message: &[u8],
    ) -> Result<Step, Refused> {
        if message.len() < header.total_len() {
            return Ok(Step::Wait);
        }
        let Ok(FrontendMessage::Execute(execute)) =
            FrontendMessage::read(header.tag, &message[HEADER_LEN..])
        else {
            return Ok(Step::Pass);
        };
        if let Err(step) = self.admit() {
            return Ok(step);
        }
        let Some(statements) = self.statements.as_mut() else { return Ok(Step::Pass) };
        let is_run = |bound: &Bound| *bound.portal == *execute.portal;
        let Some(at) = statements.bound.iter().position(is_run) else { return Ok(Step::Pass) };
        let Some(name) = statements.bound.remove(at).name else {
            let change = statements.hide_all(self.cache);
            let id = statements.journal.push(change);
            let _owed = self.ledger.expect(Request::Execute, Origin::Client, id)?;
            return Ok(Step::Edited { taken: 0 });
        };
        let Some(statement) = statements.remove(&name) else {
            let id = statements.journal.push(Change::Unknown { name });
            let _owed = self.ledger.expect(Request::Execute, Origin::Client, id)?;
            return Ok(Step::Edited { taken: 0 });
        };
        let id = statements.journal.push(Change::Forgotten { name, statement });
        let _owed = self.ledger.expect(Request::Close, Origin::Behalf, 0)?;
        let _owed = self.ledger.expect(Request::Parse, Origin::Behalf, 0)?;
        let _owed = self.ledger.expect(Request::Execute, Origin::Client, id)?;
        // One that was not dropped is still there.
        frontend::close(&mut statements.scratch, Target::Statement(SCAPEGOAT.as_bytes()));
        frontend::parse(&mut statements.scratch, SCAPEGOAT.as_bytes(), b"", &[]);
        Ok(Step::Edited { taken: 0 })
    }

    /// Whether a name's end has to wait for what is under way: in a failed transaction the server
    /// refuses it.
    fn awaits_outcome_before(&self, name: &[u8]) -> bool {
        let known = self.statements.as_ref().is_some_and(|known| known.get(name).is_some());
        known && self.ledger.awaits_ready()
    }

    /// Forgets a name, unless the server is going to refuse.
    fn forget_one(&mut self, name: &[u8]) -> bool {
        let failed = self.ledger.status() == TransactionStatus::Failed;
        let statements = self.statements.as_mut().filter(|_| !failed);
        let forgotten = statements.is_some_and(|statements| statements.remove(name).is_some());
        self.irrevocable |= forgotten;
        forgotten
    }

    /// A simple query has been sent: it drops the unnamed statement.
    #[inline]
    pub(crate) fn query_sent(&mut self) {
        self.cache.drop_unnamed();
        let Some(statements) = self.statements.as_mut() else { return };
        statements.journal.drop_unnamed();
        statements.journal.seal();
        self.irrevocable |= statements.unnamed.take().is_some();
    }
}

/// What fails like `DEALLOCATE` of a name that is unknown, and is not one of the pool's own.
fn deallocate_never_known(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(&never_known(name)).replace('"', "\"\"");
    format!("DEALLOCATE \"{name}\"")
}
