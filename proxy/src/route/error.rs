//! What can be wrong with routes.

/// A route that cannot be compiled; `index` is its position in the configuration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RouteError {
    /// Two routes match exactly the same requests, so the second would never be taken.
    #[error("routes {first} and {second} match the same requests")]
    Conflict {
        /// The route that was there first.
        first: usize,
        /// The route that repeats it.
        second: usize,
    },
    /// Not a host name, or one with a port.
    #[error("`{host}` is not a host name")]
    InvalidHost {
        /// The route.
        index: usize,
        /// The host as configured.
        host: String,
    },
    /// A path that no request can have.
    #[error("`{path}` does not begin with `/`, or holds a `?` or `#`")]
    InvalidPath {
        /// The route.
        index: usize,
        /// The path as configured.
        path: String,
    },
    /// A method that is no token.
    #[error("`{method}` is not a method")]
    InvalidMethod {
        /// The route.
        index: usize,
        /// The method as configured.
        method: String,
    },
    /// A header name that is no token.
    #[error("`{name}` is not a header name")]
    InvalidHeader {
        /// The route.
        index: usize,
        /// The name as configured.
        name: String,
    },
    /// A regular expression that does not compile, or is too large.
    #[error("a regular expression does not compile: {message}")]
    InvalidPattern {
        /// The route.
        index: usize,
        /// What is wrong with it.
        message: String,
    },
}

impl RouteError {
    pub(super) fn invalid_pattern(index: usize, error: &impl ToString) -> Self {
        Self::InvalidPattern { index, message: error.to_string() }
    }

    /// The route to report the error at.
    #[must_use]
    pub const fn index(&self) -> usize {
        match self {
            Self::Conflict { second: index, .. }
            | Self::InvalidHost { index, .. }
            | Self::InvalidPath { index, .. }
            | Self::InvalidMethod { index, .. }
            | Self::InvalidHeader { index, .. }
            | Self::InvalidPattern { index, .. } => *index,
        }
    }
}
