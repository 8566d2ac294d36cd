//! What clients change in a session that is not theirs alone.

/// How state that a session keeps is handled in transaction and statement mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionState {
    /// Parameters set with `SET`, `RESET` or `set_config` follow the client. Default true.
    pub track_settings: bool,
    /// Locks that outlive their transaction.
    pub advisory_locks: Stateful,
    /// Temporary tables that outlive their transaction.
    pub temporary_tables: Stateful,
    /// Cursors that outlive their transaction.
    pub hold_cursors: Stateful,
    /// Statements prepared in SQL.
    pub sql_prepared_statements: Stateful,
    /// `LISTEN`.
    pub listen: Stateful,
}

/// What happens when a client asks for something that belongs to one server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stateful {
    /// The client keeps that server connection until it leaves. The default.
    #[default]
    Pin,
    /// The statement fails.
    Refuse,
    /// It is passed on like any other.
    Ignore,
    /// One server connection does it for all clients. For `listen` alone, where it is the default.
    Shared,
}

impl Default for SessionState {
    fn default() -> Self {
        Self {
            track_settings: true,
            advisory_locks: Stateful::Pin,
            temporary_tables: Stateful::Pin,
            hold_cursors: Stateful::Pin,
            sql_prepared_statements: Stateful::Pin,
            listen: Stateful::Shared,
        }
    }
}
