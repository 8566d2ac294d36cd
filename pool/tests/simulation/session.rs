//! What a server knows and says, without its connection: both the simulated servers and what
//! clients expect are made of it.
//!
//! What is wanted ([`text`](super::text)) is one of `echo`, `fail`, `big`, `copy`, `sleep40`
//! (milliseconds), `begin`, `commit`; or to make or end something that the session keeps
//! ([`Kept`]), or to `look` at what it keeps. A prepared statement runs the text that it is given
//! as its parameter.

use std::collections::{BTreeSet, HashMap};

use bs9_wire::{
    encode::backend::{self, ErrorReport},
    frame::Frame,
    message::{
        FrontendMessage,
        backend::TransactionStatus,
        frontend::{Bind, Target},
    },
    sqlstate::SqlState,
    tag::{BackendTag, FrontendTag},
};

use super::{
    listening::Listening,
    text::{Kept, Sender, sender_of, told_in, verb_of},
};

/// What the pool has a server refuse, in place of what it refuses itself.
const REFUSED: &str = "refused by the pool";
/// Texts of simple queries that are longer do not fit the pool's buffers.
const LONGEST_READ: usize = 4000;

#[derive(Clone)]
pub(super) struct Session {
    pub(super) status: TransactionStatus,
    statements: HashMap<Vec<u8>, Vec<u8>>,
    /// What the unnamed portal runs: the text, and the statement it was given to.
    portal: Option<(String, Vec<u8>)>,
    /// Ignores everything up to Sync.
    skips: bool,
    /// Takes COPY data; true: of an extended query.
    copies: Option<bool>,
    /// A batch was begun, and not ended by a Sync.
    pub(super) in_batch: bool,
    /// What outlives transactions.
    pub(super) kept: BTreeSet<Kept>,
    pub(super) listening: Listening,
    /// Nothing is to be kept: the pool refuses, as far as it has read the text before it passes.
    pub(super) refuses: bool,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            status: TransactionStatus::Idle,
            statements: HashMap::new(),
            portal: None,
            skips: false,
            copies: None,
            in_batch: false,
            kept: BTreeSet::new(),
            listening: Listening::default(),
            refuses: false,
        }
    }
}

/// The only parameter, as text.
fn parameter(bind: &Bind<'_>) -> Option<String> {
    let (formats, rest) = bind.rest.split_first_chunk::<2>()?;
    let rest = rest.get(2 * usize::from(u16::from_be_bytes(*formats))..)?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let value = rest.get(..u32::from_be_bytes(*length) as usize)?;
    (*count != [0, 0]).then(|| String::from_utf8_lossy(value).into_owned())
}

/// What a message tells, whether or not a server gives heed to it.
pub(super) fn said_in(frame: &Frame<'_, FrontendTag>) -> Option<String> {
    match FrontendMessage::read(frame.tag, frame.body).ok()? {
        FrontendMessage::Query(text) => Some(String::from_utf8_lossy(text).into_owned()),
        FrontendMessage::Bind(bind) => parameter(&bind),
        _ => None,
    }
}

impl Session {
    /// What a client expects of a server of its own.
    pub(super) fn ideal(refuses: bool) -> Self {
        Self { refuses, ..Self::default() }
    }

    /// The text that a message runs, if it runs one.
    pub(super) fn text_of(&self, frame: &Frame<'_, FrontendTag>) -> Option<String> {
        if self.copies.is_some() || self.skips {
            return None;
        }
        match FrontendMessage::read(frame.tag, frame.body).ok()? {
            FrontendMessage::Query(text) => Some(String::from_utf8_lossy(text).into_owned()),
            FrontendMessage::Execute(_) => self.portal.clone().map(|(text, _)| text),
            _ => None,
        }
    }

    /// Who a message that is not ignored is of, as far as it tells.
    pub(super) fn sender_of(&self, frame: &Frame<'_, FrontendTag>) -> Option<Sender> {
        if self.skips || self.copies.is_some() {
            return None;
        }
        let said = said_in(frame).or_else(|| self.text_of(frame));
        said.as_deref().and_then(sender_of)
    }

