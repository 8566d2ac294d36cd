//! The SQLSTATE codes a pool reports or acts on ("PostgreSQL Error Codes").

use std::fmt;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Nothing is wrong.
    pub const SUCCESS: Self = Self(*b"00000");
    /// Cannot reach or log in to a server.
    pub const CANNOT_CONNECT: Self = Self(*b"08001");
    /// The server connection broke.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// The peer broke the protocol.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// A feature the pool does not have.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// A parameter value that cannot be.
    pub const INVALID_PARAMETER_VALUE: Self = Self(*b"22023");
    /// `idle_in_transaction_session_timeout` fired.
    pub const IDLE_IN_TRANSACTION_TIMEOUT: Self = Self(*b"25P03");
    /// The prepared statement does not exist.
    pub const INVALID_STATEMENT_NAME: Self = Self(*b"26000");
    /// The user may not log in.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// The password is wrong.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// The database does not exist.
    pub const UNDEFINED_DATABASE: Self = Self(*b"3D000");
    /// The prepared statement exists already.
    pub const DUPLICATE_STATEMENT: Self = Self(*b"42P05");
    /// A limit of the pool was hit.
    pub const CONFIGURATION_LIMIT: Self = Self(*b"53400");
    /// No server connection to be had.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// A statement or message is too large or too deep.
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self(*b"54000");
    /// The query was cancelled, or waited too long.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// An operator ended the connection.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// Not accepting connections now.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// The connection was idle too long.
    pub const IDLE_SESSION_TIMEOUT: Self = Self(*b"57P05");
    /// The object is not in the state for that.
    pub const OBJECT_NOT_IN_STATE: Self = Self(*b"55000");
    /// The transaction took too long.
    pub const TRANSACTION_TIMEOUT: Self = Self(*b"25P04");
    /// The transaction has failed: only its end is taken.
    pub const IN_FAILED_TRANSACTION: Self = Self(*b"25P02");
    /// The statement cannot be understood.
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// The user may not do that.
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// Something broke inside.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");

    /// The code in these bytes: five digits or upper-case letters.
    pub fn parse(code: &[u8]) -> Option<Self> {
        let code = *code.first_chunk::<5>().filter(|_| code.len() == 5)?;
        code.iter().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase()).then_some(Self(code))
    }

    /// The five characters.
    pub fn as_bytes(&self) -> &[u8; 5] {
        &self.0
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&c| write!(f, "{}", char::from(c)))
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlState({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_five_upper_case_characters_are_a_code() {
        assert_eq!(SqlState::parse(b"08P01"), Some(SqlState::PROTOCOL_VIOLATION));
        for bad in [&b""[..], b"08P0", b"08P011", b"08p01", b"08 01", b"\xff\xff\xff\xff\xff"] {
            assert_eq!(SqlState::parse(bad), None, "{bad:?}");
        }
        assert_eq!(SqlState::INVALID_PASSWORD.to_string(), "28P01");
    }
}
