//! What a server knows and says, without its connection: both the simulated servers and what
//! clients expect are made of it.
//!
//! Work is told in texts such as `c3 n17 echo`: who wants it, a number that nobody else has, and
//! what it is: `echo`, `fail`, `big`, `copy`, `sleep40` (milliseconds), `begin`, `commit`. The
//! statement `work` runs the text that it is given as its parameter.

use std::collections::HashMap;

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

#[derive(Clone)]
pub(super) struct Session {
    pub(super) status: TransactionStatus,
    statements: HashMap<Vec<u8>, Vec<u8>>,
    /// The text that the unnamed portal runs.
    portal: Option<String>,
    /// Ignores everything up to Sync.
    skips: bool,
    /// Takes COPY data; true: of an extended query.
    copies: Option<bool>,
    /// A batch was begun, and not ended by a Sync.
    pub(super) in_batch: bool,
    /// Its state is that of a new session, as far as its client goes.
    pub(super) is_fresh: bool,
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
            is_fresh: true,
        }
    }
}

/// The client that a text is of.
pub(super) fn client_of(text: &str) -> Option<usize> {
    text.strip_prefix('c')?.split(' ').next()?.parse().ok()
}

fn verb_of(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
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

impl Session {
    /// The text that a message runs, if it runs one.
    pub(super) fn text_of(&self, frame: &Frame<'_, FrontendTag>) -> Option<String> {
        if self.copies.is_some() || self.skips {
            return None;
        }
        match FrontendMessage::read(frame.tag, frame.body).ok()? {
            FrontendMessage::Query(text) => Some(String::from_utf8_lossy(text).into_owned()),
            FrontendMessage::Execute(_) => self.portal.clone(),
            _ => None,
        }
    }

    /// Who a message that is not ignored is of, as far as it tells.
    pub(super) fn sender_of(&self, frame: &Frame<'_, FrontendTag>) -> Option<usize> {
        if self.skips || self.copies.is_some() {
            return None;
        }
        let bound = match FrontendMessage::read(frame.tag, frame.body).ok()? {
            FrontendMessage::Bind(bind) => parameter(&bind),
            _ => self.text_of(frame),
        };
        bound.as_deref().and_then(client_of)
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
                let done = self.run(&text, false, cancelled, &mut out);
                if done {
                    backend::ready_for_query(&mut out, self.status);
                }
            }
            FrontendMessage::Sync => {
                self.skips = false;
                self.in_batch = false;
                if self.status == TransactionStatus::Idle {
                    self.portal = None;
                }
                backend::ready_for_query(&mut out, self.status);
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
                if self.status == TransactionStatus::Failed {
                    self.fail(SqlState::IN_FAILED_TRANSACTION, out);
                } else if !name.is_empty() && self.statements.contains_key(&name) {
                    self.fail(SqlState::DUPLICATE_STATEMENT, out);
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
                Some(_) => {
                    self.portal = Some(parameter(&bind).unwrap_or_default());
                    backend::bind_complete(out);
                }
            },
            FrontendMessage::Execute(_) => match self.portal.take() {
                Some(text) => drop(self.run(&text, true, cancelled, out)),
                None => self.fail(SqlState::INTERNAL_ERROR, out),
            },
            FrontendMessage::Close(Target::Statement(name)) => {
                self.statements.remove(name);
                backend::close_complete(out);
            }
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
        if self.status == TransactionStatus::InTransaction {
            self.status = TransactionStatus::Failed;
        }
    }

    /// False when more is needed before it is done.
    fn run(&mut self, text: &str, extended: bool, cancelled: bool, out: &mut Vec<u8>) -> bool {
        let verb = verb_of(text);
        let problem = match verb {
            _ if self.status == TransactionStatus::Failed && verb != "commit" => {
                Some(SqlState::IN_FAILED_TRANSACTION)
            }
            _ if cancelled => Some(SqlState::QUERY_CANCELED),
            "fail" => Some(SqlState::INTERNAL_ERROR),
            _ => None,
        };
        if let Some(sqlstate) = problem {
            self.error(sqlstate, out);
            self.skips = extended;
            return true;
        }
        self.is_fresh &= client_of(text).is_none();
        match verb {
            "begin" => {
                self.status = TransactionStatus::InTransaction;
                backend::command_complete(out, "BEGIN");
            }
            "commit" => {
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
            verb => {
                if !extended {
                    backend::row_description(out, [("work", 25)].into_iter());
                }
                let long = text.repeat(if verb == "big" { 900 } else { 1 });
                backend::data_row(out, [Some(&*long)].into_iter());
                backend::command_complete(out, "SELECT 1");
            }
        }
        !extended
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
            backend::ready_for_query(out, self.status);
        }
    }
}