    /// How long it takes to run a text, milliseconds.
    pub(super) fn pause(&self, text: &str) -> u64 {
        let refuses = self.status == TransactionStatus::Failed;
        let asked = verb_of(text).strip_prefix("sleep").filter(|_| !refuses);
        asked.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// Whether it has nothing open for anyone.
    pub(super) fn is_at_rest(&self) -> bool {
        let idle = self.status == TransactionStatus::Idle;
        idle && !self.in_batch && !self.skips && self.copies.is_none()
    }

    /// Whether there is something of one client in it that outlives transactions.
    pub(super) fn keeps_something(&self) -> bool {
        !(self.kept.is_empty() && self.listening.channels.is_empty())
    }

    /// Answers a message. `cancelled`: what it runs was cancelled.
    pub(super) fn hear(&mut self, frame: &Frame<'_, FrontendTag>, cancelled: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let message = FrontendMessage::read(frame.tag, frame.body).expect("a message");
        if let Some(extended) = self.copies {
            self.hear_copy(&message, extended, cancelled, &mut out);
            return out;
        }
        if self.skips && message != FrontendMessage::Sync {
            return out;
        }
        match message {
            FrontendMessage::Query(text) => {
                self.in_batch = false;
                let text = String::from_utf8_lossy(text).into_owned();
                let done = self.run(&text, None, cancelled, &mut out);
                if done {
                    self.ready(&mut out);
                }
            }
            FrontendMessage::Sync => {
                self.skips = false;
                self.in_batch = false;
                if self.status == TransactionStatus::Idle {
                    self.portal = None;
                }
                self.ready(&mut out);
            }
            FrontendMessage::Flush | FrontendMessage::CopyData(_) => {}
            FrontendMessage::CopyDone | FrontendMessage::CopyFail(_) => {}
            message => {
                self.in_batch = true;
                self.extended(message, &mut out, cancelled);
            }
        }
        out
    }

    fn extended(&mut self, message: FrontendMessage<'_>, out: &mut Vec<u8>, cancelled: bool) {
        match message {
            FrontendMessage::Parse(parse) => {
                let name = parse.statement.to_vec();
                let text = String::from_utf8_lossy(parse.query);
                if self.refuses && Kept::is_made_by(&text) {
                    self.fail(SqlState::FEATURE_NOT_SUPPORTED, out);
                } else if self.status == TransactionStatus::Failed {
                    self.fail(SqlState::IN_FAILED_TRANSACTION, out);
                } else if !name.is_empty() && self.statements.contains_key(&name) {
                    self.fail(SqlState::DUPLICATE_STATEMENT, out);
                } else if text == REFUSED {
                    self.fail(SqlState::SYNTAX_ERROR, out);
                } else {
                    self.statements.insert(name, parse.query.to_vec());
                    backend::parse_complete(out);
                }
            }
            FrontendMessage::Bind(bind) => match self.statements.get(bind.statement) {
                None => self.fail(SqlState::INVALID_STATEMENT_NAME, out),
                Some(_) if self.status == TransactionStatus::Failed => {
                    self.fail(SqlState::IN_FAILED_TRANSACTION, out);
                }
                Some(statement) => {
                    let own = || String::from_utf8_lossy(statement).into_owned();
                    let text = parameter(&bind).unwrap_or_else(own);
                    self.portal = Some((text, statement.clone()));
                    backend::bind_complete(out);
                }
            },
            FrontendMessage::Execute(_) => match self.portal.take() {
                Some((text, by)) => drop(self.run(&text, Some(&by), cancelled, out)),
                None => self.fail(SqlState::INTERNAL_ERROR, out),
            },
            FrontendMessage::Close(Target::Statement(name)) => {
                self.statements.remove(name);
                backend::close_complete(out);
            }
            FrontendMessage::Close(Target::Portal(_)) => backend::close_complete(out),
            FrontendMessage::Describe(_) => backend::no_data(out),
            _ => {}
        }
    }

    fn fail(&mut self, sqlstate: SqlState, out: &mut Vec<u8>) {
        self.error(sqlstate, out);
        self.skips = true;
    }

    fn error(&mut self, sqlstate: SqlState, out: &mut Vec<u8>) {
        backend::error_response(out, &ErrorReport::error(sqlstate, "as asked for"));
        match self.status {
            TransactionStatus::InTransaction => self.status = TransactionStatus::Failed,
            TransactionStatus::Idle => self.listening.roll_back(),
            TransactionStatus::Failed => {}
        }
    }

    fn ready(&mut self, out: &mut Vec<u8>) {
        if self.status == TransactionStatus::Idle {
            self.listening.commit();
        }
        backend::ready_for_query(out, self.status);
    }

    /// `by`: the prepared statement that runs it. False when more is needed before it is done.
    fn run(&mut self, text: &str, by: Option<&[u8]>, cancelled: bool, out: &mut Vec<u8>) -> bool {
        let (verb, extended) = (verb_of(text), by.is_some());
        if let Some(sqlstate) = self.problem_with(text, extended, cancelled) {
            self.error(sqlstate, out);
            self.skips = extended;
            return true;
        }
        let is_pools = sender_of(text).is_none() && verb != "ALL";
        if is_pools && self.listening.run_own(text, !extended, out) {
            return !extended;
        }
        match verb {
            "begin" => {
                self.status = TransactionStatus::InTransaction;
                backend::command_complete(out, "BEGIN");
            }
            "commit" => {
                if self.status == TransactionStatus::Failed {
                    self.listening.roll_back();
                }
                self.status = TransactionStatus::Idle;
                backend::command_complete(out, "COMMIT");
            }
            "copy" => {
                bs9_wire::encode::message(out, BackendTag::CopyInResponse, |out| {
                    out.extend_from_slice(&[0, 0, 0]);
                });
                self.copies = Some(extended);
                return false;
            }
            "ALL" => {
                *self = Self::default();
                backend::command_complete(out, "DISCARD ALL");
            }
            verb => match Kept::by(verb) {
                Some((kept, makes)) => {
                    if makes {
                        self.kept.insert(kept);
                    } else {
                        self.kept.remove(&kept);
                    }
                    backend::command_complete(out, kept.tag(makes));
                }
                None => match self.listening.run(told_in(text)) {
                    Some(tag) => backend::command_complete(out, tag),
                    None => self.select(text, by, out),
                },
            },
        }
        !extended
    }

    fn select(&self, text: &str, by: Option<&[u8]>, out: &mut Vec<u8>) {
        let verb = verb_of(text);
        let mut row = told_in(text).repeat(if verb == "big" { 900 } else { 1 });
        match by {
            None => backend::row_description(out, [("work", 25)].into_iter()),
            Some(by) => row += &String::from_utf8_lossy(by),
        }
        if verb == "look" {
            row += &format!(" {:?}", self.kept);
        }
        backend::data_row(out, [Some(&*row)].into_iter());
        backend::command_complete(out, "SELECT 1");
    }

    /// Why a text is not run.
    fn problem_with(&self, text: &str, extended: bool, cancelled: bool) -> Option<SqlState> {
        let verb = verb_of(text);
        let kept = Kept::by(verb);
        let read = !extended && text.len() <= LONGEST_READ;
        match verb {
            _ if self.refuses && read && kept.is_some_and(|(_, makes)| makes) => {
                Some(SqlState::FEATURE_NOT_SUPPORTED)
            }
            _ if self.status == TransactionStatus::Failed && verb != "commit" => {
                Some(SqlState::IN_FAILED_TRANSACTION)
            }
            _ if cancelled => Some(SqlState::QUERY_CANCELED),
            "fail" => Some(SqlState::INTERNAL_ERROR),
            // One of a kind.
            _ => kept
                .filter(|(kept, makes)| self.kept.contains(kept) == *makes)
                .map(|_| SqlState::DUPLICATE_STATEMENT),
        }
    }

    fn hear_copy(
        &mut self,
        message: &FrontendMessage<'_>,
        extended: bool,
        cancelled: bool,
        out: &mut Vec<u8>,
    ) {
        match message {
            FrontendMessage::CopyDone if !cancelled => backend::command_complete(out, "COPY 1"),
            FrontendMessage::CopyDone | FrontendMessage::CopyFail(_) => {
                self.error(SqlState::QUERY_CANCELED, out);
                self.skips = extended;
            }
            _ => return,
        }
        self.copies = None;
        if !extended {
            self.ready(out);
        }
    }
}
