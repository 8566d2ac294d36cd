//! The console: the databases `pgbouncer` and `bs9` of a pool's listener, for psql and for the
//! exporters that speak PgBouncer's words (its documentation, "Admin console").
//!
//! It answers simple queries, and the extended protocol as far as a driver needs it to send a
//! text without parameters.

use std::{rc::Rc, sync::Arc};

use bs9_config::Console;
use bs9_net::{Buffer, Interrupted, Timer, Transport};
use bs9_wire::{
    encode::backend::{self, ErrorReport},
    frame::Frame,
    message::{
        FrontendMessage,
        backend::TransactionStatus,
        frontend::{Parse, Target},
    },
    sqlstate::SqlState,
    tag::{BackendTag, FrontendTag},
};

use crate::shard::PoolShard;

mod answer;
mod command;
mod figures;
mod table;

use answer::{Answer, Fault};
use command::Command;

/// The databases that are the console.
const NAMES: [&str; 2] = ["pgbouncer", "bs9"];
/// Longest message that is read, bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// What a user may do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Look,
    Order,
}

/// What `user` may do on the console; `None`: connect to it at all.
pub(crate) fn access(console: &Console, user: &str) -> Option<Access> {
    let listed = |users: &[Arc<str>]| users.iter().any(|known| **known == *user);
    if listed(&console.admin_users) {
        Some(Access::Order)
    } else {
        listed(&console.stats_users).then_some(Access::Look)
    }
}

/// Connections that operators may have beyond `max_client_connections`.
pub(crate) const RESERVED_CONNECTIONS: usize = 3;

/// Whether a database is the console.
pub(crate) fn is_console(database: &str) -> bool {
    NAMES.contains(&database)
}

/// A client of the console.
pub(crate) struct Session {
    pub(crate) home: Rc<PoolShard>,
    pub(crate) access: Access,
    pub(crate) stream: Transport,
    pub(crate) timer: Timer,
    pub(crate) buffer: Buffer,
    /// What its login is still to be told.
    pub(crate) out: Vec<u8>,
}

/// What has been prepared: one statement and one portal, named or not, are enough.
#[derive(Default)]
struct Extended {
    statements: std::collections::BTreeMap<Vec<u8>, String>,
    portal: Option<String>,
    /// An error was told; everything is skipped up to Sync.
    skips: bool,
}

/// Statements that one client may keep.
const MAX_STATEMENTS: usize = 64;

impl Session {
    /// Serves it until it leaves.
    pub(crate) async fn serve(mut self) {
        self.welcome();
        let mut extended = Extended::default();
        self.timer.clear();
        loop {
            if self.stream.write_all(&self.out).await.is_err() {
                return;
            }
            self.out.clear();
            match self.next().await {
                Some((tag, body)) => {
                    if tag == FrontendTag::Terminate {
                        self.stream.finish();
                        return;
                    }
                    self.take(tag, &body, &mut extended).await;
                }
                None => {
                    let _gone = self.stream.write_all(&self.out).await;
                    let _gone = self.stream.shutdown_write();
                    return;
                }
            }
        }
    }

    fn welcome(&mut self) {
        backend::authentication_ok(&mut self.out);
        for (name, value) in [
            ("server_version", concat!("1.25.0/bs9-", env!("CARGO_PKG_VERSION"))),
            ("client_encoding", "UTF8"),
            ("server_encoding", "UTF8"),
            ("DateStyle", "ISO"),
            ("TimeZone", "GMT"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "on"),
        ] {
            backend::parameter_status(&mut self.out, name.as_bytes(), value.as_bytes());
        }
        backend::backend_key_data(&mut self.out, 0, &[0; 4]);
        backend::ready_for_query(&mut self.out, TransactionStatus::Idle);
    }

