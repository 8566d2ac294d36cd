//! The `Connection` field (RFC 9110 section 7.6.1).

use super::fault::HeadFault;
use super::field::{is, list};

/// Options one head may list in its `Connection` fields. Each named field costs a walk over the
/// head.
pub(super) const MAX_CONNECTION_OPTIONS: usize = 32;

/// The options of all `Connection` fields of a head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Whether other options are listed, which may name fields to remove.
    pub(super) names_fields: bool,
    count: usize,
}

impl ConnectionOptions {
    /// Takes in one field. Options that are no tokens are options nobody knows.
    #[inline]
    pub(super) fn add(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        if is(value, b"keep-alive") {
            self.keep_alive = true;
            return Ok(());
        }
        self.add_list(value)
    }

    fn add_list(&mut self, value: &[u8]) -> Result<(), HeadFault> {
        for option in list(value) {
            self.count += 1;
            if self.count > MAX_CONNECTION_OPTIONS {
                return Err(HeadFault::TooManyConnectionOptions);
            }
            if is(option, b"close") {
                self.close = true;
            } else if is(option, b"keep-alive") {
                self.keep_alive = true;
            } else if is(option, b"upgrade") {
                self.upgrade = true;
            } else {
                self.names_fields = true;
            }
        }
        Ok(())
    }
}
