//! Prepared statements of the extended protocol for clients that change servers.
//!
//! A client's names mean nothing to a server: on a server connection, statements have names of
//! the pool's own (`bs9_17`), one for each text, parameter types and parse-time settings
//! ([`statement`]), however many clients share it. [`cache`] knows what one server connection
//! has, [`names`] what one client means by its names, and [`exchange`] puts the two together:
//!
//! - Parse of a statement the server has is answered by the pool; any other is sent under a
//!   name of the pool's own.
//! - Bind and Describe get the server's name; where the server lacks the statement, a Parse is
//!   put in front of them. Close is answered by the pool.
//! - `DEALLOCATE` of a name drops, on the server, a statement made for the purpose, for the one
//!   that was meant is others' as well. In a batch that happens when it is executed.
//! - The unnamed statement is sent as it comes, for its plan is meant for one use. What the
//!   client meant is remembered, and it is parsed again where another client's took its place.
//! - Errors come from the server: what cannot work is sent so that it fails there, in its turn.
//!
//! # What did not happen
//!
//! Names change when a message is read from the client, long before the server has said yes. So
//! every change is a record of a [`journal`], resolved when the ledger closes the message's
//! entry: kept, taken back because it failed, or taken back because an error before it made the
//! server skip it. A message that uses names waits while records of an earlier batch are open;
//! within a batch that is not needed, for what depends on a failure is skipped with it.
//!
//! A server's names are never used twice on one connection, so that whatever was lost track of
//! can be forgotten, and is never mistaken for something else.

pub(crate) mod cache;
pub(crate) mod deallocate;
pub(crate) mod exchange;
pub(crate) mod journal;
pub(crate) mod names;
pub(crate) mod reply;
mod stateful;
pub(crate) mod statement;

/// How names on servers begin; a number follows.
const PREFIX: &[u8] = b"bs9_";

/// The name of statement `number` on its server connection.
struct ServerName {
    bytes: [u8; PREFIX.len() + 10],
    start: usize,
}

impl ServerName {
    fn new(mut number: u32) -> Self {
        let mut bytes = [0; PREFIX.len() + 10];
        let mut start = bytes.len();
        loop {
            start -= 1;
            bytes[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        start -= PREFIX.len();
        bytes[start..start + PREFIX.len()].copy_from_slice(PREFIX);
        Self { bytes, start }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests;