    /// The next message. `None`: the session is over; what is left to say is written.
    async fn next(&mut self) -> Option<(FrontendTag, Vec<u8>)> {
        loop {
            match Frame::<FrontendTag>::parse(self.buffer.filled()) {
                Ok(Some(frame)) => {
                    let (tag, body, length) = (frame.tag, frame.body.to_vec(), frame.bytes.len());
                    self.buffer.consume(length);
                    return Some((tag, body));
                }
                Ok(None) if self.buffer.is_full() || self.buffer.len() > MAX_MESSAGE => {
                    self.fatal(SqlState::PROGRAM_LIMIT_EXCEEDED, "the message is too long");
                    return None;
                }
                Ok(None) => {}
                Err(error) => {
                    self.fatal(SqlState::PROTOCOL_VIOLATION, &error.to_string());
                    return None;
                }
            }
            let reading = self.stream.read(&mut self.buffer);
            match self.timer.guard_idle_while(reading, || true).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(Interrupted::Aborted | Interrupted::Elapsed) => {
                    return None;
                }
                Err(Interrupted::Draining) => {
                    let message = "terminating connection due to administrator command";
                    self.fatal(SqlState::ADMIN_SHUTDOWN, message);
                    return None;
                }
            }
        }
    }

    fn fatal(&mut self, sqlstate: SqlState, message: &str) {
        backend::error_response(&mut self.out, &ErrorReport::fatal(sqlstate, message));
    }

    async fn take(&mut self, tag: FrontendTag, body: &[u8], extended: &mut Extended) {
        if extended.skips && tag != FrontendTag::Sync {
            return;
        }
        let message = match FrontendMessage::read(tag, body) {
            Ok(message) => message,
            Err(error) => {
                let fault = Fault::new(SqlState::PROTOCOL_VIOLATION, error.to_string());
                if tag == FrontendTag::Query {
                    // No Sync follows it.
                    fault.write(&mut self.out);
                    return backend::ready_for_query(&mut self.out, TransactionStatus::Idle);
                }
                return self.refuse(&fault, extended);
            }
        };
        match message {
            FrontendMessage::Query(text) => {
                self.query(&String::from_utf8_lossy(text)).await;
                backend::ready_for_query(&mut self.out, TransactionStatus::Idle);
            }
            FrontendMessage::Sync => {
                extended.skips = false;
                backend::ready_for_query(&mut self.out, TransactionStatus::Idle);
            }
            FrontendMessage::Flush => {}
            message => {
                if let Err(fault) = self.extended(message, extended).await {
                    self.refuse(&fault, extended);
                }
            }
        }
    }

    fn refuse(&mut self, fault: &Fault, extended: &mut Extended) {
        fault.write(&mut self.out);
        extended.skips = true;
    }

    /// A simple query: each statement, until one fails.
    async fn query(&mut self, text: &str) {
        let mut any = false;
        for statement in text.split(';').map(str::trim).filter(|one| !one.is_empty()) {
            any = true;
            match self.answer(statement).await {
                Ok(answer) => {
                    answer.describe(&mut self.out);
                    answer.write(&mut self.out);
                }
                Err(fault) => {
                    fault.write(&mut self.out);
                    return;
                }
            }
        }
        if !any {
            backend::empty_query_response(&mut self.out);
        }
    }

    async fn answer(&self, statement: &str) -> Result<Answer, Fault> {
        Command::read(statement)?.carry_out(&self.home, self.access).await
    }

    // === The extended protocol ===

    async fn extended(
        &mut self,
        message: FrontendMessage<'_>,
        extended: &mut Extended,
    ) -> Result<(), Fault> {
        match message {
            FrontendMessage::Parse(parse) => {
                extended.prepare(&parse)?;
                backend::parse_complete(&mut self.out);
            }
            FrontendMessage::Bind(bind) => {
                extended.portal = Some(extended.statement(bind.statement)?.to_owned());
                backend::bind_complete(&mut self.out);
            }
            FrontendMessage::Describe(target) => {
                let text = match target {
                    Target::Statement(name) => {
                        bs9_wire::encode::message(
                            &mut self.out,
                            BackendTag::ParameterDescription,
                            |out| out.extend_from_slice(&[0; 2]),
                        );
                        extended.statement(name)?
                    }
                    Target::Portal(_) => extended.portal()?,
                };
                match Command::read(text)?.columns() {
                    Some(columns) => table::describe(&mut self.out, columns),
                    None => backend::no_data(&mut self.out),
                }
            }
            FrontendMessage::Execute(_) => {
                let text = extended.portal()?.to_owned();
                if text.is_empty() {
                    backend::empty_query_response(&mut self.out);
                } else {
                    let answer = self.answer(&text).await?;
                    answer.write(&mut self.out);
                }
            }
            FrontendMessage::Close(target) => {
                if let Target::Statement(name) = target {
                    extended.statements.remove(name);
                }
                backend::close_complete(&mut self.out);
            }
            _ => {
                let message = "the console does not take this message";
                return Err(Fault::new(SqlState::PROTOCOL_VIOLATION, message));
            }
        }
        Ok(())
    }
}

impl Extended {
    fn prepare(&mut self, parse: &Parse<'_>) -> Result<(), Fault> {
        if self.statements.len() >= MAX_STATEMENTS {
            let message = "too many prepared statements";
            return Err(Fault::new(SqlState::CONFIGURATION_LIMIT, message));
        }
        let text = String::from_utf8_lossy(parse.query);
        let text = text.trim().trim_end_matches(';').trim_end();
        if !text.is_empty() {
            // Found out now rather than when it is run.
            let _read = Command::read(text)?;
        }
        self.statements.insert(parse.statement.to_vec(), text.to_owned());
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<&str, Fault> {
        self.statements.get(name).map(String::as_str).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            let message = format!("prepared statement \"{name}\" does not exist");
            Fault::new(SqlState::INVALID_STATEMENT_NAME, message)
        })
    }

    fn portal(&self) -> Result<&str, Fault> {
        self.portal
            .as_deref()
            .ok_or_else(|| Fault::new(SqlState::INVALID_STATEMENT_NAME, "there is no portal"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_do_what() {
        let console = Console {
            admin_users: vec!["root".into()],
            stats_users: vec!["root".into(), "eye".into()],
        };
        for (user, wanted) in
            [("root", Some(Access::Order)), ("eye", Some(Access::Look)), ("alice", None)]
        {
            assert_eq!(access(&console, user), wanted, "{user}");
        }
        assert!(is_console("pgbouncer") && is_console("bs9") && !is_console("app"));
    }
}
